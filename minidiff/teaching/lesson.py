"""For every lesson: show the package's own source, compare two numbers, sample less in a test."""

import inspect
import math
from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.settings import live_seconds


def show(function: Callable) -> None:
    """Print the source of a function of the package: the lesson never holds a second copy."""
    print(inspect.getsource(function).rstrip())


def count(whole: float, tested: float) -> float:
    """`whole`, or `tested` in a test: where MINIDIFF_SECONDS is less than a minute."""
    return tested if live_seconds() < 60 else whole


def compare(what: str, expected: Tensor | float, got: Tensor | float, tolerance: float) -> None:
    """Print that two numbers, or tensors, agree within the tolerance, or raise AssertionError.

    The difference is rounding noise and differs between machines, so it is never printed, and a
    number shows no digit that the tolerance does not vouch for.
    """
    expected, got = (torch.as_tensor(value, dtype=torch.float64).cpu() for value in (expected, got))
    difference = float((expected - got).abs().max())
    if not difference <= tolerance:  # NaN fails
        by = f"the largest difference is {difference:.3g}, the tolerance {tolerance:g}"
        raise AssertionError(f"{what}: {by}.")
    within = f"within {tolerance:.2g}" if tolerance else "exactly"
    numbers = max(expected.numel(), got.numel())
    if numbers > 1:
        print(f"{what}: {numbers:,} numbers agree {within}: ok")
    else:
        both = f"expected {_short(expected, tolerance)}, got {_short(got, tolerance)}"
        print(f"{what}: {both}, the same {within}: ok")


def _short(value: Tensor, tolerance: float) -> str:
    """At most four digits, none of them smaller than the tolerance."""
    decimals = math.ceil(-math.log10(tolerance)) if tolerance else 15
    return f"{round(value.item(), decimals) + 0.0:.4g}"  # + 0.0: no minus before a zero
