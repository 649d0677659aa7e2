"""From noise to data with any denoiser. A path is an iterator: nothing happens until iterated."""

import math
from collections import deque
from collections.abc import Iterator
from itertools import pairwise
from typing import NamedTuple

import torch

from minidiff.diffusion.process import draw_noise, x_0_from_eps
from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.symbols import Denoiser, InputError, Points, Steps, Table


class Sample(NamedTuple):
    """A point of a path: the level t reached, x_t there, the prediction of x_0 that led to it."""

    t: int
    x_t: Points
    x_0: Points


def ancestral_path(
    eps: Denoiser,
    x_T: Points,
    schedule: NoiseSchedule,
    generator: torch.Generator,
    variance: Table | None = None,
) -> Iterator[Sample]:
    """x_{t-1} = (x_t - beta_t / sqrt(1 - abar_t) eps) / sqrt(1 - beta_t) + sigma_t z, t = T..1

    [Ho 2020, eq. 11, Alg. 2]. variance: the table sigma_t^2, schedule.small_variance (beta-tilde,
    the default) or schedule.large_variance (beta).
    """
    x_t = x_T
    for t in range(schedule.T, 0, -1):
        with torch.no_grad():
            eps_t = eps(x_t, batch_t(t, x_t))
            sample = ancestral_step(x_t, t, eps_t, schedule, generator, variance)
        x_t = sample.x_t
        yield sample


def ancestral_step(
    x_t: Points,
    t: int,
    eps_t: Points,
    schedule: NoiseSchedule,
    generator: torch.Generator,
    variance: Table | None = None,
) -> Sample:
    """One step of ancestral_path, from t to t - 1, with the noise eps_t   [Ho 2020, eq. 11]"""
    sigma = (schedule.small_variance if variance is None else variance).sqrt()
    at_t = batch_t(t, x_t)
    x_0 = x_0_from_eps(x_t, at_t, eps_t, schedule)
    step = extract(schedule.beta / (1 - schedule.abar).sqrt(), at_t, x_t)
    mean = (x_t - step * eps_t) / extract((1 - schedule.beta).sqrt(), at_t, x_t)
    return Sample(t - 1, mean + extract(sigma, at_t, x_t) * draw_noise(x_t, generator), x_0)


def ddim_path(
    eps: Denoiser,
    x_T: Points,
    schedule: NoiseSchedule,
    steps: int = 50,
    eta: float = 0,
    generator: torch.Generator | None = None,
) -> Iterator[Sample]:
    """x_prev = sqrt(abar_prev) x_0_hat + sqrt(1 - abar_prev - sigma^2) eps + sigma z

    [Song 2020, eq. 12]; sigma = eta sqrt((1 - abar_prev) / (1 - abar_t))
    sqrt(1 - abar_t / abar_prev)   [eq. 16]. `steps` levels t, evenly spaced, the first
    is T and the last t_prev is 0. eta = 0 is deterministic; eta > 0 needs a generator;
    eta = 1 with T steps has the distribution of ancestral_path with small_variance.
    """
    if not 0 <= eta <= 1 or (eta > 0 and generator is None):
        wanted = "eta must lie in [0, 1], and eta > 0 needs a generator"
        raise InputError(f"{wanted}; got eta = {eta}, generator = {generator}.")
    x_t = x_T
    for t, t_prev in pairwise(ddim_timesteps(schedule, steps)):
        abar_t, abar_prev = float(schedule.abar[t]), float(schedule.abar[t_prev])
        sigma = eta * math.sqrt((1 - abar_prev) / (1 - abar_t))
        sigma *= math.sqrt(1 - abar_t / abar_prev)
        with torch.no_grad():
            eps_t = eps(x_t, batch_t(t, x_t))
            sample = ddim_step(x_t, (t, t_prev), eps_t, schedule, sigma, generator)
        x_t = sample.x_t
        yield sample


def ddim_step(
    x_t: Points,
    timesteps: tuple[int, int],
    eps_t: Points,
    schedule: NoiseSchedule,
    sigma: float = 0.0,
    generator: torch.Generator | None = None,
) -> Sample:
    """One step of ddim_path between timesteps (t, t_prev) with noise eps_t   [Song 2020, eq. 12]"""
    t, t_prev = timesteps
    abar_prev = float(schedule.abar[t_prev])
    x_0 = x_0_from_eps(x_t, batch_t(t, x_t), eps_t, schedule)
    x_prev = math.sqrt(abar_prev) * x_0 + math.sqrt(1 - abar_prev - sigma**2) * eps_t
    if sigma > 0:
        x_prev = x_prev + sigma * draw_noise(x_prev, generator)
    return Sample(t_prev, x_prev, x_0)


def ddim_timesteps(schedule: NoiseSchedule, steps: int) -> list[int]:
    """The levels of ddim_path: T first, then `steps` more, evenly spaced, the last 0."""
    if not 1 <= steps <= schedule.T:
        raise InputError(f"steps must lie between 1 and T = {schedule.T}, got {steps}.")
    levels = torch.linspace(schedule.T, 0, steps + 1, dtype=torch.float64, device="cpu")
    return levels.round().long().tolist()


def final_sample(path: Iterator[Sample]) -> Points:
    """The end of a path, x_0. Raises InputError unless it is finite: then w is far too large."""
    (sample,) = deque(path, maxlen=1)
    if not bool(sample.x_t.isfinite().all()):
        raise InputError("The samples are not finite: the guidance weight w is too large here.")
    return sample.x_t


def batch_t(t: int, x_t: Points) -> Steps:
    """This noise level, once for every row of x_t."""
    return torch.full((len(x_t),), t, device=x_t.device)
