"""Networks: who sees what. Untrained networks with all parameters random, so that no zero hides a leak."""

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from minidiff.analytic.gaussian_mixture import GaussianMixture
from minidiff.diffusion.guidance import classifier_guided, gradient
from minidiff.diffusion.schedule import cosine
from minidiff.nets.classifier import EvaluationClassifier, NoisyClassifier, log_prob_of
from minidiff.nets.layers import GlobalMixer, time_features
from minidiff.nets.unet import ClassCondition, UNet, VPrediction, bind, checked_labels, drop_labels
from minidiff.symbols import InputError


def randomised(net: nn.Module) -> nn.Module:
    """Every parameter random: the zero-initialised layers too."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.1 * torch.randn(p.shape, generator=g))
    return net.eval()


def says(v):
    """A network that answers v to everything."""
    net = nn.Module()
    net.forward = lambda x_t, t, c: v
    return net


@pytest.fixture
def batch():
    g = torch.Generator().manual_seed(1)
    return torch.randn(6, 1, 28, 28, generator=g), torch.tensor([1, 5, 100, 500, 900, 1000])


def test_unet_depends_on_image_level_and_condition(batch):
    x_t, t = batch
    net, c = randomised(UNet(c_dim=4)), torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    out = net(x_t, t, c)
    assert out.shape == x_t.shape
    assert not torch.allclose(net(x_t.flip(3), t, c), out, atol=1e-3)
    assert not torch.allclose(net(x_t, t.flip(0), c), out, atol=1e-3)
    assert not torch.allclose(net(x_t, t, c.flip(0)), out, atol=1e-3)


def test_every_pixel_can_see_every_pixel(batch):
    """Attention on 7 x 7: the corner of the output depends on the opposite corner of the input."""
    x_t, t = batch
    x_t = x_t.requires_grad_()
    randomised(UNet())(x_t, t)[:, 0, 0, 0].sum().backward()
    assert (x_t.grad[:, 0, 27, 27].abs() > 0).all()


def test_the_plan_alone_joins_every_pair_of_places(batch):
    """Dense layers between 7 x 7 places: without any attention, each place reaches each, and rows stay apart."""
    x = torch.randn(2, 16, 7, 7, generator=torch.Generator().manual_seed(5)).requires_grad_()
    plan, emb = randomised(GlobalMixer(16, 7, dim=12)), torch.randn(2, 12, generator=torch.Generator().manual_seed(6))
    plan(x, emb)[0, 3, 6, 6].backward()
    assert (x.grad[0, :, 0, 0].abs() > 0).all()
    assert (x.grad[1] == 0).all()
    assert not torch.allclose(plan(x, emb), plan(x, emb.flip(0)), atol=1e-3)
    assert torch.equal(GlobalMixer(16, 7, dim=12)(x, emb), x)  # fresh, it is the identity


def test_a_fresh_unet_guesses_zero(batch):
    assert torch.equal(UNet()(*batch), torch.zeros(6, 1, 28, 28))


@pytest.mark.parametrize("net", [UNet(), NoisyClassifier()], ids=["unet", "classifier"])
def test_rows_do_not_see_each_other_and_order_does_not_matter(net, batch):
    x_t, t = batch
    net = randomised(net)
    together = net(x_t, t)
    assert_close(net(x_t[2:3], t[2:3]), together[2:3], rtol=1e-4, atol=1e-5)
    assert_close(net(x_t.flip(0), t.flip(0)), together.flip(0), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("net", [UNet(), NoisyClassifier(), EvaluationClassifier(), ClassCondition(10, 4)])
def test_no_layer_mixes_rows_or_is_random(net):
    forbidden = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    assert not [type(module) for module in net.modules() if isinstance(module, forbidden)]


def test_condition_of_the_wrong_length(batch):
    x_t, t = batch
    with pytest.raises(InputError, match="wants a condition of length 4 .* got length 0 "):
        UNet(c_dim=4)(x_t, t)
    with pytest.raises(InputError, match="wants a condition of length 0 .* got length 4 "):
        UNet()(x_t, t, torch.zeros(6, 4))


def test_time_features_against_the_formula():
    t = torch.tensor([0, 1, 37, 1000])
    features = time_features(t, 8)
    for i in range(4):
        frequency = 10_000 ** (-i / 4)
        assert_close(features[:, i], torch.cos(t.double() * frequency).float(), rtol=1e-4, atol=1e-4)
        assert_close(features[:, 4 + i], torch.sin(t.double() * frequency).float(), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("level", [1, 300, 999, 1000])
def test_the_exact_v_becomes_the_exact_noise(level):
    """In a world with a known truth: v = sqrt(abar) eps - sqrt(1 - abar) x_0, from its exact denoiser and its E[x_0 | x_t]."""
    schedule, dim = cosine(), 784
    g = torch.Generator().manual_seed(4)
    means = 0.5 * torch.randn(3, dim, generator=g, dtype=torch.float64)
    ones = torch.ones_like(means)
    world = GaussianMixture(means, ones, ones[:, 0] / 3, torch.arange(3), schedule)
    x_t, t = torch.randn(5, dim, generator=g, dtype=torch.float64), torch.full((5,), level)
    eps = world.eps()(x_t, t)
    v = schedule.abar[level].sqrt() * eps - (1 - schedule.abar[level]).sqrt() * world.x_0(x_t, t)
    as_images = (-1, 1, 28, 28)
    guess = VPrediction(says(v.reshape(as_images)), schedule.abar)(x_t.reshape(as_images), t)
    assert_close(guess, eps.reshape(as_images), rtol=0, atol=1e-6)  # its tables are float32


def test_v_prediction_at_pure_noise_is_x_t_whatever_the_network_says(batch):
    x_t, schedule = batch[0], cosine()
    guess = VPrediction(says(torch.ones_like(x_t)), schedule.abar)(x_t, torch.full((6,), schedule.T))
    assert_close(guess, x_t, rtol=0, atol=1e-4)


def test_null_row_is_the_last_and_not_a_digit():
    classes = ClassCondition(10, 4)
    assert classes.null == 10
    assert torch.equal(classes.unconditional(2), classes.table.weight[[10, 10]])
    assert torch.equal(classes(torch.tensor([0, 9])), classes.table.weight[[0, 9]])
    assert checked_labels(torch.tensor([0, 10]), 10, classes).tolist() == [0, 10]
    for y in (-1, 11):
        with pytest.raises(InputError, match=r"must lie in 0\.\.10, got"):
            checked_labels(torch.tensor([3, y]), 10, classes)


def test_nothing_leaks_through_the_null_row(batch):
    """The unconditional branch depends on row 10 alone: the gradient of every other row is exactly 0."""
    x_t, t = batch
    net, classes = randomised(UNet(c_dim=4)), ClassCondition(10, 4)
    bind(net, classes.unconditional(6))(x_t, t).square().sum().backward()
    assert (classes.table.weight.grad[:10] == 0).all()
    assert (classes.table.weight.grad[10] != 0).all()


def test_labels_are_dropped_each_on_its_own():
    n, p = 50_000, 0.1
    y = torch.arange(n) % 10
    dropped = drop_labels(y, 10, p, torch.rand(len(y), generator=torch.Generator().manual_seed(0)))
    gone = dropped == 10
    error = (p * (1 - p) / n) ** 0.5
    assert abs(gone.double().mean().item() - p) < 5 * error
    assert torch.equal(dropped[~gone], y[~gone])
    neighbours = (gone[1:] & gone[:-1]).double().mean().item()  # p^2 if independent, p if whole batches went
    assert abs(neighbours - p**2) < 5 * (p**2 / n) ** 0.5
    assert torch.equal(drop_labels(y, 10, 0.0, torch.zeros(len(y))), y)
    assert (drop_labels(y, 10, 1.0, torch.rand(len(y))) == 10).all()


def test_log_prob_is_the_cross_entropy_and_its_gradient_is_finite_difference(batch):
    x_t, t = batch
    y = torch.tensor([3, 1, 4, 1, 5, 9])
    net = randomised(NoisyClassifier()).double()
    log_prob = log_prob_of(net, y)
    x_t = x_t.double()
    assert_close(log_prob(x_t, t), -nn.functional.cross_entropy(net(x_t, t), y, reduction="none"), rtol=1e-12, atol=1e-12)
    direction = torch.randn(x_t.shape, generator=torch.Generator().manual_seed(3), dtype=torch.float64)
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
        plain = unet(x_t, t)
    g = gradient(log_prob, x_t, t)
    root = torch.tensor([(1 - schedule.abar[k].item()) ** 0.5 for k in t.tolist()])[:, None, None, None]
    assert_close(guided, plain - root * 2.5 * g, rtol=1e-5, atol=1e-6)
    assert g.abs().amax() > 1e-3
