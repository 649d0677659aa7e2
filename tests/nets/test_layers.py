"""The layers against formulas written out, and who sees what."""

import math

import torch
from helpers import randomised
from torch import nn
from torch.testing import assert_close

from minidiff.nets.layers import CrossAttention, GlobalMixer, Words, time_features, zeroed


def test_time_features_against_the_formula():
    t = torch.tensor([0, 1, 37, 1000])
    angles = t.double()[:, None] * 10_000 ** (-torch.arange(4) / 4)
    expected = torch.cat([angles.cos(), angles.sin()], dim=1).float()
    assert_close(time_features(t, 8), expected, rtol=1e-4, atol=1e-4)


def test_the_mixer_alone_joins_every_pair_of_places():
    """Without any attention each place reaches each, and rows stay apart."""
    g = torch.Generator().manual_seed(5)
    x = torch.randn(2, 16, 7, 7, generator=g).requires_grad_()
    emb, mixer = torch.randn(2, 12, generator=g), randomised(GlobalMixer(16, 7, dim=12))
    mixer(x, emb)[0, 3, 6, 6].backward()
    assert (x.grad[0, :, 0, 0].abs() > 0).all()
    assert (x.grad[1] == 0).all()
    assert not torch.allclose(mixer(x, emb), mixer(x, emb.flip(0)), atol=1e-3)
    assert torch.equal(GlobalMixer(16, 7, dim=12)(x, emb), x)  # fresh, it is the identity


def test_cross_attention_by_hand():
    """One head, written out: softmax(q k^T / sqrt(d)) v over the words that are there."""
    g = torch.Generator().manual_seed(1)
    layer = randomised(CrossAttention(8, 5, heads=1))
    x, states = torch.randn(2, 8, 3, 3, generator=g), torch.randn(2, 4, 5, generator=g)
    words = Words(states, torch.tensor([[True] * 4, [True, True, False, False]]))
    expected = x.clone()
    for i, count in ((0, 4), (1, 2)):
        q = layer.to_q(layer.norm(x[i : i + 1])).flatten(2)[0].T  # (places, channels)
        k, v = layer.to_kv(states[i, :count]).chunk(2, dim=1)
        mixed = torch.softmax(q @ k.T / math.sqrt(8), dim=1) @ v
        expected[i] += layer.to_out(mixed.T.reshape(1, 8, 3, 3))[0]
    assert_close(layer(x, words), expected, rtol=1e-5, atol=1e-5)


def test_a_zeroed_layer_starts_silent_and_can_learn():
    layer = zeroed(nn.Linear(3, 2))
    assert not layer(torch.ones(1, 3)).any()
    assert all(parameter.requires_grad for parameter in layer.parameters())
