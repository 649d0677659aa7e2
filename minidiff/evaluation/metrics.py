"""What samples are worth: the requested class, the distance to real images, quality, variety."""

import math
from collections.abc import Callable
from typing import NamedTuple

import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor

from minidiff.symbols import Features, Images, InputError
from minidiff.training.checkpoints import Checkpoint


class ClassAccuracy(NamedTuple):
    """The share of n images that show the class, the mean confidence, and their standard errors."""

    n: int
    accuracy: float
    accuracy_error: float
    confidence: float
    confidence_error: float


def class_accuracy(evaluator: Checkpoint, x_0: Images, y: Int[Tensor, " labels"]) -> ClassAccuracy:
    """Class accuracy of images x_0 that should show y, by the evaluation classifier.

    confidence is the mean of max_k p(k | x_0). Raises InputError for no images, NaN pixels or
    labels that do not match.
    """
    if len(x_0) == 0 or len(x_0) != len(y):
        raise InputError(
            f"At least one image and one label each are needed, got {len(x_0)} and {len(y)}."
        )
    p = _probabilities(evaluator, x_0)
    right, sure, n = int((p.argmax(dim=1) == y).sum()), p.max(dim=1).values.double(), len(y)
    spread = float(sure.std()) / math.sqrt(n) if n > 1 else float("nan")
    return ClassAccuracy(n, right / n, share_error(right, n), float(sure.mean()), spread)


def confident(evaluator: Checkpoint, x_0: Images, above: float = 0.9) -> float:
    """The share of images with a confidence above `above`: max_k p(k | x_0) > above."""
    p = _probabilities(evaluator, x_0)
    return float((p.max(dim=1).values > above).double().mean())


def background_noise(x_0: Images) -> float:
    """The share of pixels above -0.95 in the four 3 x 3 corners, where no digit comes."""
    ends = torch.tensor([0, 1, 2, -3, -2, -1])
    corners = x_0[..., ends, :][..., ends]
    return float((corners > -0.95).double().mean())


class Moments(NamedTuple):
    """Mean and covariance (divided by n - 1) of n feature vectors, float64."""

    mean: Float[Tensor, " features"]
    covariance: Float[Tensor, "features features"]


def features_of(evaluator: Checkpoint, x_0: Images) -> Features:
    """The input of the evaluation classifier's last layer, float64 on the CPU.

    Raises InputError for NaN pixels.
    """
    return _in_pieces(evaluator.net["evaluator"].features, x_0).double().cpu()


def moments(features: Features) -> Moments:
    """Of feature vectors. Raises InputError unless there are enough of them."""
    enough(*features.shape)
    return Moments(features.mean(dim=0), torch.cov(features.T))


def enough(n: int, dim: int) -> None:
    """Raises InputError unless the covariance of n images in dim features can have full rank."""
    if n <= dim:
        wanted = f"A Frechet distance in {dim} features wants at least {dim + 1} images"
        raise InputError(f"{wanted}, got {n}.")


def frechet_distance(a: Moments, b: Moments) -> float:
    """|m_a - m_b|^2 + tr(C_a + C_b - 2 (C_a C_b)^(1/2))   [Heusel 2017, eq. 6]

    In the features of the evaluation classifier instead of Inception's: the squared 2-Wasserstein
    distance of two normal distributions. It falls with n, so compare only equal n, and say n.
    """
    values, vectors = torch.linalg.eigh(a.covariance)
    root = vectors * values.clamp(min=0).sqrt() @ vectors.T
    # C_a C_b has the eigenvalues of the symmetric root C_b root, whose square roots are real
    both = torch.linalg.eigvalsh(root @ b.covariance @ root).clamp(min=0).sqrt().sum()
    apart = (a.mean - b.mean).square().sum()
    return float(apart + a.covariance.trace() + b.covariance.trace() - 2 * both)


def frechet_of_real(train: Moments, real: Features, n: int) -> float:
    """The mean distance of disjoint sets of n real test images to the training images."""
    sets = [moments(piece) for piece in real.split(n) if len(piece) == n]
    if not sets:
        raise InputError(f"A set of n = {n} test images is needed, got {len(real)} in all.")
    return sum(frechet_distance(one, train) for one in sets) / len(sets)


class Manifold(NamedTuple):
    """The union of balls around points; a radius is the distance to the k-th nearest other one."""

    points: Features
    radii: Float[Tensor, " points"]


def manifold(points: Features, k: int = 3) -> Manifold:
    """The manifold of feature vectors   [Kynkaanniemi 2019, 1904.06991, eq. 1].

    Raises InputError for k points or fewer.
    """
    if len(points) <= k:
        raise InputError(f"k = {k} neighbours want more than {k} images, got {len(points)}.")
    apart = torch.cdist(points, points)  # the nearest of all is the point itself
    return Manifold(points, apart.kthvalue(k + 1, dim=1).values)


def precision_recall(real: Manifold, made: Manifold) -> tuple[float, float]:
    """(share of made inside real's manifold, share of real inside made's)

    [Kynkaanniemi 2019, 1904.06991, eq. 2]. Precision asks whether samples look real, recall whether
    they cover what is real. Both depend on the numbers of images: compare only equal numbers.
    """
    apart = torch.cdist(made.points, real.points)  # (made, real)
    precision = (apart <= real.radii).any(dim=1).double().mean()
    recall = (made.radii >= apart.T).any(dim=1).double().mean()
    return float(precision), float(recall)


def diversity(features: Features, y: Int[Tensor, " labels"]) -> float:
    """The mean distance of two images of one class, averaged over the classes in y.

    Raises InputError if a class has one image only.
    """
    groups = [features[y.cpu() == label] for label in y.cpu().unique()]
    if any(len(group) < 2 for group in groups):
        raise InputError("Diversity needs at least two images of every requested class.")
    return sum(float(torch.pdist(group).mean()) for group in groups) / len(groups)


def _probabilities(evaluator: Checkpoint, x_0: Images) -> Tensor:
    """The evaluation classifier's p(k | x_0), a row for each image."""
    return _in_pieces(lambda piece: F.softmax(evaluator.net["evaluator"](piece), dim=1), x_0)


def _in_pieces(f: Callable[[Images], Tensor], x_0: Images) -> Tensor:
    """f of images clamped to [-1, 1], 500 at a time, without autograd.

    Raises InputError for NaN or infinite pixels.
    """
    if not bool(x_0.isfinite().all()):
        raise InputError("Pixels must be finite, got NaN or infinity.")
    with torch.no_grad():
        return torch.cat([f(piece.clamp(-1, 1)) for piece in x_0.split(500)])


def share_error(right: int, n: int) -> float:
    """sqrt(p (1 - p) / n), p = (right + 1) / (n + 2): n of n right is not error-free."""
    p = (right + 1) / (n + 2)
    return math.sqrt(p * (1 - p) / n)
