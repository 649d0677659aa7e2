"""The metrics against torchmetrics and prdc (by the authors of Naeem 2020): test-crosscheck."""

import pytest
import torch
from torch import nn

from minidiff.datasets.mnist import load_digits
from minidiff.evaluation.metrics import (
    features_of,
    frechet_distance,
    manifold,
    moments,
    precision_recall,
)
from minidiff.sampling import cfg, sample, start_noise
from minidiff.training.checkpoints import load

torchmetrics_fid = pytest.importorskip("torchmetrics.image.fid")
prdc = pytest.importorskip("prdc")


class Seen(nn.Module):
    """The evaluator's features, as torchmetrics wants a feature network."""

    num_features = 128

    def __init__(self, evaluator):
        super().__init__()
        self.evaluator = evaluator.net["evaluator"].eval()

    def forward(self, x_0):
        return self.evaluator.features(x_0)


@pytest.fixture(scope="module")
def evaluator():
    return load("evaluator")


@pytest.fixture(scope="module")
def sets():
    """500 real digits; other real ones, noised ones, one class alone, guided samples."""
    test, g = load_digits("test"), torch.Generator().manual_seed(0)
    real = load_digits("train").x_0(torch.arange(500))
    others = test.x_0(torch.arange(500))
    noised = (others + 0.5 * torch.randn(others.shape, generator=g)).clamp(-1, 1)
    sevens = test.x_0((test.labels == 7).nonzero()[:200, 0])
    unet = load("unet")
    eps = cfg(unet, torch.arange(10).repeat_interleave(20), 3.0)
    guided = sample(eps, start_noise(200, 0), unet.schedule, 5)
    return real, {"real": others, "noised": noised, "sevens": sevens, "guided": guided}


@pytest.mark.parametrize("name", ["real", "noised", "sevens", "guided"])
def test_frechet_distance(evaluator, sets, name):
    """To 1e-4: torchmetrics sums in another order and takes its root by another route."""
    fid = torchmetrics_fid.FrechetInceptionDistance(Seen(evaluator))
    real, made = sets[0], sets[1][name]
    with torch.no_grad():
        for images, are_real in ((real, True), (made, False)):
            fid.update(images, real=are_real)
    ours = frechet_distance(*(moments(features_of(evaluator, images)) for images in (made, real)))
    assert ours == pytest.approx(float(fid.compute()), rel=1e-4)


@pytest.mark.parametrize("name", ["real", "noised", "sevens", "guided"])
def test_precision_and_recall(evaluator, sets, name):
    """Exactly: both count images."""
    real, made = (features_of(evaluator, images) for images in (sets[0], sets[1][name]))
    theirs = prdc.compute_prdc(real_features=real.numpy(), fake_features=made.numpy(), nearest_k=3)
    expected = pytest.approx((theirs["precision"], theirs["recall"]), abs=1e-12)
    assert precision_recall(manifold(real), manifold(made)) == expected
