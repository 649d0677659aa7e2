"""What every lesson uses: show the package's own source, compare two numbers by name, draw less where it is a test."""

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
    """`whole`, or `tested` where the lesson runs as a test: where MINIDIFF_SECONDS leaves its training less than a minute."""
    return tested if live_seconds() < 60 else whole


def compare(what: str, expected: Tensor | float, got: Tensor | float, tolerance: float) -> None:
    """Print that two numbers, or two tensors of numbers, agree within the tolerance; raise AssertionError where they do not.

    The difference is rounding noise and differs between machines, so it is never printed, and a number shows no digit that the
    tolerance does not vouch for.
    """
    expected, got = (torch.as_tensor(value, dtype=torch.float64).cpu() for value in (expected, got))
    difference = float((expected - got).abs().max())
    if not difference <= tolerance:  # NaN fails
        raise AssertionError(f"{what}: the largest difference is {difference:.3g}, the tolerance {tolerance:g}.")
    within = f"within {tolerance:.2g}" if tolerance else "exactly"
    if max(expected.numel(), got.numel()) > 1:
        print(f"{what}: {max(expected.numel(), got.numel()):,} numbers agree {within}: ok")
    else:
        print(f"{what}: expected {_short(expected, tolerance)}, got {_short(got, tolerance)}, the same {within}: ok")


def _short(value: Tensor, tolerance: float) -> str:
    """At most four digits, none of them smaller than the tolerance."""
    decimals = math.ceil(-math.log10(tolerance)) if tolerance else 15
    return f"{round(value.item(), decimals) + 0.0:.4g}"  # + 0.0: no minus before a zero
