"""Checks about the distributions of guided samples (lesson 09)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from minidiff.analytic import smc
from minidiff.analytic.gaussians import GaussianPair
from minidiff.teaching.checks.verdict import CORRECT, verdict


def powered_variance(answer: Callable[[float, float, float], float]) -> str:
    """answer(cond, uncond, s) -> the variance of N(0, cond)^s N(0, uncond)^(1 - s)."""
    points = ((1.0, 2.0, 3.0), (0.5, 2.0, 1.5), (0.7, 1.3, 5.0))
    rules: dict[str, Callable] = {
        "That is p(x|y)^s alone: p(x)^(1 - s) takes (1 - s) / uncond off the "
        "precision.": lambda a, b, s: a / s,
        "That is what DDIM samples, not the powered law.": lambda a, b, s: GaussianPair(
            a, b
        ).ddim_variance(s),
        "That is what DDPM samples, not the powered law.": lambda a, b, s: GaussianPair(
            a, b
        ).ddpm_variance(s),
        "That is the precision: the variance is 1 over it.": lambda a, b, s: s / a + (1 - s) / b,
        "Precisions add up, variances do not: each 1 / variance gets its power as a "
        "factor.": lambda a, b, s: s * a + (1 - s) * b,
        "The powers are the wrong way round: s belongs to cond.": lambda a, b, s: (
            1 / (s / b + (1 - s) / a)
        ),
        "The power of p(x) is 1 - s, not s - 1: guidance divides by p(x).": lambda a, b, s: (
            1 / (s / a + (s - 1) / b)
        ),
        "That is a standard deviation: leave out the root.": lambda a, b, s: (
            (1 / (s / a + (1 - s) / b)) ** 0.5
        ),
    }

    def values(rule: Callable) -> list[float] | None:
        return _floats([rule(*point) for point in points])

    right = values(lambda a, b, s: GaussianPair(a, b).powered_variance(s))
    mistakes = {text: values(rule) for text, rule in rules.items()}
    return verdict(lambda: values(answer), right, mistakes)


def effective_number(answer: Callable[[Float[Tensor, "rows"]], float]) -> str:
    """answer(log_weight) -> (sum of weights)^2 / sum of their squares, for any log weights."""
    log_weight = torch.randn(50, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    moderate, extreme = [log_weight, log_weight + 3], [log_weight - 2000, log_weight + 2000]
    mistakes = {
        "That is the share of rows, not their number: leave out the division by n.": lambda logs: (
            smc.effective_number(logs) / 50
        ),
        "That is 1 over it: the square of the sum belongs on top.": lambda logs: (
            1 / smc.effective_number(logs)
        ),
        "A number near 1 counts rows by the largest weight alone: square and sum all of them.": (
            lambda logs: 1 / torch.softmax(logs, 0).max()
        ),
        "Square the sum: sum of weights over sum of squares is no number of rows.": lambda logs: (
            logs.exp().sum() / logs.exp().square().sum()
        ),
    }

    def said(sets: list) -> str:
        def values(rule: Callable) -> list[float] | None:
            return _floats([rule(logs.clone()) for logs in sets])

        named = {text: values(rule) for text, rule in mistakes.items()}
        return verdict(lambda: values(answer), values(smc.effective_number), named)

    if said(moderate) == CORRECT != said(extreme):
        return (
            "Right for moderate weights, but exp(-2000) is 0 and exp(2000) infinite: take out the "
            "largest logarithm first."
        )
    return said(moderate)


def _floats(answers: list) -> list[float] | None:
    """The answers as floats; None if one is missing."""
    return None if any(one is None for one in answers) else [float(one) for one in answers]
