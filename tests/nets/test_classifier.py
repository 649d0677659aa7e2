"""log p(y | x_t) of a network: the cross-entropy, its gradient, and M4 with it."""

import torch
from helpers import randomised
from torch import nn
from torch.testing import assert_close

from minidiff.diffusion.guidance import classifier_guided, gradient
from minidiff.diffusion.schedule import cosine
from minidiff.nets.classifier import EvaluationClassifier, NoisyClassifier, log_prob_of
from minidiff.nets.unet import UNet, bind


def test_log_prob_is_the_cross_entropy_and_its_gradient_is_finite_difference(batch):
    x_t, t = batch[0].double(), batch[1]
    y, net = torch.tensor([3, 1, 4, 1, 5, 9]), randomised(NoisyClassifier()).double()
    log_prob = log_prob_of(net, y)
    cross_entropy = nn.functional.cross_entropy(net(x_t, t), y, reduction="none")
    assert_close(log_prob(x_t, t), -cross_entropy, rtol=1e-12, atol=1e-12)
    direction = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(3)).double()
    slope = (log_prob(x_t + 1e-6 * direction, t) - log_prob(x_t - 1e-6 * direction, t)) / 2e-6
    exact = (gradient(log_prob, x_t, t) * direction).flatten(1).sum(1)
    assert_close(slope, exact, rtol=1e-5, atol=1e-8)


def test_guidance_on_networks_is_m4_written_out(batch):
    """The formula by hand, with sqrt(1 - abar_t), on real networks: not only on exact worlds."""
    x_t, t = batch
    unet, classifier, schedule = randomised(UNet()), randomised(NoisyClassifier()), cosine()
    log_prob = log_prob_of(classifier, torch.arange(6))
    with torch.no_grad():
        guided = classifier_guided(bind(unet), log_prob, schedule, 2.5)(x_t, t)
        uncond = unet(x_t, t)
    g = gradient(log_prob, x_t, t)
    root = torch.tensor([(1 - schedule.abar[k].item()) ** 0.5 for k in t.tolist()])
    expected = uncond - root[:, None, None, None] * 2.5 * g
    assert_close(guided, expected, rtol=1e-5, atol=1e-6)
    assert g.abs().amax() > 1e-3


def test_the_noisy_classifier_depends_on_t_and_the_evaluator_reads_its_own_features(batch):
    x_t, t = batch
    noisy, evaluator = randomised(NoisyClassifier()), randomised(EvaluationClassifier())
    assert not torch.allclose(noisy(x_t, t), noisy(x_t, t.flip(0)), atol=1e-3)
    assert_close(evaluator(x_t), evaluator.head(evaluator.features(x_t)))
