"""The checks of lesson 05: right answers in several spellings, wrong ones by name."""

import pytest
import torch

from checks.answers import each
from minidiff.teaching import checks


def top(p):
    return p.max(dim=1).values.mean()


def hits(p, y):
    return (p.argmax(dim=1) == y).double().mean()


def label(p, y):
    return p[range(len(y)), y].mean()


RIGHT = {
    checks.averaged: [
        lambda p, log_weight: torch.softmax(log_weight, dim=0) @ p,
        lambda p, log_weight: torch.einsum(
            "n,nk->k", (log_weight - log_weight.logsumexp(0)).exp(), p
        ),
    ],
    checks.overconfidence: [
        lambda p, y: top(p) - hits(p, y),
        lambda p, y: float((p.amax(dim=1) - (p.argmax(dim=1) == y).double()).mean()),
    ],
}
WRONG = {
    checks.averaged: [
        (lambda p, log_weight: p.mean(dim=0), "the same here"),
        (lambda p, log_weight: log_weight.exp() @ p, "add up to 1"),
        (lambda p, log_weight: log_weight @ p / log_weight.sum(), "logarithms"),
        (lambda p, log_weight: log_weight.exp() @ p / len(p), "not by their number"),
        (lambda p, log_weight: p[log_weight.argmax()], "most likely"),
        (
            lambda p, log_weight: (torch.softmax(log_weight, 0) @ p.log()).exp(),
            "not their logarithms",
        ),
        (
            lambda p, log_weight: log_weight.exp() @ p / log_weight.exp().sum(),
            "take off the largest first",
        ),
        (lambda p, log_weight: p[0], "Not yet"),
    ],
    checks.overconfidence: [
        (lambda p, y: top(p), "confidence alone"),
        (lambda p, y: (top(p) - hits(p, y)).abs(), "Keep the sign"),
        (hits, "accuracy alone"),
        (lambda p, y: hits(p, y) - top(p), "sign"),
        (lambda p, y: label(p, y) - hits(p, y), "not that of the label"),
        (lambda p, y: top(p) - label(p, y), "counts hits"),
        (lambda p, y: 2.0, "Not yet"),
    ],
}


@pytest.mark.parametrize(("check", "answer", "says"), each(WRONG))
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
