"""The samplers on Gaussians: moments carried through all T steps, and a 5-sigma bound."""

import math
from itertools import islice

import pytest
import torch
from helpers import normal
from torch.testing import assert_close

from minidiff.analytic.gaussians import gaussian_eps
from minidiff.diffusion.process import posterior_mean, x_0_from_eps
from minidiff.diffusion.samplers import Sample, ancestral_path, ddim_path, final_sample
from minidiff.symbols import InputError


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def recorder():
    """A denoiser, and every t at which it was called."""
    seen = []

    def eps(x_t, t):
        seen.append(t[0].item())
        return x_t

    return eps, seen


def test_ddim_follows_its_ode_on_a_gaussian(schedule):
    """The probability-flow ODE of N(m, v) is x_t = sqrt(abar) m + std_t u with a constant u."""
    m, v = 0.7, 0.3
    x_T = torch.linspace(-2, 2, 9, dtype=torch.float64)[:, None]
    start = math.sqrt(schedule.abar[-1])
    std_T = math.sqrt(schedule.abar[-1] * v + 1 - schedule.abar[-1])
    exact = m + math.sqrt(v) * (x_T - start * m) / std_T
    eps = gaussian_eps(schedule, m, v)
    coarse, fine = (
        (final_sample(ddim_path(eps, x_T, schedule, steps)) - exact).abs().max()
        for steps in (100, schedule.T)
    )
    assert fine < 5e-3
    # a first-order method: a tenth of the step, about a tenth of the error
    assert fine < coarse / 5


def test_ancestral_path_has_the_mean_of_the_recursion(schedule):
    """N(0.7, 0.3): mean and variance carried through all T steps, against 20,000 samples."""
    m, v, n = 0.7, 0.3, 20_000
    mean, variance = 0.0, 1.0
    for t in range(schedule.T, 0, -1):
        abar, beta = schedule.abar[t].item(), schedule.beta[t].item()
        share = beta / (abar * v + 1 - abar)  # beta / sqrt(1 - abar) times the slope of eps
        slope = (1 - share) / math.sqrt(1 - beta)
        shift = share * math.sqrt(abar) * m / math.sqrt(1 - beta)
        mean = slope * mean + shift
        variance = slope**2 * variance + schedule.small_variance[t].item()
    z = generator(5)
    x_T = torch.randn(n, 1, generator=z, dtype=torch.float64)
    x_0 = final_sample(ancestral_path(gaussian_eps(schedule, m, v), x_T, schedule, z))
    assert abs(x_0.mean().item() - mean) < 5 * math.sqrt(variance / n)
    assert abs(x_0.var().item() - variance) < 5 * variance * math.sqrt(2 / (n - 1))
    assert (mean, variance) == (pytest.approx(m, abs=5e-3), pytest.approx(v, rel=0.02))


def test_ancestral_step_is_the_posterior_mean(world):
    """Ho's eq. 11 (through eps) against eq. 7 (through x_0_hat), one step from T."""
    schedule, x_T, eps = world.schedule, world.x_t, world.mixture.eps()
    no_variance = torch.zeros_like(schedule.beta)
    first = next(ancestral_path(eps, x_T, schedule, generator(0), no_variance))
    t = torch.full((len(x_T),), schedule.T)
    x_0 = x_0_from_eps(x_T, t, eps(x_T, t), schedule)
    mean = posterior_mean(x_T, t, x_0, schedule)
    assert first.t == schedule.T - 1
    assert_close(first.x_t, mean, rtol=0, atol=1e-12 * x_0.abs().max().item())
    assert torch.equal(first.x_0, x_0)


@pytest.mark.parametrize("table", [None, "large_variance"])
def test_ancestral_step_adds_sigma_z_from_the_generator(schedule, table):
    """Three steps: posterior mean plus sigma z; beta-tilde where no variance is given."""
    x_t, noise = normal(9, 2, 5, 3).unbind(0)
    variance, z = table and getattr(schedule, table), generator(10)
    path = ancestral_path(lambda x_t, t: noise, x_t, schedule, generator(10), variance)
    for reached in islice(path, 3):
        t = torch.full((5,), reached.t + 1)
        sigma = getattr(schedule, table or "small_variance")[reached.t + 1].sqrt()
        mean = posterior_mean(x_t, t, x_0_from_eps(x_t, t, noise, schedule), schedule)
        expected = mean + sigma * torch.randn(5, 3, dtype=torch.float64, generator=z)
        assert_close(reached.x_t, expected, rtol=1e-9, atol=1e-9)
        x_t = reached.x_t


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_ddim_step_is_gaussian_conditioning(schedule, eta):
    """sigma^2 is eta^2 times the variance of q(x_prev|x_t, x_0), by conditioning, not by eq. 16."""
    x_t, noise = normal(6, 2, 5, 3).unbind(0)
    z, t = generator(7), schedule.T
    for reached in ddim_path(lambda x_t, t: noise, x_t, schedule, 7, eta, generator(7)):
        now, prev = schedule.abar[t], schedule.abar[reached.t]
        covariance = (now / prev).sqrt() * (1 - prev)  # of x_prev and x_t, given x_0
        variance = eta**2 * ((1 - prev) - covariance**2 / (1 - now))
        x_0 = (x_t - (1 - now).sqrt() * noise) / now.sqrt()
        expected = prev.sqrt() * x_0 + (1 - prev - variance).sqrt() * noise
        if eta > 0 and reached.t > 0:
            expected += variance.sqrt() * torch.randn(5, 3, dtype=torch.float64, generator=z)
        assert_close(reached.x_t, expected, rtol=1e-9, atol=1e-9)
        x_t, t = reached.x_t, reached.t


def test_ddim_with_eta_1_and_all_steps_is_ancestral(schedule):
    """Both samplers with the same noise: sigma_t at eta = 1 is the root of beta-tilde."""
    eps = gaussian_eps(schedule, mean=0.5, variance=0.2)
    x_T = normal(1, 6, 1)
    by_ddpm = final_sample(ancestral_path(eps, x_T, schedule, generator(2)))
    # at t = 1 DDPM draws a noise that it multiplies by 0; DDIM does not draw it
    by_ddim = final_sample(ddim_path(eps, x_T, schedule, schedule.T, 1.0, generator(2)))
    assert_close(by_ddpm, by_ddim, rtol=0, atol=1e-8)


def test_no_noise_at_the_last_step(schedule):
    """The last x_t is the predicted x_0: the variance at t = 1 is 0 in both tables."""
    eps = gaussian_eps(schedule, 0.3, 0.5)
    x_T = normal(3, 5, 1)
    for table in (schedule.small_variance, schedule.large_variance):
        *_, end = ancestral_path(eps, x_T, schedule, generator(4), table)
        assert end.t == 0
        assert_close(end.x_t, end.x_0, rtol=1e-9, atol=1e-9)
    *_, end = ddim_path(eps, x_T, schedule, steps=7)
    assert end.t == 0
    assert torch.equal(end.x_t, end.x_0)


@pytest.mark.parametrize("steps", [1, 2, 7, 50, 999, 1000])
def test_ddim_visits_evenly_spaced_timesteps_once(schedule, steps):
    eps, seen = recorder()
    reached = [sample.t for sample in ddim_path(eps, torch.ones(1, 1), schedule, steps)]
    assert seen[0] == schedule.T
    assert reached[-1] == 0
    assert seen[1:] == reached[:-1]
    assert len(seen) == len(set(seen)) == steps
    assert reached == [round(schedule.T * left / steps) for left in range(steps - 1, -1, -1)]


def test_ancestral_visits_every_t(schedule):
    eps, seen = recorder()
    final_sample(ancestral_path(eps, torch.ones(1, 1), schedule, generator(0)))
    assert seen == list(range(schedule.T, 0, -1))


def test_a_path_does_nothing_until_it_is_iterated(schedule):
    def never(x_t, t):
        raise AssertionError("called")

    path = ddim_path(never, torch.ones(1, 1), schedule)
    with pytest.raises(AssertionError, match="called"):
        next(path)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"steps": 0}, "between 1 and T = 1000, got 0"),
        ({"steps": 1001}, "between 1 and T = 1000, got 1001"),
        ({"eta": -0.1}, r"eta must lie in \[0, 1\]"),
        ({"eta": math.nan}, r"eta must lie in \[0, 1\]"),
        ({"eta": 0.5}, "eta > 0 needs a generator"),
    ],
)
def test_bad_sampler_options(schedule, options, message):
    path = ddim_path(gaussian_eps(schedule), normal(0, 1, 1), schedule, **options)
    with pytest.raises(InputError, match=message):
        next(path)


def test_a_path_keeps_no_graph(schedule):
    weight, x_T = torch.ones(1, requires_grad=True), torch.ones(2, 1)
    for path in (ancestral_path, ddim_path):
        first = next(path(lambda x_t, t: weight * x_t, x_T, schedule, generator=generator(0)))
        assert not first.x_t.requires_grad
        assert not first.x_0.requires_grad


def test_final_sample_is_the_point_at_the_end_of_a_path():
    x_t, x_0 = normal(8, 2, 3, 1).unbind(0)
    assert torch.equal(final_sample(iter([Sample(1, x_t + 1, x_0 + 1), Sample(0, x_t, x_0)])), x_t)


@pytest.mark.parametrize("rows", [[math.inf], [math.nan], [0.0, math.inf]])
def test_samples_that_are_not_finite_are_refused(rows):
    x_t = torch.tensor(rows)[:, None]
    with pytest.raises(InputError, match="not finite: the guidance weight w is too large"):
        final_sample(iter([Sample(0, x_t, torch.zeros_like(x_t))]))
