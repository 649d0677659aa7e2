"""The worlds and points on which claims are executed, and gradients by autograd, not by formula."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property

import torch
from torch import Tensor, distributions

from minidiff.analytic.gaussian_mixture import GaussianMixture, random_mixture
from minidiff.diffusion.guidance import gradient
from minidiff.diffusion.process import posterior_mean, q_sample, x_0_from_eps
from minidiff.diffusion.schedule import NoiseSchedule, cosine, extract, linear
from minidiff.symbols import Labels, LogProbs, Points, Steps, Table

DIMS = (1, 2, 64)
SCHEDULES = {"linear": linear, "cosine": cosine}


@dataclass(frozen=True, eq=False)
class World:
    """A world with points x_t at every t in 1..T, each with a label y; gradients computed once."""

    name: str
    mixture: GaussianMixture
    x_t: Points
    t: Steps
    y: Labels

    @property
    def schedule(self) -> NoiseSchedule:
        """The noise schedule of the world."""
        return self.mixture.schedule

    @property
    def images(self) -> Points:
        """x_t; in 64 dimensions shaped as images, (batch, 1, 8, 8), so that formulas meet both."""
        return self.x_t.reshape(-1, 1, 8, 8) if self.x_t.shape[1] == 64 else self.x_t

    def column(self, table: Table, shift: int = 0) -> Tensor:
        """A table of the schedule at t of each row, or `shift` levels above it: (batch, 1)."""
        return extract(table, self.t + shift, self.x_t)

    @cached_property
    def root(self) -> Tensor:
        """sqrt(1 - abar_t)"""
        return self.column((1 - self.schedule.abar).sqrt())

    @cached_property
    def u(self) -> Points:
        """A random unit vector for each row."""
        g = torch.Generator().manual_seed(0)
        u = torch.randn(self.x_t.shape, generator=g, dtype=torch.float64, device="cpu")
        return u / u.norm(dim=1, keepdim=True)

    def gradient(self, log_p: Callable[[Points], LogProbs]) -> Points:
        """The gradient of any log density with respect to x_t, by autograd."""
        x_t = self.x_t.clone().requires_grad_()
        return torch.autograd.grad(log_p(x_t).sum(), x_t)[0]

    def log_p(self, x_t: Points) -> LogProbs:
        """log p(x_t)"""
        return self.mixture.log_density(x_t, self.t)

    def log_p_given_y(self, x_t: Points) -> LogProbs:
        """log p(x_t | y)"""
        return self.mixture.log_density(x_t, self.t, self.y)

    def log_y(self, x_t: Points) -> LogProbs:
        """log p(y | x_t)"""
        return self.mixture.log_prob(self.y)(x_t, self.t)

    @cached_property
    def log_prior(self) -> LogProbs:
        """log p(y)"""
        same = self.mixture.labels == self.y[:, None]
        return (same * self.mixture.weights).sum(dim=1).log() - self.mixture.weights.sum().log()

    @cached_property
    def log_p_by_torch(self) -> Tensor:
        """log p(x_t | y) by torch.distributions alone, class by class: (batch, 1)."""
        log_p, abar = torch.empty_like(self.root), self.schedule.abar[self.t][:, None, None]
        mean = abar.sqrt() * self.mixture.means
        std = (abar * self.mixture.variances + 1 - abar).sqrt()
        for label in self.mixture.labels.unique():
            rows, parts = self.y == label, self.mixture.labels == label
            weights = self.mixture.weights[parts].expand(int(rows.sum()), -1)
            normal = distributions.Normal(mean[rows][:, parts], std[rows][:, parts])
            mixture = distributions.MixtureSameFamily(
                distributions.Categorical(weights), distributions.Independent(normal, 1)
            )
            log_p[rows, 0] = mixture.log_prob(self.x_t[rows])
        return log_p

    @cached_property
    def eps_uncond(self) -> Points:
        """E[eps | x_t], in closed form."""
        return self.mixture.eps()(self.x_t, self.t)

    @cached_property
    def eps_cond(self) -> Points:
        """E[eps | x_t, y], in closed form."""
        return self.mixture.eps(self.y)(self.x_t, self.t)

    @cached_property
    def of_y(self) -> Points:
        """grad log p(y | x_t), by autograd."""
        return self.gradient(self.log_y)

    @cached_property
    def of_x(self) -> Points:
        """grad log p(x_t), by autograd."""
        return self.gradient(self.log_p)

    @cached_property
    def of_class_0(self) -> Points:
        """grad log p(y = 0 | x_t), whatever the label is."""
        return gradient(self.mixture.log_prob(0), self.x_t, self.t)

    @cached_property
    def of_clean(self) -> Points:
        """The gradient of the exact classifier of clean images, shown the noisy one."""
        return gradient(self.mixture.log_prob(self.y), self.x_t, 0 * self.t)

    @cached_property
    def mean(self) -> Points:
        """The mean of the DDPM step without guidance   [Ho 2020, eq. 7]"""
        return self.mean_with(self.eps_uncond)

    def mean_with(self, eps: Points) -> Points:
        """The mean of the DDPM step with this noise   [Ho 2020, eq. 7]"""
        x_0 = x_0_from_eps(self.x_t, self.t, eps, self.schedule)
        return posterior_mean(self.x_t, self.t, x_0, self.schedule)

    @cached_property
    def of_y_after(self) -> Points:
        """The gradient at the image after that step, at its own level t - 1."""
        return gradient(self.mixture.log_prob(self.y), self.mean, self.t - 1)

    @cached_property
    def score_scale(self) -> Tensor:
        """The largest entry of grad log p(x_t) and grad log p(x_t | y) at the t of each row."""
        scores = torch.stack([self.mixture.score(self.x_t, self.t, y) for y in (None, self.y)])
        largest = scores.abs().amax(dim=(0, 2))
        zeros = torch.zeros(self.schedule.T + 1, dtype=torch.float64, device="cpu")
        return self.column(zeros.scatter_reduce(0, self.t, largest, "amax"))


def all_worlds() -> Iterator[World]:
    """1, 2 and 64 dimensions under both schedules: 4 points at every t, 2 in 64 dimensions."""
    for name, make in SCHEDULES.items():
        for dim in DIMS:
            each = 2 if dim > 2 else 4
            yield draw_world(f"{dim}-D {name}", random_mixture(make(), dim), each)


def draw_world(name: str, mixture: GaussianMixture, each: int, seed: int = 1) -> World:
    """`each` points of q_sample at every t; about half have their own label, the others any."""
    g = torch.Generator().manual_seed(seed)
    t = torch.arange(1, mixture.schedule.T + 1, device="cpu").repeat(each)
    x_0, y = mixture.sample(len(t), g)
    noise = torch.randn(x_0.shape, generator=g, dtype=torch.float64, device="cpu")
    part = torch.randint(len(mixture.labels), (len(t),), generator=g, device="cpu")
    own = torch.rand(len(t), generator=g, dtype=torch.float32, device="cpu") < 0.5
    y = torch.where(own, y, mixture.labels[part])
    return World(name, mixture, q_sample(x_0, t, noise, mixture.schedule), t, y)
