"""How a network is told y: a table with one row a class and one null row; dropping labels; binding the condition."""

from typing import NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from minidiff.symbols import Condition, Denoiser, Images, InputError, Labels, Steps

Chances = Float[Tensor, "batch"]


class Words(NamedTuple):
    """The condition c of a sentence, word by word: a vector for every token, and which tokens are there (the rest is padding)."""

    states: Float[Tensor, "batch tokens dim"]
    there: Bool[Tensor, "batch tokens"]


class ClassCondition(nn.Module):
    """c = table[y], for y in 0..K; row K is "no condition", the null row   [Ho & Salimans 2022, sec. 3.2]"""

    def __init__(self, classes: int, dim: int):
        super().__init__()
        self.table = nn.Embedding(classes + 1, dim)

    @property
    def null(self) -> int:
        """The label that says nothing: K. Never 0, which is a digit."""
        return self.table.num_embeddings - 1

    def forward(self, y: Labels) -> Condition:
        """The condition vectors of the labels, which nobody checks here: on a GPU that would make it wait."""
        return self.table(y)

    def nothing(self, batch: int) -> Condition:
        """The null row, `batch` times: the condition of the unconditional model."""
        return self(torch.full((batch,), self.null, dtype=torch.int64, device=self.table.weight.device))


def checked_labels(y: Labels, largest: int, network: nn.Module) -> Labels:
    """The labels, on the device of the network that they are for. Raises InputError for one outside 0..largest."""
    if len(y) and not 0 <= int(y.min()) <= int(y.max()) <= largest:
        raise InputError(f"Labels must lie in 0..{largest}, got {y.unique().tolist()}.")
    return y.to(next(network.parameters()).device)


def drop_labels(y: Labels, null: int, p: float, u: Chances) -> Labels:
    """Each label on its own becomes the null label where u < p, u uniform in [0, 1)   [Ho & Salimans 2022, Alg. 1]"""
    return y.masked_fill((u < p).to(y.device), null)


def bind(unet: nn.Module, c: Condition | Words | None = None) -> Denoiser:
    """eps(x_t, t) = unet(x_t, t, c) for this condition, one row of c for each row of x_t; None for an unconditional net."""

    def eps(x_t: Images, t: Steps) -> Images:
        return unet(x_t, t, c)

    return eps
