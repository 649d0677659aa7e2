"""The checks of lesson 14: right answers in several spellings, wrong ones by name."""

import math

import pytest
import torch

from minidiff.diffusion.samplers import ddim_path
from minidiff.diffusion.schedule import NoiseSchedule, cosine
from minidiff.exact.empirical import Empirical
from minidiff.nets.memory import Memory
from minidiff.teaching import checks

CHECK_N, CHECK_S = checks.new_noise, checks.shares


def from_the_package(abar_t, abar_s, eta):
    """sigma of ddim_path, measured: with eps = 0 and x_t = 0 all that comes out of its first step is sigma z."""
    schedule = NoiseSchedule(torch.tensor([0.0, 1 - abar_s, 1 - abar_t / abar_s], dtype=torch.float64), max_signal=1.0)
    zeros = torch.zeros(1, 4, dtype=torch.float64)
    z = torch.randn(1, 4, generator=torch.Generator().manual_seed(0), dtype=torch.float32).double()
    path = ddim_path(lambda x_t, t: zeros, zeros, schedule, 2, eta, torch.Generator().manual_seed(0))
    return (next(path).x_t / z).mean()


def powers(x_t, images, abar):
    density = torch.stack(
        [torch.exp(-((x_t - math.sqrt(abar) * image) ** 2).sum(1) / (2 * (1 - abar))) for image in images], dim=1
    )
    return density / density.sum(dim=1, keepdim=True)


def expanded(x_t, images, abar):
    return torch.softmax((abar**0.5 * x_t @ images.T - abar * images.square().sum(1) / 2) / (1 - abar), dim=1)


def squared(now, then):
    return (1 - then) / (1 - now) * (1 - now / then)


def distance(x_t, images, signal):
    return (x_t[:, None] - signal * images[None]).square().sum(dim=2)


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (CHECK_N, lambda now, then, eta: eta * ((1 - then) / (1 - now)) ** 0.5 * (1 - now / then) ** 0.5),
        (CHECK_N, lambda now, then, eta: eta * math.sqrt(squared(now, then))),
        (CHECK_N, from_the_package),
        (CHECK_S, lambda x_t, images, abar: (-distance(x_t, images, abar**0.5) / (2 * (1 - abar))).softmax(dim=1)),
        (CHECK_S, powers),
        (CHECK_S, expanded),
    ],
)
def test_right_answers(check, answer):
    assert check(answer) == checks.CORRECT


def test_the_shares_are_those_of_the_exact_denoiser_and_of_the_memory():
    """E[x_0 | x_t] is their mean of the images: `Empirical` and `Memory` without a spread say the same as the exercise."""
    schedule, images = cosine(), torch.rand(5, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    x_t, t = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(1)), torch.full((3,), 950)
    r = expanded(x_t.flatten(1), images.flatten(1), float(schedule.abar[950]))
    mean = (r @ images.flatten(1)).view_as(x_t)
    memory = Memory(schedule.abar, variance=0.0, sharpness=1.0)
    memory.remember(images)
    torch.testing.assert_close(Empirical(images, schedule).x_0(x_t, t), mean, rtol=0, atol=1e-4)
    torch.testing.assert_close(memory(x_t, t), mean, rtol=0, atol=1e-4)


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
        (CHECK_S, lambda x, i, a: (-distance(x, i, 1.0) / (2 * (1 - a))).softmax(dim=1), "scale the images"),
        (CHECK_S, lambda x, i, a: (-distance(x, i, a) / (2 * (1 - a))).softmax(dim=1), "its root"),
        (CHECK_S, lambda x, i, a: (-distance(x, i, a**0.5) / (1 - a)).softmax(dim=1), "2 is missing"),
        (CHECK_S, lambda x, i, a: (-distance(x, i, a**0.5) / 2).softmax(dim=1), "the noisier"),
        (CHECK_S, lambda x, i, a: (-distance(x, i, a**0.5) / (2 * (1 - a) ** 0.5)).softmax(dim=1), "standard deviation"),
        (CHECK_S, lambda x, i, a: (-distance(x, i, a**0.5) / (2 * a)).softmax(dim=1), "not by the signal's"),
        (CHECK_S, lambda x, i, a: (distance(x, i, a**0.5) / (2 * (1 - a))).softmax(dim=1), "sign"),
        (CHECK_S, lambda x, i, a: (-distance(x, i, a**0.5) / (2 * (1 - a))).softmax(dim=0), "dim = 1"),
        (CHECK_S, lambda x, i, a: torch.zeros(4, 5), "Not yet"),
        (CHECK_S, lambda x, i, a: None, "nothing"),
    ],
)
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
