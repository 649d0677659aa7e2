"""Samples of the tilted density p(x|y)^s p(x)^(1-s): guided particles, weighted and resampled."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minidiff.diffusion.guidance import classifier_free
from minidiff.diffusion.process import draw_noise, posterior_mean, x_0_from_eps
from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.symbols import Denoiser, Points

LogWeights = Float[Tensor, "batch"]


def powered_samples(
    eps_cond: Denoiser,
    eps_uncond: Denoiser,
    x_T: Points,
    schedule: NoiseSchedule,
    s: float,
    generator: torch.Generator,
) -> Points:
    """Samples of p(x_0|y)^s p(x_0)^(1-s) by sequential Monte Carlo

    [Skreta 2025, 2503.02819: Feynman-Kac correctors]. Every particle follows DDPM
    (variance beta) with the noise of M6, w = s - 1, and
      log weight += beta_t s (s - 1) / 2 |score(x_t|y) - score(x_t)|^2 ,
      score = -eps / sqrt(1 - abar_t)   [M3].
    Why? With u = log p(x_t|y) and v = log p(x_t), noising changes s u + (1 - s) v as
    its own diffusion would, plus beta_t / 2 times
      s |grad u|^2 + (1 - s) |grad v|^2 - |s grad u + (1 - s) grad v|^2
      = s (1 - s) |grad u - grad v|^2 ,
    which the weight undoes on the way back. Particles are resampled when their
    effective number falls under half, and at the end. Exact in the limit of many
    particles and small steps; where weights differ much (large s) a few particles take
    most of them, and runs scatter.
    """
    x_t, log_weight = x_T, torch.zeros(len(x_T), dtype=torch.float64, device="cpu")
    for level in range(schedule.T, 0, -1):
        t = torch.full((len(x_t),), level, device=x_t.device)
        difference = (eps_cond(x_t, t) - eps_uncond(x_t, t)).flatten(1)
        apart = difference.square().sum(dim=1).double().cpu()
        beta, abar = float(schedule.beta[level]), float(schedule.abar[level])
        log_weight = log_weight + beta * s * (s - 1) / 2 * apart / (1 - abar)
        if effective_number(log_weight) < len(x_t) / 2:
            x_t = x_t[chosen_rows(log_weight, generator).to(x_t.device)]
            log_weight = torch.zeros_like(log_weight)
        eps_t = classifier_free(eps_cond, eps_uncond, s - 1)(x_t, t)
        x_0 = x_0_from_eps(x_t, t, eps_t, schedule)
        sigma = extract(schedule.large_variance.sqrt(), t, x_t)
        x_t = posterior_mean(x_t, t, x_0, schedule) + sigma * draw_noise(x_t, generator)
    return x_t[chosen_rows(log_weight, generator).to(x_t.device)]


def effective_number(log_weight: LogWeights) -> float:
    """(sum of weights)^2 / sum of their squares: n for equal weights, 1 for one   [Kong 1994]"""
    weight = (log_weight - log_weight.max()).exp()
    return float(weight.sum().square() / weight.square().sum())


def chosen_rows(log_weight: LogWeights, generator: torch.Generator) -> Int[Tensor, "batch"]:
    """Systematic resampling: n row numbers, each n times its share of the weight, within one."""
    edges = torch.softmax(log_weight, dim=0).cumsum(dim=0)
    n = len(edges)
    u = torch.rand(1, generator=generator, dtype=torch.float64, device="cpu")
    marks = (torch.arange(n, dtype=torch.float64, device="cpu") + u) / n
    return torch.searchsorted(edges, marks).clamp(max=n - 1)
