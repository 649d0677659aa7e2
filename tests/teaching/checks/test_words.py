"""The checks of lesson 11: right answers in several spellings, wrong ones by name."""

import pytest
import torch
import torch.nn.functional as F

from checks.answers import each
from minidiff.teaching import checks


def both_ways(logits):
    same = torch.arange(len(logits))
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


RIGHT = {
    checks.contrastive: [
        both_ways,
        lambda x: -(x.log_softmax(1).diagonal().mean() + x.log_softmax(0).diagonal().mean()) / 2,
        lambda x: ((x.logsumexp(0) + x.logsumexp(1)) / 2 - x.diagonal()).mean().item(),
    ],
    checks.away_from: [
        lambda a, b, c, w: (1 + w) * a - w * b,
        lambda a, b, c, w: b + (1 + w) * (a - b),
        lambda a, b, c, w: a + w * (a - b),
    ],
}
WRONG = {
    checks.contrastive: [
        (lambda x: F.cross_entropy(x, torch.arange(len(x))), "only the rows"),
        (lambda x: F.cross_entropy(x.T, torch.arange(len(x))), "only the columns"),
        (lambda x: -both_ways(x), "sign"),
        (lambda x: 2 * both_ways(x), "sum of both"),
        (lambda x: len(x) * both_ways(x), "sum over the batch"),
        (lambda x: -x.diagonal().mean(), "no softmax"),
        (lambda x: -x.flatten().log_softmax(0).view(x.shape).diagonal().mean(), "One softmax"),
        (lambda x: x.log_softmax(1).diagonal(), "shape"),
    ],
    checks.away_from: [
        (lambda a, b, c, w: (1 + w) * a - w * c, "does nothing"),
        (lambda a, b, c, w: a + w * (b - a), "towards the negative"),
        (lambda a, b, c, w: (1 + w) * b - w * a, "changed places"),
        (lambda a, b, c, w: b + w * (a - b), "w is s"),
        (lambda a, b, c, w: a + w * (a - b) + w * (a - c), "twice"),
        (lambda a, b, c, w: (1 + w) * a - b, "factor w"),
        (lambda a, b, c, w: a + w * (c - b), "as seen from nothing"),
        (lambda a, b, c, w: c + (1 + w) * (a - b), "starts from nothing"),
        (lambda a, b, c, w: a, "Not yet"),
    ],
}


@pytest.mark.parametrize(("check", "answer", "says"), each(WRONG))
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
