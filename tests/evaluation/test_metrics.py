"""What is counted: by hand, by simulation, and again on the shipped weights."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minidiff import settings
from minidiff.datasets.mnist import load_digits
from minidiff.diffusion.schedule import cosine
from minidiff.evaluation.metrics import background_noise, class_accuracy, diversity, manifold, precision_recall, share_error
from minidiff.evaluation.sweep import fingerprint, guidance_methods
from minidiff.symbols import InputError
from minidiff.training.checkpoints import Checkpoint, load

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def models():
    return {name: load(name) for name in ("unet", "ddpm", "classifier", "evaluator")}


def brightness_judge():
    """A judge that reads the brightness of an image as its digit, with confidence known by hand."""

    class Brightness(nn.Module):
        def forward(self, x_0):
            digit = ((x_0.mean(dim=(1, 2, 3)) + 1) / 2 * 10).long().clamp(0, 9)
            return math.log(99) * F.one_hot(digit, 10).float()

    return Checkpoint(nn.ModuleDict({"evaluator": Brightness()}), cosine(), {})


def test_counting_by_hand():
    y = torch.arange(10)
    x_0 = ((y + 0.5) / 5 - 1)[:, None, None, None].expand(10, 1, 28, 28).clone()
    verdict = class_accuracy(brightness_judge(), x_0, y)
    assert (verdict.n, verdict.accuracy) == (10, 1.0)
    assert verdict.confidence == pytest.approx(99 / 108, rel=1e-5)
    assert class_accuracy(brightness_judge(), x_0, y.roll(1)).accuracy == 0.0
    assert class_accuracy(brightness_judge(), x_0, y.clone().index_fill_(0, torch.tensor([0, 1]), 9)).accuracy == 0.8


def test_standard_error_of_a_share():
    """Against the spread of 20,000 simulated shares; and it is never 0."""
    n, p = 1000, 0.97
    shares = torch.distributions.Binomial(n, torch.tensor(p)).sample((20_000,)) / n
    assert share_error(970, n) == pytest.approx(shares.std().item(), rel=0.05)
    assert 0 < share_error(n, n) < 1.5 / n


@pytest.mark.parametrize(
    ("x_0", "y", "message"),
    [
        (torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64), "at least one image"),
        (torch.zeros(3, 1, 28, 28), torch.zeros(2, dtype=torch.int64), "got 3 and 2"),
        (torch.full((1, 1, 28, 28), math.nan), torch.zeros(1, dtype=torch.int64), "finite pixels"),
    ],
)
def test_what_cannot_be_judged(x_0, y, message):
    with pytest.raises(InputError, match=message):
        class_accuracy(brightness_judge(), x_0, y)


def test_the_judge_knows_real_digits(models):
    """The judge that counts: at least 99.5 % of the 10,000 test images."""
    test = load_digits("test")
    assert class_accuracy(models["evaluator"], test.x_0(), test.labels).accuracy >= 0.995


def accuracy_of(models, method, s, each, steps, seed):
    draw, _, s_at_zero = guidance_methods(models)[method]
    y = torch.arange(10).repeat_interleave(each)
    x_0 = draw(y, s - s_at_zero, steps, seed)
    return class_accuracy(models["evaluator"], x_0, y).accuracy


@pytest.mark.parametrize(("method", "s", "least"), [("cfg", 2.0, 0.95), ("cg", 4.0, 0.85), ("cg_cond", 2.0, 0.95)])
def test_guided_digits_show_the_requested_class(models, method, s, least):
    """n = 50: at most 5 standard errors below what is promised."""
    share = accuracy_of(models, method, s, each=5, steps=50, seed=123)
    assert share + 5 * share_error(round(least * 50), 50) >= least
    assert share > 0.6


@pytest.mark.parametrize("method", ["cfg", "cg"])
def test_without_a_condition_classes_come_by_chance(models, method):
    """s = 0 is the unconditional model in both methods: about one digit in ten is right by chance."""
    assert accuracy_of(models, method, 0.0, each=5, steps=20, seed=7) < 0.1 + 5 * math.sqrt(0.1 * 0.9 / 50)


def test_cg_on_the_conditional_model_starts_where_cfg_does(models):
    """w = 0 is the conditional network in both: M4 and M6 meet there."""
    by_cfg, by_cg = (guidance_methods(models)[name].draw(torch.arange(10), 0.0, 5, 0) for name in ("cfg", "cg_cond"))
    torch.testing.assert_close(by_cfg, by_cg, rtol=0, atol=1e-4)


def test_precision_and_recall_by_hand():
    """Points on a line, k = 1: balls of radius 1 around 0 and 1, of radius 4 around 5 (its nearest is 1)."""
    real = torch.tensor([[0.0], [1.0], [5.0]], dtype=torch.float64)
    made = torch.tensor([[-1.5], [-0.5], [1.5], [9.5]], dtype=torch.float64)
    precision, recall = precision_recall(manifold(real, 1), manifold(made, 1))
    assert precision == 2 / 4  # -0.5 and 1.5 (in the balls of 0 and 1); -1.5 and 9.5 lie outside all
    # made's radii are 1, 1, 2, 8: 0 lies in the ball of 1.5, 1 too, 5 in that of 9.5
    assert recall == 1.0
    precision, recall = precision_recall(
        manifold(real, 1), manifold(made[:2], 1)
    )  # radii 1: [-2.5, -0.5] and [-1.5, 0.5] hold 0 only
    assert (precision, recall) == (1 / 2, 1 / 3)
    with pytest.raises(InputError, match="k = 3 neighbours want more than 3 images, got 3"):
        manifold(real)


def test_precision_and_recall_of_one_law_agree_and_see_a_collapse():
    g = torch.Generator().manual_seed(0)
    real, same, narrow, wide = (scale * torch.randn(400, 4, generator=g) for scale in (1.0, 1.0, 0.3, 3.0))
    fair, collapsed, scattered = (precision_recall(manifold(real), manifold(made)) for made in (same, narrow, wide))
    assert abs(fair[0] - fair[1]) < 0.1
    assert collapsed[0] > fair[0]
    assert collapsed[1] < 0.5 * fair[1]
    assert scattered[0] < 0.5 * fair[0]


def test_grain_counts_corners_only():
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
    with pytest.raises(InputError, match="at least two images of every class"):
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
