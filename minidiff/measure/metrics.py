"""What samples are worth: how many show the digit that was asked for; how far their features are from those of real images."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
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
    p = _probabilities(judge, x_0)
    right, sure, n = int((p.argmax(dim=1) == y).sum()), p.max(dim=1).values.double(), len(y)
    spread = float(sure.std()) / math.sqrt(n) if n > 1 else float("nan")
    return Verdict(n, right / n, share_error(right, n), float(sure.mean()), spread)


def confident(judge: Trained, x_0: Images, above: float = 0.9) -> float:
    """The share of images of which the judge is sure: max_k p(k | x_0) > above."""
    p = _probabilities(judge, x_0)
    return float((p.max(dim=1).values > above).double().mean())


class Moments(NamedTuple):
    """Mean and covariance (divided by n - 1) of n feature vectors, float64."""

    mean: Float[Tensor, " features"]
    covariance: Float[Tensor, "features features"]


def moments(judge: Trained, x_0: Images) -> Moments:
    """Of the judge's features of images. Raises InputError for fewer than 2 images and for NaN pixels."""
    if len(x_0) < 2:
        raise InputError(f"A covariance wants at least two images, got {len(x_0)}.")
    features = _in_pieces(judge.net["judge"].features, x_0).double().cpu()
    return Moments(features.mean(dim=0), torch.cov(features.T))


def frechet_distance(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))   [Heusel 2017, eq. 6, in the judge's features instead of Inception's]

    The squared 2-Wasserstein distance of two normal laws. It falls with n, so compare only equal n, and say n.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # C_a C_b has the eigenvalues of the symmetric root C_b root, whose square roots are real
    both = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    apart = (a.mean - b.mean).square().sum()
    return float(apart + a.covariance.trace() + b.covariance.trace() - 2 * both)


def frechet_floor(judge: Trained, train: Moments, test_images: Images, n: int) -> float:
    """What real images get: the mean distance of disjoint sets of n test images to the training images."""
    sets = [moments(judge, piece) for piece in test_images.split(n) if len(piece) == n]
    if not sets:
        raise InputError(f"The floor wants at least one set of n = {n} test images, got {len(test_images)} in all.")
    return sum(frechet_distance(one, train) for one in sets) / len(sets)


def _probabilities(judge: Trained, x_0: Images) -> Tensor:
    """The judge's p(k | x_0), a row for each image."""
    return _in_pieces(lambda piece: F.softmax(judge.net["judge"](piece), dim=1), x_0)


def _in_pieces(f: Callable[[Images], Tensor], x_0: Images) -> Tensor:
    """f of images clamped to [-1, 1], 500 at a time, without autograd. Raises InputError for NaN or infinite pixels."""
    if not bool(x_0.isfinite().all()):
        raise InputError("The judge wants finite pixels, got NaN or infinity.")
    with torch.no_grad():
        return torch.cat([f(piece.clamp(-1, 1)) for piece in x_0.split(500)])


def share_error(right: int, n: int) -> float:
    """Standard error of a share: sqrt(p (1 - p) / n) with p = (right + 1) / (n + 2), so that n of n is not error-free."""
    p = (right + 1) / (n + 2)
    return math.sqrt(p * (1 - p) / n)
