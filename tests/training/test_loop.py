"""The loop: its learning rate, its limits, its average of the weights, and what stops it."""

import itertools
import math
from dataclasses import replace

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from minidiff import settings
from minidiff.symbols import InputError
from minidiff.training import loop
from minidiff.training.loop import curve, learning_rate, train, training_steps
from minidiff.training.recipes import LIVE, RECIPES
from minidiff.training.state import initial_state


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
    """On a clock of one second a step, 8 seconds are 8 steps, and the rate ends at 0."""
    ticks = itertools.count()
    monkeypatch.setattr(loop.time, "perf_counter", lambda: float(next(ticks)))
    recipe = replace(RECIPES["evaluator"], seconds=8.0, batch=4, warmup=2, peak_lr=1.0)
    rates = []
    for state in training_steps(recipe, digits):
        rates += [group["lr"] for optimizer in state.optimizers for group in optimizer.param_groups]
        assert state.progress() == pytest.approx(state.step / 8)
    expected = [min(1, (k + 1) / 2) * (1 + math.cos(math.pi * k / 8)) / 2 for k in range(8)]
    assert rates == pytest.approx(expected)


def test_average_is_the_formula(digits):
    """By definition: the weights after step k count as k^p - (k - 1)^p, about k^(p - 1)."""
    recipe = replace(RECIPES["evaluator"], steps=4, batch=8, ema_power=3, warmup=1, peak_lr=0.01)
    state, raw = initial_state(recipe, digits), []
    for _ in training_steps(recipe, digits, state=state):
        raw.append(state.net["evaluator"].head.bias.detach().clone())
    shares = [(k**3 - (k - 1) ** 3) / 4**3 for k in range(1, 5)]
    expected = sum(share * bias for share, bias in zip(shares, raw, strict=True))
    assert_close(state.average["evaluator"].head.bias, expected)
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


def test_a_run_takes_the_threads_of_its_recipe_says_so_and_gives_them_back(digits):
    before, seen = torch.get_num_threads(), []

    def loss(*given):
        seen.append(torch.get_num_threads())
        return LIVE["evaluator"].loss(*given)

    other = 1 if before > 1 else 2
    recipe = replace(LIVE["evaluator"], loss=loss, steps=2, batch=4, threads=other)
    metadata = train(recipe, digits, progress=False).metadata
    assert [*seen, metadata["threads"], metadata["recipe"]["threads"]] == [other] * 4
    assert torch.get_num_threads() == before


@pytest.mark.parametrize("best", [1, 2])
@pytest.mark.parametrize(
    ("one", "limit", "steps"),
    [
        (0.25, None, 600),
        (0.25, "110", 400),
        (0.1, None, 1_200),
        (2.0, None, loop.LEAST),
        (2.0, "inf", 1_200),
    ],
)
def test_a_lesson_takes_no_more_steps_than_fit(one, limit, steps, best, digits, monkeypatch):
    """A step takes `one` second, three of them ten times as long; all three times as long with
    the other number of threads: one is better on a busy machine, all on a quiet one.
    """
    clock, seen = [0.0], []

    def training(recipe, digits):
        for step in range(1, recipe.steps + 1):
            slower = (10 if step in (1, 2, 5) else 1) * (1 if recipe.threads == best else 3)
            clock[0] += one * slower
            seen.append(step)
            yield step

    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    monkeypatch.setattr(loop, "training_steps", training)
    monkeypatch.setattr(loop.time, "perf_counter", lambda: clock[0])
    monkeypatch.delenv("MINIDIFF_SECONDS", raising=False)  # 150, unless it is said
    if limit:
        monkeypatch.setenv("MINIDIFF_SECONDS", limit)
    assert LIVE["unet"].steps == 1_200
    fixed = {} if limit == "inf" else {"threads": best}
    expected = replace(LIVE["unet"], steps=steps, **fixed)
    assert loop.fit_to_time_budget(LIVE["unet"], digits) == expected
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
    short = curve([float(i) for i in range(120)])
    assert len(short) <= 50
    assert sum(short) / len(short) == pytest.approx(59.5, rel=0.02)
