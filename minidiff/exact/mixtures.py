"""Gaussian mixtures with class labels: worlds in which eps, the score and log p(y|x_t) are known exactly at every t."""

from dataclasses import dataclass

import torch
from jaxtyping import Float64
from torch import Tensor

from minidiff.diffusion.process import eps_from_score
from minidiff.diffusion.schedule import NoiseSchedule, at
from minidiff.symbols import Denoiser, InputError, Labels, LogProb, LogProbs, Points, Steps


@dataclass(frozen=True, eq=False)
class Mixture:
    """p(x_0) = sum_k weights_k N(x_0; means_k, diag(variances_k)); component k carries the label labels_k.

    Then p(x_t) is the same sum with N(x_t; sqrt(abar_t) means_k, abar_t variances_k + 1 - abar_t), because q(x_t|x_0)
    adds independent Gaussian noise. Points are (batch, dim) float64. Raises InputError if the parts do not fit.
    """

    means: Float64[Tensor, "parts dim"]
    variances: Float64[Tensor, "parts dim"]
    weights: Float64[Tensor, " parts"]
    labels: Labels
    schedule: NoiseSchedule

    def __post_init__(self):
        parts = {len(self.means), len(self.variances), len(self.weights), len(self.labels)}
        if len(parts) != 1 or self.means.shape != self.variances.shape:
            raise InputError("means, variances, weights and labels must describe the same components.")
        if bool((self.variances <= 0).any()) or bool((self.weights <= 0).any()):
            raise InputError("variances and weights must be positive.")

    def log_density(self, x_t: Points, t: Steps, y: Labels | int | None = None) -> LogProbs:
        """log p(x_t), or log p(x_t | y) where labels are given; differentiable in x_t."""
        log_weights = self._log_weights(x_t, y)
        norm = torch.logsumexp(log_weights, dim=1)
        return torch.logsumexp(log_weights + self._log_parts(x_t, t), dim=1) - norm

    def score(self, x_t: Points, t: Steps, y: Labels | int | None = None) -> Points:
        """grad log p(x_t) = sum_k r_k (sqrt(abar_t) means_k - x_t) / (abar_t variances_k + 1 - abar_t)

        r_k = p(component k | x_t), among the components with label y where one is given. Closed form, no autograd.
        """
        share = torch.softmax(self._log_weights(x_t, y) + self._log_parts(x_t, t), dim=1)
        mean, variance = self._moments(x_t, t)
        return (share[:, :, None] * (mean - x_t[:, None]) / variance).sum(dim=1)

    def eps(self, y: Labels | int | None = None) -> Denoiser:
        """The optimal denoiser E[eps | x_t], given y if there is one: -sqrt(1 - abar_t) times the score   [M3]"""

        def exact(x_t: Points, t: Steps) -> Points:
            return eps_from_score(self.score(x_t, t, y), t, self.schedule)

        return exact

    def log_prob(self, y: Labels | int) -> LogProb:
        """log p(y | x_t) = log p(x_t | y) + log p(y) - log p(x_t)   [M1]"""

        def exact(x_t: Points, t: Steps) -> LogProbs:
            log_y = torch.logsumexp(self._log_weights(x_t, y), dim=1) - self.weights.sum().log()
            return self.log_density(x_t, t, y) + log_y - self.log_density(x_t, t)

        return exact

    def sample(self, n: int, generator: torch.Generator) -> tuple[Points, Labels]:
        """n draws of x_0 with their labels."""
        part = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        noise = torch.randn(n, self.means.shape[1], generator=generator, dtype=torch.float64)
        return self.means[part] + self.variances[part].sqrt() * noise, self.labels[part]

    def _moments(self, x_t: Points, t: Steps) -> tuple[Tensor, Tensor]:
        abar = at(self.schedule.abar, t, x_t)[:, :, None]  # (batch, 1, 1)
        return abar.sqrt() * self.means, abar * self.variances + 1 - abar  # each (batch, parts, dim)

    def _log_parts(self, x_t: Points, t: Steps) -> Tensor:
        mean, variance = self._moments(x_t, t)
        squares = (x_t[:, None] - mean).square() / variance
        return -0.5 * (squares + torch.log(2 * torch.pi * variance)).sum(dim=2)  # (batch, parts)

    def _log_weights(self, x_t: Points, y: Labels | int | None) -> Tensor:
        rows = self.weights.log().expand(len(x_t), -1)
        if y is None:
            return rows
        told = torch.as_tensor(y).expand(len(x_t))
        return rows.masked_fill(told[:, None] != self.labels, -torch.inf)
