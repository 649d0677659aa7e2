"""Checks about drawing what nobody asked for (lesson 14)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from minidiff.teaching.checks.verdict import number, verdict

Points = Float[Tensor, "n d"]


def new_noise(answer: Callable[[Tensor, Tensor, float], Tensor]) -> str:
    """answer(abar_t, abar_s, eta) -> eta sqrt((1 - abar_s) / (1 - abar_t)) sqrt(1 - abar_t / abar_s)   [Song 2020, eq. 16]"""
    cases = ((0.1, 0.12, 1.0), (0.5, 0.6, 0.5), (0.9, 0.95, 0.8))

    def all_of(rule: Callable) -> Tensor:
        return torch.stack([torch.as_tensor(rule(number(now), number(then), eta)) for now, then, eta in cases])

    def squared(now: Tensor, then: Tensor, eta: float) -> Tensor:
        return (1 - then) / (1 - now) * (1 - now / then)

    rules: dict[str, Callable] = {
        "The second root is missing: a step of no length must draw no noise.": (
            lambda now, then, eta: eta * ((1 - then) / (1 - now)).sqrt()
        ),
        "The first root is missing: the last step, down to abar_s = 1, must draw no noise.": (
            lambda now, then, eta: eta * (1 - now / then).sqrt()
        ),
        "That is eta times the variance sigma^2: take the roots.": lambda now, then, eta: eta * squared(now, then, eta),
        "eta is missing: at eta = 0 nothing is new.": lambda now, then, eta: squared(now, then, eta).sqrt(),
        "eta stands outside the roots: sigma grows in proportion to it.": (
            lambda now, then, eta: eta**0.5 * squared(now, then, eta).sqrt()
        ),
        "The first ratio is upside down: less noise is left below, so it is smaller than 1.": (
            lambda now, then, eta: eta * ((1 - now) / (1 - then) * (1 - now / then)).sqrt()
        ),
    }
    right, mistakes = all_of(lambda *case: case[2] * squared(*case).sqrt()), {text: all_of(rule) for text, rule in rules.items()}
    return verdict(lambda: all_of(answer), right, mistakes)


def shares(answer: Callable[[Points, Float[Tensor, "m d"], float], Float[Tensor, "n m"]]) -> str:
    """answer(x_t, images, abar) -> softmax over the images of -|x_t - sqrt(abar) image|^2 / (2 (1 - abar))"""
    generator, abar = torch.Generator().manual_seed(0), 0.3
    images = torch.randn(5, 6, generator=generator, dtype=torch.float64) * torch.linspace(0.5, 1.5, 5)[:, None].double()
    x_t = abar**0.5 * images[:4] + (1 - abar) ** 0.5 * torch.randn(4, 6, generator=generator, dtype=torch.float64)

    def by(signal: float, variance: float, dim: int = 1) -> Tensor:
        return (-(x_t[:, None] - signal * images[None]).square().sum(dim=2) / variance).softmax(dim=dim)

    root = abar**0.5
    mistakes = {
        "The signal of x_t is sqrt(abar) of the image: scale the images before you compare.": by(1.0, 2 * (1 - abar)),
        "The images are scaled by abar; the signal is its root.": by(abar, 2 * (1 - abar)),
        "The 2 is missing: a Gaussian's log density is -distance^2 / (2 variance).": by(root, 1 - abar),
        "Divide by the variance of the noise, 1 - abar: the noisier, the more images are possible.": by(root, 2.0),
        "That is the noise's standard deviation; a Gaussian's log density has the variance.": by(root, 2 * (1 - abar) ** 0.5),
        "Divide by the variance of the noise, 1 - abar, not by the signal's, abar.": by(root, 2 * abar),
        "The sign is wrong: the nearest image has the largest share.": by(root, -2 * (1 - abar)),
        "The shares of each x_t sum to 1 over the images: softmax over dim = 1.": by(root, 2 * (1 - abar), dim=0),
    }
    return verdict(lambda: answer(x_t.clone(), images.clone(), abar), by(root, 2 * (1 - abar)), mistakes)
