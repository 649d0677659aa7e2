"""Two Gaussians on a line: the smallest world in which guided samples have a variance in closed form, for three laws."""

import math
from dataclasses import dataclass

import torch

from minidiff.diffusion.guidance import classifier_free
from minidiff.diffusion.samplers import ancestral_path, ddim_path, final_sample
from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.symbols import Denoiser, InputError, Points, Steps, Table


@dataclass(frozen=True)
class GaussianPair:
    """p(x_0) = N(0, plain) and p(x_0|y) = N(0, told), guided with scale s = 1 + w. What variance have the samples?

    The three closed forms are limits of infinitely many steps, from pure noise. For told = 1, plain = 2 they are those of
    Bradley & Nakkiran 2024, sec. 3; the general ones solve the same two equations (DDIM's ODE, DDPM's SDE) in sigma^2 =
    (1 - abar) / abar. Raises InputError for a variance that is not positive.
    """

    told: float = 1.0
    plain: float = 2.0

    def __post_init__(self):
        if not (self.told > 0 and self.plain > 0):
            raise InputError(f"Variances must be positive, got told = {self.told}, plain = {self.plain}.")

    def ddim_variance(self, s: float) -> float:
        """told^s plain^(1 - s): DDIM moves x by d log x / d sigma^2 = (s / (told + sigma^2) + (1 - s) / (plain + sigma^2)) / 2"""
        return self.told**s * self.plain ** (1 - s)

    def ddpm_variance(self, s: float) -> float:
        """told^2s plain^(2 - 2s) (1 - (plain / told)^(2s - 1)) / ((told - plain) (2s - 1)); told itself where told = plain

        It is the integral over sigma^2 from 0 to infinity of (told / (told + sigma^2))^2s (plain / (plain + sigma^2))^(2 - 2s),
        the noise of each moment times what later steps leave of it. At s = 1/2 its limit is meant.
        """
        if self.told == self.plain:
            return self.told
        power, log_ratio = 2 * s - 1, math.log(self.plain / self.told)
        change = math.expm1(power * log_ratio) / power if power else log_ratio
        return self.told ** (2 * s) * self.plain ** (2 - 2 * s) * change / (self.plain - self.told)

    def powered_variance(self, s: float) -> float:
        """1 / (s / told + (1 - s) / plain): the law p(x|y)^s p(x)^(1 - s), which guidance seems to promise. Needs it positive."""
        precision = s / self.told + (1 - s) / self.plain
        if precision <= 0:
            raise InputError(f"p(x|y)^s p(x)^(1 - s) has no finite mass for s = {s}.")
        return 1 / precision

    def denoiser(self, schedule: NoiseSchedule, s: float) -> Denoiser:
        """CFG of the two exact denoisers, with w = s - 1."""
        told, plain = (gaussian_eps(schedule, variance=variance) for variance in (self.told, self.plain))
        return classifier_free(told, plain, s - 1)

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
