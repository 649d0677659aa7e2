"""Guidance, denoisers in, a denoiser out. w is that of M4 and M6; s is the power of p(y|x_t)."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from minidiff.diffusion.process import eps_from_x_0, x_0_from_eps
from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.symbols import Denoiser, InputError, LogProb, Points, Steps, Weight


def classifier_guided(
    eps: Denoiser, log_prob: LogProb, schedule: NoiseSchedule, w: Weight
) -> Denoiser:
    """eps_bar = eps(x_t, t) - sqrt(1 - abar_t) w grad log p(y|x_t)   [M4]

    [Dhariwal & Nichol 2021, eq. 14 times w; with ddim_path their Alg. 2]. w, a number
    or one for each row, is the scale of their sec. 4.3: w = 0 is unconditional, w = 1
    Bayes' rule (M2); s = w. Raises InputError unless w is finite.
    """
    _check_weight(w)

    def eps_bar(x_t: Points, t: Steps) -> Points:
        root, w_row = extract((1 - schedule.abar).sqrt(), t, x_t), per_row(w, x_t)
        return eps(x_t, t) - root * w_row * gradient(log_prob, x_t, t)

    return eps_bar


def classifier_free(eps_cond: Denoiser, eps_uncond: Denoiser, w: Weight) -> Denoiser:
    """eps_bar = (1 + w) eps(x_t, t, y) - w eps(x_t, t)   [M6]

    [Ho & Salimans 2022, eq. 6]. w, a number or one for each row: -1 is unconditional,
    0 conditional; s = 1 + w. Raises InputError unless w is finite.
    """
    _check_weight(w)

    def eps_bar(x_t: Points, t: Steps) -> Points:
        w_row = per_row(w, x_t)
        return (1 + w_row) * eps_cond(x_t, t) - w_row * eps_uncond(x_t, t)

    return eps_bar


def gradient(log_prob: LogProb, x_t: Points, t: Steps) -> Points:
    """grad log p(y|x_t) with respect to x_t. Rows must not see each other (no BatchNorm)."""
    with torch.inference_mode(False):  # turns gradients on, inside no_grad too
        x_t = x_t.detach().clone().requires_grad_()  # a clone: inference mode's own takes none
        return torch.autograd.grad(log_prob(x_t, t).sum(), x_t)[0]


def clipped(eps: Denoiser, schedule: NoiseSchedule, limit: float = 1.0) -> Denoiser:
    """The eps of x_0_hat clamped to [-limit, limit], after guidance   [as in Ho 2020's code]"""

    def eps_clipped(x_t: Points, t: Steps) -> Points:
        x_0 = x_0_from_eps(x_t, t, eps(x_t, t), schedule).clamp(-limit, limit)
        return eps_from_x_0(x_t, t, x_0, schedule)

    return eps_clipped


def per_row(w: Weight, x_t: Points) -> float | Float[Tensor, "batch *ones"]:
    """w as it multiplies x_t: a number as it is, one for each row as (batch, 1, ...)."""
    return w.to(x_t).reshape(-1, *[1] * (x_t.ndim - 1)) if isinstance(w, Tensor) else w


def _check_weight(w: Weight) -> None:
    if not (bool(w.isfinite().all()) if isinstance(w, Tensor) else math.isfinite(w)):
        raise InputError(f"The guidance weight w must be a finite number, got {w}.")
