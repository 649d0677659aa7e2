"""The checks of lesson 10, and the curves of the sweep: right answers in several spellings, wrong ones by name."""

import math

import matplotlib.pyplot as plt
import pytest
import torch

from minidiff.evaluation.sweep import METRICS, Point
from minidiff.teaching import checks
from minidiff.teaching.figures import swept

EITHER, APART = checks.log_either, checks.standard_errors_apart


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (EITHER, lambda log_p, a, b: torch.logaddexp(log_p[:, a], log_p[:, b])),
        (EITHER, lambda log_p, a, b: log_p.exp()[:, [a, b]].sum(dim=1).log()),
        (EITHER, lambda log_p, a, b: torch.logsumexp(log_p[:, [a, b]], dim=1)),
        (APART, lambda x, dx, y, dy: abs(x - y) / (dx**2 + dy**2) ** 0.5),
        (APART, lambda x, dx, y, dy: math.sqrt((y - x) ** 2) / math.hypot(dx, dy)),
    ],
)
def test_right_answers(check, answer):
    assert check(answer) == checks.CORRECT


@pytest.mark.parametrize(
    ("check", "answer", "says"),
    [
        (EITHER, lambda log_p, a, b: log_p[:, a] + log_p[:, b], "multiplies"),
        (EITHER, lambda log_p, a, b: log_p[:, [a, b]].mean(dim=1), "mean of the logarithms"),
        (EITHER, lambda log_p, a, b: log_p.exp()[:, [a, b]].sum(dim=1), "take its logarithm"),
        (EITHER, lambda log_p, a, b: log_p[:, [a, b]].max(dim=1).values, "larger of the two"),
        (EITHER, lambda log_p, a, b: log_p.exp()[:, [a, b]].mean(dim=1).log(), "Half"),
        (EITHER, lambda log_p, a, b: log_p[:, a], "Not yet"),
        (EITHER, lambda log_p, a, b: torch.logsumexp(log_p[:, [a, b]], dim=0), "shape"),
        (APART, lambda x, dx, y, dy: abs(x - y) / (dx + dy), "their squares do"),
        (APART, lambda x, dx, y, dy: abs(x - y) / (dx**2 + dy**2), "root"),
        (APART, lambda x, dx, y, dy: abs(x - y) / max(dx, dy), "by both"),
        (APART, lambda x, dx, y, dy: abs(x - y) / abs(dx**2 - dy**2) ** 0.5, "even for a difference"),
        (APART, lambda x, dx, y, dy: (x - y) / (dx**2 + dy**2) ** 0.5, "absolute"),
        (APART, lambda x, dx, y, dy: 1.0, "Not yet"),
    ],
)
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)


def test_swept_draws_what_it_is_given():
    """Shares in per cent, points below `lowest` left out, real digits as a line, names apart even where curves end together."""

    def point(method, s, value):
        return Point(method, s, s, 10, 2, dict.fromkeys(METRICS, value), dict.fromkeys(METRICS, 0.01))

    found = [point("real", 0, 0.9), *(point(m, s, 0.5 + s / 100) for m in ("cfg", "cg") for s in (0.0, 1.0, 2.0))]
    plt.switch_backend("agg")
    figure, axes = plt.subplots()
    swept(axes, found, "accuracy")
    bars = [container.lines[0].get_xydata() for container in axes.containers]
    assert [xy.tolist() for xy in bars] == [[[1.0, 51.0], [2.0, 52.0]]] * 2
    assert list(axes.lines[-1].get_ydata()) == [90.0, 90.0]
    heights = [text.xy[1] for text in axes.texts]
    assert sorted(text.get_text() for text in axes.texts) == ["CFG", "CG"]
    assert heights[0] - heights[1] == pytest.approx((axes.get_ylim()[1] - axes.get_ylim()[0]) / 12)
    plt.close(figure)
