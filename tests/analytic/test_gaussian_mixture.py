"""Closed forms against autograd, Bayes' rule by counting components, and samples."""

import math

import pytest
import torch
from torch.testing import assert_close

from minidiff.analytic.gaussian_mixture import GaussianMixture, random_mixture
from minidiff.diffusion.process import q_sample
from minidiff.diffusion.schedule import linear
from minidiff.symbols import InputError


def test_score_is_the_gradient_of_the_log_density(world):
    for y in (None, world.y):
        x_t = world.x_t.clone().requires_grad_()
        (by_autograd,) = torch.autograd.grad(world.mixture.log_density(x_t, world.t, y).sum(), x_t)
        score = world.mixture.score(world.x_t, world.t, y)
        assert_close(score, by_autograd, rtol=1e-10, atol=1e-10)


def test_density_against_torch_distributions(world):
    mixture, t = world.mixture, world.t
    abar = world.schedule.abar[t][:, None, None]
    std = (abar * mixture.variances + 1 - abar).sqrt()
    normal = torch.distributions.Normal(abar.sqrt() * mixture.means, std)
    parts = torch.distributions.Independent(normal, 1)
    mix = torch.distributions.Categorical(mixture.weights.expand(len(t), -1))
    density = torch.distributions.MixtureSameFamily(mix, parts).log_prob(world.x_t)
    assert_close(mixture.log_density(world.x_t, t), density, rtol=1e-11, atol=1e-11)


def test_label_probabilities_sum_to_one_and_are_bayes(world):
    mixture, at = world.mixture, (world.x_t, world.t)
    total = torch.stack([mixture.log_prob(y)(*at) for y in range(3)]).exp().sum(dim=0)
    assert_close(total, torch.ones_like(total), rtol=0, atol=1e-12)
    prior = [mixture.weights[mixture.labels == y].sum() for y in range(3)]
    mixed = sum(prior[y] * mixture.log_density(*at, y).exp() for y in range(3))
    assert_close(mixed.log(), mixture.log_density(*at), rtol=1e-11, atol=1e-11)


def test_eps_is_the_conditional_mean_of_the_noise(schedule):
    """E[eps | x_t in a thin slice] by counting 400,000 draws, against the exact eps."""
    mixture = random_mixture(schedule, dim=1)
    n, g = 400_000, torch.Generator().manual_seed(0)
    x_0, y = mixture.sample(n, g)
    eps = torch.randn(n, 1, generator=g, dtype=torch.float64)
    t = torch.full((n,), 300)
    x_t = q_sample(x_0, t, eps, schedule)
    for condition in (None, 1):
        rows = torch.ones(n, dtype=torch.bool) if condition is None else y == condition
        middle = x_t[rows].median()
        inside = rows & ((x_t[:, 0] - middle).abs() < 0.02)
        counted, error = eps[inside].mean(), eps[inside].std() / math.sqrt(int(inside.sum()))
        exact = mixture.eps(condition)(middle.reshape(1, 1), t[:1])
        assert abs(counted - exact.item()) < 5 * error
        assert inside.sum() > 1000


def test_samples_have_the_moments_of_the_mixture(schedule):
    mixture, n = random_mixture(schedule, dim=2), 100_000
    x_0, y = mixture.sample(n, torch.Generator().manual_seed(1))
    mean = (mixture.weights[:, None] * mixture.means).sum(0)
    second = (mixture.weights[:, None] * (mixture.means**2 + mixture.variances)).sum(0)
    assert ((x_0.mean(0) - mean).abs() < 5 * x_0.std(0) / math.sqrt(n)).all()
    assert ((x_0.square().mean(0) - second).abs() < 5 * x_0.square().std(0) / math.sqrt(n)).all()
    share = mixture.weights[mixture.labels == 0].sum().item()
    assert abs((y == 0).double().mean().item() - share) < 5 * math.sqrt(share * (1 - share) / n)


def test_weights_need_not_sum_to_one(world):
    m = world.mixture
    scaled = GaussianMixture(m.means, m.variances, 7 * m.weights, m.labels, m.schedule)
    for of in (lambda m: m.log_density, lambda m: m.score, lambda m: m.log_prob(1)):
        expected = of(m)(world.x_t, world.t)
        assert_close(of(scaled)(world.x_t, world.t), expected, rtol=1e-11, atol=1e-11)


def test_parts_that_do_not_fit_are_refused():
    one = torch.ones(1, 1, dtype=torch.float64)
    label = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(InputError, match="must be positive"):
        GaussianMixture(one, -one, one[0], label, linear())
    with pytest.raises(InputError, match="the same components"):
        GaussianMixture(one, one, one[0], torch.zeros(2, dtype=torch.int64), linear())
