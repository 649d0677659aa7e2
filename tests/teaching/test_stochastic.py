"""The checks of lesson 14: right answers in several spellings, wrong ones by name."""

import math

import pytest
import torch

from minidiff.diffusion.samplers import ddim_path
from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.teaching import checks

CHECK_N = checks.new_noise


def from_the_package(abar_t, abar_s, eta):
    """sigma of ddim_path, measured: with eps = 0 and x_t = 0 all that comes out of its first step is sigma z."""
    schedule = NoiseSchedule(torch.tensor([0.0, 1 - abar_s, 1 - abar_t / abar_s], dtype=torch.float64), max_signal=1.0)
    zeros = torch.zeros(1, 4, dtype=torch.float64)
    z = torch.randn(1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float32).double()
    path = ddim_path(lambda x_t, t: zeros, zeros, schedule, 2, eta, torch.Generator().manual_seed(0))
    return (next(path).x_t / z).mean()


def squared(now, then):
    return (1 - then) / (1 - now) * (1 - now / then)


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (CHECK_N, lambda now, then, eta: eta * ((1 - then) / (1 - now)) ** 0.5 * (1 - now / then) ** 0.5),
        (CHECK_N, lambda now, then, eta: eta * math.sqrt(squared(now, then))),
        (CHECK_N, from_the_package),
    ],
)
def test_right_answers(check, answer):
    assert check(answer) == checks.CORRECT


@pytest.mark.parametrize(
    ("check", "answer", "says"),
    [
        (CHECK_N, lambda now, then, eta: eta * ((1 - then) / (1 - now)) ** 0.5, "second root"),
        (CHECK_N, lambda now, then, eta: eta * (1 - now / then) ** 0.5, "first root"),
        (CHECK_N, lambda now, then, eta: eta * squared(now, then), "take the roots"),
        (CHECK_N, lambda now, then, eta: squared(now, then) ** 0.5, "eta is missing"),
        (CHECK_N, lambda now, then, eta: (eta * squared(now, then)) ** 0.5, "outside the roots"),
        (CHECK_N, lambda now, then, eta: eta * ((1 - now) / (1 - then) * (1 - now / then)) ** 0.5, "upside down"),
        (CHECK_N, lambda *_: 7.0, "Not yet"),
        (CHECK_N, lambda *_: None, "raised"),
    ],
)
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
