"""Checks about unconditional generation (lesson 14)."""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.teaching.checks.verdict import number, verdict


def new_noise(answer: Callable[[Tensor, Tensor, float], Tensor]) -> str:
    """answer(abar_t, abar_s, eta) -> sigma of a DDIM step   [Song 2020, eq. 16]

    eta sqrt((1 - abar_s) / (1 - abar_t)) sqrt(1 - abar_t / abar_s)
    """
    cases = ((0.1, 0.12, 1.0), (0.5, 0.6, 0.5), (0.9, 0.95, 0.8))

    def all_of(rule: Callable) -> Tensor:
        found = [rule(number(now), number(then), eta) for now, then, eta in cases]
        return torch.stack([torch.as_tensor(sigma) for sigma in found])

    def squared(now: Tensor, then: Tensor, eta: float) -> Tensor:
        return (1 - then) / (1 - now) * (1 - now / then)

    rules: dict[str, Callable] = {
        "The second root is missing: a step of no length must draw no noise.": (
            lambda now, then, eta: eta * ((1 - then) / (1 - now)).sqrt()
        ),
        "The first root is missing: the last step, down to abar_s = 1, must draw no noise.": (
            lambda now, then, eta: eta * (1 - now / then).sqrt()
        ),
        "That is eta times the variance sigma^2: take the roots.": lambda now, then, eta: (
            eta * squared(now, then, eta)
        ),
        "eta is missing: at eta = 0 nothing is new.": lambda now, then, eta: squared(
            now, then, eta
        ).sqrt(),
        "eta stands outside the roots: sigma grows in proportion to it.": (
            lambda now, then, eta: eta**0.5 * squared(now, then, eta).sqrt()
        ),
        "The first ratio is upside down: less noise is left below, so it is smaller than 1.": (
            lambda now, then, eta: eta * ((1 - now) / (1 - then) * (1 - now / then)).sqrt()
        ),
    }
    right = all_of(lambda *case: case[2] * squared(*case).sqrt())
    mistakes = {text: all_of(rule) for text, rule in rules.items()}
    return verdict(lambda: all_of(answer), right, mistakes)
