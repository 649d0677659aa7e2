"""The layers of all networks: time features, residual block, attention, global mixer."""

import math
from typing import NamedTuple, TypeVar

import torch
import torch.nn.functional as F
from jaxtyping import Bool, Float
from torch import Tensor, nn

from minidiff.symbols import Condition, Steps

Maps = Float[Tensor, "batch c_in height width"]
MapsOut = Float[Tensor, "batch c_out height width"]
Embedding = Float[Tensor, "batch emb"]
Vectors = Float[Tensor, "batch numbers"]


class Words(NamedTuple):
    """The condition c of a sentence: a vector for every token, and which tokens are no padding."""

    states: Float[Tensor, "batch tokens dim"]
    mask: Bool[Tensor, "batch tokens"]


Layer = TypeVar("Layer", nn.Conv2d, nn.Linear)
GROUPS = 8  # GroupNorm, never BatchNorm: the gradient of one row must not see the other rows


def time_features(t: Steps, dim: int) -> Embedding:
    """[cos(t f_i), sin(t f_i)], f_i = 10000^(-i / (dim/2)), i < dim/2   [Vaswani 2017, sec. 3.5]"""
    half = dim // 2
    i = torch.arange(half, dtype=torch.float32, device=t.device)
    frequency = torch.exp(-math.log(10_000) / half * i)
    angle = t.float()[:, None] * frequency  # (batch, half)
    return torch.cat([angle.cos(), angle.sin()], dim=1)


class TimeEmbedding(nn.Module):
    """A small MLP of time_features(t), plus a linear map of c if there is one, for every block."""

    def __init__(self, dim: int, c_dim: int = 0):
        super().__init__()
        self.features = dim // 2
        self.mlp = nn.Sequential(nn.Linear(self.features, dim), nn.SiLU(), nn.Linear(dim, dim))
        self.condition = nn.Linear(c_dim, dim) if c_dim else None

    def forward(self, t: Steps, c: Condition | None = None) -> Embedding:
        emb = self.mlp(time_features(t, self.features).to(self.mlp[0].weight.dtype))
        return emb if self.condition is None else emb + self.condition(c)


class ResidualBlock(nn.Module):
    """x + f(x): two 3 x 3 convolutions; the embedding scales and shifts the second norm

    [Dhariwal & Nichol 2021, sec. 3: adaptive group normalization]
    """

    def __init__(self, c_in: int, c_out: int, dim: int):
        super().__init__()
        self.norm_1, self.norm_2 = nn.GroupNorm(GROUPS, c_in), nn.GroupNorm(GROUPS, c_out)
        self.conv_1 = nn.Conv2d(c_in, c_out, 3, padding=1)
        self.conv_2 = zeroed(nn.Conv2d(c_out, c_out, 3, padding=1))
        self.emb_proj = nn.Linear(dim, 2 * c_out)
        self.skip = nn.Conv2d(c_in, c_out, 1) if c_in != c_out else nn.Identity()

    def forward(self, x: Maps, emb: Embedding) -> MapsOut:
        scale, shift = self.emb_proj(F.silu(emb))[:, :, None, None].chunk(2, dim=1)
        h = self.conv_1(F.silu(self.norm_1(x)))
        h = self.norm_2(h) * (1 + scale) + shift
        return self.skip(x) + self.conv_2(F.silu(h))


class SelfAttention(nn.Module):
    """x + attention over all places, softmax(q k^T / sqrt(d)) v   [Vaswani 2017, eq. 1]"""

    def __init__(self, channels: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.to_qkv = nn.Conv2d(channels, 3 * channels, 1)
        self.to_out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Maps) -> Maps:
        batch, channels, height, width = x.shape
        shape = batch, 3, self.heads, channels // self.heads, height * width
        qkv = self.to_qkv(self.norm(x)).reshape(shape)
        q, k, v = qkv.transpose(-1, -2).unbind(
            dim=1
        )  # each (batch, heads, places, channels / heads)
        h = F.scaled_dot_product_attention(q, k, v)
        return x + self.to_out(h.transpose(-1, -2).reshape(batch, channels, height, width))


class CrossAttention(nn.Module):
    """x + attention from every place to the words, never to padding   [Rombach 2022, sec. 3.3]"""

    def __init__(self, channels: int, words_dim: int, heads: int = 4):
        super().__init__()
        self.heads = heads
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.to_q = nn.Conv2d(channels, channels, 1)
        self.to_kv = nn.Linear(words_dim, 2 * channels)
        self.to_out = zeroed(nn.Conv2d(channels, channels, 1))

    def forward(self, x: Maps, words: Words) -> Maps:
        batch, channels, height, width = x.shape
        dim = channels // self.heads
        q = self.to_q(self.norm(x)).reshape(batch, self.heads, dim, height * width)
        q = q.transpose(-1, -2)
        kv = self.to_kv(words.states).unflatten(-1, (2, self.heads, dim))
        k, v = kv.permute(2, 0, 3, 1, 4)  # each (batch, heads, words, channels / heads)
        h = F.scaled_dot_product_attention(q, k, v, attn_mask=words.mask[:, None, None])
        return x + self.to_out(h.transpose(-1, -2).reshape(batch, channels, height, width))


class GlobalMixer(nn.Module):
    """x + g(x): the map squeezed to a few channels, dense layers over all of it, and back.

    A convolution has the same weights everywhere, and our attention has no positions; a dense layer
    has weights of its own for every pair of places, and where noise hides the strokes, only all
    pixels together show which digit it is.
    """

    def __init__(
        self,
        channels: int,
        size: int,
        dim: int,
        squeezed: int = 8,
        hidden: int = 256,
        depth: int = 2,
    ):
        super().__init__()
        self.norm = nn.GroupNorm(GROUPS, channels)
        self.proj_in = nn.Conv2d(channels, squeezed, 1)
        self.proj_out = zeroed(nn.Conv2d(squeezed, channels, 1))
        numbers = squeezed * size * size
        self.blocks = nn.ModuleList([DenseBlock(numbers, hidden, dim) for _ in range(depth)])

    def forward(self, x: Maps, emb: Embedding) -> Maps:
        h = self.proj_in(self.norm(x))
        numbers = h.flatten(1)
        for block in self.blocks:
            numbers = block(numbers, emb)
        return x + self.proj_out(numbers.view_as(h))


class DenseBlock(nn.Module):
    """x + f(x) for vectors: two linear layers; the embedding scales and shifts what is between."""

    def __init__(self, numbers: int, hidden: int, dim: int):
        super().__init__()
        self.norm = nn.LayerNorm(numbers)
        self.fc_in = nn.Linear(numbers, hidden)
        self.emb_proj = nn.Linear(dim, 2 * hidden)
        self.fc_out = zeroed(nn.Linear(hidden, numbers))

    def forward(self, x: Vectors, emb: Embedding) -> Vectors:
        scale, shift = self.emb_proj(F.silu(emb)).chunk(2, dim=1)
        return x + self.fc_out(F.silu(self.fc_in(self.norm(x)) * (1 + scale) + shift))


def zeroed(layer: Layer) -> Layer:
    """The layer with all parameters 0: a residual block starts as the identity [Ho 2020's code]"""
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
