"""Variants: switched off each is M6; switched on, it does what its equation says."""

import math
from itertools import pairwise

import pytest
import torch
from helpers import normal
from torch.testing import assert_close

from minidiff.diffusion.guidance import classifier_free
from minidiff.diffusion.process import x_0_from_eps
from minidiff.diffusion.samplers import batch_t, ddim_path, ddim_step, ddim_timesteps, final_sample
from minidiff.diffusion.schedule import cosine
from minidiff.diffusion.variants import (
    autoguided,
    limited,
    plus_plus_path,
    projected,
    rescaled,
    scale_of_plus_plus,
    thresholded,
)
from minidiff.symbols import InputError


@pytest.fixture
def pair(world):
    return world.mixture.eps(world.y), world.mixture.eps()


@pytest.mark.parametrize(("low", "high"), [(0, 1000), (500, 500), (200, 600)])
def test_rows_are_guided_where_their_own_t_lies_in_the_interval(world, pair, low, high):
    guided = classifier_free(*pair, 3.0)(world.x_t, world.t)
    mixed = limited(*pair, 3.0, low, high)(world.x_t, world.t)
    inside = (world.t > low) & (world.t <= high)
    assert inside.sum() == high - low
    assert torch.equal(mixed[inside], guided[inside])
    assert torch.equal(mixed[~inside], pair[0](world.x_t, world.t)[~inside])


def test_an_empty_interval_the_wrong_way_round_is_refused(pair):
    with pytest.raises(InputError, match="low = 600, high = 200"):
        limited(*pair, 3.0, 600, 200)


def test_outside_the_interval_guidance_costs_nothing(world, pair):
    called = []

    def uncond(x_t, t):
        called.append(t)
        return x_t

    eps = limited(pair[0], uncond, 3.0, 200, 600)
    for t, calls in ((200, 0), (201, 1), (600, 2), (601, 2)):
        eps(world.x_t, torch.full_like(world.t, t))
        assert len(called) == calls


def test_rescaled_has_the_spread_of_the_conditional_prediction():
    g = torch.Generator().manual_seed(0)
    eps_cond, guided = torch.randn(2, 4, 1, 6, 6, generator=g, dtype=torch.float64).unbind(0)
    guided, x_t, t = 3 * guided + 1, torch.zeros_like(eps_cond), torch.ones(4, dtype=torch.int64)

    def by(phi):
        # M6 with w = 1 is guided
        return rescaled(lambda x, t: eps_cond, lambda x, t: 2 * eps_cond - guided, 1.0, phi)(x_t, t)

    whole = by(1.0)
    assert_close(whole.flatten(1).std(dim=1), eps_cond.flatten(1).std(dim=1), rtol=1e-12, atol=0)
    # a factor for each row
    assert_close(whole / whole[..., :1, :1], guided / guided[..., :1, :1], rtol=1e-12, atol=0)
    assert_close(by(0.0), guided, rtol=0, atol=1e-14)
    assert_close(by(0.5), (whole + guided) / 2, rtol=1e-12, atol=0)


def test_rescaled_v_has_the_spread_of_the_conditional_v(schedule):
    """v = sqrt(abar) eps - sqrt(1 - abar) x_0_hat by its definition, at every 50th t."""
    g, t = torch.Generator().manual_seed(0), torch.arange(50, schedule.T + 1, 50)
    x_t, eps_cond, guided = torch.randn(3, len(t), 36, generator=g, dtype=torch.float64).unbind(0)
    guided = x_t + 3 * (guided - x_t)  # so that v is large

    def v(eps):
        abar = schedule.abar[t][:, None]
        return abar.sqrt() * eps - (1 - abar).sqrt() * (x_t - (1 - abar).sqrt() * eps) / abar.sqrt()

    def mixed(phi, *schedule):
        uncond = 2 * eps_cond - guided  # M6 with w = 1 is guided
        return rescaled(lambda x, t: eps_cond, lambda x, t: uncond, 1.0, phi, *schedule)(x_t, t)

    whole = mixed(1.0, schedule)
    assert_close(v(whole).std(dim=1), v(eps_cond).std(dim=1), rtol=1e-6, atol=0)
    ratio = v(whole) / v(guided)
    assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-5, atol=0)  # a factor for each row
    assert_close(mixed(0.0, schedule), guided, rtol=0, atol=1e-12)
    assert_close(mixed(0.5, schedule), (whole + guided) / 2, rtol=0, atol=1e-12)
    assert (whole - mixed(1.0)).abs().max() > 0.1  # of the noise


def test_dynamic_threshold():
    """eps is chosen so that x_0_hat is known: row 0 stays within 1, row 1 goes to 3."""
    schedule, t = cosine(), torch.tensor([500, 500])
    line = torch.linspace(-1, 1, 201, dtype=torch.float64)
    x_0, x_t = torch.stack([0.9 * line, 3.0 * line]), normal(0, 2, 201)
    a = schedule.abar[500]
    eps = (x_t - a.sqrt() * x_0) / (1 - a).sqrt()
    got = x_0_from_eps(x_t, t, thresholded(lambda x, t: eps, schedule, share=0.5)(x_t, t), schedule)
    assert_close(got[0], x_0[0], rtol=0, atol=1e-10)
    quantile = 1.5  # of |x_0| uniform in 0..3
    assert_close(got[1], x_0[1].clamp(-quantile, quantile) / quantile, rtol=0, atol=1e-10)
    assert got.abs().max() <= 1 + 1e-10


def test_projected_switched_off_is_m6(world, pair):
    by_m6 = classifier_free(*pair, 2.5)(world.x_t, world.t)
    off = projected(*pair, world.schedule, 2.5, parallel=1.0)(world.x_t, world.t)
    # at T the cosine schedule has no signal: x_0_hat loses all digits
    usable = world.schedule.abar[world.t] > 1e-6
    assert_close(off[usable], by_m6[usable], rtol=0, atol=1e-8)


def test_projected_leaves_out_what_lies_along_the_prediction():
    schedule, t = cosine(), torch.tensor([400])
    g = torch.Generator().manual_seed(1)
    x_t, eps_cond, eps_uncond = torch.randn(3, 1, 5, generator=g, dtype=torch.float64).unbind(0)
    x_cond, x_uncond = (x_0_from_eps(x_t, t, eps, schedule) for eps in (eps_cond, eps_uncond))
    difference = x_cond - x_uncond

    def changed(**options):
        pair = (lambda x, t: eps_cond, lambda x, t: eps_uncond)
        eps = projected(*pair, schedule, 2.0, **options)(x_t, t)
        return x_0_from_eps(x_t, t, eps, schedule) - x_cond

    across = changed()
    assert abs((across * x_cond).sum()) < 1e-9
    unit = x_cond / x_cond.norm()
    along = (difference * unit).sum() * unit
    assert_close(across, 2 * (difference - along), rtol=0, atol=1e-9)
    length = difference.norm().item()
    for longest, factor in ((length / 4, 1 / 4), (10 * length, 1)):
        whole = changed(parallel=1.0, longest=longest)
        assert_close(whole, 2 * factor * difference, rtol=0, atol=1e-9)


def test_autoguidance_starts_at_the_good_model(world, pair):
    at = (world.x_t, world.t)
    good, weak = (eps(*at) for eps in pair)
    assert torch.equal(autoguided(*pair, 0.0)(*at), good)
    assert_close(autoguided(*pair, 1.5)(*at), good + 1.5 * (good - weak), rtol=0, atol=1e-10)


def test_plus_plus_at_0_is_the_unconditional_path(world):
    cond, uncond, schedule = world.mixture.eps(0), world.mixture.eps(), world.schedule
    x_T = normal(2, 20, world.x_t.shape[1])
    found = final_sample(plus_plus_path(cond, uncond, x_T, schedule, 0.0, steps=20))
    expected = final_sample(ddim_path(uncond, x_T, schedule, 20))
    assert_close(found, expected, rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_plus_plus_is_cfg_with_its_own_scale_in_every_step(world, scale):
    """Every step is DDIM with s = scale a / (a - b); in the last b = 0, and s is the scale."""
    cond, uncond, schedule = world.mixture.eps(0), world.mixture.eps(), world.schedule
    x_t = normal(3, 20, world.x_t.shape[1])
    path = plus_plus_path(cond, uncond, x_t, schedule, scale, 20)
    for step, sample in zip(pairwise(ddim_timesteps(schedule, 20)), path, strict=True):
        s = scale_of_plus_plus(schedule, step, scale)
        assert s >= scale
        eps = classifier_free(cond, uncond, s - 1)(x_t, batch_t(step[0], x_t))
        expected = ddim_step(x_t, step, eps, schedule).x_t
        size = max(1.0, expected.abs().max().item())
        if math.sqrt(schedule.abar[step[0]]) > 1e-3:
            assert_close(sample.x_t, expected, rtol=0, atol=1e-8 * size)
        x_t = sample.x_t
    assert s == pytest.approx(scale)
