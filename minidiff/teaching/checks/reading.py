"""Checks about classifiers of noised images (lesson 05)."""

from collections.abc import Callable

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minidiff.teaching.checks.verdict import verdict

P = Float[Tensor, "n classes"]


def _probabilities(n: int) -> P:
    return (2 * torch.randn(n, 4, generator=torch.Generator().manual_seed(1), dtype=torch.float64)).softmax(dim=1)


def averaged(answer: Callable[[P, Float[Tensor, "n"]], Float[Tensor, "classes"]]) -> str:
    """answer(p, log_weight) -> p(y | x_t), the mean of p(y | x_0) over clean images, weighed."""
    p, log_weight = _probabilities(7), torch.randn(7, generator=torch.Generator().manual_seed(2), dtype=torch.float64) - 3
    weight = log_weight.exp()
    mistakes = {
        "Every image counts the same here: those that lead to x_t more often must count more.": p.mean(dim=0),
        "The weights must add up to 1: divide by their sum.": weight @ p,
        "Those are logarithms: take their exponential first.": log_weight @ p / log_weight.sum(),
        "Divide by the sum of the weights, not by their number.": weight @ p / len(p),
        "That is the most likely image alone: all of them count.": p[log_weight.argmax()],
        "Average probabilities, not their logarithms.": (torch.softmax(log_weight, 0) @ p.log()).exp(),
    }
    return verdict(lambda: answer(p.clone(), log_weight.clone()), torch.softmax(log_weight, dim=0) @ p, mistakes)


def overconfidence(answer: Callable[[P, Int[Tensor, "n"]], float]) -> str:
    """answer(p, y) -> mean confidence minus accuracy."""
    p = _probabilities(50)
    y = torch.randint(0, 4, (50,), generator=torch.Generator().manual_seed(3))
    sure, right = p.max(dim=1).values.mean(), (p.argmax(dim=1) == y).double().mean()
    at_label = p.gather(1, y[:, None]).mean()
    mistakes = {
        "That is the confidence alone: take off how often it is right.": sure,
        "That is the accuracy alone.": right,
        "The sign: too sure must be positive.": right - sure,
        "Confidence is the largest probability, not that of the label.": at_label - right,
        "Accuracy counts hits; the mean probability of the label is something else.": sure - at_label,
    }
    return verdict(lambda: answer(p.clone(), y.clone()), sure - right, mistakes)
