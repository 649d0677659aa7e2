"""Labels that nobody gave: images that are alike, by k-means over their pixels."""

import torch
from jaxtyping import Float, Int
from torch import Tensor

from minidiff.symbols import Images, InputError, Labels

ROUNDS = 20


def nearest(x_0: Images, others: Float[Tensor, "others 1 height width"]) -> Int[Tensor, "batch"]:
    """For every image the row of the nearest other one: the smallest Euclidean distance over all pixels."""
    table = others.flatten(1)
    half = table.square().sum(dim=1) / 2  # |x - o|^2 / 2 = |o|^2 / 2 - x o + something that is the same for all others
    return torch.cat([(half - piece.flatten(1) @ table.T).argmin(dim=1) for piece in x_0.split(1_000)])


def clusters(x_0: Images, k: int, rounds: int = ROUNDS, seed: int = 0) -> Labels:
    """The number of every image's cluster, 0..k - 1, by k-means: no round makes sum_i |x_i - centre_(y_i)|^2 larger

    [Lloyd 1982]. The centres begin as k images, drawn with this seed. A round: y_i = the nearest centre of image i, then
    centre_j = the mean of the images with y_i = j (an empty cluster keeps its centre). By hand, because the result must be the
    same each time (an interrupted training run goes on bit for bit), which threads that add in any order do not give.
    Raises InputError for fewer images than clusters.
    """
    if not 1 <= k <= len(x_0):
        raise InputError(f"{k} clusters want at least as many images, and one at least; got {len(x_0)} images.")
    centres = x_0[torch.randperm(len(x_0), generator=torch.Generator().manual_seed(seed))[:k]]
    for _ in range(rounds):
        y = nearest(x_0, centres)
        sums, counts = torch.zeros_like(centres).index_add_(0, y, x_0), torch.bincount(y, minlength=k).view(-1, 1, 1, 1)
        centres = torch.where(counts > 0, sums / counts.clamp(min=1), centres)
    return nearest(x_0, centres)
