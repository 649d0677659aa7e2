"""Two Gaussians on a line: the smallest world in which guided samples have a variance in closed form, for three distributions."""

import math
from dataclasses import dataclass

import torch

from minidiff.diffusion.guidance import classifier_free
from minidiff.diffusion.samplers import ancestral_path, ddim_path, final_sample
from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.symbols import Denoiser, InputError, Points, Steps, Table


@dataclass(frozen=True)
class GaussianPair:
    """p(x_0) = N(0, uncond) and p(x_0|y) = N(0, cond), guided with scale s = 1 + w. What variance have the samples?

    The three closed forms are limits of infinitely many steps, from pure noise. For cond = 1, uncond = 2 they are those of
    Bradley & Nakkiran 2024, sec. 3; the general ones solve the same two equations (DDIM's ODE, DDPM's SDE) in sigma^2 =
    (1 - abar) / abar. Raises InputError for a variance that is not positive.
    """

    cond: float = 1.0
    uncond: float = 2.0

    def __post_init__(self):
        if not (self.cond > 0 and self.uncond > 0):
            raise InputError(f"Variances must be positive, got cond = {self.cond}, uncond = {self.uncond}.")

    def ddim_variance(self, s: float) -> float:
        """cond^s uncond^(1 - s): DDIM follows d log x / d sigma^2 = (s / (cond + sigma^2) + (1 - s) / (uncond + sigma^2)) / 2."""
        return self.cond**s * self.uncond ** (1 - s)

    def ddpm_variance(self, s: float) -> float:
        """cond^2s uncond^(2 - 2s) (1 - (uncond / cond)^(2s - 1)) / ((cond - uncond) (2s - 1)); cond itself where cond = uncond

        It is the integral over sigma^2 from 0 to infinity of (cond / (cond + sigma^2))^2s (uncond / (uncond + sigma^2))^(2 - 2s),
        the noise of each moment times what later steps leave of it. At s = 1/2 its limit is meant.
        """
        if self.cond == self.uncond:
            return self.cond
        power, log_ratio = 2 * s - 1, math.log(self.uncond / self.cond)
        change = math.expm1(power * log_ratio) / power if power else log_ratio
        return self.cond ** (2 * s) * self.uncond ** (2 - 2 * s) * change / (self.uncond - self.cond)

    def powered_variance(self, s: float) -> float:
        """1 / (s / cond + (1 - s) / uncond): the variance of p(x|y)^s p(x)^(1 - s), which guidance seems to promise."""
        precision = s / self.cond + (1 - s) / self.uncond
        if precision <= 0:
            raise InputError(f"p(x|y)^s p(x)^(1 - s) has no finite mass for s = {s}.")
        return 1 / precision

    def denoiser(self, schedule: NoiseSchedule, s: float) -> Denoiser:
        """CFG of the two exact denoisers, with w = s - 1."""
        cond, uncond = (gaussian_eps(schedule, variance=variance) for variance in (self.cond, self.uncond))
        return classifier_free(cond, uncond, s - 1)

    def after_ddim(self, schedule: NoiseSchedule, s: float, steps: int | None = None) -> float:
        """The variance that ddim_path gives in `steps` steps (all T): it is linear here, so one path from x_T = 1 tells."""
        path = ddim_path(self.denoiser(schedule, s), _ones(), schedule, steps or schedule.T)
        return final_sample(path).item() ** 2

    def after_ddpm(self, schedule: NoiseSchedule, s: float, variance: Table) -> float:
        """The variance that ancestral_path gives with this table sigma_t^2, exactly: v <- slope_t^2 v + sigma_t^2

        The slopes are read off the sampler itself: its path from x_T = 1 with the noise turned off.
        """
        silent = ancestral_path(self.denoiser(schedule, s), _ones(), schedule, torch.Generator(), 0 * variance)
        v, before = 1.0, 1.0
        for sample in silent:
            now = sample.x_t.item()
            v = (now / before) ** 2 * v + variance[sample.t + 1].item()
            before = now
        return v


def _ones() -> torch.Tensor:
    return torch.ones(1, 1, dtype=torch.float64, device="cpu")


def gaussian_eps(schedule: NoiseSchedule, mean: float = 0.0, variance: float = 1.0) -> Denoiser:
    """The optimal denoiser of N(mean, variance): sqrt(1 - abar_t) / (abar_t variance + 1 - abar_t) (x_t - sqrt(abar_t) mean)"""
    abar = schedule.abar
    slope = (1 - abar).sqrt() / (abar * variance + 1 - abar)

    def eps(x_t: Points, t: Steps) -> Points:
        return extract(slope, t, x_t) * (x_t - extract(abar.sqrt(), t, x_t) * mean)

    return eps
