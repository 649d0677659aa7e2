"""Muon against its definition and torch's; which weights it moves; its state, restored."""

import math

import pytest
import torch
from torch import nn
from torch.testing import assert_close

from minidiff import settings
from minidiff.diffusion.schedule import cosine
from minidiff.training.optimizers import Muon, adamw, muon, restore, take_step, tensors_of
from minidiff.training.recipes import RECIPES


def with_gradients(net: nn.Module, seed: int = 0) -> nn.Module:
    g = torch.Generator().manual_seed(seed)
    for parameter in net.parameters():
        parameter.grad = torch.randn(parameter.shape, generator=g)
    return net


@pytest.mark.parametrize(
    "layer", [nn.Conv2d(6, 20, 3), nn.Linear(30, 12)], ids=["convolution", "matrix"]
)
# auto: bfloat16 where it is native
@pytest.mark.parametrize(("rounding", "error"), [("auto", 0.05), ("float32", 1e-3)])
def test_a_first_step_is_the_gradient_made_orthogonal(layer, rounding, error, monkeypatch):
    """W <- (1 - lr wd) W - lr 0.2 sqrt(max(out, in)) U V^T, by singular value decomposition.

    Newton-Schulz brings singular values into about [0.7, 1.2] only [Jordan 2024], so directions
    are exact and sizes are not.
    """
    monkeypatch.setattr(settings, "TRAINING_PRECISION", rounding)
    before = with_gradients(layer).weight.detach().clone().flatten(1)
    u, _, vh = torch.linalg.svd(layer.weight.grad.flatten(1), full_matrices=False)
    take_step([Muon([layer.weight], weight_decay=0.1)], rate=0.01)
    moved = (1 - 0.01 * 0.1) * before - layer.weight.detach().flatten(1)
    sizes = torch.diagonal(u.T @ moved @ vh.T) / (0.01 * 0.2 * math.sqrt(max(before.shape)))
    assert ((sizes > 0.6) & (sizes < 1.3)).all()
    aligned = u @ torch.diag(torch.diagonal(u.T @ moved @ vh.T)) @ vh
    assert (moved - aligned).norm() < error * moved.norm()


def test_float32_takes_the_steps_of_torch_s_muon(monkeypatch):
    """Five steps with momentum and decay: the same up to torch's rounding to bfloat16."""
    for shape in ((20, 6), (6, 20)):
        g = torch.Generator().manual_seed(3)
        start, gradients = torch.randn(shape, generator=g), torch.randn(5, *shape, generator=g)
        moved = []
        for rounding in ("float32", "torch"):
            weight = nn.Parameter(start.clone())
            if rounding == "torch":
                optimizer = torch.optim.Muon(
                    [weight], lr=0.0, weight_decay=0.1, adjust_lr_fn="match_rms_adamw"
                )
            else:
                monkeypatch.setattr(settings, "TRAINING_PRECISION", "float32")
                optimizer = Muon([weight], weight_decay=0.1)
            for i, gradient in enumerate(gradients):
                weight.grad = gradient.clone()
                take_step([optimizer], rate=0.01 * (i + 1))
            moved.append(weight.detach() - start)
        assert (moved[0] - moved[1]).norm() < 0.02 * moved[1].norm()
        assert (moved[0] - moved[1]).norm() > 0


def test_weights_of_one_shape_step_as_each_would_alone(monkeypatch):
    """A wide matrix, a tall one and a convolution, gradients of very different size."""
    monkeypatch.setattr(settings, "TRAINING_PRECISION", "float32")
    g = torch.Generator().manual_seed(5)
    starts = [torch.randn(shape, generator=g) for shape in ((6, 20), (20, 6), (6, 5, 2, 2))]
    gradients = [10**k * torch.randn(start.shape, generator=g) for k, start in enumerate(starts)]

    def moved(chosen: list[int]) -> list[torch.Tensor]:
        weights = [nn.Parameter(starts[i].clone()) for i in chosen]
        for i, weight in zip(chosen, weights, strict=True):
            weight.grad = gradients[i].clone()
        take_step([Muon(weights, weight_decay=0.1)], rate=0.1)
        return weights

    alone = [moved([i])[0] for i in range(3)]
    for together, one, start in zip(moved([0, 1, 2]), alone, starts, strict=True):
        assert_close(together, one, rtol=0, atol=1e-5)
        assert (one - start).abs().max() > 1e-2


def test_muon_moves_matrices_and_adamw_the_rest():
    """Every parameter in exactly one of the two; embeddings of t and y and all vectors in AdamW."""
    net = RECIPES["unet"].build(10, cosine())
    matrices, rest = muon(net, 0.01)
    names = {parameter: name for name, parameter in net.named_parameters()}
    by_muon = [names[weight] for weight in matrices.param_groups[0]["params"]]
    by_adamw = [names[weight] for group in rest.param_groups for weight in group["params"]]
    assert sorted(by_muon + by_adamw) == sorted(names.values())
    assert {
        "classes.table.weight",
        "unet.net.time_embedding.mlp.0.weight",
        "unet.net.time_embedding.condition.weight",
    } <= set(by_adamw)
    assert {
        "unet.net.conv_in.weight",
        "unet.net.mixer.blocks.0.fc_in.weight",
        "unet.net.self_attention.to_qkv.weight",
    } <= set(by_muon)
    assert all(names_parameter.ndim >= 2 for names_parameter in matrices.param_groups[0]["params"])
    before = {name: value.clone() for name, value in net.state_dict().items()}
    take_step(muon(with_gradients(net), 0.0), rate=0.01)
    assert all(not torch.equal(before[name], value) for name, value in net.named_parameters())


@pytest.mark.parametrize("make", [adamw, muon])
def test_a_restored_state_takes_the_same_next_step(make):
    nets = [RECIPES["unet"].build(10, cosine()) for _ in range(2)]
    first = make(with_gradients(nets[0]), 0.01)
    take_step(first, 0.01)
    nets[1].load_state_dict(nets[0].state_dict())
    second = make(nets[1], 0.01)
    restore(second, {name: value.clone() for name, value in tensors_of(first).items()})
    for net, optimizers in zip(nets, (first, second), strict=True):
        take_step(optimizers if with_gradients(net, seed=1) else [], 0.01)
    assert_close(nets[0].state_dict(), nets[1].state_dict(), rtol=0, atol=0)


def test_a_state_of_another_optimizer_is_no_state():
    net = with_gradients(RECIPES["unet"].build(10, cosine()))
    both, one = muon(net, 0.01), adamw(net, 0.01)
    take_step(both, 0.01)
    with pytest.raises((IndexError, KeyError, ValueError)):
        restore(one, tensors_of(both))
