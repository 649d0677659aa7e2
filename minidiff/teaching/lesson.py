"""What every lesson uses: show the package's own source, compare two numbers by name."""

import inspect
from collections.abc import Callable

import torch
from torch import Tensor


def show(function: Callable) -> None:
    """Print the source of a function of the package: the lesson never holds a second copy."""
    print(inspect.getsource(function).rstrip())


def compare(what: str, expected: Tensor | float, got: Tensor | float, tolerance: float) -> None:
    """Print expected, got and the tolerance that the largest |difference| keeps; raise AssertionError where it does not.

    The difference itself is rounding noise and differs between machines, so only the bound is printed.
    """
    expected, got = (torch.as_tensor(value, dtype=torch.float64).cpu() for value in (expected, got))
    difference = float((expected - got).abs().max())
    if not difference <= tolerance:  # NaN fails
        raise AssertionError(f"{what}: the largest difference is {difference:.3g}, the tolerance {tolerance:g}.")
    print(f"{what}: expected {_short(expected)}, got {_short(got)}, the same within {tolerance:.2g}: ok")


def _short(value: Tensor) -> str:
    if value.numel() == 1:
        return f"{value.item():.4g}"
    return f"{value.numel()} numbers (root mean square {value.square().mean().sqrt().item():.3g})"
