"""Later ideas: switched off each is M6, bit for bit or to rounding; switched on, it does what its equation says."""

import math
from itertools import pairwise

import pytest
import torch
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


def test_all_levels_is_plain_guidance_and_none_is_none(world, pair):
    cond, null = pair
    guided, T = classifier_free(cond, null, 3.0), world.schedule.T
    assert torch.equal(limited(cond, null, 3.0, 0, T)(world.x_t, world.t), guided(world.x_t, world.t))
    assert torch.equal(limited(cond, null, 3.0, 500, 500)(world.x_t, world.t), cond(world.x_t, world.t))


def test_every_row_is_guided_by_its_own_level(world, pair):
    cond, null = pair
    guided = classifier_free(cond, null, 3.0)
    mixed, inside = limited(cond, null, 3.0, 200, 600)(world.x_t, world.t), (world.t > 200) & (world.t <= 600)
    assert 0 < inside.sum() == 400
    assert torch.equal(mixed[inside], guided(world.x_t, world.t)[inside])
    assert torch.equal(mixed[~inside], cond(world.x_t, world.t)[~inside])
    with pytest.raises(InputError, match="low = 600, high = 200"):
        limited(cond, null, 3.0, 600, 200)


def test_outside_the_interval_guidance_costs_nothing(world, pair):
    asked = []

    def uncond(x_t, t):
        asked.append(t)
        return x_t

    eps = limited(pair[0], uncond, 3.0, 200, 600)
    for level, calls in ((200, 0), (201, 1), (600, 2), (601, 2)):
        eps(world.x_t, torch.full_like(world.t, level))
        assert len(asked) == calls


def test_rescaled_has_the_spread_of_the_conditional_guess():
    g = torch.Generator().manual_seed(0)
    eps_cond, guided = torch.randn(2, 4, 1, 6, 6, generator=g, dtype=torch.float64).unbind(0)
    guided, x_t, t = 3 * guided + 1, torch.zeros_like(eps_cond), torch.ones(4, dtype=torch.int64)

    def by(phi):
        return rescaled(lambda x, t: eps_cond, lambda x, t: 2 * eps_cond - guided, 1.0, phi)(x_t, t)  # M6 with w = 1 is guided

    whole = by(1.0)
    assert_close(whole.flatten(1).std(dim=1), eps_cond.flatten(1).std(dim=1), rtol=1e-12, atol=0)
    assert_close(whole / whole[..., :1, :1], guided / guided[..., :1, :1], rtol=1e-12, atol=0)  # a factor for each row
    assert_close(by(0.0), guided, rtol=0, atol=1e-14)
    assert_close(by(0.5), (whole + guided) / 2, rtol=1e-12, atol=0)


def test_rescaled_v_has_the_spread_of_the_conditional_v(schedule):
    """v = sqrt(abar) eps - sqrt(1 - abar) x_0_hat, by its definition, at every 50th level and at T."""
    g, t = torch.Generator().manual_seed(0), torch.arange(50, schedule.T + 1, 50)
    x_t, eps_cond, guided = torch.randn(3, len(t), 36, generator=g, dtype=torch.float64).unbind(0)
    guided = x_t + 3 * (guided - x_t)  # so that v is large

    def v(eps):
        abar = schedule.abar[t][:, None]
        return abar.sqrt() * eps - (1 - abar).sqrt() * (x_t - (1 - abar).sqrt() * eps) / abar.sqrt()

    def mixed(phi):
        return rescaled(lambda x, level: eps_cond, lambda x, level: 2 * eps_cond - guided, 1.0, phi, schedule)(x_t, t)

    assert_close(v(mixed(1.0)).std(dim=1), v(eps_cond).std(dim=1), rtol=1e-6, atol=0)
    ratio = v(mixed(1.0)) / v(guided)
    assert_close(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-5, atol=0)  # a factor for each row
    assert_close(mixed(0.0), guided, rtol=0, atol=1e-12)
    assert_close(mixed(0.5), (mixed(1.0) + guided) / 2, rtol=0, atol=1e-12)
    of_noise = rescaled(lambda x, level: eps_cond, lambda x, level: 2 * eps_cond - guided, 1.0, 1.0)(x_t, t)
    assert (mixed(1.0) - of_noise).abs().max() > 0.1


def test_dynamic_threshold():
    """x_0_hat is known here: eps is chosen so that it comes out; row 0 stays within 1, row 1 goes to 3."""
    schedule, t = cosine(), torch.tensor([500, 500])
    x_0 = torch.linspace(-1, 1, 201, dtype=torch.float64).repeat(2, 1) * torch.tensor([[0.9], [3.0]], dtype=torch.float64)
    x_t = torch.randn(2, 201, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    a = schedule.abar[500]
    eps = (x_t - a.sqrt() * x_0) / (1 - a).sqrt()
    got = x_0_from_eps(x_t, t, thresholded(lambda x, t: eps, schedule, share=0.5)(x_t, t), schedule)
    assert_close(got[0], x_0[0], rtol=0, atol=1e-10)
    quantile = 1.5  # of |x_0| uniform in 0..3
    assert_close(got[1], x_0[1].clamp(-quantile, quantile) / quantile, rtol=0, atol=1e-10)
    assert got.abs().max() <= 1 + 1e-10


def test_projected_switched_off_is_m6(world, pair):
    cond, null = pair
    plain = classifier_free(cond, null, 2.5)(world.x_t, world.t)
    off = projected(cond, null, world.schedule, 2.5, parallel=1.0)(world.x_t, world.t)
    usable = world.schedule.abar[world.t] > 1e-6  # at T the cosine schedule has no signal: x_0_hat loses all digits
    assert_close(off[usable], plain[usable], rtol=0, atol=1e-8)


def test_projected_leaves_out_what_lies_along_the_guess():
    schedule, t = cosine(), torch.tensor([400])
    g = torch.Generator().manual_seed(1)
    x_t, eps_cond, eps_uncond = torch.randn(3, 1, 5, generator=g, dtype=torch.float64).unbind(0)
    x_cond, x_null = (x_0_from_eps(x_t, t, eps, schedule) for eps in (eps_cond, eps_uncond))

    def changed(**options):
        eps = projected(lambda x, t: eps_cond, lambda x, t: eps_uncond, schedule, 2.0, **options)(x_t, t)
        return x_0_from_eps(x_t, t, eps, schedule) - x_cond

    across = changed()
    assert abs((across * x_cond).sum()) < 1e-9
    unit = x_cond / x_cond.norm()
    along = ((x_cond - x_null) * unit).sum() * unit
    assert_close(across, 2 * (x_cond - x_null - along), rtol=0, atol=1e-9)
    length = (x_cond - x_null).norm().item()
    assert_close(changed(parallel=1.0, longest=length / 4), 2 * (x_cond - x_null) / 4, rtol=0, atol=1e-9)
    assert_close(changed(parallel=1.0, longest=10 * length), 2 * (x_cond - x_null), rtol=0, atol=1e-9)


def test_autoguidance_starts_at_the_good_model(world, pair):
    good, weak = pair
    assert torch.equal(autoguided(good, weak, 0.0)(world.x_t, world.t), good(world.x_t, world.t))
    expected = good(world.x_t, world.t) + 1.5 * (good(world.x_t, world.t) - weak(world.x_t, world.t))
    assert_close(autoguided(good, weak, 1.5)(world.x_t, world.t), expected, rtol=0, atol=1e-10)


def test_plus_plus_at_0_is_the_unconditional_path(world, pair):
    cond, null = (world.mixture.eps(0), world.mixture.eps())
    x_T = torch.randn(20, world.x_t.shape[1], generator=torch.Generator().manual_seed(2), dtype=torch.float64)
    ours = final_sample(plus_plus_path(cond, null, x_T, world.schedule, 0.0, steps=20))
    assert_close(ours, final_sample(ddim_path(null, x_T, world.schedule, 20)), rtol=0, atol=1e-10)


@pytest.mark.parametrize("scale", [0.3, 1.0])
def test_plus_plus_is_cfg_with_its_own_scale_in_every_step(world, scale):
    """Step by step from the same x_t: DDIM with s = scale a / (a - b). In the last step b = 0, and s is scale itself."""
    cond, null, schedule = world.mixture.eps(0), world.mixture.eps(), world.schedule
    x_t = torch.randn(20, world.x_t.shape[1], generator=torch.Generator().manual_seed(3), dtype=torch.float64)
    stops = ddim_timesteps(schedule, 20)
    for stop, sample in zip(pairwise(stops), plus_plus_path(cond, null, x_t, schedule, scale, 20), strict=True):
        s = scale_of_plus_plus(schedule, stop, scale)
        assert s >= scale
        eps = classifier_free(cond, null, s - 1)(x_t, batch_t(stop[0], x_t))
        expected = ddim_step(x_t, stop, eps, schedule).x_t
        size = max(1.0, expected.abs().max().item())
        if math.sqrt(schedule.abar[stop[0]]) > 1e-3:
            assert_close(sample.x_t, expected, rtol=0, atol=1e-8 * size)
        x_t = sample.x_t
    assert s == pytest.approx(scale)
