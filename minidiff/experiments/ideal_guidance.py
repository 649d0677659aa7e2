"""Guidance without a network: python -m minidiff.experiments.ideal_guidance FILE

The exact denoiser of the training images is the best that any network could learn; what it draws at
large s is guidance's doing.
"""

import sys
from collections.abc import Callable
from pathlib import Path

import torch

from minidiff.analytic.ideal_denoiser import IdealDenoiser
from minidiff.datasets.mnist import load_digits
from minidiff.diffusion.guidance import classifier_free, clipped
from minidiff.diffusion.schedule import cosine
from minidiff.evaluation.reference import reference
from minidiff.evaluation.sweep import Method, Setting, drawing, measure_into
from minidiff.settings import device
from minidiff.symbols import Denoiser, Labels, Points, Steps
from minidiff.training.checkpoints import load

SETTING = Setting((1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0), seeds=3)


def exact() -> Callable[[Labels, float], Denoiser]:
    """M6 of y and w with E[eps | x_t, y] and E[eps | x_t] of the 60,000 training images: no network
    has a smaller loss on them.

    It is M4 just as well: log p(y | x_t) of these images has the gradient
    (E[eps | x_t] - E[eps | x_t, y]) / sqrt(1 - abar_t), so classifier guidance with the exact
    classifier draws the same images at the same s. Its samples are copies of training images; which
    ones, and how varied, is the doing of guidance alone. cosine schedule; x_0_hat is clipped after
    guidance.
    """
    digits, schedule = load_digits("train"), cosine()
    x_0 = digits.x_0().to(device())
    of_class = [
        IdealDenoiser(x_0[digits.labels == label], schedule) for label in range(digits.classes)
    ]
    return guided_by(of_class, IdealDenoiser(x_0, schedule))


def guided_by(
    of_class: list[IdealDenoiser], everything: IdealDenoiser
) -> Callable[[Labels, float], Denoiser]:
    """M6 of y and w from the denoiser of every class and the one of all images."""

    def denoiser(y: Labels, w: float) -> Denoiser:
        def eps_cond(x_t: Points, t: Steps) -> Points:
            eps = torch.empty_like(x_t)
            for label in y.unique().tolist():
                rows = y == label
                eps[rows] = of_class[label].eps(x_t[rows], t[rows])
            return eps

        return clipped(classifier_free(eps_cond, everything.eps, w), everything.schedule)

    return denoiser


def main(path: Path) -> None:
    """Measure what is not yet in the file."""
    evaluator = load("evaluator")
    evaluator.net.to(device())
    methods = {"exact": Method(drawing(exact(), cosine()), ())}
    comment = f"python -m minidiff.experiments.ideal_guidance {path.name}"
    measure_into(path, comment, methods, reference(evaluator), SETTING)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
