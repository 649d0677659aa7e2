"""The ruler itself: closed forms against autograd, against Bayes by counting components, and against samples."""

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
        assert_close(world.mixture.score(world.x_t, world.t, y), by_autograd, rtol=1e-10, atol=1e-10)


def test_density_against_torch_distributions(world):
    mixture, t = world.mixture, world.t
    abar = world.schedule.abar[t][:, None, None]
    parts = torch.distributions.Independent(
        torch.distributions.Normal(abar.sqrt() * mixture.means, (abar * mixture.variances + 1 - abar).sqrt()), 1
    )
    mix = torch.distributions.Categorical(mixture.weights.expand(len(t), -1))
    density = torch.distributions.MixtureSameFamily(mix, parts).log_prob(world.x_t)
    assert_close(mixture.log_density(world.x_t, t), density, rtol=1e-11, atol=1e-11)


def test_label_probabilities_sum_to_one_and_are_bayes(world):
    log_p = torch.stack([world.mixture.log_prob(y)(world.x_t, world.t) for y in range(3)], dim=1)
    assert_close(log_p.exp().sum(dim=1), torch.ones(len(world.t), dtype=torch.float64), rtol=0, atol=1e-12)
    mixed = sum(
        world.mixture.log_density(world.x_t, world.t, y).exp() * world.mixture.weights[world.mixture.labels == y].sum()
        for y in range(3)
    )
    assert_close(mixed.log(), world.mixture.log_density(world.x_t, world.t), rtol=1e-11, atol=1e-11)


def test_eps_is_the_conditional_mean_of_the_noise(schedule):
    """E[eps | x_t in a thin slice] by counting 400,000 draws, against the exact eps at the middle of the slice."""
    mixture = random_mixture(schedule, dim=1)
    n, g = 400_000, torch.Generator().manual_seed(0)
    x_0, y = mixture.sample(n, g)
    eps = torch.randn(n, 1, generator=g, dtype=torch.float64)
    t = torch.full((n,), 300)
    x_t = q_sample(x_0, t, eps, schedule)
    for told in (None, 1):
        rows = torch.ones(n, dtype=torch.bool) if told is None else y == told
        middle = x_t[rows].median()
        inside = rows & ((x_t[:, 0] - middle).abs() < 0.02)
        counted, error = eps[inside].mean(), eps[inside].std() / math.sqrt(int(inside.sum()))
        exact = mixture.eps(told)(middle.reshape(1, 1), t[:1])
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
    for name in ("log_density", "score"):
        assert_close(getattr(scaled, name)(world.x_t, world.t), getattr(m, name)(world.x_t, world.t), rtol=1e-11, atol=1e-11)
    assert_close(scaled.log_prob(1)(world.x_t, world.t), m.log_prob(1)(world.x_t, world.t), rtol=1e-11, atol=1e-11)


def test_parts_that_do_not_fit_are_refused():
    one = torch.ones(1, 1, dtype=torch.float64)
    label = torch.zeros(1, dtype=torch.int64)
    with pytest.raises(InputError, match="must be positive"):
        GaussianMixture(one, -one, one[0], label, linear())
    with pytest.raises(InputError, match="the same components"):
        GaussianMixture(one, one, one[0], torch.zeros(2, dtype=torch.int64), linear())
