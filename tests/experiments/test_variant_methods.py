"""The later ideas on the trained U-Net: each formula on its two branches, no pass too many, and the weak model."""

from dataclasses import replace

import pytest
import torch
from minidiff.experiments.variant_methods import TWO_NETWORKS, VARIANTS, mixed, once, weakened
from torch.testing import assert_close

from minidiff.diffusion.guidance import classifier_free, clipped
from minidiff.diffusion.samplers import ddim_path, final_sample
from minidiff.diffusion.variants import limited, plus_plus_path, projected, rescaled, thresholded
from minidiff.experiments import variants
from minidiff.nets.unet import bind
from minidiff.sampling import branches, cfg, generate, start_noise
from minidiff.symbols import InputError
from minidiff.training.checkpoints import load

Y = torch.tensor([3, 8, 0])


@pytest.fixture(scope="module")
def unet():
    return load("unet")


@pytest.fixture
def points():
    return start_noise(3, 0), torch.tensor([900, 500, 100])


def by_hand(name, cond, null, schedule, w):
    guided = classifier_free(cond, null, w)
    return {
        "interval 0-600": lambda: limited(guided, cond, 0, 600),
        "interval 200-600": lambda: limited(guided, cond, 200, 600),
        "interval 200-800": lambda: limited(guided, cond, 200, 800),
        "rescale 0.7": lambda: rescaled(guided, cond, 0.7),
        "rescale 1": lambda: rescaled(guided, cond, 1.0),
        "rescale v 0.7": lambda: rescaled(guided, cond, 0.7, schedule),
        "rescale v 1": lambda: rescaled(guided, cond, 1.0, schedule),
        "threshold 0.9": lambda: thresholded(guided, schedule, 0.9),
        "threshold 0.995": lambda: thresholded(guided, schedule, 0.995),
        "apg": lambda: projected(cond, null, schedule, w),
        "apg 2": lambda: projected(cond, null, schedule, w, longest=2.0),
    }[name]()


@pytest.mark.parametrize("name", [name for name in VARIANTS if not name.startswith(("cfg++", "autoguidance"))])
def test_a_method_is_its_formula_on_the_two_branches_clipped(unet, points, name):
    net, classes = unet.net["unet"], unet.net["classes"]
    cond, null = bind(net, classes(Y)), bind(net, classes.unconditional(3))
    expected = clipped(by_hand(name, cond, null, unet.schedule, 3.0), unet.schedule)(*points)
    got = VARIANTS[name].build(unet).denoiser(Y, 3.0)(*points)
    assert_close(got, expected, rtol=0, atol=1e-4)
    plain = cfg(unet).denoiser(Y, 3.0)(*points)
    assert (got - plain).abs().max() > 1e-3  # and it is no plain guidance
    assert VARIANTS[name][::2] == (("unet",), 1.0)


def test_every_one_is_the_conditional_model_where_nothing_is_added(unet, points):
    """w = 0: no guidance to limit, to rescale, to project or to keep away with."""
    plain = cfg(unet).denoiser(Y, 0.0)(*points)
    for name in ("interval 200-600", "rescale 1", "rescale v 1", "apg", "apg 2"):
        assert_close(VARIANTS[name].build(unet).denoiser(Y, 0.0)(*points), plain, rtol=0, atol=1e-4)


def test_what_is_named_twice_is_asked_once(points):
    asked = []

    def eps(x_t, t):
        asked.append((x_t, t))
        return x_t + len(asked)

    x_t, t = points
    remembered = once(eps)
    assert torch.equal(remembered(x_t, t), remembered(x_t, t))
    assert len(asked) == 1
    assert_close(remembered(x_t + 1, t), x_t + 3)
    remembered(x_t, t)
    remembered(x_t, t + 1)
    assert len(asked) == 4


def test_interval_and_rescale_cost_the_passes_of_cfg(unet, points):
    passes = []
    handle = unet.net["unet"].register_forward_hook(lambda *_: passes.append(1))
    for name in ("interval 200-600", "rescale 0.7", "rescale v 1", "apg"):
        VARIANTS[name].build(unet).denoiser(Y, 3.0)(*points)
    handle.remove()
    assert len(passes) == 8


def test_plus_plus_is_its_own_path_and_stays_among_pixels(unet):
    net, classes = unet.net["unet"], unet.net["classes"]
    cond, null = (clipped(bind(net, c), unet.schedule) for c in (classes(Y), classes.unconditional(3)))
    expected = final_sample(plus_plus_path(cond, null, start_noise(3, 1), unet.schedule, 0.4, 5))
    assert_close(generate(VARIANTS["cfg++"].build(unet), Y, 0.4, 5, 1), expected, rtol=0, atol=1e-4)
    off = final_sample(ddim_path(null, start_noise(3, 1), unet.schedule, 5))
    assert_close(generate(VARIANTS["cfg++"].build(unet), Y, 0.0, 5, 1), off, rtol=0, atol=1e-4)
    # at T float32 keeps three digits of x_0: the signal there is 5e-5 of x_t
    path = VARIANTS["cfg++"].build(unet).path(Y, 1.0, start_noise(3, 1), 5, torch.Generator())
    assert all(sample.x_0.abs().max() < 1.02 for sample in path)
    assert VARIANTS["cfg++"].s_at_zero == 0


def test_the_weak_model_is_the_recipe_after_so_few_steps(monkeypatch):
    seen = []

    def train(recipe, digits, seed=0, progress=True):
        seen.append((recipe, len(digits.labels), seed, progress))
        return load("unet")

    monkeypatch.setattr(variants, "train", train)
    weakened.cache_clear()
    assert weakened(7) is weakened(7)
    weakened.cache_clear()
    assert seen == [(replace(variants.RECIPES["unet"], steps=7), 60_000, 0, False)]


def test_autoguidance_moves_away_from_the_weak_model_told_the_same(unet, points, monkeypatch):
    weak = load("unet")
    for parameter in weak.net["classes"].parameters():
        parameter.mul_(0.5)
    monkeypatch.setattr(variants, "weakened", lambda steps: weak)
    good_eps, weak_eps = branches(unet, Y)[0](*points), branches(weak, Y)[0](*points)
    assert (good_eps - weak_eps).abs().max() > 1e-2
    expected = clipped(lambda x, t: good_eps + 2 * (good_eps - weak_eps), unet.schedule)(*points)
    for name in ("autoguidance 150", "autoguidance 400"):
        assert_close(VARIANTS[name].build(unet).denoiser(Y, 2.0)(*points), expected, rtol=0, atol=1e-4)


def test_a_weak_model_of_other_data_is_refused(unet, monkeypatch):
    other = load("unet")
    other.metadata["data_sha256"] = "0" * 64
    monkeypatch.setattr(variants, "weakened", lambda steps: other)
    with pytest.raises(InputError, match="different data sets"):
        VARIANTS["autoguidance 150"].build(unet)


def test_two_networks_are_m6_with_ddpm_as_the_one_that_is_told_nothing(unet, points):
    ddpm = load("ddpm")
    needs, build, s_at_zero = TWO_NETWORKS["two networks"]
    assert (needs, s_at_zero) == (("unet", "ddpm"), 1.0)
    told, null = branches(unet, Y)[0](*points), bind(ddpm.net["unet"])(*points)
    assert (null - branches(unet, Y)[1](*points)).abs().max() > 1e-2  # not what unet says when it is told nothing
    expected = clipped(lambda x, t: 3 * told - 2 * null, unet.schedule)(*points)
    assert_close(build(unet, ddpm).denoiser(Y, 2.0)(*points), expected, rtol=0, atol=1e-4)
    limit = TWO_NETWORKS["two networks 200-900"].build(unet, ddpm).denoiser(Y, 2.0)  # of t = 900, 500, 100 the last is outside
    mixed_up = torch.cat([(3 * told - 2 * null)[:2], told[2:]])
    assert_close(limit(*points), clipped(lambda x, t: mixed_up, unet.schedule)(*points), rtol=0, atol=1e-4)
    ddpm.metadata["data_sha256"] = "0" * 64
    with pytest.raises(InputError, match="different data sets"):
        build(unet, ddpm)


def test_a_mix_gets_w_as_it_is_and_is_clipped(unet, points):
    got = mixed(lambda cond, null, schedule, w: lambda x_t, t: 0 * x_t + w).build(unet).denoiser(Y, 50.0)(*points)
    expected = clipped(lambda x_t, t: 0 * x_t + 50.0, unet.schedule)(*points)
    assert torch.equal(got, expected)
    assert got.abs().max() < 40
