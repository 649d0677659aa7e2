"""Losses, the loop and the learning rate: against formulas written a second time, and by learning something."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from minidiff import settings
from minidiff.datasets.mnist import Digits, load_digits
from minidiff.diffusion.process import q_sample
from minidiff.diffusion.schedule import cosine
from minidiff.nets.unet import VPrediction
from minidiff.symbols import InputError
from minidiff.training import loop, losses
from minidiff.training.distributed import BatchRNG
from minidiff.training.loop import curve, learning_rate, train, training_steps
from minidiff.training.recipes import LIVE, RECIPES
from minidiff.training.state import begin


@pytest.fixture(scope="module")
def digits() -> Digits:
    full = load_digits("train")
    return Digits(full.images[:256], full.labels[:256], full.sha256)


def test_simple_loss_is_0_for_the_truth_and_1_for_silence():
    schedule, g = cosine(), torch.Generator().manual_seed(0)
    x_0, noise = torch.randn(2, 500, 1, 28, 28, generator=g).unbind(0)
    t = BatchRNG(g).levels(len(x_0), 1, schedule.T)

    def knows(x_t, level):
        assert torch.equal(x_t, q_sample(x_0, t, noise, schedule))
        assert torch.equal(level, t)
        return noise

    assert losses.simple_loss(knows, x_0, t, noise, schedule) == 0
    silent = losses.simple_loss(lambda x_t, t: torch.zeros_like(x_t), x_0, t, noise, schedule)
    assert abs(silent.item() - 1) < 5 * math.sqrt(2 / noise.numel())


def test_v_loss_is_the_square_of_the_miss_of_v():
    """v = sqrt(abar) noise - sqrt(1 - abar) x_0, written out here; t = T, where 1 / abar is above 10^8, included."""
    schedule, g = cosine(), torch.Generator().manual_seed(0)
    x_0, noise, v_hat = torch.randn(3, 50, 1, 28, 28, generator=g).unbind(0)
    x_0[0], t = x_0[0].clamp(-1, 1), BatchRNG(g).levels(50, 1, schedule.T)
    t[:3] = torch.tensor([1, 999, 1000])
    a = schedule.abar[t][:, None, None, None]
    v = a.sqrt() * noise - (1 - a).sqrt() * x_0
    network = nn.Module()
    network.forward = lambda x_t, t, c: v_hat[: len(x_t)]
    eps = VPrediction(network, schedule.abar)
    whole = losses.v_loss(eps, x_0, t, noise, schedule)
    assert_close(whole, (v - v_hat).square().mean().float(), rtol=1e-3, atol=0)
    extreme = [part[:3] for part in (x_0, t, noise)]
    assert_close(losses.v_loss(eps, *extreme, schedule), (v - v_hat)[:3].square().mean().float(), rtol=2e-3, atol=0)
    assert losses.v_loss(lambda x_t, t: noise, x_0, t, noise, schedule) == 0


@pytest.mark.parametrize("lowest", [0, 1])
def test_every_level_is_drawn_equally_often(lowest):
    schedule, n = cosine(T=20), 100_000
    counts = BatchRNG(torch.Generator().manual_seed(0)).levels(n, lowest, schedule.T).bincount(minlength=21)
    expected = n / (21 - lowest)
    assert counts[:lowest].sum() == 0
    assert ((counts[lowest:] - expected).abs() < 5 * math.sqrt(expected)).all()


def test_middle_levels_are_logit_normal():
    """logit(t / T) has the quantiles of N(mean, spread^2), and t lies in 1..T whatever the numbers."""
    n, T = 100_000, 1000
    t = BatchRNG(torch.Generator().manual_seed(0)).middle_levels(n, T, 0.5, 0.9)
    normal = torch.distributions.Normal(0.5, 0.9)
    for level in (200, 500, 622, 900):
        expected = normal.cdf(torch.logit(torch.tensor(level / T))).item()
        share = (t <= level).double().mean().item()
        assert abs(share - expected) < 5 * math.sqrt(expected * (1 - expected) / n), level
    wild = BatchRNG(torch.Generator().manual_seed(0)).middle_levels(1000, T, 0.0, 100.0)
    assert (wild.min(), wild.max()) == (1, T)


def test_mixed_levels_are_uniform_for_a_share_and_from_the_middle_for_the_rest():
    """P(t <= k) = share k / T + (1 - share) P(middle <= k); t = 1..99, which the middle hardly has, come from the share."""
    n, T, share = 200_000, 1000, 0.2
    t = BatchRNG(torch.Generator().manual_seed(0)).mixed_levels(n, T, 0.5, 0.9, share)
    normal = torch.distributions.Normal(0.5, 0.9)
    for level in (99, 300, 622, 900):
        expected = share * level / T + (1 - share) * normal.cdf(torch.logit(torch.tensor(level / T))).item()
        assert abs((t <= level).double().mean().item() - expected) < 5 * math.sqrt(expected * (1 - expected) / n), level
    assert (t.min(), t.max()) == (1, T)


def test_unet_loss_drops_a_tenth_of_the_labels():
    """What reaches the table of classes, counted in the loss itself."""
    seen = []

    class Classes(nn.Module):
        null = 10

        def forward(self, y):
            seen.append(y)
            return torch.zeros(len(y), 1)

    class Silence(nn.Module):
        def forward(self, x_t, t, c):
            return 0 * x_t

    net = nn.ModuleDict({"unet": Silence(), "classes": Classes()})
    n = 20_000
    losses.unet_loss(net, torch.zeros(n, 1, 1, 1), torch.arange(n) % 10, cosine(), BatchRNG(torch.Generator().manual_seed(0)))
    share = (seen[0] == 10).double().mean().item()
    assert abs(share - 0.1) < 5 * math.sqrt(0.1 * 0.9 / n)


@pytest.mark.parametrize("name", ["ddpm", "unet"])
def test_denoisers_are_trained_on_every_level_and_never_on_level_0(name):
    levels = []

    class Silence(nn.Module):
        def forward(self, x_t, t, c=None):
            levels.append(t)
            return 0 * x_t

    net = RECIPES[name].build(10, cosine())
    net["unet"] = Silence()
    RECIPES[name].loss(net, torch.zeros(5000, 1, 1, 1), torch.arange(5000) % 10, cosine(T=9), BatchRNG(torch.Generator()))
    assert levels[0].unique().tolist() == list(range(1, 10))


def test_classifier_loss_sees_clean_images_too():
    levels = []

    class Classifier(nn.Module):
        def forward(self, x_t, t):
            levels.append(t)
            return torch.zeros(len(t), 10)

    net = nn.ModuleDict({"classifier": Classifier()})
    loss = losses.classifier_loss(
        net, torch.zeros(5000, 1, 1, 1), torch.arange(5000) % 10, cosine(T=9), BatchRNG(torch.Generator())
    )
    assert loss.item() == pytest.approx(math.log(10), rel=1e-5)
    assert levels[0].unique().tolist() == list(range(10))


def test_jitter_moves_images_and_keeps_background():
    x_0 = torch.full((64, 1, 28, 28), -1.0)
    x_0[:, :, 12:16, 12:16] = 1.0
    moved = losses.jitter(x_0, BatchRNG(torch.Generator().manual_seed(0)))
    assert_close(moved[:, :, 0, :], torch.full((64, 1, 28), -1.0))
    assert_close(moved[:, :, :, -1], torch.full((64, 1, 28), -1.0))
    rows = torch.arange(28).float()
    mass = (moved + 1).sum(dim=(1, 2, 3))
    centre = ((moved + 1).sum(dim=(1, 3)) * rows).sum(1) / mass
    assert ((centre - 13.5).abs() <= 2.6).all()
    assert (centre - 13.5).abs().max() > 1.5
    assert ((mass / 32 > 0.75) & (mass / 32 < 1.3)).all()


def test_learning_rate_warms_up_and_ends_at_zero():
    recipe = replace(RECIPES["unet"], warmup=100, peak_lr=2.0)
    rates = [learning_rate(done, done / 1000, recipe) for done in range(1000)]
    assert rates[0] == pytest.approx(0.02)
    assert rates[49] == pytest.approx(1.0, rel=0.01)  # half-way up
    assert rates[500] == pytest.approx(1.0)  # half-way down
    assert 0 < rates[-1] < 1e-4
    assert rates.index(max(rates)) == 99
    assert learning_rate(5000, 1.0, recipe) == pytest.approx(0.0, abs=1e-12)


def test_seconds_limit_a_run_and_its_learning_rate_fits_itself(digits, monkeypatch):
    """A clock that moves by one second between readings: a step takes one, 8 seconds are 8 steps, and the rate ends at 0."""
    ticks = itertools.count()
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(ticks)))
    run = begin(replace(RECIPES["evaluator"], seconds=8.0, batch=4, warmup=2, peak_lr=1.0), digits)
    rates = []
    for state in training_steps(run.recipe, digits, run=run):
        rates += [group["lr"] for optimizer in run.optimizers for group in optimizer.param_groups]
        assert run.progress() == pytest.approx(state.step / 8)
    assert rates == pytest.approx([min(1, (k + 1) / 2) * (1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)])


def test_every_image_is_seen_once_an_epoch(digits):
    few = Digits(digits.images[:10], digits.labels[:10], digits.sha256)
    run = begin(replace(RECIPES["evaluator"], batch=4), few)
    rows = torch.cat([run.next_rows() for _ in range(5)])
    assert sorted(rows[:10].tolist()) == list(range(10))
    assert sorted(rows[10:].tolist()) == list(range(10))
    assert not torch.equal(rows[:10], rows[10:])


@pytest.mark.parametrize("name", RECIPES)
def test_every_model_learns_a_little(name, digits):
    """20 steps on 256 images: the loss falls for every recipe, through the same loop."""
    recipe = replace(RECIPES[name], steps=20, batch=32, warmup=5)
    seen = [state.loss for state in training_steps(recipe, digits)]
    assert len(seen) == 20
    falls = 0.99 if name == "clip" else 0.95  # the contrastive loss says nothing for some forty steps (lesson 11)
    assert sum(seen[-4:]) < falls * sum(seen[:4])


def test_same_seed_same_weights(digits):
    recipe = replace(LIVE["ddpm"], steps=3, batch=16)
    weights = [train(recipe, digits, seed, progress=False).net.state_dict() for seed in (5, 5, 6)]
    assert all(torch.equal(weights[0][key], weights[1][key]) for key in weights[0])
    assert not all(torch.equal(weights[0][key], weights[2][key]) for key in weights[0])


def test_training_leaves_the_global_generator_alone(digits):
    torch.manual_seed(1)
    before = torch.random.get_rng_state()
    train(replace(LIVE["ddpm"], steps=1, batch=8), digits, progress=False)
    assert torch.equal(before, torch.random.get_rng_state())


def test_average_is_the_formula(digits):
    """By definition, not by recursion: the weights after step k count as k^p - (k - 1)^p, which is about k^(p - 1)."""
    recipe, power = replace(RECIPES["evaluator"], steps=4, batch=8, ema_power=3, warmup=1, peak_lr=0.01), 3
    run = begin(recipe, digits)
    raw = []
    for state in training_steps(recipe, digits, run=run):  # noqa: B007, used after the loop
        raw.append(run.net["evaluator"].head.bias.detach().clone())
    weights = torch.tensor([k**power - (k - 1) ** power for k in range(1, 5)]) / 4**power
    assert_close(state.average["evaluator"].head.bias, sum(w * bias for w, bias in zip(weights, raw, strict=True)))
    assert not torch.allclose(raw[-2], raw[-1])


def test_a_loss_that_is_not_finite_stops_the_run(digits):
    def breaks(net, x_0, y, schedule, draws):
        return net["unet"].net.conv_in.weight.sum() * math.nan

    with pytest.raises(FloatingPointError, match="loss became nan at step 1, learning rate"):
        train(replace(RECIPES["ddpm"], loss=breaks), digits, progress=False)


def test_compiling_is_asked_for_and_happens_once(digits, monkeypatch):
    calls = []
    monkeypatch.setattr(nn.Module, "compile", lambda self: calls.append(type(self).__name__))
    list(training_steps(replace(LIVE["unet"], steps=1, batch=4), digits))
    assert not calls
    monkeypatch.setattr(settings, "COMPILE", True)
    list(training_steps(replace(LIVE["unet"], steps=2, batch=4), digits))
    assert calls == ["VPrediction"]


@pytest.mark.parametrize("best", [1, 2])
@pytest.mark.parametrize(
    ("one", "limit", "steps"),
    [(0.25, None, 600), (0.25, "110", 400), (0.1, None, 1_200), (2.0, None, loop.LEAST), (2.0, "inf", 1_200)],
)
def test_a_lesson_takes_no_more_steps_than_fit(one, limit, steps, best, digits, monkeypatch):
    """On a clock on which a step takes `one` second, the first two and one in the middle ten times as long.

    With the other number of threads a step takes three times as long: with one thread on a quiet machine, with all on a busy one.
    """
    clock, seen = [0.0], []
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)

    def training(recipe, digits):
        for step in range(1, recipe.steps + 1):
            clock[0] += (10 * one if step in (1, 2, 5) else one) * (1 if recipe.threads == best else 3)
            seen.append(step)
            yield step

    monkeypatch.setattr(loop, "training_steps", training)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[0])
    monkeypatch.delenv("MINIDIFF_SECONDS", raising=False)  # 150, unless it is said
    if limit:
        monkeypatch.setenv("MINIDIFF_SECONDS", limit)
    assert LIVE["unet"].steps == 1_200
    fixed = {} if limit == "inf" else {"threads": best}
    assert loop.fit_to_time_budget(LIVE["unet"], digits) == replace(LIVE["unet"], steps=steps, **fixed)
    assert len(seen) == (0 if limit == "inf" else 14)


def test_fitting_really_takes_steps_and_refuses_a_wrong_limit(digits, monkeypatch):
    recipe = replace(LIVE["evaluator"], steps=900, batch=8)
    monkeypatch.setenv("MINIDIFF_SECONDS", "1e-3")
    assert loop.fit_to_time_budget(recipe, digits).steps == loop.LEAST
    monkeypatch.setenv("MINIDIFF_SECONDS", "1e6")
    assert replace(loop.fit_to_time_budget(recipe, digits), threads=None) == recipe
    for wrong in ("soon", "0", "-5", "nan"):
        monkeypatch.setenv("MINIDIFF_SECONDS", wrong)
        with pytest.raises(InputError, match="MINIDIFF_SECONDS must be a positive number"):
            loop.fit_to_time_budget(recipe, digits)


def test_curve_is_short_and_keeps_the_mean():
    values = [float(i) for i in range(120)]
    short = curve(values)
    assert len(short) <= 50
    assert sum(short) / len(short) == pytest.approx(59.5, rel=0.02)
