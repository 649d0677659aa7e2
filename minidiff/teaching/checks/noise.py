"""Checks about noise: adding, predicting and removing it (lessons 01, 02, 03, 07)."""

import math
from collections.abc import Callable

import torch

from minidiff.diffusion.samplers import ddim_path
from minidiff.diffusion.schedule import NoiseSchedule, cosine, extract, linear
from minidiff.symbols import Points, Table
from minidiff.teaching.checks.verdict import CORRECT, normal, number, verdict


def ddim_step(answer: Callable[[Points, Points, float, float], Points]) -> str:
    """answer(x_t, eps, abar_t, abar_s) -> x_s, one deterministic DDIM step; abar_s > abar_t."""
    x_t, eps = normal(2)
    beta = torch.tensor([0, 0.4, 0.5], dtype=torch.float64)
    schedule = NoiseSchedule(beta, max_signal=1.0)  # in the middle of a path
    first = next(ddim_path(lambda x, t: eps, x_t, schedule, steps=2))
    abar_t, abar_s = float(schedule.abar[2]), float(schedule.abar[1])
    signal, noise = math.sqrt(abar_s), math.sqrt(1 - abar_s)
    powers = abar_s * first.x_0 + (1 - abar_s) * eps
    no_root = (x_t - (1 - abar_t) * eps) / math.sqrt(abar_t)
    no_factor = (x_t - eps) / math.sqrt(abar_t)
    mistakes = {
        "You take abar where its square root is needed: x_t holds sqrt(abar) x_0.": powers,
        "The root of 1 - abar_t is missing where you guess x_0.": signal * no_root + noise * eps,
        "sqrt(1 - abar_t) is missing where you guess x_0.": signal * no_factor + noise * eps,
        "You return the guess of x_0: put the noise of level s back on it.": first.x_0,
        "You noise x_0 to level t again: at the end abar_s is needed, not abar_t.": x_t,
        "The noise has the wrong sign: + sqrt(1 - abar_s) eps.": signal * first.x_0 - noise * eps,
        "sqrt(abar_s) is missing in front of the guess of x_0.": first.x_0 + noise * eps,
    }
    given = number(abar_t), number(abar_s)
    return verdict(lambda: answer(x_t.clone(), eps.clone(), *given), first.x_t, mistakes)


def x_0_from_v(answer: Callable[[Points, Points, float], Points]) -> str:
    """answer(x_t, v, abar_t) -> x_0, where v = sqrt(abar_t) eps - sqrt(1 - abar_t) x_0."""
    x_0, eps = normal(2)
    abar, signal, noise = 0.3, math.sqrt(0.3), math.sqrt(0.7)
    x_t, v = signal * x_0 + noise * eps, signal * eps - noise * x_0
    of_eps = noise, signal
    factors = {
        "The sign is wrong: v holds - sqrt(1 - abar_t) x_0, so it is subtracted.": (signal, noise),
        "This is eps: sqrt(1 - abar_t) x_t + sqrt(abar_t) v. x_0 is the other combination.": of_eps,
        "The factors are the wrong way round: sqrt(abar_t) belongs to x_t.": (noise, -signal),
        "The roots are missing: the squares of the factors must sum to 1.": (abar, abar - 1),
        "v is not scaled: sqrt(1 - abar_t) belongs in front of it.": (signal, -1),
        "x_t is not scaled: sqrt(abar_t) belongs in front of it.": (1, -noise),
        "This is x_t - v; each needs its factor.": (1, -1),
    }
    mistakes = {text: a * x_t + b * v for text, (a, b) in factors.items()}
    return verdict(lambda: answer(x_t.clone(), v.clone(), number(abar)), x_0, mistakes)


def weighted_loss(answer: Callable[[int], float]) -> str:
    """answer(t) -> the weight of |eps - eps_hat|^2 in the variational bound, sigma_t^2 = beta_t."""
    schedule, t = cosine(), torch.tensor([2, 10, 100, 500, 900])
    beta, abar = (extract(table, t, table[t]) for table in (schedule.beta, schedule.abar))
    right = beta / (2 * (1 - beta) * (1 - abar))
    no_alpha, no_variance = right * (1 - beta), right * (1 - abar)
    mistakes = {
        "The 2 is missing: the KL of two Gaussians is |difference|^2 / (2 sigma^2).": 2 * right,
        "alpha_t = 1 - beta_t is missing: the mean has 1 / sqrt(alpha_t) in front.": no_alpha,
        "1 - abar_t is missing: the mean holds beta_t / sqrt(1 - abar_t) times eps.": no_variance,
        "This is the weight before dividing by sigma_t^2 = beta_t.": right * beta,
    }

    def weights() -> Table:
        return torch.tensor([float(answer(level)) for level in t.tolist()], dtype=torch.float64)

    return verdict(weights, right, mistakes)


def noised(answer: Callable[[Points, Points, float], Points]) -> str:
    """answer(x_0, eps, abar_t) -> x_t, the jump from clean data to level t."""
    x_0, eps = normal(2)
    abar, signal, noise = 0.3, math.sqrt(0.3), math.sqrt(0.7)
    no_roots, no_root_of_x_0, no_root_of_eps = (abar, 1 - abar), (abar, noise), (signal, 1 - abar)
    swapped = noise, signal
    factors = {
        "Both roots are missing: the squares of the factors must sum to 1, not the "
        "factors.": no_roots,
        "The root is missing in front of x_0: abar is a power, its root an "
        "amplitude.": no_root_of_x_0,
        "The root is missing in front of eps: 1 - abar is a variance, its root a standard "
        "deviation.": no_root_of_eps,
        "The factors are the wrong way round: sqrt(abar_t) belongs to x_0, since abar = 1 is "
        "clean.": swapped,
        "The noise is not scaled: sqrt(1 - abar_t) belongs in front of eps.": (signal, 1),
        "x_0 is not scaled: sqrt(abar_t) belongs in front of it.": (1, noise),
        "The factor of the noise is sqrt(1 - abar_t), not 1 - sqrt(abar_t).": (signal, 1 - signal),
        "The noise has the wrong sign: + sqrt(1 - abar_t) eps.": (signal, -noise),
    }
    mistakes = {text: a * x_0 + b * eps for text, (a, b) in factors.items()}
    right = signal * x_0 + noise * eps
    return verdict(lambda: answer(x_0.clone(), eps.clone(), number(abar)), right, mistakes)


def jump(answer: Callable[[Points, Points, float, float], Points]) -> str:
    """answer(x_s, eps, abar_s, abar_t) -> x_t, noised on from level s to t > s; abar_t < abar_s."""
    x_s, eps = normal(2)
    abar_s, abar_t = 0.6, 0.24
    left = abar_t / abar_s
    signal, noise = math.sqrt(left), math.sqrt(1 - left)
    whole_signal, whole_noise = math.sqrt(abar_t), math.sqrt(1 - abar_t)
    from_x_0, mixed, powers = (whole_signal, whole_noise), (whole_signal, noise), (left, 1 - left)
    much, little = (signal, whole_noise), (signal, math.sqrt(abar_s - abar_t))
    factors = {
        "x_s has lost its share already: take abar_t / abar_s, the product from s + 1 to "
        "t.": from_x_0,
        "The factor of x_s is sqrt(abar_t / abar_s): x_s has lost its share already.": mixed,
        "You add too much noise: x_s holds some already, so add the variance 1 - abar_t / "
        "abar_s.": much,
        "You add too little noise: that of x_s shrinks too, so add 1 - abar_t / abar_s.": little,
        "Both roots are missing: abar_t / abar_s and 1 - abar_t / abar_s are powers.": powers,
    }
    mistakes = {text: a * x_s + b * eps for text, (a, b) in factors.items()}
    given, right = (number(abar_s), number(abar_t)), signal * x_s + noise * eps
    return verdict(lambda: answer(x_s.clone(), eps.clone(), *given), right, mistakes)


def scaled_betas(answer: Callable[[int], Table]) -> str:
    """answer(T) -> beta_1..beta_T, evenly spaced, 1e-4 to 0.02 at T = 1000; one sum for every T."""
    for T in (1000, 400, 250):
        right = linear(T).beta[1:]
        plain, first = right * T / 1000, linear(1000).beta[1 : T + 1]
        with_root = plain * (1000 / T) ** 0.5
        last_only = torch.linspace(1e-4, 20 / T, T, dtype=torch.float64)
        mistakes = {
            "The betas are not scaled: fewer of them have a smaller sum, and x_T keeps signal. "
            "Multiply by 1000 / T.": plain,
            "The factor is the wrong way up: with fewer steps each must add more noise, 1000 / "
            "T.": plain * T / 1000,
            "A root too many: the betas are variances and add up, so the factor is 1000 / "
            "T.": with_root,
            "These are the first T of the 1,000 betas: take T new ones over the whole range, "
            "times 1000 / T.": first,
            "Only the last beta is scaled: multiply all of them by 1000 / T.": last_only,
        }
        said = verdict(lambda T=T: answer(T), right, mistakes)
        if said != CORRECT:
            return said
    return CORRECT


def score_of_noise(answer: Callable[[Points, float], Points]) -> str:
    """answer(eps, abar_t) -> the score that belongs to this noise (M3)."""
    eps, abar = normal(1)[0], 0.3
    root, signal = math.sqrt(1 - abar), math.sqrt(abar)
    factors = {
        "The sign is wrong: the score points home, against the noise.": 1 / root,
        "The root is missing: divide by sqrt(1 - abar_t), the standard deviation of the noise.": -1
        / (1 - abar),
        "You multiply by sqrt(1 - abar_t): small noise pulls harder, so divide.": -root,
        "The sign is right, the size is not: divide by sqrt(1 - abar_t).": -1,
        "This is the noise itself: the score points the other way, and is divided by sqrt(1 - "
        "abar_t).": 1,
        "You divide by the factor of x_0, sqrt(abar_t): the noise's is sqrt(1 - abar_t).": -1
        / signal,
    }
    mistakes = {text: factor * eps for text, factor in factors.items()}
    return verdict(lambda: answer(eps.clone(), number(abar)), -eps / root, mistakes)


def tweedie(answer: Callable[[Points, Points, float], Points]) -> str:
    """answer(x_t, score, abar_t) -> E[x_0 | x_t], Tweedie's formula."""
    (x_t, score), abar = normal(2), 0.3
    signal, variance, root = math.sqrt(abar), 1 - abar, math.sqrt(1 - abar)
    right, wrong_sign = (x_t + variance * score) / signal, (x_t - variance * score) / signal
    with_root, as_noise = (x_t + root * score) / signal, (x_t - root * score) / signal
    mistakes = {
        "The sign is wrong: the score points to where the clean image is, so add it.": wrong_sign,
        "That is the formula for a noise: a score has + (1 - abar_t) in front.": as_noise,
        "The score has the variance 1 - abar_t in front, not its root.": with_root,
        "The variance is missing: (1 - abar_t) times the score.": (x_t + score) / signal,
        "Divide by sqrt(abar_t): x_t holds that much of x_0.": x_t + variance * score,
        "Divide by sqrt(abar_t), not by abar_t.": (x_t + variance * score) / abar,
        "Two things are missing: the variance 1 - abar_t in front of the score, and the factor of "
        "x_0.": x_t + score,
        "Only the score is scaled: divide the whole sum by sqrt(abar_t).": (
            x_t + variance * score / signal
        ),
    }
    return verdict(lambda: answer(x_t.clone(), score.clone(), number(abar)), right, mistakes)


def two_points(answer: Callable[[Points, float], Points]) -> str:
    """answer(x_t, abar_t) -> E[x_0 | x_t] where x_0 is -1 or +1, equally often."""
    x_t, abar = normal(1)[0], 0.3
    signal, variance = math.sqrt(abar), 1 - abar
    a = signal * x_t / variance
    by_root, no_variance = torch.tanh(signal * x_t / math.sqrt(variance)), torch.tanh(signal * x_t)
    mistakes = {
        "That is the nearer point, not the average: at x_t = 0 both are equally likely, and the "
        "guess is 0.": x_t.sign(),
        "Divide by the variance 1 - abar_t, not by its root.": by_root,
        "The variance 1 - abar_t of the noise is missing: less noise, surer guess.": no_variance,
        "sqrt(abar_t) is missing: at level t the points lie at -sqrt(abar_t) and "
        "+sqrt(abar_t).": torch.tanh(x_t / variance),
        "The difference of the two exponents is 2a, but tanh has a: you have twice too "
        "much.": torch.tanh(2 * a),
        "That is the guess for a Gaussian of variance 1, a straight line.": signal * x_t,
        "Half of it: the two exponents differ by 2a, and tanh a is what comes out.": torch.tanh(
            a / 2
        ),
        "The points are -1 and +1: sqrt(abar_t) stands inside tanh only.": signal * torch.tanh(a),
        "That is the probability of +1; the average counts -1 too: 2 p - 1.": torch.sigmoid(2 * a),
    }
    return verdict(lambda: answer(x_t.clone(), number(abar)), torch.tanh(a), mistakes)
