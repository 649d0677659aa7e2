"""What samples are worth: how many show the digit that was asked for, with a standard error."""

import math
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Int
from torch import Tensor

from minidiff.symbols import Images, InputError
from minidiff.training.checkpoints import Trained


class Verdict(NamedTuple):
    """How the judge sees n images: the share it reads as asked, and its mean confidence, each with a standard error."""

    n: int
    as_asked: float
    as_asked_error: float
    confidence: float
    confidence_error: float


def judged(judge: Trained, x_0: Images, y: Int[Tensor, " labels"]) -> Verdict:
    """The judge's verdict on images x_0 that should show y.

    confidence is the mean of max_k p(k | x_0). Raises InputError for no images, NaN pixels or labels that do not match.
    """
    if len(x_0) == 0 or len(x_0) != len(y):
        raise InputError(f"The judge wants at least one image and one label each, got {len(x_0)} and {len(y)}.")
    if not bool(x_0.isfinite().all()):
        raise InputError("The judge wants finite pixels, got NaN or infinity.")
    with torch.no_grad():
        p = torch.cat([F.softmax(judge.net["judge"](piece.clamp(-1, 1)), dim=1) for piece in x_0.split(500)])
    right, sure, n = int((p.argmax(dim=1) == y).sum()), p.max(dim=1).values.double(), len(y)
    spread = float(sure.std()) / math.sqrt(n) if n > 1 else float("nan")
    return Verdict(n, right / n, share_error(right, n), float(sure.mean()), spread)


def share_error(right: int, n: int) -> float:
    """Standard error of a share: sqrt(p (1 - p) / n) with p = (right + 1) / (n + 2), so that n of n is not error-free."""
    p = (right + 1) / (n + 2)
    return math.sqrt(p * (1 - p) / n)
