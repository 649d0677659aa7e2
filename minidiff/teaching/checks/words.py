"""Checks about sentences (lesson 11)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from minidiff.teaching.checks.verdict import normal, verdict

Square = Float[Tensor, "n n"]
Batch = Float[Tensor, "4 3"]


def contrastive(answer: Callable[[Square], Float[Tensor, ""]]) -> str:
    """answer(logits) -> the contrastive loss, logits[i, j] the fit of image i and sentence j."""
    logits = 2 * torch.randn(5, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    rows, columns = (logits.log_softmax(dim=dim).diagonal() for dim in (1, 0))
    right = -(rows + columns).mean() / 2
    mistakes = {
        "That sees only the rows: every image chooses a sentence. Let every sentence choose an "
        "image as well.": -rows.mean(),
        "That sees only the columns: every sentence chooses an image. Let every image choose as "
        "well.": -columns.mean(),
        "The sign is turned: a good fit must make the loss small.": -right,
        "That is the sum of both directions: take their mean.": 2 * right,
        "That is the sum over the batch: take the mean.": 5 * right,
        "That is no softmax: the diagonal alone grows without end. Each right pair must beat the "
        "wrong ones.": (-logits.diagonal().mean()),
        "One softmax over all n x n pairs: take one over each row and one over each column.": (
            -logits.flatten().log_softmax(dim=0).view(5, 5).diagonal().mean()
        ),
    }
    return verdict(lambda: answer(logits.clone()), right, mistakes)


def away_from(answer: Callable[[Batch, Batch, Batch, float], Batch]) -> str:
    """answer(eps_text, eps_negative, eps_empty, w) -> M6 with the negative sentence as the null."""
    text, negative, null = normal(3)
    weights = (0.0, 2.0)
    rules: dict[str, Callable] = {
        "That is M6 as it stands: the negative sentence does nothing.": lambda a, b, c, w: (
            (1 + w) * a - w * c
        ),
        "The sign is turned: that moves towards the negative sentence.": lambda a, b, c, w: (
            (1 - w) * a + w * b
        ),
        "The sentences have changed places.": lambda a, b, c, w: (1 + w) * b - w * a,
        "That counts from the negative sentence, so w is s: at w = 0 you must get the plain "
        "conditional guess.": (lambda a, b, c, w: b + w * (a - b)),
        "That takes the negative sentence away twice, once for the null and once more: it "
        "replaces the null.": (lambda a, b, c, w: (1 + 2 * w) * a - w * b - w * c),
        "At w = 0 nothing may be subtracted: did you forget the factor w?": lambda a, b, c, w: (
            (1 + w) * a - b
        ),
        "That pushes away from the negative as seen from nothing: it takes the null's place "
        "instead.": (lambda a, b, c, w: a + w * (c - b)),
        "That starts from nothing and counts s: start from the text's guess, w times the way from "
        "the negative.": (lambda a, b, c, w: c + (1 + w) * (a - b)),
    }

    def values(rule: Callable) -> Tensor:
        found = [rule(text.clone(), negative.clone(), null.clone(), w) for w in weights]
        return torch.stack([torch.as_tensor(noise) for noise in found])

    right = values(lambda a, b, c, w: (1 + w) * a - w * b)
    mistakes = {text: values(rule) for text, rule in rules.items()}
    return verdict(lambda: values(answer), right, mistakes)
