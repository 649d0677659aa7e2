"""The checks of lesson 09: right answers in several spellings, wrong ones by name."""

import pytest
import torch

from checks.answers import each
from minidiff.analytic.gaussians import GaussianPair
from minidiff.teaching import checks


def shares(log_weight):
    return 1 / torch.softmax(log_weight, dim=0).square().sum()


def from_the_largest(log_weight):
    weight = (log_weight - log_weight.max()).exp()
    return weight.sum() ** 2 / (weight**2).sum()


def as_printed(log_weight):
    weight = log_weight.exp()
    return weight.sum() ** 2 / (weight**2).sum()


RIGHT = {
    checks.powered_variance: [
        lambda cond, uncond, s: 1 / (s / cond + (1 - s) / uncond),
        lambda cond, uncond, s: cond * uncond / (s * uncond + cond - s * cond),
    ],
    checks.effective_number: [
        shares,
        from_the_largest,
        lambda logs: (2 * logs.logsumexp(0) - (2 * logs).logsumexp(0)).exp(),
    ],
}
WRONG = {
    checks.powered_variance: [
        (lambda cond, uncond, s: cond / s, "alone"),
        (lambda cond, uncond, s: cond**s * uncond ** (1 - s), "DDIM"),
        (lambda cond, uncond, s: GaussianPair(cond, uncond).ddpm_variance(s), "DDPM"),
        (lambda cond, uncond, s: s / cond + (1 - s) / uncond, "1 over"),
        (lambda cond, uncond, s: None, "nothing"),
        (lambda cond, uncond, s: s * cond + (1 - s) * uncond, "variances do not"),
        (lambda cond, uncond, s: 1 / (s / uncond + (1 - s) / cond), "wrong way round"),
        (lambda cond, uncond, s: 1 / (s / cond + (s - 1) / uncond), "1 - s"),
        (lambda cond, uncond, s: (1 / (s / cond + (1 - s) / uncond)) ** 0.5, "root"),
        (lambda cond, uncond, s: 7.0, "Not yet"),
    ],
    checks.effective_number: [
        (as_printed, "exp(-2000) is 0"),
        (lambda logs: shares(logs) / len(logs), "not their number"),
        (lambda logs: 1 / shares(logs), "1 over it"),
        (lambda logs: 1 / torch.softmax(logs, 0).max(), "largest weight"),
        (lambda logs: logs.exp().sum() / logs.exp().square().sum(), "Square the sum"),
        (lambda logs: torch.tensor(3.0), "Not yet"),
        (lambda logs: None, "nothing"),
    ],
}


@pytest.mark.parametrize(("check", "answer", "says"), each(WRONG))
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
