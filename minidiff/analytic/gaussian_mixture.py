"""Gaussian mixtures with labels: eps, the score and log p(y|x_t) are known exactly at every t."""

from dataclasses import dataclass
from functools import partial

import torch
from jaxtyping import Float64
from torch import Tensor

from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.symbols import Denoiser, InputError, Labels, LogProb, LogProbs, Points, Steps


@dataclass(frozen=True, eq=False)
class GaussianMixture:
    """p(x_0) = sum_k weights_k N(x_0; means_k, diag(variances_k)); component k has label labels_k.

    Then p(x_t) is the same sum with N(x_t; sqrt(abar_t) means_k, abar_t variances_k + 1 - abar_t),
    because q(x_t|x_0) adds independent Gaussian noise. Points are (batch, dim) float64. Raises
    InputError if the parts do not fit.
    """

    means: Float64[Tensor, "parts dim"]
    variances: Float64[Tensor, "parts dim"]
    weights: Float64[Tensor, " parts"]
    labels: Labels
    schedule: NoiseSchedule

    def __post_init__(self):
        parts = {len(self.means), len(self.variances), len(self.weights), len(self.labels)}
        if len(parts) != 1 or self.means.shape != self.variances.shape:
            raise InputError("means, variances, weights, labels must have the same components.")
        if bool((self.variances <= 0).any()) or bool((self.weights <= 0).any()):
            raise InputError("variances and weights must be positive.")

    def log_density(self, x_t: Points, t: Steps, y: Labels | int | None = None) -> LogProbs:
        """log p(x_t), or log p(x_t | y) where labels are given; differentiable in x_t."""
        log_weights = self._log_weights(x_t, y)
        norm = torch.logsumexp(log_weights, dim=1)
        return torch.logsumexp(log_weights + self._log_parts(x_t, t), dim=1) - norm

    def score(self, x_t: Points, t: Steps, y: Labels | int | None = None) -> Points:
        """grad log p(x_t) = sum_k r_k (sqrt(abar_t) means_k - x_t) / Var_k(x_t)

        Var_k(x_t) = abar_t variances_k + 1 - abar_t; r_k = p(component k | x_t), among those with
        label y where one is given. Closed form, no autograd.
        """
        mean, variance = self._moments(x_t, t)
        return (self._shares(x_t, t, y) * (mean - x_t[:, None]) / variance).sum(dim=1)

    def x_0(self, x_t: Points, t: Steps, y: Labels | int | None = None) -> Points:
        """E[x_0 | x_t] = sum_k r_k (means_k + Cov_k / Var_k(x_t) (x_t - sqrt(abar_t) means_k))

        Cov_k = Cov_k(x_0, x_t) = sqrt(abar_t) variances_k: regression within a Gaussian.
        """
        mean, variance = self._moments(x_t, t)
        covariance = extract(self.schedule.abar.sqrt(), t, x_t)[:, :, None] * self.variances
        x_0_of_part = self.means + covariance / variance * (x_t[:, None] - mean)
        return (self._shares(x_t, t, y) * x_0_of_part).sum(dim=1)

    def eps(self, y: Labels | int | None = None) -> Denoiser:
        """E[eps | x_t] = sum_k r_k Cov / Var_k(x_t) (x_t - sqrt(abar_t) means_k)

        Cov = Cov(eps, x_t) = sqrt(1 - abar_t): the optimal denoiser, given y if there
        is one. It does not use the score, so M3 is a claim, no definition.
        """

        def exact(x_t: Points, t: Steps) -> Points:
            mean, variance = self._moments(x_t, t)
            covariance = extract((1 - self.schedule.abar).sqrt(), t, x_t)[:, :, None]
            factors = self._shares(x_t, t, y) * covariance / variance
            return (factors * (x_t[:, None] - mean)).sum(dim=1)

        return exact

    def log_prob(self, y: Labels | int) -> LogProb:
        """log p(y|x_t) = log sum of r_k with label y. It needs no p(x_t|y), so M1 is a claim."""

        def exact(x_t: Points, t: Steps) -> LogProbs:
            log_r = torch.log_softmax(self._log_weights(x_t, None) + self._log_parts(x_t, t), dim=1)
            return torch.logsumexp(log_r.masked_fill(self._others(x_t, y), -torch.inf), dim=1)

        return exact

    def sample(self, n: int, generator: torch.Generator) -> tuple[Points, Labels]:
        """n draws of x_0 with their labels."""
        part = torch.multinomial(self.weights, n, replacement=True, generator=generator)
        shape = n, self.means.shape[1]
        noise = torch.randn(shape, generator=generator, dtype=torch.float64, device="cpu")
        return self.means[part] + self.variances[part].sqrt() * noise, self.labels[part]

    def _moments(self, x_t: Points, t: Steps) -> tuple[Tensor, Tensor]:
        abar = extract(self.schedule.abar, t, x_t)[:, :, None]  # (batch, 1, 1)
        mean, variance = abar.sqrt() * self.means, abar * self.variances + 1 - abar
        return mean, variance  # each (batch, parts, dim)

    def _log_parts(self, x_t: Points, t: Steps) -> Tensor:
        mean, variance = self._moments(x_t, t)
        squares = (x_t[:, None] - mean).square() / variance
        return -0.5 * (squares + torch.log(2 * torch.pi * variance)).sum(dim=2)  # (batch, parts)

    def _shares(self, x_t: Points, t: Steps, y: Labels | int | None) -> Tensor:
        log_r = self._log_weights(x_t, y) + self._log_parts(x_t, t)
        return torch.softmax(log_r, dim=1)[:, :, None]  # (batch, parts, 1)

    def _log_weights(self, x_t: Points, y: Labels | int | None) -> Tensor:
        rows = self.weights.log().expand(len(x_t), -1)
        return rows if y is None else rows.masked_fill(self._others(x_t, y), -torch.inf)

    def _others(self, x_t: Points, y: Labels | int) -> Tensor:
        return torch.as_tensor(y).expand(len(x_t))[:, None] != self.labels  # (batch, parts)


def random_mixture(schedule: NoiseSchedule, dim: int, seed: int = 0) -> GaussianMixture:
    """Six random components of three classes, with unequal weights; closer in many dimensions."""
    g = torch.Generator().manual_seed(seed)
    spread = 1.5 * min(1.0, 2 / dim**0.5)
    means = spread * torch.randn(6, dim, generator=g, dtype=torch.float64, device="cpu")
    variances = 0.05 + 0.5 * torch.rand(6, dim, generator=g, dtype=torch.float64, device="cpu")
    weights = torch.softmax(torch.randn(6, generator=g, dtype=torch.float64, device="cpu"), dim=0)
    labels = torch.tensor([0, 0, 1, 1, 2, 2], device="cpu")
    return GaussianMixture(means, variances, weights, labels, schedule)


def three_classes(schedule: NoiseSchedule) -> GaussianMixture:
    """The plane of the lessons: class 0 has two blobs, 1 and 2 have one; p(y) = 0.45, 0.4, 0.15."""
    table = partial(torch.tensor, dtype=torch.float64, device="cpu")
    means = table([[-1.4, -1.0], [-0.6, 1.2], [1.4, -0.8], [1.0, 1.1]])
    variances = table([[0.10, 0.05], [0.05, 0.10], [0.08, 0.15], [0.10, 0.06]])
    weights = table([0.25, 0.2, 0.4, 0.15])
    labels = torch.tensor([0, 0, 1, 2], device="cpu")
    return GaussianMixture(means, variances, weights, labels, schedule)
