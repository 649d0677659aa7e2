"""The checks of lesson 11: right answers in several spellings, wrong ones by name."""

import pytest
import torch
import torch.nn.functional as F

from minidiff.teaching import checks

LOSS, AWAY = checks.contrastive, checks.away_from


def both_ways(logits):
    same = torch.arange(len(logits))
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (LOSS, both_ways),
        (LOSS, lambda x: -(x.log_softmax(1).diagonal().mean() + x.log_softmax(0).diagonal().mean()) / 2),
        (LOSS, lambda x: ((x.logsumexp(0) + x.logsumexp(1)) / 2 - x.diagonal()).mean().item()),
        (AWAY, lambda a, b, c, w: (1 + w) * a - w * b),
        (AWAY, lambda a, b, c, w: b + (1 + w) * (a - b)),
        (AWAY, lambda a, b, c, w: a + w * (a - b)),
    ],
)
def test_right_answers(check, answer):
    assert check(answer) == checks.CORRECT


@pytest.mark.parametrize(
    ("check", "answer", "says"),
    [
        (LOSS, lambda x: F.cross_entropy(x, torch.arange(len(x))), "only the rows"),
        (LOSS, lambda x: F.cross_entropy(x.T, torch.arange(len(x))), "only the columns"),
        (LOSS, lambda x: -both_ways(x), "sign"),
        (LOSS, lambda x: 2 * both_ways(x), "sum of both"),
        (LOSS, lambda x: len(x) * both_ways(x), "sum over the batch"),
        (LOSS, lambda x: -x.diagonal().mean(), "no softmax"),
        (LOSS, lambda x: -x.flatten().log_softmax(0).view(x.shape).diagonal().mean(), "One softmax"),
        (LOSS, lambda x: x.log_softmax(1).diagonal(), "shape"),
        (AWAY, lambda a, b, c, w: (1 + w) * a - w * c, "does nothing"),
        (AWAY, lambda a, b, c, w: a + w * (b - a), "towards the negative"),
        (AWAY, lambda a, b, c, w: (1 + w) * b - w * a, "changed places"),
        (AWAY, lambda a, b, c, w: b + w * (a - b), "w is s"),
        (AWAY, lambda a, b, c, w: a + w * (a - b) + w * (a - c), "twice"),
        (AWAY, lambda a, b, c, w: (1 + w) * a - b, "factor w"),
        (AWAY, lambda a, b, c, w: a + w * (c - b), "as seen from nothing"),
        (AWAY, lambda a, b, c, w: c + (1 + w) * (a - b), "starts from nothing"),
        (AWAY, lambda a, b, c, w: a, "Not yet"),
    ],
)
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
