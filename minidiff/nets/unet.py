"""The denoising network: a U-Net for 28 x 28 that works on 14 x 14 and 7 x 7, and how its output becomes a guess of the noise."""

import torch
import torch.nn.functional as F
from torch import nn

from minidiff.nets.conditioning import Words
from minidiff.nets.layers import GROUPS, CrossAttention, GlobalPlan, ResidualBlock, SelfAttention, TimeEmbedding, zeroed
from minidiff.symbols import Condition, Images, InputError, Steps, Table


class UNet(nn.Module):
    """UNet(x_t, t, c): images in, a guess of the same shape out   [Ho 2020, app. B, made small]

    c is any condition vector of length c_dim, or Words of length words_dim, which every place of the 7 x 7 map looks at, or None
    for a network built with neither. pixel_unshuffle turns 1 x 28 x 28 into 4 x 14 x 14 without losing a pixel: a quarter of
    the places, so about a quarter of the time.
    """

    def __init__(self, width: int = 48, c_dim: int = 0, words_dim: int = 0):
        super().__init__()
        self.c_dim, self.words_dim = c_dim, words_dim
        dim = wide = 2 * width
        self.embed = TimeEmbedding(dim, c_dim)
        self.enter = nn.Conv2d(4, width, 3, padding=1)
        self.fine_down = ResidualBlock(width, width, dim)
        self.shrink = nn.Conv2d(width, wide, 3, stride=2, padding=1)
        self.coarse_down = ResidualBlock(wide, wide, dim)
        self.attention = SelfAttention(wide)
        self.read, self.read_again = (CrossAttention(wide, words_dim) if words_dim else None for _ in range(2))
        self.plan = GlobalPlan(wide, 7, dim)
        self.middle = ResidualBlock(wide, wide, dim)
        self.coarse_up = ResidualBlock(2 * wide, wide, dim)
        self.grow = nn.Conv2d(wide, width, 3, padding=1)
        self.fine_up = ResidualBlock(2 * width, width, dim)
        self.leave = nn.Sequential(nn.GroupNorm(GROUPS, width), nn.SiLU(), zeroed(nn.Conv2d(width, 4, 3, padding=1)))

    def forward(self, x_t: Images, t: Steps, c: Condition | Words | None = None) -> Images:
        words, c = (c, None) if isinstance(c, Words) else (None, c)
        came = (0 if c is None else c.shape[-1]), (0 if words is None else words.states.shape[-1])
        if came != (self.c_dim, self.words_dim):
            wanted = f"This U-Net wants a condition of length {self.c_dim} and Words of length {self.words_dim} (0 is none)"
            raise InputError(f"{wanted}, got length {came[0]} and Words of length {came[1]}.")
        emb = self.embed(t, c)
        fine = self.fine_down(self.enter(F.pixel_unshuffle(x_t, 2)), emb)  # (batch, width, 14, 14)
        coarse = self.coarse_down(self.shrink(fine), emb)  # (batch, 2 width, 7, 7)
        h = self.attention(coarse) if words is None else self.read(self.attention(coarse), words)
        h = self.middle(self.plan(h, emb), emb)
        h = h if words is None else self.read_again(h, words)
        h = self.coarse_up(torch.cat([h, coarse], dim=1), emb)
        h = self.grow(F.interpolate(h, scale_factor=2.0, mode="nearest"))  # (batch, width, 14, 14)
        h = self.fine_up(torch.cat([h, fine], dim=1), emb)
        return F.pixel_shuffle(self.leave(h), 2)  # (batch, 1, 28, 28)


class VPrediction(nn.Module):
    """eps_hat = sqrt(abar_t) v_hat + sqrt(1 - abar_t) x_t, v_hat = net(x_t, t, c)   [Salimans & Ho 2022, sec. 4]

    v = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0 has unit variance at every t. At t = T, where x_t is all noise, eps_hat is x_t
    whatever the network says, and what it learns is x_0. Outside, this is a guess of eps like any other.
    """

    def __init__(self, net: nn.Module, abar: Table):
        super().__init__()
        self.net = net
        self.register_buffer("signal", abar.sqrt().float(), persistent=False)  # the file holds the schedule once
        self.register_buffer("noise", (1 - abar).sqrt().float(), persistent=False)

    def forward(self, x_t: Images, t: Steps, c: Condition | Words | None = None) -> Images:
        signal, noise = (table[t][:, None, None, None].to(x_t.dtype) for table in (self.signal, self.noise))
        return signal * self.net(x_t, t, c) + noise * x_t
