"""The checks of noise (lessons 01 to 04): answers in several spellings, mistakes by name."""

import math

import pytest
import torch

from checks.answers import each
from minidiff.diffusion.schedule import cosine
from minidiff.teaching import checks


def ddim(x_t, eps, abar_t, abar_s):
    x_0 = (x_t - math.sqrt(1 - abar_t) * eps) / math.sqrt(abar_t)
    return math.sqrt(abar_s) * x_0 + math.sqrt(1 - abar_s) * eps


def ddim_rearranged(x_t, eps, abar_t, abar_s):
    ratio = abar_s / abar_t
    return ratio**0.5 * x_t + ((1 - abar_s) ** 0.5 - (ratio * (1 - abar_t)) ** 0.5) * eps


def weight(t):
    s = cosine()
    return s.beta[t] / (2 * (1 - s.beta[t]) * (1 - s.abar[t]))


def betas(T):
    return torch.linspace(1e-4, 0.02, T, dtype=torch.float64)


RIGHT = {
    checks.ddim_step: [ddim, ddim_rearranged],
    checks.weighted_loss: [weight, lambda t: float(weight(t))],
    checks.noised: [
        lambda x, e, a: a**0.5 * x + (1 - a) ** 0.5 * e,
        lambda x, e, a: math.sqrt(a) * (x + e * math.sqrt((1 - a) / a)),
    ],
    checks.x_0_from_v: [
        lambda x, v, a: a**0.5 * x - (1 - a) ** 0.5 * v,
        lambda x, v, a: (
            (x - math.sqrt(1 - a) * (math.sqrt(1 - a) * x + math.sqrt(a) * v)) / math.sqrt(a)
        ),
    ],
    checks.jump: [
        lambda x, e, a, b: (b / a) ** 0.5 * x + (1 - b / a) ** 0.5 * e,
        lambda x, e, a, b: (math.sqrt(b) * x + math.sqrt(a - b) * e) / math.sqrt(a),
    ],
    checks.scaled_betas: [
        lambda T: betas(T) * 1000 / T,
        lambda T: [(0.1 + 19.9 * i / (T - 1)) / T for i in range(T)],
    ],
    checks.score_of_noise: [
        lambda e, a: -e / math.sqrt(1 - a),
        lambda e, a: -e / torch.sqrt(1 - a),
        lambda e, a: torch.stack([-row * (1 - a) ** (-0.5) for row in e]),
    ],
    checks.tweedie: [
        lambda x, s, a: (x + (1 - a) * s) / math.sqrt(a),
        lambda x, s, a: a ** (-0.5) * x + (a ** (-0.5) - a**0.5) * s,
    ],
    checks.two_points: [
        lambda x, a: torch.tanh(math.sqrt(a) * x / (1 - a)),
        lambda x, a: 2 * (2 * math.sqrt(a) * x / (1 - a)).sigmoid() - 1,
    ],
}
WRONG = {
    checks.ddim_step: [
        (lambda x, e, a, b: b * (x - (1 - a) ** 0.5 * e) / a**0.5 + (1 - b) * e, "square root"),
        (lambda x, e, a, b: (x - (1 - a) ** 0.5 * e) / a**0.5, "guess of x_0: put the noise"),
        (lambda x, e, a, b: ddim(x, e, a, a), "not abar_t"),
        (lambda x, e, a, b: ddim(x, e, a, b) - 2 * (1 - b) ** 0.5 * e, "wrong sign"),
        (
            lambda x, e, a, b: (x - (1 - a) ** 0.5 * e) / a**0.5 + (1 - b) ** 0.5 * e,
            "is missing in front",
        ),
        (
            lambda x, e, a, b: (b / a) ** 0.5 * (x - (1 - a) * e) + (1 - b) ** 0.5 * e,
            "The root of 1 - abar_t",
        ),
        (
            lambda x, e, a, b: (b / a) ** 0.5 * (x - e) + (1 - b) ** 0.5 * e,
            "sqrt(1 - abar_t) is missing",
        ),
        (lambda x, e, a, b: x[:1], "shape (1, 3)"),
        (lambda x, e, a, b: 1 / 0, "raised ZeroDivisionError"),
        (lambda x, e, a, b: x * math.nan, "The result holds NaN"),
        (lambda x, e, a, b: 3 * x, "Not yet"),
    ],
    checks.weighted_loss: [
        (lambda t: 2 * weight(t), "The 2 is missing"),
        (lambda t: weight(t) * (1 - cosine().beta[t]), "alpha_t"),
        (lambda t: weight(t) * (1 - cosine().abar[t]), "1 - abar_t is missing"),
        (lambda t: weight(t) * cosine().beta[t], "before dividing"),
    ],
    checks.noised: [
        (lambda x, e, a: a * x + (1 - a) * e, "Both roots are missing"),
        (lambda x, e, a: a * x + (1 - a) ** 0.5 * e, "root is missing in front of x_0"),
        (lambda x, e, a: a**0.5 * x + (1 - a) * e, "root is missing in front of eps"),
        (lambda x, e, a: (1 - a) ** 0.5 * x + a**0.5 * e, "the wrong way round"),
        (lambda x, e, a: a**0.5 * x + e, "The noise is not scaled"),
        (lambda x, e, a: x + (1 - a) ** 0.5 * e, "x_0 is not scaled"),
        (lambda x, e, a: a**0.5 * x + (1 - a**0.5) * e, "not 1 - sqrt(abar_t)"),
        (lambda x, e, a: a**0.5 * x - (1 - a) ** 0.5 * e, "wrong sign"),
        (lambda x, e, a: x, "Not yet"),
    ],
    checks.x_0_from_v: [
        (lambda x, v, a: a**0.5 * x + (1 - a) ** 0.5 * v, "The sign is wrong"),
        (lambda x, v, a: (1 - a) ** 0.5 * x + a**0.5 * v, "This is eps"),
        (lambda x, v, a: (1 - a) ** 0.5 * x - a**0.5 * v, "the wrong way round"),
        (lambda x, v, a: a * x - (1 - a) * v, "The roots are missing"),
        (lambda x, v, a: a**0.5 * x - v, "v is not scaled"),
        (lambda x, v, a: x - (1 - a) ** 0.5 * v, "x_t is not scaled"),
        (lambda x, v, a: x - v, "This is x_t - v"),
    ],
    checks.jump: [
        (lambda x, e, a, b: b**0.5 * x + (1 - b) ** 0.5 * e, "the product from s"),
        (lambda x, e, a, b: b**0.5 * x + (1 - b / a) ** 0.5 * e, "The factor of x_s"),
        (lambda x, e, a, b: (b / a) ** 0.5 * x + (1 - b) ** 0.5 * e, "too much noise"),
        (lambda x, e, a, b: (b / a) ** 0.5 * x + (a - b) ** 0.5 * e, "too little noise"),
        (lambda x, e, a, b: b / a * x + (1 - b / a) * e, "Both roots are missing"),
        (lambda x, e, a, b: x * (1 - a / b) ** 0.5, "The result holds NaN"),
    ],
    checks.scaled_betas: [
        (lambda T: betas(T), "not scaled"),
        (lambda T: betas(T) * T / 1000, "the wrong way up"),
        (lambda T: betas(T) * (1000 / T) ** 0.5, "A root too many"),
        (lambda T: torch.linspace(0.0001, 20 / T, T, dtype=torch.float64), "Only the last"),
        (lambda T: torch.cat([torch.zeros(1), betas(T)]), "shape (1001,)"),
        (lambda T: betas(1000)[:T] if T < 1000 else betas(T) * 1.0, "the first T"),
    ],
    checks.score_of_noise: [
        (lambda e, a: e / (1 - a) ** 0.5, "points home, against the noise"),
        (lambda e, a: -e / (1 - a), "The root is missing"),
        (lambda e, a: -e * (1 - a) ** 0.5, "You multiply"),
        (lambda e, a: -e, "the size is not"),
        (lambda e, a: e, "This is the noise itself"),
        (lambda e, a: -e / a**0.5, "the factor of x_0"),
        (lambda e, a: None, "returned nothing"),
    ],
    checks.tweedie: [
        (lambda x, s, a: (x - (1 - a) * s) / a**0.5, "so add it"),
        (lambda x, s, a: (x + (1 - a) ** 0.5 * s) / a**0.5, "not its root"),
        (lambda x, s, a: (x + s) / a**0.5, "The variance is missing"),
        (lambda x, s, a: x + (1 - a) * s, "Divide by sqrt(abar_t): x_t"),
        (lambda x, s, a: (x + (1 - a) * s) / a, "not by abar_t"),
        (lambda x, s, a: x + s, "Two things are missing"),
        (lambda x, s, a: x + (1 - a) * s / a**0.5, "Only the score is scaled"),
        (lambda x, s, a: (x - (1 - a) ** 0.5 * s) / a**0.5, "the formula for a noise"),
    ],
    checks.two_points: [
        (lambda x, a: x.sign(), "That is the nearer point"),
        (lambda x, a: (a**0.5 * x / (1 - a) ** 0.5).tanh(), "not by its root"),
        (lambda x, a: (a**0.5 * x).tanh(), "less noise, surer guess"),
        (lambda x, a: (x / (1 - a)).tanh(), "the points lie at"),
        (lambda x, a: (2 * a**0.5 * x / (1 - a)).tanh(), "twice too much"),
        (lambda x, a: a**0.5 * x, "a straight line"),
        (lambda x, a: (2 * a**0.5 * x / (1 - a)).sigmoid(), "2 p - 1"),
        (lambda x, a: (a**0.5 * x / (1 - a) / 2).tanh(), "Half of it"),
        (lambda x, a: a**0.5 * (a**0.5 * x / (1 - a)).tanh(), "inside tanh only"),
    ],
}


@pytest.mark.parametrize(("check", "answer", "says"), each(WRONG))
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)
