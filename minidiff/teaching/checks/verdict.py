"""How a check decides: by the result of an answer, beside the right one and those of known mistakes."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

CORRECT = "correct"


def number(value: float) -> Tensor:
    """The number as answers get it: torch.sqrt, math.sqrt and ** 0.5 all take it."""
    return torch.tensor(value, dtype=torch.float64)


def normal(count: int) -> Float[Tensor, "count 4 3"]:
    """`count` batches of numbers from N(0, 1), always the same."""
    return torch.randn(count, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def verdict(ask: Callable, right: object, mistakes: dict[str, object]) -> str:
    """ "correct", the sentence of the mistake whose result came, or what came instead."""
    try:
        came = ask()
        if came is None:
            return "Your function returned nothing: does it end in return?"
        came = torch.as_tensor(came, dtype=torch.float64)
    except Exception as error:  # whatever an answer raises, the learner is told and the notebook goes on
        return f"Your function raised {type(error).__name__}: {error}"
    right = torch.as_tensor(right, dtype=torch.float64)
    if came.shape != right.shape:
        return f"The result has shape {tuple(came.shape)}; {tuple(right.shape)} was expected."
    for text, wrong in {CORRECT: right, **mistakes}.items():
        if torch.allclose(came, torch.as_tensor(wrong, dtype=torch.float64), rtol=1e-6, atol=1e-9):
            return text
    if bool(came.isnan().any()):
        return "The result holds NaN: a root or logarithm of a negative number, or 0 / 0."
    worst = float((came - right).abs().max())
    return f"Not yet: the largest difference is {worst:.3g}. Compare your line with the hint, term by term."
