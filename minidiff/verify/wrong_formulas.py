"""Guidance as people write it wrong: the catalogue that the claims and the exercises draw from."""

from collections.abc import Callable
from typing import NamedTuple


class WrongFormula(NamedTuple):
    """A formula as people write it: what is broken in it, what helps them, and its numbers."""

    broken: str
    hint: str
    numbers: Callable


# M4 subtracts factor(abar_t, w) times the gradient: sqrt(1 - abar_t) w is right
M4_FACTORS = (
    WrongFormula(
        "the sign: +",
        "The sign is wrong: w > 0 must raise p(y|x_t), and noise is what gets removed, so "
        "subtract.",
        lambda abar, w: -((1 - abar) ** 0.5) * w,
    ),
    WrongFormula(
        "the root: 1 - abar_t",
        "The root is missing: sqrt(1 - abar_t) turns a score into a noise.",
        lambda abar, w: (1 - abar) * w,
    ),
    WrongFormula(
        "no sqrt(1 - abar_t) at all",
        "sqrt(1 - abar_t) is missing: the gradient is a score, and must become a noise first.",
        lambda abar, w: w,
    ),
    WrongFormula(
        "divided by sqrt(1 - abar_t)",
        "You divide by sqrt(1 - abar_t): that turns noise into score, here it is the other way "
        "round.",
        lambda abar, w: w / (1 - abar) ** 0.5,
    ),
    WrongFormula(
        "sqrt(abar_t) for sqrt(1 - abar_t)",
        "sqrt(abar_t) belongs to x_0; the noise has sqrt(1 - abar_t).",
        lambda abar, w: abar**0.5 * w,
    ),
    WrongFormula("w left out", "w is missing.", lambda abar, w: (1 - abar) ** 0.5),
    WrongFormula(
        "M6's w, 1 + w for w: what starting from eps(y) does",
        "In M4 the weight is w, not 1 + w: the start is the unconditional model.",
        lambda abar, w: (1 - abar) ** 0.5 * (1 + w),
    ),
    WrongFormula(
        "the sign, and no sqrt(1 - abar_t)",
        "Sign and root: subtract, and turn the score into a noise with sqrt(1 - abar_t).",
        lambda abar, w: -w,
    ),
    WrongFormula(
        "not guided at all",
        "Nothing is guided yet: subtract sqrt(1 - abar_t) w times the gradient.",
        lambda abar, w: 0 * w,
    ),
)
# M5 multiplies eps(y) - eps by factor(abar_t): -1 / sqrt(1 - abar_t) is right
M5_FACTORS = (
    WrongFormula(
        "the sign: eps(y) - eps",
        "The sign is wrong: noise points away from the data, so a score has a minus (M3).",
        lambda abar: 1 / (1 - abar) ** 0.5,
    ),
    WrongFormula(
        "the root: 1 - abar_t",
        "The root is missing: divide by sqrt(1 - abar_t), the standard deviation of the noise.",
        lambda abar: -1 / (1 - abar),
    ),
    WrongFormula(
        "times sqrt(1 - abar_t)",
        "You multiply by sqrt(1 - abar_t): from noise to score one divides.",
        lambda abar: -((1 - abar) ** 0.5),
    ),
    WrongFormula(
        "no factor at all",
        "Divide by sqrt(1 - abar_t): this is still a noise, not a score.",
        lambda abar: -1,
    ),
    WrongFormula(
        "sqrt(abar_t) for sqrt(1 - abar_t)",
        "You divide by the factor of x_0, sqrt(abar_t): the noise's is sqrt(1 - abar_t).",
        lambda abar: -1 / abar**0.5,
    ),
    WrongFormula(
        "the difference of the noises",
        "This is the difference of the noises: it points the other way, and is not divided by "
        "sqrt(1 - abar_t).",
        lambda abar: 1,
    ),
)
# M6 is a eps(y) + b eps with (a, b) = (1 + w, -w); M7 is M6 with w = s - 1
M6_WEIGHTS = (
    WrongFormula(
        "s for w: w eps(y) + (1 - w) eps",
        "That is M7 with w in the place of s: w = 0 must give cond, so the factor is 1 + w.",
        lambda w: (w, 1 - w),
    ),
    WrongFormula(
        "the direction turned: eps(y) - w (eps(y) - eps)",
        "You walk away from y: it is cond + w (cond - null).",
        lambda w: (1 - w, w),
    ),
    WrongFormula(
        "the two networks swapped",
        "The two predictions are the wrong way round: for w > 0 the conditional one gets the "
        "factor 1 + w.",
        lambda w: (-w, 1 + w),
    ),
    WrongFormula(
        "w eps(y) - w eps",
        "The factors must sum to 1: 1 + w belongs to cond if w belongs to null.",
        lambda w: (w, -w),
    ),
    WrongFormula(
        "the sign: (1 + w) eps(y) + w eps",
        "The sign of the second term is wrong: null is subtracted.",
        lambda w: (1 + w, w),
    ),
    WrongFormula(
        "eps not weighted: (1 + w) eps(y) - eps",
        "w is missing in front of null: the factors must sum to 1.",
        lambda w: (1 + w, -1),
    ),
    WrongFormula(
        "without eps: (1 + w) eps(y)",
        "The unconditional prediction is missing: subtract w times null.",
        lambda w: (1 + w, 0),
    ),
    WrongFormula(
        "not guided at all: eps(y)",
        "Nothing is guided yet: add w times the way from null to cond.",
        lambda w: (1, 0),
    ),
    WrongFormula("eps alone", "That is the unconditional model.", lambda w: (0, 1)),
    WrongFormula("s = w - 1", "That is s = w - 1; s is 1 + w.", lambda w: (w - 1, 2 - w)),
)
