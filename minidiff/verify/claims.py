"""M1 to M7 and P1, executed: two independent routes to a tensor, and wrong versions to reject."""

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
from torch import Tensor

from minidiff.diffusion.guidance import classifier_free, classifier_guided, gradient
from minidiff.diffusion.process import eps_from_x_0, score_from_eps
from minidiff.symbols import Denoiser, Labels, Points, Steps
from minidiff.verify import wrong_versions
from minidiff.verify.worlds import World
from minidiff.verify.wrong_versions import WEIGHTS, each

ROUNDING = "float64 rounds at 1e-16, in some 100 operations, and guidance multiplies by w up to 25"
STENCIL = "h = std(noise) / 500: h^4 / 30 times the fifth derivative, and rounding, are about 1e-10"
CANCELLATION = (
    "the score is (sqrt(abar_t) x_0 - x_t) / (1 - abar_t): the numerator cancels, and at t = 1 "
    "the division multiplies its rounding by 10,000 (linear) or 24,000 (cosine)"
)


class Formulas(NamedTuple):
    """The two functions that a user's module may replace."""

    classifier_guided: Callable[..., Denoiser] = classifier_guided
    classifier_free: Callable[..., Denoiser] = classifier_free


class Claim(NamedTuple):
    """|expected - got| / scale <= tolerance for every entry, by two routes to one tensor.

    Each wrong version, in the place of `got`, must miss by 1,000 tolerances at least. `uses` names
    the formulas under test, `algebra` its identity in verify.algebra, if there is one. M1, against
    torch.distributions, and M3 with Tweedie's formula show that the worlds themselves are right.
    """

    name: str
    equation: str
    source: str
    expected: Callable[[World], Tensor]
    got: Callable[[World, Formulas], Tensor]
    wrong: dict[str, Callable[[World], Tensor]]
    uses: tuple[str, ...] = ()
    tolerance: float = 1e-12
    reason: str = ROUNDING
    scale: Callable[[World], Tensor] = lambda world: world.score_scale
    algebra: str = ""


def _bayes(world: World, x_t: Points) -> Tensor:
    """log p(x_t) + log p(y|x_t) - log p(y), the right side of M1."""
    return world.log_p(x_t) + world.log_y(x_t) - world.log_prior


def _four_point(world: World) -> Tensor:
    """The slope of log p(x_t) along u, from four values of log p: no derivative by rule."""
    h = world.root / 500
    near, far = (
        world.log_p(world.x_t + k * h * world.u) - world.log_p(world.x_t - k * h * world.u)
        for k in (1, 2)
    )
    return (8 * near - far)[:, None] / (12 * h)


def _along_u(world: World, score: Points) -> Tensor:
    return (score * world.u).sum(dim=1, keepdim=True)


def _score(world: World, eps: Points) -> Points:
    return score_from_eps(eps, world.t, world.schedule)


def _eps(world: World, y: Labels | None = None) -> Points:
    return world.mixture.eps(y)(world.x_t, world.t)


def _flat(function: Callable) -> Callable:
    """A function of points (batch, dim) as one of images (batch, ...)."""

    def of_images(x_t: Points, t: Steps) -> Tensor:
        came = function(x_t.flatten(1), t)
        return came.reshape(x_t.shape) if came.ndim > 1 else came

    return of_images


def _guided(world: World, formulas: Formulas, w: float) -> Points:
    eps, log_prob = _flat(world.mixture.eps()), _flat(world.mixture.log_prob(world.y))
    eps_bar = formulas.classifier_guided(eps, log_prob, world.schedule, w)
    return eps_bar(world.images, world.t).flatten(1)


def _free(world: World, formulas: Formulas, w: float) -> Points:
    eps_cond, eps_uncond = _flat(world.mixture.eps(world.y)), _flat(world.mixture.eps())
    eps_bar = formulas.classifier_free(eps_cond, eps_uncond, w)
    return eps_bar(world.images, world.t).flatten(1)


def _tweedie(world: World, _: Formulas) -> Points:
    """The score, with eps from E[x_0 | x_t]."""
    x_0 = world.mixture.x_0(world.x_t, world.t)
    return _score(world, eps_from_x_0(world.x_t, world.t, x_0, world.schedule))


def _shifted(world: World, w: float) -> Points:
    """The unconditional DDPM mean, plus beta_t / sqrt(1 - beta_t) w grad log p(y|x_t)."""
    beta = world.column(world.schedule.beta)
    return world.mean + beta / (1 - beta).sqrt() * w * world.of_y


def _powered(world: World, w: float, log_p: Callable[[Points], Tensor]) -> Points:
    """grad log of p(x_t) p(y|x_t)^w by autograd, with the given density in the place of p(x_t)."""
    return world.gradient(lambda x_t: log_p(x_t) + w * world.log_y(x_t))


CLAIMS = (
    Claim(
        "M1",
        "log p(x_t|y) = log p(x_t) + log p(y|x_t) - log p(y)",
        "Bayes' rule",
        lambda world: world.log_p_by_torch,
        lambda world, _: _bayes(world, world.x_t)[:, None],
        wrong_versions.DENSITIES,
        scale=lambda world: world.log_p_by_torch.abs().clamp(min=1),
    ),
    Claim(
        "M1",
        "grad log p(x_t|y) = grad of the right side of M1",
        "Bayes' rule; Dhariwal & Nichol 2021, sec. 4",
        lambda world: world.mixture.score(world.x_t, world.t, world.y),
        lambda world, _: world.gradient(partial(_bayes, world)),
        wrong_versions.BAYES,
    ),
    Claim(
        "M2",
        "grad log p(y) = 0",
        "p(y) does not depend on x_t",
        lambda world: torch.zeros_like(world.x_t),
        lambda world, _: world.gradient(
            lambda x: world.log_p(x) + world.log_y(x) - world.log_p_given_y(x)
        ),
        wrong_versions.NO_CONSTANT,
    ),
    Claim(
        "M2",
        "grad log p(x_t|y) = grad log p(x_t) + grad log p(y|x_t)",
        "M1 and the line above",
        lambda world: world.mixture.score(world.x_t, world.t, world.y),
        lambda world, _: world.of_x + gradient(world.mixture.log_prob(world.y), world.x_t, world.t),
        wrong_versions.BAYES,
        algebra="M2",
    ),
    Claim(
        "M3",
        "grad log p(x_t) = -eps(x_t, t) / sqrt(1 - abar_t), by autograd",
        "Dhariwal & Nichol 2021, eq. 11; Tweedie's formula",
        lambda world: world.of_x,
        lambda world, _: _score(world, _eps(world)),
        wrong_versions.NOISE_AND_SCORE,
        algebra="M3",
    ),
    Claim(
        "M3",
        "the same, by finite differences of log p(x_t)",
        "the same",
        _four_point,
        lambda world, _: _along_u(world, _score(world, _eps(world))),
        {
            text: lambda world, f=f: _along_u(world, f(world))
            for text, f in wrong_versions.NOISE_AND_SCORE.items()
        },
        tolerance=1e-8,
        reason=STENCIL,
    ),
    Claim(
        "M3",
        "the same, with eps from E[x_0 | x_t] (Tweedie)",
        "the same",
        lambda world: world.of_x,
        _tweedie,
        wrong_versions.TWEEDIE,
        tolerance=1e-10,
        reason=CANCELLATION,
    ),
    Claim(
        "M4",
        "grad log [p(x_t) p(y|x_t)^w] = "
        "-(eps - sqrt(1 - abar_t) w grad log p(y|x_t)) / sqrt(1 - abar_t)",
        "Dhariwal & Nichol 2021, eq. 12 to 14, with their scale s = w",
        lambda world: each(lambda w: _powered(world, w, world.log_p)),
        lambda world, formulas: each(lambda w: _score(world, _guided(world, formulas, w))),
        wrong_versions.CLASSIFIER_GUIDED,
        uses=("classifier_guided",),
        algebra="M4",
    ),
    Claim(
        "M5",
        "grad log p(y|x_t) = -(eps(x_t, t, y) - eps(x_t, t)) / sqrt(1 - abar_t)",
        "Ho & Salimans 2022, sec. 3.2",
        lambda world: world.of_y,
        lambda world, _: _score(world, _eps(world, world.y) - _eps(world)),
        wrong_versions.IMPLICIT_CLASSIFIER,
        algebra="M5",
    ),
    Claim(
        "M6",
        "grad log [p(x_t|y) p(y|x_t)^w] = "
        "-((1 + w) eps(x_t, t, y) - w eps(x_t, t)) / sqrt(1 - abar_t)",
        "Ho & Salimans 2022, eq. 6",
        lambda world: each(lambda w: _powered(world, w, world.log_p_given_y)),
        lambda world, formulas: each(lambda w: _score(world, _free(world, formulas, w))),
        wrong_versions.CLASSIFIER_FREE,
        uses=("classifier_free",),
        algebra="M6",
    ),
    Claim(
        "M7",
        "eps + s (eps(y) - eps) = M6's noise with w = s - 1",
        "M6 rearranged; Saharia et al. 2022 (Imagen) and diffusers write s",
        lambda world: each(
            lambda s: _score(world, world.eps_uncond + s * (world.eps_cond - world.eps_uncond))
        ),
        lambda world, formulas: each(lambda s: _score(world, _free(world, formulas, s - 1))),
        wrong_versions.SCALE,
        uses=("classifier_free",),
        algebra="M7",
    ),
    Claim(
        "M4=M6",
        "classifier guidance with weight 1 + w = classifier-free guidance with weight w",
        "M4, M5 and M6 together, with exact networks",
        lambda world: torch.zeros(len(WEIGHTS), *world.x_t.shape, dtype=torch.float64),
        lambda world, formulas: each(
            lambda w: _score(world, _guided(world, formulas, 1 + w) - _free(world, formulas, w))
        ),
        wrong_versions.SAME_WEIGHT,
        uses=("classifier_guided", "classifier_free"),
        algebra="M4=M6",
    ),
    Claim(
        "P1",
        "DDPM mean with M4's noise = DDPM mean + beta_t / sqrt(1 - beta_t) w grad log p(y|x_t)",
        "M4 in Ho 2020, eq. 11; the article adds a constant times the gradient, after the step",
        lambda world: each(lambda w: _shifted(world, w)),
        lambda world, formulas: each(lambda w: world.mean_with(_guided(world, formulas, w))),
        wrong_versions.AFTER_THE_STEP,
        uses=("classifier_guided",),
        scale=lambda world: world.x_t.abs().amax(),
        algebra="P1",
    ),
)
