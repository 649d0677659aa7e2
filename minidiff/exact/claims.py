"""M1 to M7 and P1 as claims that are executed: two independent routes to the same number, and the wrong versions to reject."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from minidiff.diffusion.guidance import classifier_free, classifier_guided, gradient
from minidiff.diffusion.process import eps_from_x_0, score_from_eps
from minidiff.exact import wrong
from minidiff.exact.cases import Case
from minidiff.symbols import Denoiser, Labels, Points, Steps

ROUNDING = "float64 rounds at 1e-16; the routes need some 100 operations, and guidance multiplies by w up to 25"
STENCIL = "h = 1/500 of the noise's std: h^4 / 30 times the fifth derivative is about 1e-10, rounding of log p over h the same"
CANCELLATION = (
    "the score is (sqrt(abar_t) x_0 - x_t) / (1 - abar_t): the numerator cancels, and at t = 1 the division multiplies its\
 rounding by 10,000 (linear) or 24,000 (cosine)"
)


class Formulas(NamedTuple):
    """The two functions that a user's module may replace."""

    classifier_guided: Callable[..., Denoiser] = classifier_guided
    classifier_free: Callable[..., Denoiser] = classifier_free


class Claim(NamedTuple):
    """`expected` and `got` are two routes to one tensor; |difference| / scale must stay within the tolerance, for every entry.

    Each wrong version, in the place of `got`, must miss by 1,000 tolerances at least. `uses` names the formulas under test,
    `algebra` its identity in exact.algebra, if it has one. That the worlds themselves are right is what M1 shows, against
    torch.distributions, and M3 with Tweedie's formula.
    """

    name: str
    equation: str
    source: str
    expected: Callable[[Case], Tensor]
    got: Callable[[Case, Formulas], Tensor]
    wrong: dict[str, Callable[[Case], Tensor]]
    uses: tuple[str, ...] = ()
    tolerance: float = 1e-12
    reason: str = ROUNDING
    scale: Callable[[Case], Tensor] = lambda case: case.score_scale
    algebra: str = ""


def _bayes(case: Case, x_t: Points) -> Tensor:
    """log p(x_t) + log p(y|x_t) - log p(y), the right side of M1."""
    return case.log_p(x_t) + case.log_y(x_t) - case.log_prior


def _four_point(case: Case) -> Tensor:
    """The slope of log p(x_t) along u, from four values of log p: no derivative is ever taken by rule."""
    h = case.root / 500
    near, far = (case.log_p(case.x_t + k * h * case.u) - case.log_p(case.x_t - k * h * case.u) for k in (1, 2))
    return (8 * near - far)[:, None] / (12 * h)


def _along_u(case: Case, score: Points) -> Tensor:
    return (score * case.u).sum(dim=1, keepdim=True)


def _score(case: Case, eps: Points) -> Points:
    return score_from_eps(eps, case.t, case.schedule)


def _eps(case: Case, y: Labels | None = None) -> Points:
    return case.world.eps(y)(case.x_t, case.t)


def _flat(function: Callable) -> Callable:
    """A function of points (batch, dim) as one of images (batch, ...)."""

    def of_images(x_t: Points, t: Steps) -> Tensor:
        came = function(x_t.flatten(1), t)
        return came.reshape(x_t.shape) if came.ndim > 1 else came

    return of_images


def _guided(case: Case, formulas: Formulas, w: float) -> Points:
    eps, log_prob = _flat(case.world.eps()), _flat(case.world.log_prob(case.y))
    return formulas.classifier_guided(eps, log_prob, case.schedule, w)(case.images, case.t).flatten(1)


def _free(case: Case, formulas: Formulas, w: float) -> Points:
    eps_cond, eps_null = _flat(case.world.eps(case.y)), _flat(case.world.eps())
    return formulas.classifier_free(eps_cond, eps_null, w)(case.images, case.t).flatten(1)


def _shifted(case: Case, w: float) -> Points:
    """The plain DDPM mean, plus beta_t / sqrt(1 - beta_t) w grad log p(y|x_t)."""
    beta = case.column(case.schedule.beta)
    return case.mean + beta / (1 - beta).sqrt() * w * case.of_y


def _powered(case: Case, w: float, log_p: Callable[[Points], Tensor]) -> Points:
    """grad log of p(x_t) p(y|x_t)^w by autograd, with the density that is given in the place of p(x_t)."""
    return case.gradient(lambda x_t: log_p(x_t) + w * case.log_y(x_t))


CLAIMS = (
    Claim(
        "M1",
        "log p(x_t|y) = log p(x_t) + log p(y|x_t) - log p(y)",
        "Bayes' rule",
        lambda case: case.log_p_by_torch,
        lambda case, _: _bayes(case, case.x_t)[:, None],
        wrong.DENSITIES,
        scale=lambda case: case.log_p_by_torch.abs().clamp(min=1),
    ),
    Claim(
        "M1",
        "grad log p(x_t|y) = grad of the right side of M1",
        "Bayes' rule; Dhariwal & Nichol 2021, sec. 4",
        lambda case: case.world.score(case.x_t, case.t, case.y),
        lambda case, _: case.gradient(partial(_bayes, case)),
        wrong.BAYES,
    ),
    Claim(
        "M2",
        "grad log p(y) = 0",
        "p(y) does not depend on x_t",
        lambda case: torch.zeros_like(case.x_t),
        lambda case, _: case.gradient(lambda x: case.log_p(x) + case.log_y(x) - case.log_p_given_y(x)),
        wrong.NO_CONSTANT,
    ),
    Claim(
        "M2",
        "grad log p(x_t|y) = grad log p(x_t) + grad log p(y|x_t)",
        "M1 and the line above",
        lambda case: case.world.score(case.x_t, case.t, case.y),
        lambda case, _: case.of_x + gradient(case.world.log_prob(case.y), case.x_t, case.t),
        wrong.BAYES,
        algebra="M2",
    ),
    Claim(
        "M3",
        "grad log p(x_t) = -eps(x_t, t) / sqrt(1 - abar_t), by autograd",
        "Dhariwal & Nichol 2021, eq. 11; Tweedie's formula",
        lambda case: case.of_x,
        lambda case, _: _score(case, _eps(case)),
        wrong.NOISE_AND_SCORE,
        algebra="M3",
    ),
    Claim(
        "M3",
        "the same, by finite differences of log p(x_t)",
        "the same",
        _four_point,
        lambda case, _: _along_u(case, _score(case, _eps(case))),
        {text: lambda case, f=f: _along_u(case, f(case)) for text, f in wrong.NOISE_AND_SCORE.items()},
        tolerance=1e-8,
        reason=STENCIL,
    ),
    Claim(
        "M3",
        "the same, with eps from E[x_0 | x_t] (Tweedie)",
        "the same",
        lambda case: case.of_x,
        lambda case, _: _score(case, eps_from_x_0(case.x_t, case.t, case.world.x_0(case.x_t, case.t), case.schedule)),
        wrong.TWEEDIE,
        tolerance=1e-10,
        reason=CANCELLATION,
    ),
    Claim(
        "M4",
        "grad log [p(x_t) p(y|x_t)^w] = -(eps - sqrt(1 - abar_t) w grad log p(y|x_t)) / sqrt(1 - abar_t)",
        "Dhariwal & Nichol 2021, eq. 12 to 14, with their scale s = w",
        lambda case: wrong.each(lambda w: _powered(case, w, case.log_p)),
        lambda case, formulas: wrong.each(lambda w: _score(case, _guided(case, formulas, w))),
        wrong.CLASSIFIER_GUIDED,
        uses=("classifier_guided",),
        algebra="M4",
    ),
    Claim(
        "M5",
        "grad log p(y|x_t) = -(eps(x_t, t, y) - eps(x_t, t)) / sqrt(1 - abar_t)",
        "Ho & Salimans 2022, sec. 3.2",
        lambda case: case.of_y,
        lambda case, _: _score(case, _eps(case, case.y) - _eps(case)),
        wrong.IMPLICIT_CLASSIFIER,
        algebra="M5",
    ),
    Claim(
        "M6",
        "grad log [p(x_t|y) p(y|x_t)^w] = -((1 + w) eps(x_t, t, y) - w eps(x_t, t)) / sqrt(1 - abar_t)",
        "Ho & Salimans 2022, eq. 6",
        lambda case: wrong.each(lambda w: _powered(case, w, case.log_p_given_y)),
        lambda case, formulas: wrong.each(lambda w: _score(case, _free(case, formulas, w))),
        wrong.CLASSIFIER_FREE,
        uses=("classifier_free",),
        algebra="M6",
    ),
    Claim(
        "M7",
        "eps + s (eps(y) - eps) = M6's noise with w = s - 1",
        "M6 rearranged; Saharia et al. 2022 (Imagen) and diffusers write s",
        lambda case: wrong.each(lambda s: _score(case, case.plain + s * (case.told - case.plain))),
        lambda case, formulas: wrong.each(lambda s: _score(case, _free(case, formulas, s - 1))),
        wrong.SCALE,
        uses=("classifier_free",),
        algebra="M7",
    ),
    Claim(
        "M4=M6",
        "classifier guidance with weight 1 + w = classifier-free guidance with weight w",
        "M4, M5 and M6 together, with exact networks",
        lambda case: torch.zeros(len(wrong.WEIGHTS), *case.x_t.shape, dtype=torch.float64),
        lambda case, formulas: wrong.each(
            lambda w: _score(case, _guided(case, formulas, 1 + w) - _free(case, formulas, w)),
        ),
        wrong.SAME_WEIGHT,
        uses=("classifier_guided", "classifier_free"),
        algebra="M4=M6",
    ),
    Claim(
        "P1",
        "mean of the DDPM step with M4's noise = plain mean + beta_t / sqrt(1 - beta_t) w grad log p(y|x_t)",
        "M4 in Ho 2020, eq. 11; the article's loop adds a constant times the gradient, after the step",
        lambda case: wrong.each(lambda w: _shifted(case, w)),
        lambda case, formulas: wrong.each(lambda w: case.mean_with(_guided(case, formulas, w))),
        wrong.AFTER_THE_STEP,
        uses=("classifier_guided",),
        scale=lambda case: case.x_t.abs().amax(),
        algebra="P1",
    ),
)
