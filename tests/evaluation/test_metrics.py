"""The metrics: by hand, by simulation, and again on the pretrained weights."""

import math

import pytest
import torch
import torch.nn.functional as F
from helpers import normal
from torch import nn

from minidiff import settings
from minidiff.datasets.mnist import load_digits
from minidiff.diffusion.schedule import cosine
from minidiff.evaluation.metrics import (
    Moments,
    background_noise,
    class_accuracy,
    confident,
    diversity,
    features_of,
    frechet_distance,
    frechet_of_real,
    manifold,
    moments,
    precision_recall,
    share_error,
)
from minidiff.evaluation.sweep import fingerprint, guidance_methods
from minidiff.symbols import InputError
from minidiff.training.checkpoints import Checkpoint, load

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models():
    return {name: load(name) for name in ("unet", "ddpm", "classifier", "evaluator")}


class Brightness(nn.Module):
    """Reads the brightness of an image as its digit, with a confidence known by hand."""

    def forward(self, x_0):
        digit = ((x_0.mean(dim=(1, 2, 3)) + 1) / 2 * 10).long().clamp(0, 9)
        return math.log(99) * F.one_hot(digit, 10).float()


BY_BRIGHTNESS = Checkpoint(nn.ModuleDict({"evaluator": Brightness()}), cosine(), {})


def test_counting_by_hand():
    y = torch.arange(10)
    x_0 = ((y + 0.5) / 5 - 1)[:, None, None, None].expand(10, 1, 28, 28).clone()
    verdict = class_accuracy(BY_BRIGHTNESS, x_0, y)
    assert (verdict.n, verdict.accuracy) == (10, 1.0)
    assert verdict.confidence == pytest.approx(99 / 108, rel=1e-5)
    assert class_accuracy(BY_BRIGHTNESS, x_0, y.roll(1)).accuracy == 0.0
    assert class_accuracy(BY_BRIGHTNESS, x_0, torch.tensor([9, 9, *y[2:]])).accuracy == 0.8


def test_standard_error_of_a_share():
    """Against the spread of 20,000 simulated shares; and it is never 0."""
    n, p = 1000, 0.97
    shares = torch.distributions.Binomial(n, torch.tensor(p)).sample((20_000,)) / n
    assert share_error(970, n) == pytest.approx(shares.std().item(), rel=0.05)
    assert 0 < share_error(n, n) < 1.5 / n


@pytest.mark.parametrize(
    ("x_0", "y", "message"),
    [
        (torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64), "At least one image"),
        (torch.zeros(3, 1, 28, 28), torch.zeros(2, dtype=torch.int64), "got 3 and 2"),
        (torch.full((1, 1, 28, 28), math.nan), torch.zeros(1, dtype=torch.int64), "must be finite"),
    ],
)
def test_what_cannot_be_evaluated(x_0, y, message):
    with pytest.raises(InputError, match=message):
        class_accuracy(BY_BRIGHTNESS, x_0, y)


def test_the_evaluator_knows_real_digits(models):
    """At least 99.5 % of the 10,000 test images."""
    test = load_digits("test")
    assert class_accuracy(models["evaluator"], test.x_0(), test.labels).accuracy >= 0.995


def accuracy_of(models, method, s, each, steps, seed):
    draw, _, s_at_zero = guidance_methods(models)[method]
    y = torch.arange(10).repeat_interleave(each)
    x_0 = draw(y, s - s_at_zero, steps, seed)
    return class_accuracy(models["evaluator"], x_0, y).accuracy


@pytest.mark.parametrize(
    ("method", "s", "least"), [("cfg", 2.0, 0.95), ("cg", 4.0, 0.85), ("cg_cond", 2.0, 0.95)]
)
def test_guided_digits_show_the_requested_class(models, method, s, least):
    """n = 50: at most 5 standard errors below what is promised."""
    share = accuracy_of(models, method, s, each=5, steps=50, seed=123)
    assert share + 5 * share_error(round(least * 50), 50) >= least
    assert share > 0.6


@pytest.mark.parametrize("method", ["cfg", "cg"])
def test_without_a_condition_classes_come_by_chance(models, method):
    """s = 0 is the unconditional model in both methods: a tenth is right by chance."""
    share = accuracy_of(models, method, 0.0, each=5, steps=20, seed=7)
    assert share < 0.1 + 5 * math.sqrt(0.1 * 0.9 / 50)


def test_cg_on_the_conditional_model_starts_where_cfg_does(models):
    """w = 0 is the conditional network in both: M4 and M6 meet there."""
    chosen = (guidance_methods(models)[name] for name in ("cfg", "cg_cond"))
    by_cfg, by_cg = (method.draw(torch.arange(10), 0.0, 5, 0) for method in chosen)
    torch.testing.assert_close(by_cfg, by_cg, rtol=0, atol=1e-4)


def test_precision_and_recall_by_hand():
    """Points on a line, k = 1: balls of radius 1 around 0 and 1, of radius 4 around 5."""
    real = torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64)
    made = torch.tensor([[-1.5], [-0.5], [1.5], [9.5]], dtype=torch.float64)
    precision, recall = precision_recall(manifold(real, 1), manifold(made, 1))
    # -0.5 and 1.5 (in the balls of 0 and 1); -1.5 and 9.5 lie outside all
    assert precision == 2 / 4
    # made's radii are 1, 1, 2, 8: 0 lies in the ball of 1.5, 1 too, 5 in that of 9.5
    assert recall == 1.0
    # radii 1: [-2.5, -0.5] and [-1.5, 0.5] hold 0 only
    assert precision_recall(manifold(real, 1), manifold(made[:2], 1)) == (1 / 2, 1 / 3)
    with pytest.raises(InputError, match="k = 3 neighbours want more than 3 images, got 3"):
        manifold(real)


def test_precision_and_recall_of_one_distribution_agree_and_see_a_collapse():
    g = torch.Generator().manual_seed(0)
    real, same, narrow, wide = (
        scale * torch.randn(400, 4, generator=g) for scale in (1.0, 1.0, 0.3, 3.0)
    )
    fair, collapsed, scattered = (
        precision_recall(manifold(real), manifold(made)) for made in (same, narrow, wide)
    )
    assert abs(fair[0] - fair[1]) < 0.1
    assert collapsed[0] > fair[0]
    assert collapsed[1] < 0.5 * fair[1]
    assert scattered[0] < 0.5 * fair[0]


def test_background_noise_counts_corners_only():
    x_0 = torch.full((2, 1, 28, 28), -1.0)
    x_0[:, :, 3:25, 3:25] = 1.0
    x_0[:, :, 0, 10] = 1.0
    assert background_noise(x_0) == 0
    x_0[0, 0, 0, 0], x_0[1, 0, 27, 25], x_0[1, 0, 2, 27] = 0.0, -0.9, -0.96
    assert background_noise(x_0) == pytest.approx(2 / (2 * 36))
    assert background_noise(load_digits("test").x_0()) < 1e-4


def test_diversity_is_a_mean_over_pairs_and_classes():
    features = torch.tensor([[0.0, 0], [3, 4], [0, 0], [7, 7], [7, 7]]).double()
    assert diversity(features, torch.tensor([0, 0, 0, 1, 1])) == pytest.approx((5 + 5 + 0) / 3 / 2)
    with pytest.raises(InputError, match="at least two images of every requested class"):
        diversity(features, torch.tensor([0, 0, 0, 0, 1]))


def test_fingerprint_sees_one_weight(models):
    evaluator, before = models["evaluator"], fingerprint((models["unet"],), models["evaluator"])
    assert before == fingerprint((models["unet"],), evaluator)
    other = load("unet")
    next(other.net.parameters()).data.view(-1)[0] += 1e-3
    assert fingerprint((other,), evaluator) != before


def test_fingerprint_sees_in_which_precision_networks_draw(models, monkeypatch):
    """Rows of both are not mixed in one file; real images are drawn by nobody."""
    unet, evaluator = models["unet"], models["evaluator"]
    before, real = fingerprint((unet,), evaluator), fingerprint((), evaluator)
    monkeypatch.setattr(settings, "SAMPLING_PRECISION", "bfloat16")
    assert fingerprint((unet,), evaluator) != before
    assert fingerprint((), evaluator) == real


def gaussian(mean, covariance) -> Moments:
    return Moments(*(torch.as_tensor(part, dtype=torch.float64) for part in (mean, covariance)))


def random_covariance(seed, dim=6):
    a = normal(seed, dim, 2 * dim)
    return a @ a.T / dim


def test_frechet_distance_of_gaussians_on_a_line():
    """W_2^2 of N(m, a^2) and N(n, b^2) is (m - n)^2 + (a - b)^2."""
    first, second = gaussian([1.0], [[4.0]]), gaussian([-2.0], [[0.25]])
    assert frechet_distance(first, second) == pytest.approx(9 + 1.5**2, rel=1e-12)
    assert frechet_distance(first, first) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_of_matrices_that_do_not_commute():
    """Against the eigenvalues of C_a C_b; symmetric, and the same for rotated features."""
    a, b = random_covariance(0), random_covariance(1)
    assert (a @ b - b @ a).abs().max() > 0.1
    both = torch.linalg.eigvals(a @ b).real.sqrt().sum()
    expected = float(6 * 0.25 + a.trace() + b.trace() - 2 * both)
    first, second = Moments(torch.zeros(6).double(), a), Moments(torch.full((6,), 0.5).double(), b)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-10)
    turn = torch.linalg.qr(random_covariance(2)).Q
    turned = [Moments(turn @ m.mean, turn @ m.covariance @ turn.T) for m in (first, second)]
    assert frechet_distance(*turned) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_survives_a_feature_that_never_varies():
    a = torch.diag(torch.tensor([1.0, 0.0]))
    first, second = gaussian([0.0, 0.0], a), gaussian([0.0, 0.0], 4 * a)
    assert frechet_distance(first, second) == pytest.approx(1.0)


def test_moments_are_those_of_the_features():
    evaluator, x_0 = load("evaluator"), load_digits("test").x_0(slice(0, 700))
    with torch.no_grad():
        features = evaluator.net["evaluator"].features(x_0).double()
    found = moments(features_of(evaluator, x_0))
    torch.testing.assert_close(found.mean, features.mean(0), rtol=1e-5, atol=1e-6)
    centred = features - features.mean(0)
    torch.testing.assert_close(found.covariance, centred.T @ centred / 699, rtol=1e-4, atol=1e-5)


def test_too_few_images_for_a_covariance_are_refused():
    features = normal(0, 129, 128)
    found = moments(features)
    with pytest.raises(InputError, match="in 128 features wants at least 129 images, got 128"):
        moments(features[:128])
    with pytest.raises(InputError, match="A set of n = 1000 test images is needed"):
        frechet_of_real(found, features, 1000)


def test_real_digits_are_nearer_than_noise_and_the_evaluator_is_more_confident():
    evaluator, test = load("evaluator"), load_digits("test")
    train = moments(features_of(evaluator, load_digits("train").x_0(slice(0, 4000))))
    real = test.x_0(slice(0, 500))
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    of_real, of_noise = (
        frechet_distance(moments(features_of(evaluator, x_0)), train) for x_0 in (real, noise)
    )
    assert of_real < 0.1 * of_noise
    assert confident(evaluator, real) > 0.9
    assert confident(evaluator, noise) < 0.5
