"""Losses against formulas written a second time; what they draw and show to their networks."""

import math

import pytest
import torch
from helpers import says
from torch import nn
from torch.testing import assert_close

from minidiff.diffusion.process import q_sample
from minidiff.diffusion.schedule import cosine
from minidiff.nets.unet import VPrediction
from minidiff.training import losses
from minidiff.training.recipes import RECIPES


class Silent(nn.Module):
    """Answers zeros of this width, or like x_t; remembers what it was shown last."""

    null = 10

    def __init__(self, width: int | None = None):
        super().__init__()
        self.width = width

    def forward(self, *shown):
        self.shown = shown
        return torch.zeros(len(shown[0]), self.width) if self.width else 0 * shown[0]


def test_simple_loss_is_0_for_the_truth_and_1_for_silence(draws):
    schedule = cosine()
    x_0, noise = torch.randn(2, 500, 1, 28, 28, generator=draws.generator).unbind(0)
    t = draws.levels(len(x_0), 1, schedule.T)

    def truth(x_t, shown):
        assert torch.equal(x_t, q_sample(x_0, t, noise, schedule))
        assert torch.equal(shown, t)
        return noise

    assert losses.simple_loss(truth, x_0, t, noise, schedule) == 0
    silent = losses.simple_loss(lambda x_t, t: torch.zeros_like(x_t), x_0, t, noise, schedule)
    assert abs(silent.item() - 1) < 5 * math.sqrt(2 / noise.numel())


def test_v_loss_is_the_square_of_the_miss_of_v(draws):
    """v = sqrt(abar) noise - sqrt(1 - abar) x_0; at t = T, too, where 1 / abar is above 10^8."""
    schedule = cosine()
    x_0, noise, v_hat = torch.randn(3, 50, 1, 28, 28, generator=draws.generator).unbind(0)
    x_0[0], t = x_0[0].clamp(-1, 1), draws.levels(50, 1, schedule.T)
    t[:3] = torch.tensor([1, 999, 1000])
    a = schedule.abar[t][:, None, None, None]
    miss = (a.sqrt() * noise - (1 - a).sqrt() * x_0 - v_hat).square()
    eps = VPrediction(says(v_hat), schedule.abar)
    whole = losses.v_loss(eps, x_0, t, noise, schedule)
    assert_close(whole, miss.mean().float(), rtol=1e-3, atol=0)
    extreme = losses.v_loss(eps, x_0[:3], t[:3], noise[:3], schedule)
    assert_close(extreme, miss[:3].mean().float(), rtol=2e-3, atol=0)
    assert losses.v_loss(lambda x_t, t: noise, x_0, t, noise, schedule) == 0


def test_unet_loss_drops_a_tenth_of_the_labels(draws):
    """What reaches the table of classes, counted in the loss itself."""
    n, net = 20_000, nn.ModuleDict({"unet": Silent(), "classes": Silent(1)})
    losses.unet_loss(net, torch.zeros(n, 1, 1, 1), torch.arange(n) % 10, cosine(), draws)
    share = (net["classes"].shown[0] == 10).double().mean().item()
    assert abs(share - 0.1) < 5 * math.sqrt(0.1 * 0.9 / n)


@pytest.mark.parametrize("name", ["ddpm", "unet"])
def test_denoisers_are_trained_on_every_t_and_never_on_0(name, draws):
    net = RECIPES[name].build(10, cosine())
    net["unet"] = Silent()
    x_0, y = torch.zeros(5000, 1, 1, 1), torch.arange(5000) % 10
    RECIPES[name].loss(net, x_0, y, cosine(T=9), draws)
    assert net["unet"].shown[1].unique().tolist() == list(range(1, 10))


def test_classifier_loss_sees_clean_images_too(draws):
    net = nn.ModuleDict({"classifier": Silent(10)})
    x_0, y = torch.zeros(5000, 1, 1, 1), torch.arange(5000) % 10
    loss = losses.classifier_loss(net, x_0, y, cosine(T=9), draws)
    assert loss.item() == pytest.approx(math.log(10), rel=1e-5)
    assert net["classifier"].shown[1].unique().tolist() == list(range(10))


def test_contrastive_loss_by_hand():
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = logits.exp()
    rows, columns = p / p.sum(dim=1, keepdim=True), p / p.sum(dim=0, keepdim=True)
    by_hand = sum(-math.log(rows[i, i]) - math.log(columns[i, i]) for i in range(6)) / 12
    assert losses.contrastive_loss(logits).item() == pytest.approx(by_hand, rel=1e-12)
    assert losses.contrastive_loss(torch.zeros(6, 6)).item() == pytest.approx(math.log(6), rel=1e-6)


def test_jitter_moves_images_and_keeps_background(draws):
    x_0 = torch.full((64, 1, 28, 28), -1.0)
    x_0[:, :, 12:16, 12:16] = 1.0
    ink = losses.jitter(x_0, draws) + 1
    for edge in (ink[:, :, 0, :], ink[:, :, :, -1]):
        assert_close(edge, torch.zeros(64, 1, 28))
    mass = ink.sum(dim=(1, 2, 3))
    centre = (ink.sum(dim=(1, 3)) * torch.arange(28)).sum(1) / mass
    assert ((centre - 13.5).abs() <= 2.6).all()
    assert (centre - 13.5).abs().max() > 1.5
    assert ((mass / 32 > 0.75) & (mass / 32 < 1.3)).all()
