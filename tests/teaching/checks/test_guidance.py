"""The checks of guidance (lessons 04 to 08): answers in several spellings, mistakes by name."""

import math

import pytest
import torch

from checks.answers import each
from minidiff.teaching import checks


def bayes(log_0, log_1, prior):
    return prior * log_1.exp() / (prior * log_1.exp() + (1 - prior) * log_0.exp())


def one_batch(net, x_t, t, y, null, s):
    cond, uncond = net(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([y, null])).chunk(2)
    return uncond + s * (cond - uncond)


def one_batch_null_first(net, x_t, t, y, null, s):
    both = net(x_t.repeat(2, 1), t.repeat(2), torch.cat([null, y]))
    return (1 - s) * both[:4] + s * both[4:]


def two_passes(net, x_t, t, y, null, s):
    uncond = net(x_t, t, null)
    return uncond + s * (net(x_t, t, y) - uncond)


def swapped(net, x_t, t, y, null, s):
    cond, uncond = net(x_t.repeat(2, 1), t.repeat(2), torch.cat([null, y])).chunk(2)
    return uncond + s * (cond - uncond)


RIGHT = {
    checks.scale_of: [
        lambda method, w: w if method == "cg" else 1 + w,
        lambda method, w: {"cg": 0, "cfg": 1}[method] + w,
    ],
    checks.dropped: [
        lambda y, null, p, u: torch.where(u < p, null, y),
        lambda y, null, p, u: torch.tensor(
            [null if u[i] < p else int(y[i]) for i in range(len(y))]
        ),
    ],
    checks.guided_noise: [
        lambda e, g, a, w: e - math.sqrt(1 - a) * w * g,
        lambda e, g, a, w: -((1 - a) ** 0.5) * (w * g - e / (1 - a) ** 0.5),
    ],
    checks.free_noise: [
        lambda c, n, w: (1 + w) * c - w * n,
        lambda c, n, w: torch.lerp(n, c, 1 + w),
    ],
    checks.implicit_gradient: [
        lambda c, n, a: (n - c) / math.sqrt(1 - a),
        lambda c, n, a: -(c - n) * (1 - a) ** (-0.5),
    ],
    checks.in_one_batch: [one_batch, one_batch_null_first],
    checks.guided_mean: [
        lambda m, v, g, w: m + w * v * g,
        lambda m, v, g, w: torch.stack([a + v * w * b for a, b in zip(m, g, strict=True)]),
    ],
    checks.scale_for_p1: [lambda w, b: w * b, lambda w, b: torch.tensor(w * b)],
    checks.posterior: [bayes, lambda a, b, p: torch.sigmoid(b - a + math.log(p) - math.log(1 - p))],
}
WRONG = {
    checks.scale_of: [
        (lambda m, w: w, "add 1"),
        (lambda m, w: 1 + w, "s is w itself"),
        (lambda m, w: w + (m == "cg"), "the wrong way round"),
        (lambda m, w: w if m == "cg" else 1 - w, "sign is wrong"),
        (lambda m, w: 2 * w, "Not yet"),
    ],
    checks.dropped: [
        (lambda y, null, p, u: y, "Nothing is dropped"),
        (lambda y, null, p, u: torch.full_like(y, null) if u[0] < p else y, "the whole batch"),
        (lambda y, null, p, u: torch.where(u < p, y, null), "You keep a share p"),
        (lambda y, null, p, u: torch.where(u < p, 0, y), "become 0, which is a digit"),
        (lambda y, null, p, u: torch.where(u < p, null - 1, y), "the last digit"),
    ],
    checks.guided_noise: [
        (lambda e, g, a, w: e + (1 - a) ** 0.5 * w * g, "The sign is wrong"),
        (lambda e, g, a, w: e - (1 - a) * w * g, "The root is missing"),
        (lambda e, g, a, w: e - w * g, "must become a noise first"),
        (lambda e, g, a, w: e - w * g / (1 - a) ** 0.5, "You divide"),
        (lambda e, g, a, w: e - a**0.5 * w * g, "belongs to x_0"),
        (lambda e, g, a, w: e - (1 - a) ** 0.5 * g, "w is missing"),
        (lambda e, g, a, w: e - (1 - a) ** 0.5 * (1 + w) * g, "not 1"),
        (lambda e, g, a, w: e, "Nothing is guided yet"),
        (lambda e, g, a, w: e + w * g, "Sign and root"),
    ],
    checks.free_noise: [
        (lambda c, n, w: n + w * (c - n), "M7 with w in the place of s"),
        (lambda c, n, w: c - w * (c - n), "walk away from y"),
        (lambda c, n, w: (1 + w) * n - w * c, "the wrong way round"),
        (lambda c, n, w: w * c - w * n, "must sum to 1"),
        (lambda c, n, w: (1 + w) * c + w * n, "null is subtracted"),
        (lambda c, n, w: (1 + w) * c - n, "w is missing in front of null"),
        (lambda c, n, w: (1 + w) * c, "unconditional prediction is missing"),
        (lambda c, n, w: c, "Nothing is guided yet"),
        (lambda c, n, w: n + (w - 1) * (c - n), "s = w - 1"),
        (lambda c, n, w: n, "unconditional model"),
        (lambda c, n, w: (1 - w) * c + w * n, "walk away from y"),
    ],
    checks.implicit_gradient: [
        (lambda c, n, a: (c - n) / (1 - a) ** 0.5, "noise points away"),
        (lambda c, n, a: -(c - n) / (1 - a), "The root is missing"),
        (lambda c, n, a: -(c - n) * (1 - a) ** 0.5, "from noise to score one divides"),
        (lambda c, n, a: n - c, "still a noise"),
        (lambda c, n, a: c - n, "the difference of the noises"),
        (lambda c, n, a: -c / (1 - a) ** 0.5, "subtract the score of p"),
        (lambda c, n, a: -(c - n) / a**0.5, "the factor of x_0"),
    ],
    checks.in_one_batch: [
        (two_passes, "batches of [4, 4] rows: one call of 8"),
        (swapped, "The halves are swapped"),
        (lambda *a: one_batch(*a[:-1], 1 + a[-1]), "without 1"),
        (lambda *a: one_batch(*a[:-1], 1), "cond alone"),
        (lambda *a: one_batch(*a[:-1], -a[-1]), "The sign is wrong"),
        (lambda *a: one_batch(*a[:-1], 0), "null alone"),
    ],
    checks.guided_mean: [
        (lambda m, v, g, w: m + w * g, "that is P1"),
        (lambda m, v, g, w: m - w * v * g, "so add it"),
        (lambda m, v, g, w: m + w * v**0.5 * g, "not its root"),
        (lambda m, v, g, w: m + v * g, "w is missing"),
        (lambda m, v, g, w: m, "Nothing is guided yet"),
        (lambda m, v, g, w: m + w / v * g, "You divide by the variance"),
        (lambda m, v, g, w: m + (1 + w) * v * g, "not 1"),
    ],
    checks.scale_for_p1: [
        (lambda w, b: w, "beta_t is missing"),
        (lambda w, b: w / b, "the wrong way up"),
        (lambda w, b: w * b**0.5, "not its root"),
        (lambda w, b: w * b / (1 - b) ** 0.5, "is M4"),
        (lambda w, b: b, "w is missing"),
    ],
    checks.posterior: [
        (lambda a, b, p: (b - a).sigmoid(), "class 1 is rarer"),
        (lambda a, b, p: (b - a + math.log(p)).sigmoid(), "weighed against that of class 0"),
        (lambda a, b, p: 1 - bayes(a, b, p), "That is p(y = 0"),
        (lambda a, b, p: bayes(a, b, 1 - p), "the wrong way round"),
        (lambda a, b, p: b.exp() * p, "the sum over both classes"),
        (lambda a, b, p: b.exp(), "multiply by p"),
        (lambda a, b, p: bayes(a, b, p).log(), "take the exponential"),
        (lambda a, b, p: bayes(b, a, p), "class 1 belongs on top"),
        (lambda a, b, p: p * (b - a).sigmoid(), "inside Bayes' rule"),
    ],
}


@pytest.mark.parametrize(("check", "answer", "says"), each(WRONG))
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
