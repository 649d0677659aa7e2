"""The checks of lesson 05: right answers in several spellings, wrong ones by name."""

import pytest
import torch

from minidiff.teaching import checks

MEAN, SURE = checks.averaged, checks.overconfidence


def top(p):
    return p.max(dim=1).values.mean()


def hits(p, y):
    return (p.argmax(dim=1) == y).double().mean()


def label(p, y):
    return p[range(len(y)), y].mean()


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (MEAN, lambda p, log_weight: torch.softmax(log_weight, dim=0) @ p),
        (MEAN, lambda p, log_weight: torch.einsum("n,nk->k", (log_weight - log_weight.logsumexp(0)).exp(), p)),
        (SURE, lambda p, y: top(p) - hits(p, y)),
        (SURE, lambda p, y: float((p.amax(dim=1) - (p.argmax(dim=1) == y).double()).mean())),
    ],
)
def test_right_answers(check, answer):
    assert check(answer) == checks.CORRECT


@pytest.mark.parametrize(
    ("check", "answer", "says"),
    [
        (MEAN, lambda p, log_weight: p.mean(dim=0), "the same here"),
        (MEAN, lambda p, log_weight: log_weight.exp() @ p, "add up to 1"),
        (MEAN, lambda p, log_weight: log_weight @ p / log_weight.sum(), "logarithms"),
        (MEAN, lambda p, log_weight: log_weight.exp() @ p / len(p), "not by their number"),
        (MEAN, lambda p, log_weight: p[log_weight.argmax()], "most likely"),
        (MEAN, lambda p, log_weight: (torch.softmax(log_weight, 0) @ p.log()).exp(), "not their logarithms"),
        (MEAN, lambda p, log_weight: log_weight.exp() @ p / log_weight.exp().sum(), "take off the largest first"),
        (MEAN, lambda p, log_weight: p[0], "Not yet"),
        (SURE, lambda p, y: top(p), "confidence alone"),
        (SURE, lambda p, y: (top(p) - hits(p, y)).abs(), "Keep the sign"),
        (SURE, hits, "accuracy alone"),
        (SURE, lambda p, y: hits(p, y) - top(p), "sign"),
        (SURE, lambda p, y: label(p, y) - hits(p, y), "not that of the label"),
        (SURE, lambda p, y: top(p) - label(p, y), "counts hits"),
        (SURE, lambda p, y: 2.0, "Not yet"),
    ],
)
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
