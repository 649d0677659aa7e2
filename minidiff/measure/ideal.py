"""Guidance without a network: what the exact denoiser of the training images gives, the best that any network could learn."""

import torch

from minidiff.diffusion.guidance import classifier_free, clipped
from minidiff.diffusion.schedule import cosine
from minidiff.digits.mnist import load_digits
from minidiff.exact.empirical import Empirical
from minidiff.symbols import Denoiser, Labels, Points, Steps
from minidiff.training.device import device
from minidiff.training.generation import Guided, Method


def exact() -> Guided:
    """M6 with E[eps | x_t, y] and E[eps | x_t] of the 60,000 training images: no network has a smaller loss on them.

    It is M4 just as well: log p(y | x_t) of these images has the gradient (E[eps | x_t] - E[eps | x_t, y]) / sqrt(1 - abar_t),
    so classifier guidance with the exact classifier draws the same images at the same s. Its samples are copies of training
    images; which ones, and how varied, is the doing of guidance alone. cosine schedule; x_0_hat is clipped after guidance.
    """
    digits, schedule = load_digits("train"), cosine()
    x_0 = digits.x_0().to(device())
    return guided_by(
        [Empirical(x_0[digits.labels == label], schedule) for label in range(digits.classes)], Empirical(x_0, schedule)
    )


def guided_by(of_class: list[Empirical], everything: Empirical) -> Guided:
    """M6 from the denoiser of every class and the one of all images."""

    def denoiser(y: Labels, w: float) -> Denoiser:
        def told(x_t: Points, t: Steps) -> Points:
            eps = torch.empty_like(x_t)
            for label in y.unique().tolist():
                rows = y == label
                eps[rows] = of_class[label].eps(x_t[rows], t[rows])
            return eps

        return clipped(classifier_free(told, everything.eps, w), everything.schedule)

    return Guided(denoiser, everything.schedule)


EXACT = Method((), exact, 1.0)
