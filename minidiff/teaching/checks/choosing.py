"""Checks about asking and comparing (lesson 10)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from minidiff.teaching.checks.verdict import verdict

LogP = Float[Tensor, "n classes"]


def log_either(answer: Callable[[LogP, int, int], Float[Tensor, "n"]]) -> str:
    """answer(log_p, a, b) -> log p(y is a or b), row by row."""
    logits = 3 * torch.randn(6, 10, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    log_p, a, b = logits.log_softmax(dim=1), 3, 8
    one, other = log_p[:, a], log_p[:, b]
    right, mean = torch.logaddexp(one, other), (one + other) / 2
    mistakes = {
        "That adds logarithms, so it multiplies probabilities. No digit is an a and a b at once: "
        "add probabilities.": one + other,
        "That is the mean of the logarithms: its gradient asks for both at once, halfway.": mean,
        "That is the probability: take its logarithm.": one.exp() + other.exp(),
        "That is the larger of the two: close, but the other one counts as well.": torch.maximum(
            one, other
        ),
        "Half of the sum: p(a or b) is the sum, not the mean. (The gradient would be the same: "
        "why?)": right - torch.tensor(2.0).double().log(),
    }
    return verdict(lambda: answer(log_p.clone(), a, b), right, mistakes)


def standard_errors_apart(answer: Callable[[float, float, float, float], float]) -> str:
    """answer(first, its_error, second, other_error) -> |difference| / its own standard error."""
    cases = ((99.2, 0.2, 98.2, 0.3), (1.37, 0.04, 1.09, 0.03), (0.5, 0.1, 0.7, 0.2))
    rules: dict[str, Callable] = {
        "Errors of independent measurements do not add up: their squares "
        "do.": lambda x, dx, y, dy: abs(x - y) / (dx + dy),
        "Take the root of the sum of squares.": lambda x, dx, y, dy: abs(x - y) / (dx**2 + dy**2),
        "The difference errs by both, not by the larger alone.": lambda x, dx, y, dy: (
            abs(x - y) / max(dx, dy)
        ),
        "Squares add up, even for a difference.": lambda x, dx, y, dy: (
            abs(x - y) / abs(dx**2 - dy**2) ** 0.5
        ),
        "How far apart, not in which direction: take the absolute value.": lambda x, dx, y, dy: (
            (x - y) / (dx**2 + dy**2) ** 0.5
        ),
    }

    def values(rule: Callable) -> list[float]:
        return [float(rule(*case)) for case in cases]

    right = values(lambda x, dx, y, dy: abs(x - y) / (dx**2 + dy**2) ** 0.5)
    mistakes = {text: values(rule) for text, rule in rules.items()}
    return verdict(lambda: values(answer), right, mistakes)
