"""The tilted distribution: closed forms, importance weights, resampling counted by hand."""

import math

import pytest
import torch

from minidiff.analytic.gaussian_mixture import three_classes
from minidiff.analytic.gaussians import GaussianPair, gaussian_eps
from minidiff.analytic.smc import chosen_rows, effective_number, powered_samples
from minidiff.diffusion.samplers import ancestral_path, final_sample
from minidiff.diffusion.schedule import cosine, linear

PAIR = GaussianPair()


@pytest.mark.parametrize("s", [0.5, 2.0, 3.0, 5.0])
def test_the_variance_is_that_of_the_tilted_distribution(s):
    """2 / (s + 1), within 5 standard errors and 2 % for 400 steps; DDPM and DDIM miss it."""
    n, schedule, g = 20_000, linear(T=400), torch.Generator().manual_seed(0)
    cond, uncond = (gaussian_eps(schedule, variance=variance) for variance in (1.0, 2.0))
    x_T = torch.randn(n, 1, generator=g, dtype=torch.float64)
    got = powered_samples(cond, uncond, x_T, schedule, s, g).var().item()
    wanted = PAIR.powered_variance(s)
    # resampled rows are worth fewer: twice the error
    tolerance = wanted * (5 * math.sqrt(2 / n) * 2 + 0.02)
    assert abs(got - wanted) < tolerance
    if s > 2:  # closer to 1 the three distributions are too near for this tolerance
        for other in (PAIR.ddpm_variance(s), PAIR.ddim_variance(s)):
            assert abs(other - wanted) > tolerance


def test_in_the_plane_against_importance_weights():
    """p(x|y)^3 p(x)^-2 by weighing exact draws of p(x|y): means and spreads of both coordinates."""
    world, y, s, n = three_classes(cosine(T=400)), 0, 3.0, 8_000
    g = torch.Generator().manual_seed(1)
    x_0, label = world.sample(200_000, g)
    x_0 = x_0[label == y]
    zero = torch.zeros(len(x_0), dtype=torch.int64)
    # p(x|y)^s p(x)^(1-s) ~ p(x|y) p(y|x)^(s-1)
    weight = torch.softmax((s - 1) * world.log_prob(y)(x_0, zero), dim=0)[:, None]
    mean = (weight * x_0).sum(dim=0)
    spread = (weight * (x_0 - mean).square()).sum(dim=0).sqrt()
    x_T = torch.randn(n, 2, generator=g, dtype=torch.float64)
    x = powered_samples(world.eps(y), world.eps(), x_T, world.schedule, s, g)
    assert (x.mean(dim=0) - mean).abs().max() < 0.08
    assert (x.std(dim=0) / spread - 1).abs().max() < 0.08


def test_s_1_is_the_conditional_sampler():
    """Equal weights: the numbers of ancestral_path, up to the final shuffle."""
    world, g = three_classes(linear(T=50, max_signal=1.0)), torch.Generator()
    x_T = torch.randn(40, 2, generator=g.manual_seed(2), dtype=torch.float64)
    cond, schedule = world.eps(1), world.schedule
    path = ancestral_path(cond, x_T, schedule, g.manual_seed(3), schedule.large_variance)
    expected = final_sample(path)
    found = powered_samples(cond, world.eps(), x_T, schedule, 1.0, g.manual_seed(3))
    torch.testing.assert_close(found, expected)


def test_rows_are_drawn_in_proportion_to_their_weights():
    shares = torch.tensor([0.5, 0.25, 0.125, 0.125], dtype=torch.float64)
    weight = shares.repeat_interleave(100) / 100
    rows = chosen_rows(weight.log(), torch.Generator().manual_seed(0))
    counts = (rows // 100).bincount(minlength=4)
    assert ((counts - 400 * shares).abs() <= 1).all()
    one = torch.tensor([0.0, -1e9, -1e9], dtype=torch.float64)
    assert chosen_rows(one, torch.Generator()).tolist() == [0, 0, 0]
    assert effective_number(one) == pytest.approx(1)
    assert effective_number(torch.full((7,), 3.0, dtype=torch.float64)) == pytest.approx(7)
    two_to_one = torch.tensor([2.0, 1.0], dtype=torch.float64).log()
    assert effective_number(two_to_one) == pytest.approx(9 / 5)
