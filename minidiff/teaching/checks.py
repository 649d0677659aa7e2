"""Checks of exercises: "correct", or the mistake by name. They decide by what an answer does, never by how it is written."""

import math
from collections.abc import Callable

import torch

from minidiff.diffusion.samplers import ddim_path
from minidiff.diffusion.schedule import NoiseSchedule, at, cosine
from minidiff.symbols import Points

CORRECT = "correct"


def scale_of(answer: Callable[[str, float], float]) -> str:
    """answer(method, w) -> s, the guidance scale: s = w for "cg", s = 1 + w for "cfg"."""
    points = (-1.0, 0.0, 0.5, 3.0)
    mistakes = {
        "For cg, s is w itself: w = 0 is already the unconditional model.": lambda m, w: 1 + w,
        "For cfg, w = 0 is the plain conditional model, which is s = 1, not s = 0: add 1.": lambda m, w: w,
        "You have the two methods the wrong way round: the 1 belongs to cfg.": lambda m, w: w + (m == "cg"),
        "The sign is wrong: more w is more guidance, s = 1 + w.": lambda m, w: w if m == "cg" else 1 - w,
    }

    def values(rule: Callable) -> list[float]:
        return [float(rule(method, w)) for method in ("cg", "cfg") for w in points]

    return _verdict(
        lambda: values(answer), values(lambda m, w: w + (m == "cfg")), {text: values(rule) for text, rule in mistakes.items()}
    )


def ddim_step(answer: Callable[[Points, Points, float, float], Points]) -> str:
    """answer(x_t, eps, abar_t, abar_s) -> x_s, one deterministic DDIM step; abar_s > abar_t."""
    x_t, eps = torch.randn(2, 4, 3, generator=torch.Generator().manual_seed(0), dtype=torch.float64).unbind(0)
    schedule = NoiseSchedule(torch.tensor([0, 0.4, 0.5], dtype=torch.float64), max_signal=1.0)  # in the middle of a path
    first = next(ddim_path(lambda x, t: eps, x_t, schedule, steps=2))
    abar_t, abar_s = float(schedule.abar[2]), float(schedule.abar[1])
    signal, noise, no_root = math.sqrt(abar_s), math.sqrt(1 - abar_s), (x_t - (1 - abar_t) * eps) / math.sqrt(abar_t)
    mistakes = {
        "You take abar where its square root is needed: x_t holds sqrt(abar) x_0.": abar_s * first.x_0 + (1 - abar_s) * eps,
        "The root of 1 - abar_t is missing where you guess x_0.": signal * no_root + noise * eps,
        "sqrt(1 - abar_t) is missing where you guess x_0.": signal * (x_t - eps) / math.sqrt(abar_t) + noise * eps,
        "You return the guess of x_0: put the noise of level s back on it.": first.x_0,
        "You noise x_0 to level t again: at the end abar_s is needed, not abar_t.": x_t,
        "The noise has the wrong sign: + sqrt(1 - abar_s) eps.": signal * first.x_0 - noise * eps,
        "sqrt(abar_s) is missing in front of the guess of x_0.": first.x_0 + noise * eps,
    }
    return _verdict(lambda: answer(x_t.clone(), eps.clone(), abar_t, abar_s), first.x_t, mistakes)


def weighted_loss(answer: Callable[[int], float]) -> str:
    """answer(t) -> the weight of |eps - eps_hat|^2 at level t in the variational bound, with sigma_t^2 = beta_t."""
    schedule, t = cosine(), torch.tensor([2, 10, 100, 500, 900])
    beta, abar = (at(table, t, table[t]) for table in (schedule.beta, schedule.abar))
    right = beta / (2 * (1 - beta) * (1 - abar))
    mistakes = {
        "The 2 is missing: the KL of two Gaussians is |difference|^2 / (2 sigma^2).": 2 * right,
        "alpha_t = 1 - beta_t is missing: the mean has 1 / sqrt(alpha_t) in front.": right * (1 - beta),
        "1 - abar_t is missing: the mean holds beta_t / sqrt(1 - abar_t) times eps.": right * (1 - abar),
        "This is the weight before dividing by sigma_t^2 = beta_t.": right * beta,
    }
    return _verdict(lambda: torch.tensor([float(answer(int(level))) for level in t], dtype=torch.float64), right, mistakes)


def _verdict(ask: Callable, right: object, mistakes: dict[str, object]) -> str:
    """ "correct", the sentence of the mistake whose result came, or what came instead."""
    try:
        came = torch.as_tensor(ask(), dtype=torch.float64)
    except Exception as error:  # whatever an answer raises, the learner is told and the notebook goes on
        return f"Your function raised {type(error).__name__}: {error}"
    right = torch.as_tensor(right, dtype=torch.float64)
    if came.shape != right.shape:
        return f"The result has shape {tuple(came.shape)}; {tuple(right.shape)} was expected."
    for text, wrong in {CORRECT: right, **mistakes}.items():
        if torch.allclose(came, torch.as_tensor(wrong, dtype=torch.float64), rtol=1e-6, atol=1e-9):
            return text
    worst = float((came - right).abs().max())
    return f"Not yet: the largest difference is {worst:.3g}. Compare your line with the formula, term by term."
