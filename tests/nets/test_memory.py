"""The memory against the exact denoiser of its images, and against Bayes' rule written out; what the U-Net gets of it."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from minidiff.diffusion.process import q_sample
from minidiff.diffusion.schedule import cosine
from minidiff.exact.empirical import Empirical
from minidiff.nets.memory import Memory, WithMemory

SCHEDULE = cosine()


@pytest.fixture
def images():
    return torch.rand(40, 1, 28, 28, generator=torch.Generator().manual_seed(0)) * 2 - 1


@pytest.fixture
def noised(images):
    """Three of the images at three levels; high ones, where more than one image is possible."""
    t = torch.tensor([1000, 960, 900])
    return q_sample(images[:3], t, torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1)), SCHEDULE), t


def holding(images, variance=0.25, sharpness=1.0):
    memory = Memory(SCHEDULE.abar, variance, sharpness)
    memory.remember(images)
    return memory


def test_without_a_spread_it_is_the_exact_denoiser_of_its_images(images, noised):
    expected = Empirical(images, SCHEDULE).x_0(*noised)
    assert_close(holding(images, 0.0)(*noised), expected, rtol=0, atol=1e-3)
    assert (holding(images, 20.0)(*noised) - expected).abs().max() > 0.01
    assert (holding(images, 0.0, 0.5)(*noised) - expected).abs().max() > 0.01


@pytest.mark.parametrize(("variance", "sharpness"), [(0.25, 1.0), (2.0, 0.4)])
def test_the_shares_are_bayes_rule_in_a_mixture_of_gaussians(images, noised, variance, sharpness):
    """Densities of torch.distributions, float64, one image after the other; their powers where it is less sharp."""
    shown = holding(images, variance, sharpness)(*noised)
    for row, x_t, t in zip(shown, *noised, strict=True):
        abar, logs = SCHEDULE.abar[t], []
        for image in images.double():
            spread = (abar * variance + 1 - abar).sqrt()
            logs.append(sharpness * torch.distributions.Normal(abar.sqrt() * image, spread).log_prob(x_t.double()).sum())
        r = torch.stack(logs).softmax(dim=0)
        assert 0.01 < r.max() < 0.999999  # more than one image counts
        assert_close(row.double(), (r[:, None, None, None] * images.double()).sum(dim=0), rtol=0, atol=2e-3)


def test_nothing_in_it_is_trained_and_gradients_pass_through_it(images, noised):
    """Guidance asks for gradients with respect to x_t."""
    memory, (x_t, t) = holding(images), noised
    assert not list(memory.parameters())
    (gradient,) = torch.autograd.grad(memory(x_t.requires_grad_(), t).square().sum(), x_t)
    assert (gradient.flatten(1).abs().amax(dim=1) > 0).all()


def test_bfloat16_around_it_changes_nothing(images, noised):
    memory = holding(images)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        assert torch.equal(memory(*noised), memory(*noised))
        rounded = memory(*noised)
    assert_close(rounded, memory(*noised), rtol=0, atol=1e-6)


def test_a_file_brings_as_many_images_as_it_has(images, noised):
    full, empty = holding(images), Memory(SCHEDULE.abar, 0.25, 1.0)
    assert_close(empty(*noised), torch.zeros(3, 1, 28, 28))
    empty.load_state_dict(full.state_dict())
    assert torch.equal(empty(*noised), full(*noised))


def test_the_network_sees_the_noisy_image_and_what_is_recalled(images, noised):
    class Seeing(nn.Module):
        def forward(self, x, t, c=None):
            self.seen = x
            return x[:, :1]

    net = WithMemory(Seeing(), holding(images))
    assert torch.equal(net(*noised), noised[0])
    assert torch.equal(net.unet.seen, torch.cat([noised[0], net.memory(*noised)], dim=1))
