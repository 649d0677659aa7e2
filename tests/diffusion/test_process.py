"""The closed forms against many single steps and Gaussian conditioning."""

import torch
from helpers import normal
from torch.testing import assert_close

from minidiff.diffusion.process import (
    draw_noise,
    eps_from_score,
    eps_from_x_0,
    posterior_mean,
    q_sample,
    score_from_eps,
    x_0_from_eps,
)


def test_q_sample_has_the_moments_of_many_single_steps(schedule):
    """x_t = sqrt(1 - beta_t) x_{t-1} + sqrt(beta_t) eps_t: moments carried by hand to every t."""
    mean, variance = 1.0, 0.0
    one, zero = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, 1, dtype=torch.float64)
    for t in torch.arange(1, schedule.T + 1)[:, None]:
        beta = schedule.beta[t].item()
        mean, variance = (1 - beta) ** 0.5 * mean, (1 - beta) * variance + beta
        signal = q_sample(one, t, zero, schedule).item()
        noise = q_sample(zero, t, one, schedule).item()
        assert abs(signal - mean) < 1e-12
        assert abs(noise**2 - variance) < 1e-12


def test_t_0_is_clean_data(schedule):
    x_0, eps = torch.randn(2, 3, 1, 4, 4, generator=torch.Generator().manual_seed(0)).unbind(0)
    assert torch.equal(q_sample(x_0, torch.zeros(3, dtype=torch.int64), eps, schedule), x_0)


def test_there_and_back(world):
    eps, x_t, t, schedule = normal(2, *world.x_t.shape), world.x_t, world.t, world.schedule
    x_0 = x_0_from_eps(x_t, t, eps, schedule)
    assert_close(q_sample(x_0, t, eps, schedule), x_t, rtol=0, atol=1e-12)
    assert_close(eps_from_x_0(x_t, t, x_0, schedule), eps, rtol=1e-9, atol=1e-9)
    score = score_from_eps(eps, t, schedule)
    assert_close(eps_from_score(score, t, schedule), eps, rtol=1e-14, atol=0)


def test_score_is_the_gradient_of_the_gaussian(schedule):
    """grad log N(x_t; sqrt(abar) x_0, 1 - abar) by autograd, against -eps / sqrt(1 - abar)."""
    g = torch.Generator().manual_seed(3)
    t = torch.arange(1, schedule.T + 1)
    x_0, eps = torch.randn(2, len(t), 5, dtype=torch.float64, generator=g).unbind(0)
    x_t = q_sample(x_0, t, eps, schedule).requires_grad_()
    abar = schedule.abar[t][:, None]
    log_q = torch.distributions.Normal(abar.sqrt() * x_0, (1 - abar).sqrt()).log_prob(x_t).sum()
    (by_autograd,) = torch.autograd.grad(log_q, x_t)
    assert_close(score_from_eps(eps, t, schedule), by_autograd, rtol=1e-9, atol=1e-9)


def test_posterior_mean_is_gaussian_conditioning(schedule):
    """q(x_{t-1}|x_t, x_0) by conditioning the joint Gaussian of (x_{t-1}, x_t)."""
    t = torch.arange(2, schedule.T + 1)
    x_0, x_t = normal(4, 2, len(t), 3).unbind(0)
    tables = schedule.beta[t], schedule.abar[t - 1], schedule.abar[t]
    beta, before, now = (table[:, None] for table in tables)
    covariance = (1 - beta).sqrt() * (1 - before)  # of x_{t-1} and x_t, given x_0
    mean = before.sqrt() * x_0 + covariance / (1 - now) * (x_t - now.sqrt() * x_0)
    variance = (1 - before) - covariance**2 / (1 - now)
    assert_close(posterior_mean(x_t, t, x_0, schedule), mean, rtol=0, atol=1e-11)
    assert_close(schedule.small_variance[t][:, None], variance, rtol=0, atol=1e-12)


def test_posterior_mean_at_t_1_is_x_0(schedule):
    x_0, x_t = torch.randn(2, 4, 3, dtype=torch.float64).unbind(0)
    mean = posterior_mean(x_t, torch.ones(4, dtype=torch.int64), x_0, schedule)
    assert_close(mean, x_0, rtol=1e-12, atol=1e-12)


def test_noise_comes_from_the_generator_alone():
    like = torch.zeros(2, 1, 28, 28)
    first = draw_noise(like, torch.Generator().manual_seed(5))
    torch.manual_seed(99)
    again = draw_noise(like, torch.Generator().manual_seed(5))
    assert torch.equal(first, again)
    assert not torch.equal(first, draw_noise(like, torch.Generator().manual_seed(6)))


def test_noise_is_standard_normal_in_the_dtype_of_x_t():
    n = 100_000
    noise = draw_noise(torch.zeros(n, 1, dtype=torch.float64), torch.Generator().manual_seed(7))
    assert noise.dtype == torch.float64
    assert abs(noise.mean().item()) < 5 / n**0.5
    assert abs(noise.square().mean().item() - 1) < 5 * (2 / n) ** 0.5
