"""The wrong versions that people write.

Every claim must reject its own; each is a number, computed from the exact parts.
"""

from collections.abc import Callable

import torch
from torch import Tensor

from minidiff.symbols import Labels, Points
from minidiff.verify.worlds import World
from minidiff.verify.wrong_formulas import M4_FACTORS, M5_FACTORS, M6_WEIGHTS, WrongFormula

WEIGHTS = (-1.0, 0.0, 0.37, 1.0, 3.0, 25.0)
Tensors = dict[str, Callable[[World], Tensor]]


def each(guided: Callable[[float], Points]) -> Tensor:
    """The same for every weight, stacked: (weights, batch, dim)."""
    return torch.stack([guided(w) for w in WEIGHTS])


def _cg(world: World, w: float) -> Points:
    """M4's noise, from its parts."""
    return world.eps_uncond - world.root * w * world.of_y


def _cfg(world: World, w: float) -> Points:
    """M6's noise, from its parts."""
    return (1 + w) * world.eps_cond - w * world.eps_uncond


def _root_before(world: World) -> Tensor:
    return world.column((1 - world.schedule.abar).sqrt(), shift=-1)


def _abar(world: World) -> Tensor:
    return world.column(world.schedule.abar)


def _signal(world: World) -> Tensor:
    return _abar(world).sqrt()


def _share(world: World) -> Tensor:
    return world.log_y(world.x_t).exp()[:, None]  # p(y|x_t)


def _clean_prediction(world: World, y: Labels | None = None) -> Points:
    return world.mixture.x_0(world.x_t, world.t, y)


def _shift(world: World) -> Tensor:
    beta = world.column(world.schedule.beta)
    return beta / (1 - beta).sqrt()


def _scores(wrong: dict[str, Callable[[World, float], Points]]) -> Tensors:
    """Guided noises with weight w, as scores for every weight."""
    return {
        text: lambda world, f=f: each(lambda w: -f(world, w) / world.root)
        for text, f in wrong.items()
    }


def _means(wrong: dict[str, Callable[[World, float], Points]]) -> Tensors:
    """What is added to the mean of the plain DDPM step, for every weight."""
    return {
        text: lambda world, f=f: each(lambda w: world.mean + f(world, w))
        for text, f in wrong.items()
    }


DENSITIES: Tensors = {
    "log p(y) dropped: right for gradients, wrong for densities": lambda c: (
        c.log_p(c.x_t) + c.log_y(c.x_t)
    )[:, None],
    "+ log p(y)": lambda c: (c.log_p(c.x_t) + c.log_y(c.x_t) + c.log_prior)[:, None],
    "log p(y|x_t) subtracted": lambda c: (c.log_p(c.x_t) - c.log_y(c.x_t) - c.log_prior)[:, None],
    "p(y|x_t) without its log": lambda c: (
        c.log_p(c.x_t)[:, None] + _share(c) - c.log_prior[:, None]
    ),
}
BAYES: Tensors = {
    "grad log p(y|x_t) subtracted": lambda c: c.of_x - c.of_y,
    "grad log p(y|x_t) left out": lambda c: c.of_x,
    "the gradient of p(y|x_t), without its log": lambda c: c.of_x + _share(c) * c.of_y,
    "log p(y) subtracted as a number, instead of its gradient": lambda c: (
        c.of_x + c.of_y - c.log_prior[:, None]
    ),
    "the gradient of class 0, whatever y is": lambda c: c.of_x + c.of_class_0,
    "a classifier of clean images, without t": lambda c: c.of_x + c.of_clean,
}
NO_CONSTANT: Tensors = {
    "p(y|x_t) taken for p(y)": lambda c: c.of_y,
    "class 0's p(y|x_t), whatever y is": lambda c: c.of_class_0 - c.of_y,
    "a classifier of clean images, without t": lambda c: c.of_clean - c.of_y,
}
NOISE_AND_SCORE: Tensors = {
    "the sign: +": lambda c: c.eps_uncond / c.root,
    "the root: 1 - abar_t": lambda c: -c.eps_uncond / c.root**2,
    "no factor at all": lambda c: -c.eps_uncond,
    "sqrt(abar_t) for sqrt(1 - abar_t)": lambda c: -c.eps_uncond / _signal(c),
    "abar_{t-1} for abar_t": lambda c: -c.eps_uncond / _root_before(c).clamp(min=1e-9),
}
TWEEDIE: Tensors = {
    "x_0 taken for eps": lambda c: -_clean_prediction(c) / c.root,
    "sqrt(abar_t) left out in front of x_0": lambda c: -(c.x_t - _clean_prediction(c)) / c.root**2,
    "the root: 1 - abar_t once": lambda c: -(c.x_t - _signal(c) * _clean_prediction(c)) / c.root,
    "E[x_0 | x_t, y] for E[x_0 | x_t]": lambda c: (
        -(c.x_t - _signal(c) * _clean_prediction(c, c.y)) / c.root**2
    ),
}


def _m4(wrong: WrongFormula) -> Callable[[World, float], Points]:
    return lambda c, w: c.eps_uncond - wrong.numbers(_abar(c), w) * c.of_y


def _m6(wrong: WrongFormula) -> Callable[[World, float], Points]:
    def eps_bar(c: World, w: float) -> Points:
        a, b = wrong.numbers(w)
        return a * c.eps_cond + b * c.eps_uncond

    return eps_bar


CLASSIFIER_GUIDED = _scores(
    {
        **{wrong.broken: _m4(wrong) for wrong in M4_FACTORS},
        "abar_{t-1} for abar_t": lambda c, w: c.eps_uncond - _root_before(c) * w * c.of_y,
        "the gradient of p(y|x_t), without its log": lambda c, w: (
            c.eps_uncond - c.root * w * _share(c) * c.of_y
        ),
        "the gradient of class 0, whatever y is": lambda c, w: (
            c.eps_uncond - c.root * w * c.of_class_0
        ),
        "a classifier of clean images, without t": lambda c, w: (
            c.eps_uncond - c.root * w * c.of_clean
        ),
    }
)
IMPLICIT_CLASSIFIER: Tensors = {
    **{
        wrong.broken: lambda c, f=wrong.numbers: f(_abar(c)) * (c.eps_cond - c.eps_uncond)
        for wrong in M5_FACTORS
    },
    "eps not subtracted": lambda c: -c.eps_cond / c.root,
    "abar_{t-1} for abar_t": lambda c: (
        -(c.eps_cond - c.eps_uncond) / _root_before(c).clamp(min=1e-9)
    ),
}
CLASSIFIER_FREE = _scores({wrong.broken: _m6(wrong) for wrong in M6_WEIGHTS})
SCALE = _scores(
    {
        "w = s": lambda c, s: (1 + s) * c.eps_cond - s * c.eps_uncond,
        "w = s + 1": lambda c, s: (2 + s) * c.eps_cond - (1 + s) * c.eps_uncond,
        "w = 1 - s": lambda c, s: (2 - s) * c.eps_cond - (1 - s) * c.eps_uncond,
        "eps(y) for every s up to 1, as libraries that skip guidance there": lambda c, s: (
            c.eps_cond if s <= 1 else c.eps_uncond + s * (c.eps_cond - c.eps_uncond)
        ),
    }
)
SAME_WEIGHT = _scores(
    {
        "the same w in both": lambda c, w: _cg(c, w) - _cfg(c, w),
        "w - 1 for 1 + w": lambda c, w: _cg(c, w - 1) - _cfg(c, w),
        "1 - w for 1 + w": lambda c, w: _cg(c, 1 - w) - _cfg(c, w),
    }
)
AFTER_THE_STEP = _means(
    {
        "P1 as printed: w grad, at the image after the step": lambda c, w: w * c.of_y_after,
        "a factor that does not know t: w grad": lambda c, w: w * c.of_y,
        "beta_t for beta_t / sqrt(1 - beta_t): Alg. 1's mean with Sigma = beta_t, equal to first "
        "order only": lambda c, w: c.column(c.schedule.beta) * w * c.of_y,
        "beta-tilde_t, the small variance": lambda c, w: (
            c.column(c.schedule.small_variance) * w * c.of_y
        ),
        "the gradient at the image after the step": lambda c, w: _shift(c) * w * c.of_y_after,
        "the sign: the mean moves against the gradient": lambda c, w: -_shift(c) * w * c.of_y,
    }
)
