"""The flagship: with exact scores, classifier guidance and classifier-free guidance are one."""

import math

import pytest
import torch
from torch.testing import assert_close

from minidiff.diffusion.guidance import classifier_free, classifier_guided, clipped, gradient
from minidiff.diffusion.process import x_0_from_eps
from minidiff.symbols import InputError

SCALES = [-1.0, 0.0, 0.5, 1.0, 3.0, 7.5]


def parts(world):
    return world.mixture.eps(), world.mixture.eps(world.y), world.mixture.log_prob(world.y)


@pytest.mark.parametrize("w", SCALES)
def test_cg_at_1_plus_w_is_cfg_at_w(world, w):
    """M4 with w_CG = 1 + w against M6 with w, at every t: only one goes through autograd."""
    eps_uncond, eps_cond, log_prob = parts(world)
    guided = classifier_guided(eps_uncond, log_prob, world.schedule, 1 + w)
    by_classifier = guided(world.x_t, world.t)
    by_difference = classifier_free(eps_cond, eps_uncond, w)(world.x_t, world.t)
    assert_close(by_classifier, by_difference, rtol=0, atol=1e-10)


def test_cg_and_cfg_differ_when_both_get_the_same_w(world):
    """The mix-up of w and s is seen: the test above would fail by far more than its tolerance."""
    eps_uncond, eps_cond, log_prob = parts(world)
    by_classifier = classifier_guided(eps_uncond, log_prob, world.schedule, 1.0)(world.x_t, world.t)
    by_difference = classifier_free(eps_cond, eps_uncond, 1.0)(world.x_t, world.t)
    assert (by_classifier - by_difference).abs().max() > 0.05


def test_full_guidance_is_bayes_rule(world):
    eps_uncond, eps_cond, log_prob = parts(world)
    guided = classifier_guided(eps_uncond, log_prob, world.schedule, w=1.0)
    uncond, cond = eps_uncond(world.x_t, world.t), eps_cond(world.x_t, world.t)
    assert not torch.allclose(uncond, cond, atol=1e-3)
    assert_close(guided(world.x_t, world.t), cond, rtol=0, atol=1e-10)


def test_plain_models_bit_for_bit(world):
    eps_uncond, eps_cond, log_prob = parts(world)
    for found, expected in (
        (classifier_guided(eps_uncond, log_prob, world.schedule, 0.0), eps_uncond),
        (classifier_free(eps_cond, eps_uncond, 0.0), eps_cond),
        (classifier_free(eps_cond, eps_uncond, -1.0), eps_uncond),
    ):
        assert torch.equal(found(world.x_t, world.t), expected(world.x_t, world.t))


@pytest.mark.parametrize("w", SCALES)
def test_m6_is_m7_with_s_1_plus_w(world, w):
    """uncond + s (cond - uncond) of the article's code against (1 + w) cond - w uncond."""
    eps_uncond, eps_cond, _ = parts(world)
    uncond, cond = eps_uncond(world.x_t, world.t), eps_cond(world.x_t, world.t)
    by_m6 = classifier_free(eps_cond, eps_uncond, w)(world.x_t, world.t)
    assert_close(by_m6, uncond + (1 + w) * (cond - uncond), rtol=0, atol=1e-12)


def test_guidance_raises_the_probability_of_y(world):
    """A small step against the guided noise raises log p(y|x_t) more: the sign."""
    eps_uncond, _, log_prob = parts(world)
    guided = classifier_guided(eps_uncond, log_prob, world.schedule, 2.0)
    moved = world.x_t + 1e-4 * (eps_uncond(world.x_t, world.t) - guided(world.x_t, world.t))
    gain = log_prob(moved, world.t) - log_prob(world.x_t, world.t)
    assert gain.min() > -1e-12
    assert gain.max() > 1e-6


def test_one_weight_for_each_row(world):
    """Rows of one batch, each with its own w, are these rows with one w at a time."""
    eps_uncond, eps_cond, log_prob = parts(world)
    w = torch.linspace(-1, 5, len(world.t), dtype=torch.float64)
    for guide in (
        lambda w: classifier_guided(eps_uncond, log_prob, world.schedule, w),
        lambda w: classifier_free(eps_cond, eps_uncond, w),
    ):
        together = guide(w)(world.x_t, world.t)
        for i in (0, 17, -1):
            alone = guide(float(w[i]))(world.x_t, world.t)
            assert_close(together[i], alone[i], rtol=0, atol=1e-12)
    images = world.x_t[:, :, None]
    by_difference = classifier_free(lambda x, t: x, lambda x, t: 0 * x, w)
    assert by_difference(images, world.t).shape == images.shape


def test_gradient_is_a_central_difference(world):
    _, _, log_prob = parts(world)
    exact = gradient(log_prob, world.x_t, world.t)
    step = 1e-5
    for axis in range(min(3, world.x_t.shape[1])):
        shift = torch.zeros_like(world.x_t)
        shift[:, axis] = step
        above, below = (log_prob(world.x_t + sign * shift, world.t) for sign in (1, -1))
        slope = (above - below) / (2 * step)
        # its error: step^2 / 6 times the third derivative, which grows as 1 / noise^3
        bound = 1e-6 * (1 + exact.abs().max())
        assert (exact[:, axis] - slope).abs().max() < bound


def test_gradient_works_inside_no_grad_and_leaves_nothing_behind(world):
    _, _, log_prob = parts(world)
    with torch.no_grad():
        found = gradient(log_prob, world.x_t, world.t)
    assert not found.requires_grad
    assert not world.x_t.requires_grad
    assert torch.equal(found, gradient(log_prob, world.x_t, world.t))


def test_rows_do_not_see_each_other(world):
    """The guided noise of a row is the same alone and in a batch."""
    eps_uncond, _, _ = parts(world)
    rows = slice(10, 13)

    def guided(rows):
        log_prob = world.mixture.log_prob(world.y[rows])
        eps = classifier_guided(eps_uncond, log_prob, world.schedule, 2.0)
        return eps(world.x_t[rows], world.t[rows])

    assert_close(guided(rows), guided(slice(None))[rows], rtol=0, atol=1e-13)


def test_clipping_holds_x_0_in_range_and_changes_nothing_inside(world):
    eps_uncond = world.mixture.eps()
    limit = 1.0
    eps = clipped(eps_uncond, world.schedule, limit)(world.x_t, world.t)
    x_0 = x_0_from_eps(world.x_t, world.t, eps_uncond(world.x_t, world.t), world.schedule)
    x_0_clipped = x_0_from_eps(world.x_t, world.t, eps, world.schedule)
    assert_close(x_0_clipped, x_0.clamp(-limit, limit), rtol=0, atol=1e-8)
    assert (x_0.abs() > limit).any()
    far = clipped(eps_uncond, world.schedule, limit=1e9)(world.x_t, world.t)
    assert_close(far, eps_uncond(world.x_t, world.t), rtol=0, atol=1e-8)


def test_clipping_is_to_the_range_of_pixels_by_default(world):
    eps_uncond = world.mixture.eps()
    by_default = clipped(eps_uncond, world.schedule)
    stated = clipped(eps_uncond, world.schedule, 1.0)
    assert torch.equal(by_default(world.x_t, world.t), stated(world.x_t, world.t))


@pytest.mark.parametrize("w", [math.nan, math.inf, -math.inf, torch.tensor([0.0, math.nan])])
def test_w_must_be_finite(world, w):
    eps_uncond, eps_cond, log_prob = parts(world)
    with pytest.raises(InputError, match="w must be a finite number, got"):
        classifier_guided(eps_uncond, log_prob, world.schedule, w)
    with pytest.raises(InputError, match="w must be a finite number, got"):
        classifier_free(eps_cond, eps_uncond, w)
