"""The three variances of guided samples: closed forms, the samplers' own recursion, and samples."""

import math

import pytest
import torch
from torch.testing import assert_close

from minidiff.analytic.gaussian_mixture import GaussianMixture
from minidiff.analytic.gaussians import GaussianPair, gaussian_eps
from minidiff.diffusion.samplers import ancestral_path, ddim_path, final_sample
from minidiff.diffusion.schedule import cosine, linear
from minidiff.symbols import InputError

SCALES = [1, 2, 3, 5, 8]
PAIR = GaussianPair()
NAMES = ("ddim", "ddpm", "powered")


@pytest.mark.parametrize("g", SCALES)
def test_general_forms_are_the_published_ones(g):
    """With cond = 1, uncond = 2   [Bradley & Nakkiran 2024]"""
    assert PAIR.ddim_variance(g) == pytest.approx(2 ** (1 - g), rel=1e-14)
    assert PAIR.ddpm_variance(g) == pytest.approx((2 - 2 ** (2 - 2 * g)) / (2 * g - 1), rel=1e-12)
    assert PAIR.powered_variance(g) == pytest.approx(2 / (g + 1), rel=1e-14)


@pytest.mark.parametrize("pair", [PAIR, GaussianPair(0.3, 1.4), GaussianPair(1.5, 0.4)])
@pytest.mark.parametrize("g", [0.3, 0.5, 2.0, 5.0])
def test_closed_forms_solve_their_equations(pair, g):
    """DDPM's integral by quadrature, DDIM's ODE by its slope, in sigma^2 = (1 - abar) / abar."""

    def left(s):
        cond, uncond = (variance / (variance + s) for variance in (pair.cond, pair.uncond))
        return cond ** (2 * g) * uncond ** (2 - 2 * g)

    # s = u / (1 - u) runs over (0, infinity)
    u = (torch.arange(200_000, dtype=torch.float64) + 0.5) / 200_000
    integral = (left(u / (1 - u)) / (1 - u) ** 2).mean().item()
    assert pair.ddpm_variance(g) == pytest.approx(integral, rel=1e-6)
    s = torch.logspace(-6, 9, 300_001, dtype=torch.float64)
    slope = (g / (pair.cond + s) + (1 - g) / (pair.uncond + s)) / 2
    # of log x from sigma^2 = 1e9, where its variance is 1e9, to 1e-6
    fall = torch.trapezoid(slope * s, s.log()).item()
    assert pair.ddim_variance(g) == pytest.approx(1e9 * math.exp(-2 * fall), rel=1e-4)


@pytest.mark.parametrize(("make", "g"), [*((linear, g) for g in SCALES), (cosine, 3)])
def test_samplers_reach_the_closed_forms_by_recursion(make, g):
    """T = 1000 steps: within 2 % of the limit for DDIM, 0.5 % for DDPM with beta."""
    schedule = make()
    assert PAIR.after_ddim(schedule, g) == pytest.approx(PAIR.ddim_variance(g), rel=0.02)
    after = PAIR.after_ddpm(schedule, g, schedule.large_variance)
    assert after == pytest.approx(PAIR.ddpm_variance(g), rel=0.005)
    by_hand = variance_by_recursion(schedule, g, schedule.large_variance)
    assert after == pytest.approx(by_hand, rel=1e-10)


def test_more_steps_come_closer():
    schedules = linear(100), linear(400)
    ddim = [PAIR.after_ddim(schedule, 3) for schedule in schedules]
    ddpm = [PAIR.after_ddpm(schedule, 3, schedule.small_variance) for schedule in schedules]
    for limit, values in ((PAIR.ddim_variance(3), ddim), (PAIR.ddpm_variance(3), ddpm)):
        coarse, fine = (abs(value - limit) for value in values)
        assert fine < coarse / 3


def test_its_denoiser_is_the_one_of_the_mixture(world):
    one, label = torch.ones(1, 1, dtype=torch.float64), torch.zeros(1, dtype=torch.int64)
    mixture = GaussianMixture(0.7 * one, 0.3 * one, one[0], label, world.schedule)
    x_t, eps = world.x_t[:, :1], gaussian_eps(world.schedule, 0.7, 0.3)
    assert_close(eps(x_t, world.t), mixture.eps()(x_t, world.t), rtol=0, atol=1e-12)


def test_the_finite_step_numbers_of_the_linear_schedule():
    """g = 3, T = 1000: DDIM .2485, DDPM .3879 (beta), .3819 (beta-tilde)."""
    schedule = linear()
    assert PAIR.after_ddim(schedule, 3) == pytest.approx(0.2485, abs=5e-5)
    assert PAIR.after_ddpm(schedule, 3, schedule.large_variance) == pytest.approx(0.3879, abs=5e-5)
    assert PAIR.after_ddpm(schedule, 3, schedule.small_variance) == pytest.approx(0.3819, abs=5e-5)


def variance_by_recursion(schedule, g, sigma2):
    """Var x_{t-1} = A_t^2 Var x_t + sigma_t^2, by hand: eps_t = k_t x_t for these Gaussians."""
    variance = 1.0
    for t in range(schedule.T, 0, -1):
        abar, beta = schedule.abar[t].item(), schedule.beta[t].item()
        k = math.sqrt(1 - abar) * (g / 1.0 + (1 - g) / (2 * abar + 1 - abar))
        slope = (1 - beta / math.sqrt(1 - abar) * k) / math.sqrt(1 - beta)
        variance = slope**2 * variance + sigma2[t].item()
    return variance


@pytest.mark.parametrize("g", SCALES)
def test_samples_have_the_variance_of_the_recursion(g):
    """20,000 samples, T = 200, 5 standard errors; no other distribution's variance is near."""
    schedule, n = linear(T=200), 20_000
    generator = torch.Generator().manual_seed(g)
    x_T = torch.randn(n, 1, generator=generator, dtype=torch.float64)
    eps, large = PAIR.denoiser(schedule, g), schedule.large_variance
    by_ddim = final_sample(ddim_path(eps, x_T, schedule, schedule.T)).var().item()
    by_ddpm = final_sample(ancestral_path(eps, x_T, schedule, generator, large)).var().item()
    five = 5 * math.sqrt(2 / (n - 1))
    assert by_ddim == pytest.approx(PAIR.after_ddim(schedule, g), rel=five)
    assert by_ddpm == pytest.approx(PAIR.after_ddpm(schedule, g, large), rel=five)
    if g > 1:
        ddim, ddpm, tilted = (getattr(PAIR, f"{name}_variance")(g) for name in NAMES)
        assert ddim < by_ddpm * (1 - five) < by_ddpm * (1 + five) < tilted
        assert by_ddim * (1 + five) < ddpm


def test_equal_variances_and_scales_that_have_no_distribution():
    assert GaussianPair(0.7, 0.7).ddpm_variance(3) == 0.7
    assert GaussianPair(0.7, 0.7 + 1e-7).ddpm_variance(3) == pytest.approx(0.7, rel=1e-5)
    with pytest.raises(InputError, match="no finite mass for s = -1"):
        PAIR.powered_variance(-1)
    with pytest.raises(InputError, match="must be positive, got cond = 0"):
        GaussianPair(0, 1)
