"""The catalogue of real mistakes: guided sampling in pieces, each mistake one wrong piece.

One place for all who use them: lesson 13 shows what each does to samples, `checks.catches` runs a
learner's invariant against all of them, the tests hold every invariant here against the right
pieces and the wrong ones, the mutation tests plant each in the package. Formulas that are wrong by
a factor are in verify/wrong_formulas.py, which claims and exercises share.
"""

import itertools
import math
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from minidiff.diffusion.guidance import classifier_free, classifier_guided, clipped, gradient
from minidiff.diffusion.process import draw_noise, q_sample
from minidiff.diffusion.samplers import batch_t, ddim_step, ddim_timesteps
from minidiff.diffusion.schedule import NoiseSchedule, cosine, extract
from minidiff.nets.classifier import log_prob_of
from minidiff.nets.unet import bind, drop_labels
from minidiff.sampling import start_noise
from minidiff.symbols import Denoiser, Images, Labels, LogProb, LogProbs, Points, Steps
from minidiff.training.checkpoints import Checkpoint


def sigma_of_ddpm(schedule: NoiseSchedule, t: int, t_prev: int) -> float:
    """sigma of the step from t to t_prev, 0 at the end   [Song 2020, eq. 16 with eta = 1]"""
    abar_t, abar_prev = float(schedule.abar[t]), float(schedule.abar[t_prev])
    return math.sqrt((1 - abar_prev) / (1 - abar_t)) * math.sqrt(1 - abar_t / abar_prev)


def w_of_scale(s: float) -> float:
    """w = s - 1: M6's weight for the guidance scale s."""
    return s - 1


def last_row(classes: int) -> int:
    """K: in a table of K + 1 rows whose classes are 0..K - 1, the null row."""
    return classes


class Pieces(NamedTuple):
    """What guided sampling and its training are made of; as they stand, the package's own.

    schedule(T) -> tables with T levels; noised(x_0, t, noise, schedule) -> x_t; by_classifier(eps,
    log_prob, schedule, w) and free(eps_cond, eps_uncond, w) -> the guided denoiser; weight(s) ->
    the w of `free` for the guidance scale s; null(classes) -> the null label;
    dropped(y, null, p, u) -> labels, null where u < p; log_prob(classifier, y) -> what guides;
    ready(net) -> the network as it is used for sampling; sigma(schedule, t, t_prev) -> noise
    added in a step.
    """

    schedule: Callable[[int], NoiseSchedule] = cosine
    noised: Callable = q_sample
    by_classifier: Callable = classifier_guided
    free: Callable = classifier_free
    weight: Callable[[float], float] = w_of_scale
    null: Callable[[int], int] = last_row
    dropped: Callable = drop_labels
    log_prob: Callable = log_prob_of
    ready: Callable[[nn.Module], nn.Module] = nn.Module.eval
    sigma: Callable[[NoiseSchedule, int, int], float] = sigma_of_ddpm


RIGHT = Pieces()


def no_root(
    eps: Denoiser,
    log_prob: LogProb,
    schedule: NoiseSchedule,
    w: float,
) -> Denoiser:
    """The gradient is a score, and is subtracted from a noise as it is."""
    return lambda x_t, t: eps(x_t, t) - w * gradient(log_prob, x_t, t)


def wrong_sign(eps: Denoiser, log_prob: LogProb, schedule: NoiseSchedule, w: float) -> Denoiser:
    """Guidance away from y."""
    return classifier_guided(eps, log_prob, schedule, -w)


def after_the_step(eps: Denoiser, log_prob: LogProb, schedule: NoiseSchedule, w: float) -> Denoiser:
    """P1, written as a noise: after each step w times the gradient is added to the image."""

    def eps_bar(x_t: Points, t: Steps) -> Points:
        per_step = (
            (1 - schedule.abar).sqrt() * (1 - schedule.beta).sqrt() / schedule.beta.clamp(min=1e-12)
        )
        return eps(x_t, t) - extract(per_step, t, x_t) * w * gradient(log_prob, x_t, t)

    return eps_bar


def some_channels(eps_cond: Denoiser, eps_uncond: Denoiser, w: float) -> Denoiser:
    """Guidance on the first half of the numbers only; the rest is the conditional prediction."""

    def eps_bar(x_t: Points, t: Steps) -> Points:
        cond, half = eps_cond(x_t, t), x_t.shape[-1] // 2
        guided = cond.clone()
        guided[..., :half] = classifier_free(eps_cond, eps_uncond, w)(x_t, t)[..., :half]
        return guided

    return eps_bar


def jump(eps_cond: Denoiser, eps_uncond: Denoiser, w: float) -> Denoiser:
    """ "No guidance wanted": the conditional prediction, also where M6 is the unconditional one."""
    return eps_cond if w <= 0 else classifier_free(eps_cond, eps_uncond, w)


def cut(T: int) -> NoiseSchedule:
    """The first T levels of a schedule of 1,000: signal is left at the end."""
    return NoiseSchedule(cosine().beta[: T + 1], max_signal=1.0)


def never_dropped(y: Labels, null: int, p: float, u: Tensor) -> Labels:
    """The dropped labels are computed and not passed on."""
    y.masked_fill((u < p).to(y.device), null)
    return y


def all_or_none(y: Labels, null: int, p: float, u: Tensor) -> Labels:
    """Label dropout for the whole batch or none of it."""
    return drop_labels(y, null, p, u[:1].expand_as(u))


def not_told_t(classifier: nn.Module, y: Labels) -> LogProb:
    """A classifier that is asked as if every image were clean."""
    asked = log_prob_of(classifier, y)

    def log_prob(x_t: Points, t: Steps) -> LogProbs:
        return asked(x_t, torch.zeros_like(t))

    return log_prob


class LeftActive(nn.Module):
    """A network whose dropout is still on."""

    def __init__(self, net: nn.Module, p: float = 0.1):
        super().__init__()
        self.net, self.p = net, p

    def forward(self, x_t: Images, *rest: Tensor) -> Images:
        return nn.functional.dropout(self.net(x_t, *rest), self.p, training=True)


def noise_at_the_end(schedule: NoiseSchedule, t: int, t_prev: int) -> float:
    """The last step gets noise too: sqrt(beta) of the whole step, where Alg. 2 adds nothing."""
    if t_prev > 0:
        return sigma_of_ddpm(schedule, t, t_prev)
    return math.sqrt(1 - float(schedule.abar[t]))


def one_level_off(x_0: Points, t: Steps, eps: Points, schedule: NoiseSchedule) -> Points:
    """The tables read at t - 1: level 1 is clean, and the last level is never seen."""
    return q_sample(x_0, t - 1, eps, schedule)


class Mistake(NamedTuple):
    """One piece that is wrong."""

    pieces: Pieces
    says: str  # what it is, in a sentence
    method: str  # whose samples show it, or "" if only training does


def _mistake(says: str, method: str = "", **piece: Callable) -> Mistake:
    return Mistake(RIGHT._replace(**piece), says, method)


MISTAKES = {
    "no root": _mistake("sqrt(1 - abar_t) is missing in M4", "cg", by_classifier=no_root),
    "wrong sign": _mistake("the gradient is added to the noise", "cg", by_classifier=wrong_sign),
    "after the step": _mistake(
        "P1: w times the gradient, added after a step", "cg", by_classifier=after_the_step
    ),
    "not told t": _mistake("the classifier is asked with t = 0", "cg", log_prob=not_told_t),
    "null is 0": _mistake("label 0, a digit, as the null label", "cfg", null=lambda classes: 0),
    "w is s": _mistake("the guidance scale s is passed as w", "cfg", weight=lambda s: s),
    "some channels": _mistake(
        "only half of the numbers are guided (the left half)", "cfg", free=some_channels
    ),
    "a jump": _mistake("s <= 1 gives the conditional prediction", "cfg", free=jump),
    "dropout on": _mistake(
        "a dropout of 10 % is active on the prediction", "cfg", ready=LeftActive
    ),
    "noise at the end": _mistake("noise is added in the last step", "cfg", sigma=noise_at_the_end),
    "T is cut": _mistake("the schedule stops early, with signal left", "cfg", schedule=cut),
    "never dropped": _mistake("dropped labels do not reach the network", dropped=never_dropped),
    "all or none": _mistake("label dropout for the whole batch at once", dropped=all_or_none),
    "one level off": _mistake("training reads the tables at t - 1", noised=one_level_off),
}


def replaced(name: str) -> str:
    """The piece that a mistake replaces. Raises ValueError if it is not exactly one."""
    wrong = MISTAKES[name].pieces
    (field,) = [
        field for field in Pieces._fields if getattr(wrong, field) is not getattr(RIGHT, field)
    ]
    return field


def draw(
    pieces: Pieces,
    models: dict[str, Checkpoint],
    method: str,
    s: float,
    T: int = 1000,
    each: int = 1,
) -> Images:
    """`each` of the digits 0 to 9 from the pretrained weights, put together from these pieces: 50
    steps with eta = 1, seed 0.

    models, on one device: "unet" for cfg; "ddpm" and "classifier" for cg. T: how many levels the
    schedule is asked for.
    """
    where = next(models["unet" if method == "cfg" else "ddpm"].net.parameters()).device
    y, schedule = torch.arange(10, device=where).repeat_interleave(each), pieces.schedule(T)
    if method == "cfg":
        net, classes = pieces.ready(models["unet"].net["unet"]), models["unet"].net["classes"]
        null = torch.full_like(y, pieces.null(10))
        eps = pieces.free(bind(net, classes(y)), bind(net, classes(null)), pieces.weight(s))
    else:
        log_prob = pieces.log_prob(models["classifier"].net["classifier"], y)
        eps = pieces.by_classifier(
            bind(pieces.ready(models["ddpm"].net["unet"])), log_prob, schedule, s
        )
    eps, timesteps = clipped(eps, schedule), ddim_timesteps(schedule, 50)
    x_t, generator = start_noise(len(y), 0).to(where), torch.Generator().manual_seed(0)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)  # for a dropout that is still on
        for t, t_prev in itertools.pairwise(timesteps):
            sigma = sigma_of_ddpm(schedule, t, t_prev)
            x_t = ddim_step(
                x_t, (t, t_prev), eps(x_t, batch_t(t, x_t)), schedule, sigma, generator
            ).x_t
            # 0 if the piece is right
            x_t = x_t + (pieces.sigma(schedule, t, t_prev) - sigma) * draw_noise(x_t, generator)
    return x_t
