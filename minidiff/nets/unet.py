"""The denoising network, a U-Net for 28 x 28 images, what it predicts, and its class condition."""

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from minidiff.nets.layers import (
    GROUPS,
    CrossAttention,
    GlobalMixer,
    ResidualBlock,
    SelfAttention,
    TimeEmbedding,
    Words,
    zeroed,
)
from minidiff.symbols import Condition, Denoiser, Images, InputError, Labels, Steps, Table

Chances = Float[Tensor, "batch"]


class UNet(nn.Module):
    """UNet(x_t, t, c): images in, a prediction of their shape out   [Ho 2020, app. B, made small]

    c is any condition vector of length c_dim, or Words of length words_dim, to which every place of
    the 7 x 7 map attends, or None for a network built with neither. pixel_unshuffle turns 1 x 28 x
    28 into 4 x 14 x 14 without losing a pixel: a quarter of the places and about of the time.
    """

    def __init__(self, width: int = 48, c_dim: int = 0, words_dim: int = 0):
        super().__init__()
        self.c_dim, self.words_dim = c_dim, words_dim
        dim = wide = 2 * width
        self.time_embedding = TimeEmbedding(dim, c_dim)
        self.conv_in = nn.Conv2d(4, width, 3, padding=1)
        self.down_1 = ResidualBlock(width, width, dim)
        self.downsample = nn.Conv2d(width, wide, 3, stride=2, padding=1)
        self.down_2 = ResidualBlock(wide, wide, dim)
        self.self_attention = SelfAttention(wide)
        self.cross_attention_1, self.cross_attention_2 = (
            CrossAttention(wide, words_dim) if words_dim else None for _ in range(2)
        )
        self.mixer = GlobalMixer(wide, 7, dim)
        self.mid = ResidualBlock(wide, wide, dim)
        self.up_2 = ResidualBlock(2 * wide, wide, dim)
        self.upsample = nn.Conv2d(wide, width, 3, padding=1)
        self.up_1 = ResidualBlock(2 * width, width, dim)
        self.conv_out = nn.Sequential(
            nn.GroupNorm(GROUPS, width), nn.SiLU(), zeroed(nn.Conv2d(width, 4, 3, padding=1))
        )

    def forward(self, x_t: Images, t: Steps, c: Condition | Words | None = None) -> Images:
        words, c = (c, None) if isinstance(c, Words) else (None, c)
        came = (0 if c is None else c.shape[-1]), (0 if words is None else words.states.shape[-1])
        if came != (self.c_dim, self.words_dim):
            raise InputError(
                f"This U-Net wants a condition of length {self.c_dim} and Words of length "
                f"{self.words_dim} (0 is none), got length {came[0]} and Words of length {came[1]}."
            )
        emb = self.time_embedding(t, c)
        fine = self.down_1(self.conv_in(F.pixel_unshuffle(x_t, 2)), emb)  # (batch, width, 14, 14)
        coarse = self.down_2(self.downsample(fine), emb)  # (batch, 2 width, 7, 7)
        h = self.self_attention(coarse)
        h = h if words is None else self.cross_attention_1(h, words)
        h = self.mid(self.mixer(h, emb), emb)
        h = h if words is None else self.cross_attention_2(h, words)
        h = self.up_2(torch.cat([h, coarse], dim=1), emb)
        h = F.interpolate(h, scale_factor=2.0, mode="nearest")
        h = self.upsample(h)  # (batch, width, 14, 14)
        h = self.up_1(torch.cat([h, fine], dim=1), emb)
        return F.pixel_shuffle(self.conv_out(h), 2)  # (batch, 1, 28, 28)


class VPrediction(nn.Module):
    """eps_hat = sqrt(abar_t) v_hat + sqrt(1 - abar_t) x_t, v_hat = net(x_t, t, c)

    [Salimans & Ho 2022, sec. 4]. v = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0 has unit variance at
    every t. At t = T, where x_t is all noise, eps_hat is x_t whatever the network predicts, and
    what it learns is x_0. To samplers this is a prediction of eps like any other.
    """

    def __init__(self, net: nn.Module, abar: Table):
        super().__init__()
        self.net = net
        # the file holds the schedule once
        self.register_buffer("signal", abar.sqrt().float(), persistent=False)
        self.register_buffer("noise", (1 - abar).sqrt().float(), persistent=False)

    def forward(self, x_t: Images, t: Steps, c: Condition | Words | None = None) -> Images:
        signal = self.signal[t][:, None, None, None].to(x_t.dtype)
        noise = self.noise[t][:, None, None, None].to(x_t.dtype)
        return signal * self.net(x_t, t, c) + noise * x_t


class ClassCondition(nn.Module):
    """c = table[y] for y = 0..K, K the null label   [Ho & Salimans 2022, sec. 3.2]"""

    def __init__(self, classes: int, dim: int):
        super().__init__()
        self.table = nn.Embedding(classes + 1, dim)

    @property
    def null(self) -> int:
        """The null label, K: never 0, which is a digit."""
        return self.table.num_embeddings - 1

    def forward(self, y: Labels) -> Condition:
        """A condition vector for each label; a check would make a GPU wait."""
        return self.table(y)

    def unconditional(self, batch: int) -> Condition:
        """The null row, `batch` times: the condition of the unconditional model."""
        device = self.table.weight.device
        return self(torch.full((batch,), self.null, dtype=torch.int64, device=device))


def checked_labels(y: Labels, largest: int, network: nn.Module) -> Labels:
    """The labels, on the network's device. Raises InputError for one outside 0..largest."""
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) <= largest:
        raise InputError(f"Labels must lie in 0..{largest}, got {y.unique().tolist()}.")
    return y.to(next(network.parameters()).device)


def drop_labels(y: Labels, null: int, p: float, u: Chances) -> Labels:
    """Each label on its own becomes null where u < p, u uniform in [0, 1)

    [Ho & Salimans 2022, Alg. 1]
    """
    return y.masked_fill((u < p).to(y.device), null)


def bind(unet: nn.Module, c: Condition | Words | None = None) -> Denoiser:
    """eps(x_t, t) = unet(x_t, t, c), a row of c for each of x_t; None if it is unconditional."""

    def eps(x_t: Images, t: Steps) -> Images:
        return unet(x_t, t, c)

    return eps
