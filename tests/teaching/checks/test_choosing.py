"""The checks of lesson 10: right answers in several spellings, wrong ones by name."""

import math

import pytest
import torch

from checks.answers import each
from minidiff.teaching import checks

RIGHT = {
    checks.log_either: [
        lambda log_p, a, b: torch.logaddexp(log_p[:, a], log_p[:, b]),
        lambda log_p, a, b: log_p.exp()[:, [a, b]].sum(dim=1).log(),
        lambda log_p, a, b: torch.logsumexp(log_p[:, [a, b]], dim=1),
    ],
    checks.standard_errors_apart: [
        lambda x, dx, y, dy: abs(x - y) / (dx**2 + dy**2) ** 0.5,
        lambda x, dx, y, dy: math.sqrt((y - x) ** 2) / math.hypot(dx, dy),
    ],
}
WRONG = {
    checks.log_either: [
        (lambda log_p, a, b: log_p[:, a] + log_p[:, b], "multiplies"),
        (lambda log_p, a, b: log_p[:, [a, b]].mean(dim=1), "mean of the logarithms"),
        (lambda log_p, a, b: log_p.exp()[:, [a, b]].sum(dim=1), "take its logarithm"),
        (lambda log_p, a, b: log_p[:, [a, b]].max(dim=1).values, "larger of the two"),
        (lambda log_p, a, b: log_p.exp()[:, [a, b]].mean(dim=1).log(), "Half"),
        (lambda log_p, a, b: log_p[:, a], "Not yet"),
        (lambda log_p, a, b: torch.logsumexp(log_p[:, [a, b]], dim=0), "shape"),
    ],
    checks.standard_errors_apart: [
        (lambda x, dx, y, dy: abs(x - y) / (dx + dy), "their squares do"),
        (lambda x, dx, y, dy: abs(x - y) / (dx**2 + dy**2), "root"),
        (lambda x, dx, y, dy: abs(x - y) / max(dx, dy), "by both"),
        (lambda x, dx, y, dy: abs(x - y) / abs(dx**2 - dy**2) ** 0.5, "even for a difference"),
        (lambda x, dx, y, dy: (x - y) / (dx**2 + dy**2) ** 0.5, "absolute"),
        (lambda x, dx, y, dy: 1.0, "Not yet"),
    ],
}


@pytest.mark.parametrize(("check", "answer", "says"), each(WRONG))
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
