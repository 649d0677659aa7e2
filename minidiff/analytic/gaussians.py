"""Two Gaussians on a line: the variance of guided samples in closed form, in three versions."""

import math
from dataclasses import dataclass

import torch

from minidiff.diffusion.guidance import classifier_free
from minidiff.diffusion.samplers import ancestral_path, ddim_path, final_sample
from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.symbols import Denoiser, InputError, Points, Steps, Table


@dataclass(frozen=True)
class GaussianPair:
    """p(x_0) = N(0, uncond), p(x_0|y) = N(0, cond), guided with scale s = 1 + w: which variance?

    The three closed forms are limits of infinitely many steps, from pure noise. For cond = 1,
    uncond = 2 they are those of Bradley & Nakkiran 2024, sec. 3; the general ones solve the same
    two equations (DDIM's ODE, DDPM's SDE) in sigma^2 = (1 - abar) / abar. Raises InputError for a
    variance that is not positive.
    """

    cond: float = 1.0
    uncond: float = 2.0

    def __post_init__(self):
        if not (self.cond > 0 and self.uncond > 0):
            got = f"cond = {self.cond}, uncond = {self.uncond}"
            raise InputError(f"Variances must be positive, got {got}.")

    def ddim_variance(self, s: float) -> float:
        """cond^s uncond^(1 - s), since DDIM follows the ODE, with v = sigma^2,

        d log x / dv = (s / (cond + v) + (1 - s) / (uncond + v)) / 2.
        """
        return self.cond**s * self.uncond ** (1 - s)

    def ddpm_variance(self, s: float) -> float:
        """cond^2s uncond^(2 - 2s) (1 - (uncond / cond)^(2s - 1)) / ((cond - uncond) (2s - 1))

        The integral over v = sigma^2 from 0 to infinity of (cond / (cond + v))^2s
        (uncond / (uncond + v))^(2 - 2s), the noise of each moment times what later steps leave of
        it. cond itself where cond = uncond; the limit at s = 1/2.
        """
        if self.cond == self.uncond:
            return self.cond
        power, log_ratio = 2 * s - 1, math.log(self.uncond / self.cond)
        change = math.expm1(power * log_ratio) / power if power else log_ratio
        powers = self.cond ** (2 * s) * self.uncond ** (2 - 2 * s)
        return powers * change / (self.uncond - self.cond)

    def powered_variance(self, s: float) -> float:
        """1 / (s / cond + (1 - s) / uncond): that of p(x|y)^s p(x)^(1 - s), the tilted density."""
        precision = s / self.cond + (1 - s) / self.uncond
        if precision <= 0:
            raise InputError(f"p(x|y)^s p(x)^(1 - s) has no finite mass for s = {s}.")
        return 1 / precision

    def denoiser(self, schedule: NoiseSchedule, s: float) -> Denoiser:
        """CFG of the two exact denoisers, with w = s - 1."""
        eps_cond = gaussian_eps(schedule, variance=self.cond)
        eps_uncond = gaussian_eps(schedule, variance=self.uncond)
        return classifier_free(eps_cond, eps_uncond, s - 1)

    def after_ddim(self, schedule: NoiseSchedule, s: float, steps: int | None = None) -> float:
        """The variance after ddim_path (`steps`: all T), which is linear here: x_0^2 of x_T = 1."""
        path = ddim_path(self.denoiser(schedule, s), _ones(), schedule, steps or schedule.T)
        return final_sample(path).item() ** 2

    def after_ddpm(self, schedule: NoiseSchedule, s: float, variance: Table) -> float:
        """The variance after ancestral_path with this table sigma_t^2: v <- slope_t^2 v + sigma_t^2

        The slopes are read off the sampler itself: its path from x_T = 1 with the noise turned off.
        """
        eps, silent = self.denoiser(schedule, s), 0 * variance
        path = ancestral_path(eps, _ones(), schedule, torch.Generator(), silent)
        v, before = 1.0, 1.0
        for sample in path:
            now = sample.x_t.item()
            v = (now / before) ** 2 * v + variance[sample.t + 1].item()
            before = now
        return v


def _ones() -> torch.Tensor:
    return torch.ones(1, 1, dtype=torch.float64, device="cpu")


def gaussian_eps(schedule: NoiseSchedule, mean: float = 0.0, variance: float = 1.0) -> Denoiser:
    """sqrt(1 - abar_t) / (abar_t variance + 1 - abar_t) (x_t - sqrt(abar_t) mean)

    The optimal denoiser of N(mean, variance).
    """
    abar = schedule.abar
    slope = (1 - abar).sqrt() / (abar * variance + 1 - abar)

    def eps(x_t: Points, t: Steps) -> Points:
        return extract(slope, t, x_t) * (x_t - extract(abar.sqrt(), t, x_t) * mean)

    return eps
