"""The U-Net: who sees what, with all parameters random; v-prediction; labels and the null row."""

import pytest
import torch
from helpers import randomised, says
from torch import nn
from torch.testing import assert_close

from minidiff.analytic.gaussian_mixture import GaussianMixture
from minidiff.diffusion.schedule import cosine
from minidiff.nets.classifier import EvaluationClassifier, NoisyClassifier
from minidiff.nets.layers import Words
from minidiff.nets.unet import ClassCondition, UNet, VPrediction, bind, checked_labels, drop_labels
from minidiff.symbols import InputError


def test_unet_depends_on_image_t_and_condition(batch):
    x_t, t = batch
    net = randomised(UNet(c_dim=4))
    c = torch.randn(6, 4, generator=torch.Generator().manual_seed(2))
    out = net(x_t, t, c)
    assert out.shape == x_t.shape
    assert not torch.allclose(net(x_t.flip(3), t, c), out, atol=1e-3)
    assert not torch.allclose(net(x_t, t.flip(0), c), out, atol=1e-3)
    assert not torch.allclose(net(x_t, t, c.flip(0)), out, atol=1e-3)


def test_every_pixel_can_see_every_pixel(batch):
    """Attention on 7 x 7: a corner of the output depends on the opposite corner of the input."""
    x_t, t = batch
    x_t = x_t.requires_grad_()
    randomised(UNet())(x_t, t)[:, 0, 0, 0].sum().backward()
    assert (x_t.grad[:, 0, 27, 27].abs() > 0).all()


def test_a_fresh_unet_predicts_zero(batch):
    assert torch.equal(UNet()(*batch), torch.zeros(6, 1, 28, 28))


@pytest.mark.parametrize("net", [UNet(), NoisyClassifier()], ids=["unet", "classifier"])
def test_rows_do_not_see_each_other_and_order_does_not_matter(net, batch):
    x_t, t = batch
    net = randomised(net)
    together = net(x_t, t)
    assert_close(net(x_t[2:3], t[2:3]), together[2:3], rtol=1e-4, atol=1e-5)
    assert_close(net(x_t.flip(0), t.flip(0)), together.flip(0), rtol=1e-4, atol=1e-5)


NETS = [UNet(), NoisyClassifier(), EvaluationClassifier(), ClassCondition(10, 4)]


@pytest.mark.parametrize("net", NETS)
def test_no_layer_mixes_rows_or_is_random(net):
    forbidden = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
    assert not [type(module) for module in net.modules() if isinstance(module, forbidden)]


def test_unet_sees_the_words_of_its_own_row_and_no_padding():
    g = torch.Generator().manual_seed(2)
    net = randomised(UNet(width=16, words_dim=6))
    x_t, t = torch.randn(3, 1, 28, 28, generator=g), torch.tensor([1, 500, 1000])
    states, mask = torch.randn(3, 4, 6, generator=g), torch.tensor([[True, True, False, False]] * 3)
    before, padded, other = net(x_t, t, Words(states, mask)), states.clone(), states.clone()
    padded[:, 2:] = 100.0
    assert_close(net(x_t, t, Words(padded, mask)), before, rtol=0, atol=1e-6)
    other[1, 1] += 1
    after = net(x_t, t, Words(other, mask))
    assert_close(after[[0, 2]], before[[0, 2]], rtol=0, atol=1e-5)
    assert (after[1] - before[1]).abs().max() > 1e-4


@pytest.mark.parametrize(
    ("wants", "given", "says"),
    [
        ({"c_dim": 4}, None, "a condition of length 4 .* got length 0 "),
        ({}, torch.zeros(6, 4), "a condition of length 0 .* got length 4 "),
        ({"words_dim": 6}, None, "Words of length 6 .* got length 0 and Words of length 0"),
        ({}, "words", "Words of length 0 .* got length 0 and Words of length 6"),
        ({"c_dim": 4}, "words", "condition of length 4 .* got length 0 and Words of length 6"),
    ],
)
def test_unet_wants_the_condition_it_was_built_for(batch, wants, given, says):
    words = Words(torch.zeros(6, 2, 6), torch.ones(6, 2, dtype=torch.bool))
    with pytest.raises(InputError, match=says):
        UNet(**wants)(*batch, words if given == "words" else given)


@pytest.mark.parametrize("step", [1, 300, 999, 1000])
def test_the_exact_v_becomes_the_exact_noise(step):
    """v = sqrt(abar) eps - sqrt(1 - abar) x_0 from a mixture's exact eps and E[x_0 | x_t]."""
    schedule, dim = cosine(), 784
    g = torch.Generator().manual_seed(4)
    means = 0.5 * torch.randn(3, dim, generator=g, dtype=torch.float64)
    ones = torch.ones_like(means)
    world = GaussianMixture(means, ones, ones[:, 0] / 3, torch.arange(3), schedule)
    x_t, t = torch.randn(5, dim, generator=g, dtype=torch.float64), torch.full((5,), step)
    eps, abar = world.eps()(x_t, t), schedule.abar[step]
    v = abar.sqrt() * eps - (1 - abar).sqrt() * world.x_0(x_t, t)
    shape = (-1, 1, 28, 28)
    prediction = VPrediction(says(v.reshape(shape)), schedule.abar)(x_t.reshape(shape), t)
    assert_close(prediction, eps.reshape(shape), rtol=0, atol=1e-6)  # its tables are float32


def test_v_prediction_at_pure_noise_is_x_t_whatever_the_network_says(batch):
    x_t, schedule = batch[0], cosine()
    net = VPrediction(says(torch.ones_like(x_t)), schedule.abar)
    assert_close(net(x_t, torch.full((6,), schedule.T)), x_t, rtol=0, atol=1e-4)


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
    """The unconditional branch reads row 10 alone: every other row's gradient is exactly 0."""
    net, classes = randomised(UNet(c_dim=4)), ClassCondition(10, 4)
    bind(net, classes.unconditional(6))(*batch).square().sum().backward()
    assert (classes.table.weight.grad[:10] == 0).all()
    assert (classes.table.weight.grad[10] != 0).all()


def test_labels_are_dropped_each_on_its_own():
    n, p = 50_000, 0.1
    y = torch.arange(n) % 10
    dropped = drop_labels(y, 10, p, torch.rand(n, generator=torch.Generator().manual_seed(0)))
    gone = dropped == 10
    assert abs(gone.double().mean().item() - p) < 5 * (p * (1 - p) / n) ** 0.5
    assert torch.equal(dropped[~gone], y[~gone])
    # p^2 if independent, p if whole batches went
    neighbours = (gone[1:] & gone[:-1]).double().mean().item()
    assert abs(neighbours - p**2) < 5 * (p**2 / n) ** 0.5
    assert torch.equal(drop_labels(y, 10, 0.0, torch.zeros(n)), y)
    assert (drop_labels(y, 10, 1.0, torch.rand(n)) == 10).all()
