"""Checks about guidance: labels, weights and the two formulas (lessons 00, 04, 07, 08)."""

import math
from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.symbols import Labels, Points
from minidiff.teaching.checks.verdict import CORRECT, normal, number, verdict
from minidiff.verify.wrong_formulas import M4_FACTORS, M5_FACTORS, M6_WEIGHTS


def scale_of(answer: Callable[[str, float], float]) -> str:
    """answer(method, w) -> s, the guidance scale: s = w for "cg", s = 1 + w for "cfg"."""
    points = (-1.0, 0.0, 0.5, 3.0)
    mistakes = {
        "For cg, s is w itself: w = 0 is already the unconditional model.": lambda m, w: 1 + w,
        "For cfg, w = 0 is the plain conditional model, which is s = 1, not s = 0: add "
        "1.": lambda m, w: w,
        "You have the two methods the wrong way round: the 1 belongs to cfg.": lambda m, w: (
            w + (m == "cg")
        ),
        "The sign is wrong: more w is more guidance, s = 1 + w.": lambda m, w: (
            w if m == "cg" else 1 - w
        ),
    }

    def values(rule: Callable) -> list[float]:
        return [float(rule(method, w)) for method in ("cg", "cfg") for w in points]

    return verdict(
        lambda: values(answer),
        values(lambda m, w: w + (m == "cfg")),
        {text: values(rule) for text, rule in mistakes.items()},
    )


def guided_noise(answer: Callable[[Points, Points, float, float], Points]) -> str:
    """answer(eps, gradient, abar_t, w) -> the guided noise of M4; gradient is that of log
    p(y|x_t).
    """
    (eps, slope), abar, w = normal(2), 0.3, 2.5
    mistakes = {one.hint: eps - one.numbers(abar, w) * slope for one in M4_FACTORS}
    right = eps - math.sqrt(1 - abar) * w * slope
    return verdict(lambda: answer(eps.clone(), slope.clone(), number(abar), w), right, mistakes)


def guided_mean(answer: Callable[[Points, float, Points, float], Points]) -> str:
    """answer(mean, variance, gradient, w) -> the mean of Algorithm 1's guided step; gradient is
    that of log p(y|x_t).
    """
    (mean, slope), variance, w = normal(2), 0.3, 2.5
    factors = {
        "The variance is missing: that is P1. A step of large variance may be moved far, a small "
        "one must not.": w,
        "The sign is wrong: the gradient points to where p(y|x_t) grows, so add it.": -w * variance,
        "The variance itself stands there, not its root: completing the square gives Sigma g.": w
        * math.sqrt(variance),
        "w is missing.": variance,
        "You divide by the variance: a step of small variance would be moved far.": w / variance,
        "In Algorithm 1 the weight is w, not 1 + w: the start is the unconditional model.": (1 + w)
        * variance,
        "Nothing is guided yet: add w times the variance times the gradient.": 0,
    }
    mistakes = {text: mean + factor * slope for text, factor in factors.items()}
    given = mean.clone(), number(variance), slope.clone(), w
    return verdict(lambda: answer(*given), mean + w * variance * slope, mistakes)


def scale_for_p1(answer: Callable[[float, float], float]) -> str:
    """answer(w, beta_t) -> the factor with which P1 is Algorithm 1 with variance beta_t and
    weight w.
    """
    points = ((1.0, 0.02), (2.5, 0.01), (4.0, 1e-4))
    mistakes = {
        "beta_t is missing: that is P1 as it is, too strong by 1 / beta_t.": lambda w, b: w,
        "The factor is the wrong way up: P1 is too strong already.": lambda w, b: w / b,
        "beta_t is a variance, and Algorithm 1 has the variance in front of the gradient, not its "
        "root.": lambda w, b: w * b**0.5,
        "w is missing.": lambda w, b: b,
        "Algorithm 1 has beta_t in front of the gradient; beta_t / sqrt(1 - beta_t) is "
        "M4.": lambda w, b: w * b / (1 - b) ** 0.5,
    }

    def values(rule: Callable) -> list[float]:
        return [float(rule(w, beta)) for w, beta in points]

    right = values(lambda w, b: w * b)
    return verdict(
        lambda: values(answer), right, {text: values(rule) for text, rule in mistakes.items()}
    )


def posterior(answer: Callable[[Points, Points, float], Points]) -> str:
    """answer(log_p_0, log_p_1, prior_1) -> p(y = 1 | x_t), from log p(x_t | y) of two classes
    and p(y = 1).
    """
    (log_0, log_1), prior = normal(2), 0.2
    odds = log_1 - log_0
    logit = math.log(prior / (1 - prior))
    mistakes = {
        "p(y) is missing: class 1 is rarer, and Bayes' rule weighs with p(y).": torch.sigmoid(odds),
        "The prior of class 1 must be weighed against that of class 0: log p(1) - log "
        "p(0).": torch.sigmoid(odds + math.log(prior)),
        "That is p(y = 0 | x_t).": torch.sigmoid(-odds - logit),
        "The two densities are the wrong way round: class 1 belongs on top.": torch.sigmoid(
            -odds + logit
        ),
        "The prior belongs inside Bayes' rule, not in front of a result without it.": prior
        * torch.sigmoid(odds),
        "The two priors are the wrong way round.": torch.sigmoid(odds - logit),
        "That is p(x_t | y) p(y): divide by p(x_t), the sum over both classes.": log_1.exp()
        * prior,
        "That is p(x_t | y): multiply by p(y), and divide by p(x_t).": log_1.exp(),
        "That is log p(y = 1 | x_t): take the exponential.": torch.sigmoid(odds + logit).log(),
    }
    return verdict(
        lambda: answer(log_0.clone(), log_1.clone(), number(prior)),
        torch.sigmoid(odds + logit),
        mistakes,
    )


def dropped(answer: Callable[[Labels, int, float, Tensor], Labels]) -> str:
    """answer(y, null, p, u) -> labels, each replaced by null where its own u < p."""
    u = torch.rand(2000, generator=torch.Generator().manual_seed(0))
    u[0], y, null, p = 0.05, torch.arange(2000) % 10, 10, 0.3
    right = y.masked_fill(u < p, null)
    mistakes = {
        "Nothing is dropped: where u < p the label must become null.": y,
        "You drop the labels of the whole batch together: each has its own u.": torch.full_like(
            y, null
        ),
        "You keep a share p and drop the rest: the label goes where u < p.": y.masked_fill(
            u >= p, null
        ),
        "Dropped labels become 0, which is a digit: they must become null.": y.masked_fill(
            u < p, 0
        ),
        "Dropped labels become null - 1, which is the last digit: null itself is the extra "
        "row.": y.masked_fill(u < p, null - 1),
    }
    return verdict(lambda: answer(y.clone(), null, p, u.clone()), right, mistakes)


def free_noise(answer: Callable[[Points, Points, float], Points]) -> str:
    """answer(cond, null, w) -> the guided noise of M6, from the conditional and unconditional
    predictions.
    """
    (cond, null), w = normal(2), 2.5
    mistakes = {}
    for one in M6_WEIGHTS:
        a, b = one.numbers(w)
        mistakes[one.hint] = a * cond + b * null
    right = (1 + w) * cond - w * null
    return verdict(lambda: answer(cond.clone(), null.clone(), w), right, mistakes)


def implicit_gradient(answer: Callable[[Points, Points, float], Points]) -> str:
    """answer(cond, null, abar_t) -> grad log p(y|x_t) by M5, from the conditional and
    unconditional predictions.
    """
    (cond, null), abar = normal(2), 0.3
    apart, root = cond - null, math.sqrt(1 - abar)
    mistakes = {one.hint: one.numbers(abar) * apart for one in M5_FACTORS}
    mistakes["That is the score of p(x_t|y): subtract the score of p(x_t)."] = -cond / root
    given = cond.clone(), null.clone(), number(abar)
    return verdict(lambda: answer(*given), -apart / root, mistakes)


def in_one_batch(
    answer: Callable[[Callable, Points, Tensor, Tensor, Tensor, float], Points],
) -> str:
    """answer(net, x_t, t, c_cond, c_uncond, s) -> M7 with one call of net(x_t, t, c) on a batch
    of two halves.
    """
    (x_t, c_cond), c_uncond, t, s, calls = (
        normal(2),
        normal(3)[2],
        torch.tensor([3, 1, 4, 2]),
        2.5,
        [],
    )

    def net(x: Points, level: Tensor, given: Tensor) -> Points:
        calls.append(len(x))
        return torch.tanh(x * given + level[:, None] / 4)

    cond, null = (torch.tanh(x_t * given + t[:, None] / 4) for given in (c_cond, c_uncond))
    mistakes = {
        "The halves are swapped: chunk gives them in the order in which you put them "
        "together.": cond + s * (null - cond),
        "s is the scale of M7: null + s (cond - null), starting from null and without 1 +.": null
        + (1 + s) * (cond - null),
        "That is cond alone: combine the halves by M7.": cond,
        "That is null alone: combine the halves by M7.": null,
        "The sign is wrong: null + s (cond - null).": null - s * (cond - null),
    }
    came = verdict(
        lambda: answer(net, x_t.clone(), t.clone(), c_cond.clone(), c_uncond.clone(), s),
        null + s * (cond - null),
        mistakes,
    )
    calls = calls[: len(calls) // 2]  # the answer is asked twice
    if came == CORRECT and calls != [2 * len(x_t)]:
        return (
            f"Right, but the network was called on batches of {calls} rows: one call of "
            f"{2 * len(x_t)} rows was asked for."
        )
    return came
