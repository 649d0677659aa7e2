"""Guidance without a network: M4 and M6 are one there, and its samples are training images."""

import math

import pytest
import torch
from torch.testing import assert_close

from minidiff.analytic.ideal_denoiser import IdealDenoiser
from minidiff.datasets.mnist import load_digits
from minidiff.diffusion.guidance import classifier_guided, clipped
from minidiff.diffusion.process import q_sample
from minidiff.diffusion.schedule import cosine
from minidiff.experiments.ideal_guidance import exact, guided_by
from minidiff.sampling import sample, start_noise

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("w", [0.0, 1.0, 4.0])
def test_it_is_classifier_guidance_with_the_exact_classifier(w):
    """s = 1 + w in M4, with log p(y | x_t) from the densities, by autograd; 4 unequal classes."""
    g = torch.Generator().manual_seed(0)
    data = torch.randn(40, 5, generator=g, dtype=torch.float64)
    labels = torch.arange(40).sqrt().long() % 4
    schedule = cosine()
    everything = IdealDenoiser(data, schedule)
    of_class = [IdealDenoiser(data[labels == label], schedule) for label in range(4)]
    t = torch.arange(10, 990, 14)
    y = torch.arange(len(t)) % 4
    x_t = q_sample(
        data[t % 40], t, torch.randn(len(t), 5, generator=g, dtype=torch.float64), schedule
    )

    def log_prob(x, t):
        prior = [math.log(len(world.data) / 40) for world in of_class]
        joint = torch.stack(
            [world.log_density(x, t) + log for world, log in zip(of_class, prior, strict=True)]
        )
        return joint.log_softmax(dim=0)[y, torch.arange(len(y))]

    by_m4 = clipped(classifier_guided(everything.eps, log_prob, schedule, 1 + w), schedule)
    assert_close(guided_by(of_class, everything)(y, w)(x_t, t), by_m4(x_t, t), rtol=0, atol=1e-9)


def test_the_exact_denoiser_copies_training_images_of_the_requested_class():
    """And another w, from the same noise, gives other copies: guidance chooses among them."""
    train, y, drawn = load_digits("train"), torch.tensor([3, 8]), {}
    make = exact()
    for w in (0.0, 3.0):
        x_0 = sample(make(y, w), start_noise(2, 1), cosine(), steps=20)
        apart = torch.cdist(x_0.flatten(1), train.x_0().flatten(1))
        assert torch.equal(train.labels[apart.argmin(dim=1)], y)
        assert apart.min(dim=1).values.max() < 1.0  # two digits of one class are 5 to 20 apart
        drawn[w] = apart.argmin(dim=1)
    assert not torch.equal(drawn[0.0], drawn[3.0])
