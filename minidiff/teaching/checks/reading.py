"""Checks about classifiers of noised images (lesson 05)."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minidiff.teaching.checks.verdict import CORRECT, verdict

P = Float[Tensor, "n classes"]


def _probabilities(n: int) -> P:
    generator = torch.Generator().manual_seed(1)
    return (2 * torch.randn(n, 4, generator=generator, dtype=torch.float64)).softmax(dim=1)


def averaged(answer: Callable[[P, Float[Tensor, "n"]], Float[Tensor, "classes"]]) -> str:
    """answer(p, log_weight) -> p(y | x_t), the mean of p(y | x_0) over clean images, weighed."""
    p = _probabilities(7)
    log_weight = torch.randn(7, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 3
    weight, share = log_weight.exp(), torch.softmax(log_weight, dim=0)
    right = share @ p
    mistakes = {
        "Every image counts the same here: those that lead to x_t more often must count "
        "more.": p.mean(dim=0),
        "The weights must add up to 1: divide by their sum.": weight @ p,
        "Those are logarithms: take their exponential first.": log_weight @ p / log_weight.sum(),
        "Divide by the sum of the weights, not by their number.": weight @ p / len(p),
        "That is the most likely image alone: all of them count.": p[log_weight.argmax()],
        "Average probabilities, not their logarithms.": (share @ p.log()).exp(),
    }
    said = verdict(lambda: answer(p.clone(), log_weight.clone()), right, mistakes)
    if said == CORRECT != verdict(lambda: answer(p.clone(), log_weight - 3000), right, {}):
        return (
            "Right here, but for images the logarithms are near -3000, and exp of that is 0: take "
            "off the largest first."
        )
    return said


def overconfidence(answer: Callable[[P, Int[Tensor, "n"]], float]) -> str:
    """answer(p, y) -> mean confidence minus accuracy."""
    p, generator = _probabilities(50), torch.Generator().manual_seed(3)
    overconfident = p, torch.randint(0, 4, (50,), generator=generator)
    cases = overconfident, (p, p.argmax(dim=1))  # and underconfident
    rules: dict[str, Callable] = {
        "That is the confidence alone: take off how often it is right.": lambda p, y: _confidence(
            p
        ),
        "That is the accuracy alone.": lambda p, y: _accuracy(p, y),
        "The sign: too sure must be positive.": lambda p, y: _accuracy(p, y) - _confidence(p),
        "Keep the sign: not sure enough must be negative.": lambda p, y: (
            _confidence(p) - _accuracy(p, y)
        ).abs(),
        "Confidence is the largest probability, not that of the label.": lambda p, y: (
            _at_label(p, y) - _accuracy(p, y)
        ),
        "Accuracy counts hits; the mean probability of the label is something else.": (
            lambda p, y: _confidence(p) - _at_label(p, y)
        ),
    }

    def values(rule: Callable) -> list[float]:
        return [float(rule(p.clone(), y.clone())) for p, y in cases]

    right = values(lambda p, y: _confidence(p) - _accuracy(p, y))
    mistakes = {text: values(rule) for text, rule in rules.items()}
    return verdict(lambda: values(answer), right, mistakes)


def _confidence(p: P) -> Float[Tensor, ""]:
    return p.max(dim=1).values.mean()


def _accuracy(p: P, y: Int[Tensor, "n"]) -> Float[Tensor, ""]:
    return (p.argmax(dim=1) == y).double().mean()


def _at_label(p: P, y: Int[Tensor, "n"]) -> Float[Tensor, ""]:
    return p.gather(1, y[:, None]).mean()
