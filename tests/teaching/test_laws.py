"""The checks of lesson 09: right answers in several spellings, wrong ones by name."""

import pytest
import torch

from minidiff.analytic.gaussians import GaussianPair
from minidiff.teaching import checks

CHECK_V, CHECK_N = checks.powered_variance, checks.effective_number


def shares(log_weight):
    return 1 / torch.softmax(log_weight, dim=0).square().sum()


def from_the_largest(log_weight):
    weight = (log_weight - log_weight.max()).exp()
    return weight.sum() ** 2 / (weight**2).sum()


def as_printed(log_weight):
    weight = log_weight.exp()
    return weight.sum() ** 2 / (weight**2).sum()


@pytest.mark.parametrize(
    ("check", "answer"),
    [
        (CHECK_V, lambda cond, uncond, s: 1 / (s / cond + (1 - s) / uncond)),
        (CHECK_V, lambda cond, uncond, s: cond * uncond / (s * uncond + cond - s * cond)),
        (CHECK_N, shares),
        (CHECK_N, from_the_largest),
        (CHECK_N, lambda logs: (2 * logs.logsumexp(0) - (2 * logs).logsumexp(0)).exp()),
    ],
)
def test_right_answers(check, answer):
    assert check(answer) == checks.CORRECT


@pytest.mark.parametrize(
    ("check", "answer", "says"),
    [
        (CHECK_V, lambda cond, uncond, s: cond / s, "alone"),
        (CHECK_V, lambda cond, uncond, s: cond**s * uncond ** (1 - s), "DDIM"),
        (CHECK_V, lambda cond, uncond, s: GaussianPair(cond, uncond).ddpm_variance(s), "DDPM"),
        (CHECK_V, lambda cond, uncond, s: s / cond + (1 - s) / uncond, "1 over"),
        (CHECK_V, lambda cond, uncond, s: None, "nothing"),
        (CHECK_V, lambda cond, uncond, s: s * cond + (1 - s) * uncond, "variances do not"),
        (CHECK_V, lambda cond, uncond, s: 1 / (s / uncond + (1 - s) / cond), "wrong way round"),
        (CHECK_V, lambda cond, uncond, s: 1 / (s / cond + (s - 1) / uncond), "1 - s"),
        (CHECK_V, lambda cond, uncond, s: (1 / (s / cond + (1 - s) / uncond)) ** 0.5, "root"),
        (CHECK_V, lambda cond, uncond, s: 7.0, "Not yet"),
        (CHECK_N, as_printed, "exp(-2000) is 0"),
        (CHECK_N, lambda logs: shares(logs) / len(logs), "not their number"),
        (CHECK_N, lambda logs: 1 / shares(logs), "1 over it"),
        (CHECK_N, lambda logs: 1 / torch.softmax(logs, 0).max(), "largest weight"),
        (CHECK_N, lambda logs: logs.exp().sum() / logs.exp().square().sum(), "Square the sum"),
        (CHECK_N, lambda logs: torch.tensor(3.0), "Not yet"),
        (CHECK_N, lambda logs: None, "nothing"),
    ],
)
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
