"""The forward process in closed form, and one prediction in three forms: x_0, eps, score.

Whatever divides by 1 - abar_t is for t >= 1.
"""

import torch

from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.symbols import Points, Steps


def q_sample(x_0: Points, t: Steps, eps: Points, schedule: NoiseSchedule) -> Points:
    """x_t = sqrt(abar_t) x_0 + sqrt(1 - abar_t) eps   [Ho 2020, eq. 4]"""
    noise = extract((1 - schedule.abar).sqrt(), t, x_0) * eps
    return extract(schedule.abar.sqrt(), t, x_0) * x_0 + noise


def x_0_from_eps(x_t: Points, t: Steps, eps: Points, schedule: NoiseSchedule) -> Points:
    """x_0 = (x_t - sqrt(1 - abar_t) eps) / sqrt(abar_t)   [Ho 2020, eq. 15]"""
    noise = extract((1 - schedule.abar).sqrt(), t, x_t) * eps
    return (x_t - noise) / extract(schedule.abar.sqrt(), t, x_t)


def eps_from_x_0(x_t: Points, t: Steps, x_0: Points, schedule: NoiseSchedule) -> Points:
    """eps = (x_t - sqrt(abar_t) x_0) / sqrt(1 - abar_t)   [Ho 2020, eq. 4 solved for eps]"""
    signal = extract(schedule.abar.sqrt(), t, x_t) * x_0
    return (x_t - signal) / extract((1 - schedule.abar).sqrt(), t, x_t)


def score_from_eps(eps: Points, t: Steps, schedule: NoiseSchedule) -> Points:
    """grad log p(x_t) = -eps / sqrt(1 - abar_t)   [M3; Dhariwal 2021, eq. 11]"""
    return -eps / extract((1 - schedule.abar).sqrt(), t, eps)


def eps_from_score(score: Points, t: Steps, schedule: NoiseSchedule) -> Points:
    """eps = -sqrt(1 - abar_t) grad log p(x_t)   [M3]"""
    return -extract((1 - schedule.abar).sqrt(), t, score) * score


def posterior_mean(x_t: Points, t: Steps, x_0: Points, schedule: NoiseSchedule) -> Points:
    """Mean of q(x_{t-1} | x_t, x_0), of variance schedule.small_variance   [Ho 2020, eq. 7]

    sqrt(abar_{t-1}) beta_t / (1 - abar_t) x_0
    + sqrt(1 - beta_t) (1 - abar_{t-1}) / (1 - abar_t) x_t
    """
    before = schedule.abar.roll(1)  # before[t] is abar_{t-1}; entry 0 is never used
    from_x_0 = before.sqrt() * schedule.beta / (1 - schedule.abar)
    from_x_t = (1 - schedule.beta).sqrt() * (1 - before) / (1 - schedule.abar)
    return extract(from_x_0, t, x_t) * x_0 + extract(from_x_t, t, x_t) * x_t


def draw_noise(like: Points, generator: torch.Generator) -> Points:
    """N(0, I), shaped like `like`, drawn on the CPU: a GPU gets the same noise."""
    z = torch.randn(like.shape, generator=generator, dtype=like.dtype, device="cpu")
    return z.to(like.device)
