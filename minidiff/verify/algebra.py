"""The algebra of M2 to M7 and P1 in sympy, with densities that are symbols: no number is inserted.

p is any density p(x_t), q any density p(x_t|y), P the constant p(y); one coordinate of x_t stands
for all. The noises are what M3 says they are; M3 itself is proved for data of three spikes at any
places.
"""

from functools import cache
from typing import NamedTuple

import sympy as sp

x, w, s = sp.symbols("x w s", real=True)
abar, beta, P = sp.symbols("abar beta P", positive=True)
p, q = (sp.Function(name, positive=True)(x) for name in "pq")
root = sp.sqrt(1 - abar)
classifier = q * P / p  # p(y|x_t), by M1
# the noises, by M3
eps_uncond, eps_cond = (-root * sp.diff(sp.log(density), x) for density in (p, q))
of_y = sp.diff(sp.log(classifier), x)


class Identity(NamedTuple):
    """left = right, for every density and weight; `wrong` is `right` with a common mistake."""

    left: sp.Expr
    right: sp.Expr
    wrong: sp.Expr


def _spikes() -> Identity:
    """M3 times p(x_t), grad p(x_t) = -p(x_t) E[eps | x_t] / root, for a mixture of spikes.

    p(x_t) = sum_i m_i N(x_t; sqrt(abar) d_i, 1 - abar), p(x_t) E[eps | x_t] = sum_i m_i N_i eps_i:
    spike i becomes x_t through the noise eps_i = (x_t - sqrt(abar) d_i) / root.
    """
    spots, masses = sp.symbols("d1:4", real=True), sp.symbols("m1:4", positive=True)
    noises = [(x - sp.sqrt(abar) * spot) / root for spot in spots]
    parts = [mass * sp.exp(-(noise**2) / 2) for mass, noise in zip(masses, noises, strict=True)]
    weighted = sum(part * noise for part, noise in zip(parts, noises, strict=True))
    return Identity(sp.diff(sum(parts), x), -weighted / root, -weighted)


def _ddpm_mean(eps: sp.Expr) -> sp.Expr:
    return (x - beta / root * eps) / sp.sqrt(1 - beta)  # Ho 2020, eq. 11


def _score(eps: sp.Expr) -> sp.Expr:
    return -eps / root


def _grad_log(density: sp.Expr) -> sp.Expr:
    return sp.diff(sp.log(density), x)


@cache
def identities() -> dict[str, Identity]:
    """The claims that are pure algebra, by name."""
    free = (1 + w) * eps_cond - w * eps_uncond
    guided = eps_uncond - root * w * of_y
    wrong_free = w * eps_cond + (1 - w) * eps_uncond
    scaled = eps_uncond + s * (eps_cond - eps_uncond)
    mean, shift = _ddpm_mean(eps_uncond), beta / sp.sqrt(1 - beta) * w * of_y
    return {
        "M2": Identity(_grad_log(q), _grad_log(p) + of_y, _grad_log(p) - of_y),
        "M3": _spikes(),
        "M4": Identity(_grad_log(p * classifier**w), _score(guided), _score(eps_uncond - w * of_y)),
        "M5": Identity(of_y, _score(eps_cond - eps_uncond), _score(eps_uncond - eps_cond)),
        "M6": Identity(_grad_log(q * classifier**w), _score(free), _score(wrong_free)),
        "M7": Identity(scaled, free.subs(w, s - 1), free.subs(w, s)),
        "M4=M6": Identity(guided.subs(w, 1 + w), free, free.subs(w, 1 + w)),
        "P1": Identity(_ddpm_mean(guided), mean + shift, mean + w * of_y),
    }


@cache
def is_proved(name: str) -> bool | None:
    """Whether sympy reduces left - right to 0, and left - wrong not; None if it is no algebra."""
    identity = identities().get(name)
    if identity is None:
        return None
    return _is_zero(identity.left - identity.right) and not _is_zero(identity.left - identity.wrong)


def _is_zero(difference: sp.Expr) -> bool:
    return sp.expand(sp.simplify(sp.expand(sp.expand_log(difference)).doit())) == 0
