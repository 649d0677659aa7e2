"""The exact denoiser of a finite set of points: a network's optimum on its own training data."""

import contextlib
import math
from dataclasses import dataclass

import torch
from jaxtyping import Float
from torch import Tensor

from minidiff.diffusion.process import eps_from_x_0
from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.symbols import LogProbs, Points, Steps

CHUNK = 4096  # data points compared at once: 4096 x 784 floats are 13 MB


@dataclass(frozen=True, eq=False)
class IdealDenoiser:
    """p(x_0) = 1/n sum_i delta(x_0 - data_i), a mixture of n spikes; data is (n, ...) of any shape.

    Its denoiser is optimal for these points: no network has a smaller simple loss on them. It knows
    nothing else, so its samples are copies   [Karras 2022, app. B.3]. Everything is for t >= 1.
    """

    data: Float[Tensor, "n *point"]
    schedule: NoiseSchedule

    def x_0(self, x_t: Points, t: Steps) -> Points:
        """sum_i r_i data_i, r = softmax_i(-|x_t - sqrt(abar_t) data_i|^2 / (2 (1 - abar_t)))"""
        return self._streamed(x_t, t)[0]

    def eps(self, x_t: Points, t: Steps) -> Points:
        """E[eps | x_t], the optimal denoiser of these points."""
        return eps_from_x_0(x_t, t, self.x_0(x_t, t), self.schedule)

    def log_density(self, x_t: Points, t: Steps) -> LogProbs:
        """log p(x_t) = log 1/n sum_i N(x_t; sqrt(abar_t) data_i, (1 - abar_t) I)"""
        query = x_t.flatten(1)
        variance = extract(1 - self.schedule.abar, t, query)[:, 0]
        half_dim = query.shape[1] / 2
        log_norm = math.log(len(self.data)) + half_dim * torch.log(2 * torch.pi * variance)
        return self._streamed(x_t, t)[1] - query.square().sum(dim=1) / (2 * variance) - log_norm

    def score(self, x_t: Points, t: Steps) -> Points:
        """grad log p(x_t) = sum_i r_i (sqrt(abar_t) data_i - x_t) / (1 - abar_t)"""
        abar = extract(self.schedule.abar, t, x_t)
        return (abar.sqrt() * self.x_0(x_t, t) - x_t) / (1 - abar)

    def _streamed(self, x_t: Points, t: Steps) -> tuple[Points, LogProbs]:
        """E[x_0 | x_t], and log sum_i exp(l_i), by a softmax streamed over chunks of the data.

        l_i = (sqrt(abar) x_t data_i - abar |data_i|^2 / 2) / (1 - abar)
        """
        kind, full_precision = x_t.device.type, contextlib.nullcontext()
        if torch.amp.is_autocast_available(kind):  # bfloat16 would lose the small differences
            full_precision = torch.autocast(kind, enabled=False)
        with full_precision:
            query, data = x_t.flatten(1), self.data.flatten(1)
            abar = extract(self.schedule.abar, t, query)
            top = torch.full_like(abar, -torch.inf)
            total, mean = torch.zeros_like(abar), torch.zeros_like(query)
            for part in data.split(CHUNK):
                dots = (abar.sqrt() * (query @ part.T)) - abar * part.square().sum(1) / 2
                log_r = dots / (1 - abar)  # (batch, chunk); |x_t|^2 is the same for all i
                new_top = torch.maximum(top, log_r.max(dim=1, keepdim=True).values)
                r, shrink = (log_r - new_top).exp(), (top - new_top).exp()
                total = shrink * total + r.sum(dim=1, keepdim=True)
                mean = shrink * mean + r @ part
                top = new_top
            return (mean / total).reshape(x_t.shape), (top + total.log())[:, 0]
