"""The checks of lesson 14: right answers in several spellings, wrong ones by name."""

import math

import pytest
import torch

from checks.answers import each
from minidiff.diffusion.samplers import ddim_path
from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.teaching import checks


def from_the_package(abar_t, abar_s, eta):
    """sigma of ddim_path: with eps = 0 and x_t = 0 its first step gives sigma z alone."""
    schedule = NoiseSchedule(
        torch.tensor([0.0, 1 - abar_s, 1 - abar_t / abar_s], dtype=torch.float64), max_signal=1.0
    )
    zeros = torch.zeros(1, 4, dtype=torch.float64)
    z = torch.randn(1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float32).double()
    path = ddim_path(
        lambda x_t, t: zeros, zeros, schedule, 2, eta, torch.Generator().manual_seed(0)
    )
    return (next(path).x_t / z).mean()


def squared(now, then):
    return (1 - then) / (1 - now) * (1 - now / then)


RIGHT = {
    checks.new_noise: [
        lambda now, then, eta: eta * ((1 - then) / (1 - now)) ** 0.5 * (1 - now / then) ** 0.5,
        lambda now, then, eta: eta * math.sqrt(squared(now, then)),
        from_the_package,
    ]
}
WRONG = {
    checks.new_noise: [
        (lambda now, then, eta: eta * ((1 - then) / (1 - now)) ** 0.5, "second root"),
        (lambda now, then, eta: eta * (1 - now / then) ** 0.5, "first root"),
        (lambda now, then, eta: eta * squared(now, then), "take the roots"),
        (lambda now, then, eta: squared(now, then) ** 0.5, "eta is missing"),
        (lambda now, then, eta: (eta * squared(now, then)) ** 0.5, "outside the roots"),
        (
            lambda now, then, eta: eta * ((1 - now) / (1 - then) * (1 - now / then)) ** 0.5,
            "upside down",
        ),
        (lambda *_: 7.0, "Not yet"),
        (lambda *_: None, "raised"),
    ]
}


@pytest.mark.parametrize(("check", "answer", "says"), each(WRONG))
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
