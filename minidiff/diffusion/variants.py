"""Later variants of guidance, each a wrapper or a step. "Off" is what each is when disabled."""

import math
from collections.abc import Iterator
from itertools import pairwise

import torch
from torch import Tensor

from minidiff.diffusion.guidance import classifier_free, per_row
from minidiff.diffusion.process import eps_from_x_0, x_0_from_eps
from minidiff.diffusion.samplers import Sample, batch_t, ddim_timesteps
from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.symbols import Denoiser, InputError, Points, Steps, Weight


def limited(
    eps_cond: Denoiser,
    eps_uncond: Denoiser,
    w: Weight,
    low: int,
    high: int,
) -> Denoiser:
    """M6 where low < t <= high, the conditional model elsewhere

    [Kynkaanniemi 2024, 2404.07724]. Off: low = 0, high = T. Each row has its own t. On
    a CPU the unconditional pass is skipped where no row is inside: a GPU would have to
    wait for its own queue to know. Raises InputError if low > high.
    """
    if low > high:
        raise InputError(f"low must be at most high, got low = {low}, high = {high}.")

    def eps_bar(x_t: Points, t: Steps) -> Points:
        inside = ((t > low) & (t <= high)).view(-1, *[1] * (x_t.ndim - 1))
        cond = eps_cond(x_t, t)
        if t.is_cpu and not inside.any():
            return cond
        return torch.where(inside, _guided(cond, eps_uncond(x_t, t), w), cond)

    return eps_bar


def rescaled(
    eps_cond: Denoiser,
    eps_uncond: Denoiser,
    w: Weight,
    phi: float = 0.7,
    schedule: NoiseSchedule | None = None,
) -> Denoiser:
    """phi u std(u_cond) / std(u) + (1 - phi) u, u of M6, std over each row

    [Lin 2023, 2305.08891, sec. 3.4]. Guidance makes predictions larger; this restores
    the spread of the conditional one. Off: phi = 0. u is the noise; with a schedule it
    is Lin's v = (eps - sqrt(1 - abar_t) x_t) / sqrt(abar_t): as noise the two spreads
    hardly differ where x_t is mostly noise.
    """

    def eps_bar(x_t: Points, t: Steps) -> Points:
        # seen: the part of eps that is not predicted; so u is eps, or sqrt(abar_t) v
        seen = extract((1 - schedule.abar).sqrt(), t, x_t) * x_t if schedule else 0.0
        cond = eps_cond(x_t, t)
        u = _guided(cond, eps_uncond(x_t, t), w) - seen
        u_cond = cond - seen
        return seen + (phi * _spread(u_cond) / _spread(u) + 1 - phi) * u

    return eps_bar


def thresholded(
    eps: Denoiser,
    schedule: NoiseSchedule,
    share: float = 0.995,
) -> Denoiser:
    """The eps of x_0_hat clamped to [-a, a] and divided by a, row by row

    a = max(1, the share-quantile of |x_0_hat|)   [Saharia 2022, 2205.11487: dynamic
    thresholding; `clipped` is static]. Where no pixel is beyond 1 nothing changes.
    """

    def eps_bar(x_t: Points, t: Steps) -> Points:
        x_0 = x_0_from_eps(x_t, t, eps(x_t, t), schedule)
        a = x_0.abs().flatten(1).quantile(share, dim=1).clamp(min=1.0)
        a = a.view(-1, *[1] * (x_t.ndim - 1))
        x_0 = torch.minimum(torch.maximum(x_0, -a), a) / a
        return eps_from_x_0(x_t, t, x_0, schedule)

    return eps_bar


def projected(
    eps_cond: Denoiser,
    eps_uncond: Denoiser,
    schedule: NoiseSchedule,
    w: Weight,
    parallel: float = 0.0,
    longest: float = math.inf,
) -> Denoiser:
    """x_0_hat = cond + w (across + parallel * along)   [Sadat 2024, 2410.02416]

    d = cond - uncond, the two predictions of x_0, is cut to the length `longest`, then
    split along cond: the part along it only makes the prediction larger (contrast), the
    part across changes it. Off: parallel = 1, longest = inf: M6. (Their momentum of d
    is left out: a denoiser has no state.)
    """

    def eps_bar(x_t: Points, t: Steps) -> Points:
        cond = x_0_from_eps(x_t, t, eps_cond(x_t, t), schedule).flatten(1)
        uncond = x_0_from_eps(x_t, t, eps_uncond(x_t, t), schedule).flatten(1)
        w_row, d = per_row(w, cond), cond - uncond
        d = d * (longest / d.norm(dim=1, keepdim=True).clamp(min=1e-12)).clamp(max=1.0)
        dot = (d * cond).sum(dim=1, keepdim=True)
        along = dot / cond.square().sum(dim=1, keepdim=True).clamp(min=1e-12) * cond
        x_0 = cond + w_row * (d - along + parallel * along)
        return eps_from_x_0(x_t, t, x_0.view_as(x_t), schedule)

    return eps_bar


def autoguided(eps_good: Denoiser, eps_weak: Denoiser, w: Weight) -> Denoiser:
    """eps_good + w (eps_good - eps_weak): autoguidance   [Karras 2024, 2406.02507]

    Guided by a weaker version of the same model; both have the same condition, or none: M6 with a
    weak model in the place of the null condition. Off: w = 0.
    """
    return classifier_free(eps_good, eps_weak, w)


def plus_plus_path(
    eps_cond: Denoiser,
    eps_uncond: Denoiser,
    x_T: Points,
    schedule: NoiseSchedule,
    scale: float,
    steps: int = 50,
) -> Iterator[Sample]:
    """CFG++: x_prev = sqrt(abar_prev) x_0_hat + sqrt(1 - abar_prev) eps_uncond

    [Chung 2024, 2406.08070], x_0_hat from eps_uncond + scale (eps_cond - eps_uncond),
    scale in [0, 1]. Off: scale = 0, the unconditional DDIM path. It is CFG with another
    guidance scale in every step: `scale_of_plus_plus`.
    """
    x_t = x_T
    for t, t_prev in pairwise(ddim_timesteps(schedule, steps)):
        with torch.no_grad():
            at_t = batch_t(t, x_t)
            uncond = eps_uncond(x_t, at_t)
            guided = uncond + scale * (eps_cond(x_t, at_t) - uncond)
            x_0 = x_0_from_eps(x_t, at_t, guided, schedule)
            abar_prev = float(schedule.abar[t_prev])
            x_t = math.sqrt(abar_prev) * x_0 + math.sqrt(1 - abar_prev) * uncond
        yield Sample(t_prev, x_t, x_0)


def scale_of_plus_plus(schedule: NoiseSchedule, timesteps: tuple[int, int], scale: float) -> float:
    """s = scale a / (a - b), with which a DDIM step of CFG from t to t_prev is the step of CFG++

    a = sqrt(abar_prev (1 - abar_t) / abar_t), b = sqrt(1 - abar_prev): derived by comparing the
    factors of eps_cond - eps_uncond.
    """
    abar_t, abar_prev = (float(schedule.abar[t]) for t in timesteps)
    a, b = math.sqrt(abar_prev * (1 - abar_t) / abar_t), math.sqrt(1 - abar_prev)
    return scale * a / (a - b)


def _guided(cond: Points, uncond: Points, w: Weight) -> Points:
    """M6 from the two predictions."""
    w_row = per_row(w, cond)
    return (1 + w_row) * cond - w_row * uncond


def _spread(eps: Points) -> Tensor:
    return eps.flatten(1).std(dim=1).view(-1, *[1] * (eps.ndim - 1))
