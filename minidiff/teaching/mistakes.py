"""The catalogue of real mistakes: guided sampling in pieces, and each mistake as one piece that is wrong.

One place for all who use them: lesson 13 shows what each does to samples, `checks.catches` runs a learner's invariant against all
of them, the tests hold every invariant here against the right pieces and the wrong ones, the mutation tests plant each in the
package, and the graded assignments know what each gives. They are of the kinds that people make.
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


def sigma_of_ddpm(schedule: NoiseSchedule, level: int, below: int) -> float:
    """sigma of the step from level to below: eq. 16 of Song 2020 with eta = 1. It is 0 when below is 0."""
    abar_t, abar_s = float(schedule.abar[level]), float(schedule.abar[below])
    return math.sqrt((1 - abar_s) / (1 - abar_t)) * math.sqrt(1 - abar_t / abar_s)


def w_of_scale(s: float) -> float:
    """w = s - 1: M6's weight for the guidance scale s."""
    return s - 1


def last_row(classes: int) -> int:
    """K: in a table of K + 1 rows whose classes are 0..K - 1, the row that says nothing."""
    return classes


class Pieces(NamedTuple):
    """What guided sampling and its training are made of. As they stand the pieces are right: the package's own.

    schedule(T) -> tables with T levels; noised(x_0, t, noise, schedule) -> x_t; by_classifier(eps, log_prob, schedule, w) and
    free(eps_cond, eps_uncond, w) -> the guided denoiser; weight(s) -> the w of `free` for the guidance scale s; null(classes) ->
    the label that says nothing; dropped(y, null, p, u) -> labels, null where u < p; log_prob(classifier, y) -> what guides;
    ready(net) -> the network as it is used for sampling; sigma(schedule, level, below) -> noise added in a step.
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


def no_root(eps: Denoiser, log_prob: LogProb, schedule: NoiseSchedule, w: float) -> Denoiser:
    """The gradient is a score, and is subtracted from a noise as it is."""
    return lambda x_t, t: eps(x_t, t) - w * gradient(log_prob, x_t, t)


def wrong_sign(eps: Denoiser, log_prob: LogProb, schedule: NoiseSchedule, w: float) -> Denoiser:
    """Guidance away from y."""
    return classifier_guided(eps, log_prob, schedule, -w)


def after_the_step(eps: Denoiser, log_prob: LogProb, schedule: NoiseSchedule, w: float) -> Denoiser:
    """P1, written as a noise: w times the gradient is added to the image as often as in a step of each of T levels."""

    def eps_bar(x_t: Points, t: Steps) -> Points:
        per_step = (1 - schedule.abar).sqrt() * (1 - schedule.beta).sqrt() / schedule.beta.clamp(min=1e-12)
        return eps(x_t, t) - extract(per_step, t, x_t) * w * gradient(log_prob, x_t, t)

    return eps_bar


def some_channels(eps_cond: Denoiser, eps_uncond: Denoiser, w: float) -> Denoiser:
    """Guidance on the first half of the numbers only; the rest is the conditional guess."""

    def eps_bar(x_t: Points, t: Steps) -> Points:
        told, half = eps_cond(x_t, t), x_t.shape[-1] // 2
        guided = told.clone()
        guided[..., :half] = classifier_free(eps_cond, eps_uncond, w)(x_t, t)[..., :half]
        return guided

    return eps_bar


def jump(eps_cond: Denoiser, eps_uncond: Denoiser, w: float) -> Denoiser:
    """ "No guidance wanted", so the conditional guess, also where the formula gives the unconditional one."""
    return eps_cond if w <= 0 else classifier_free(eps_cond, eps_uncond, w)


def cut(T: int) -> NoiseSchedule:
    """The first T levels of a schedule of 1,000: the betas are not scaled to T, and signal is left at the end."""
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


def noise_at_the_end(schedule: NoiseSchedule, level: int, below: int) -> float:
    """The last step gets noise too: sqrt(beta) of the whole step, where Alg. 2 adds nothing."""
    if below > 0:
        return sigma_of_ddpm(schedule, level, below)
    return math.sqrt(1 - float(schedule.abar[level]))


def one_level_off(x_0: Points, t: Steps, eps: Points, schedule: NoiseSchedule) -> Points:
    """Tables whose entry 0 is clean, read at t - 1: level 1 is clean, and the last level is never seen."""
    return q_sample(x_0, t - 1, eps, schedule)


class Mistake(NamedTuple):
    """One piece that is wrong; what it is, in a sentence; the method whose samples show it, or "" if only training does."""

    pieces: Pieces
    says: str
    method: str


MISTAKES = {
    "no root": Mistake(RIGHT._replace(by_classifier=no_root), "sqrt(1 - abar_t) is missing in M4", "cg"),
    "wrong sign": Mistake(RIGHT._replace(by_classifier=wrong_sign), "the gradient is added to the noise", "cg"),
    "after the step": Mistake(RIGHT._replace(by_classifier=after_the_step), "P1: w times the gradient, added after a step", "cg"),
    "not told t": Mistake(RIGHT._replace(log_prob=not_told_t), "the classifier is asked with t = 0", "cg"),
    "null is 0": Mistake(RIGHT._replace(null=lambda classes: 0), "label 0, a digit, as the null label", "cfg"),
    "w is s": Mistake(RIGHT._replace(weight=lambda s: s), "the guidance scale s is passed as w", "cfg"),
    "some channels": Mistake(RIGHT._replace(free=some_channels), "only half of the numbers are guided (the left half)", "cfg"),
    "a jump": Mistake(RIGHT._replace(free=jump), "s <= 1 gives the conditional guess", "cfg"),
    "dropout on": Mistake(RIGHT._replace(ready=LeftActive), "a dropout of 10 % is active on the guess", "cfg"),
    "noise at the end": Mistake(RIGHT._replace(sigma=noise_at_the_end), "noise is added in the last step", "cfg"),
    "T is cut": Mistake(RIGHT._replace(schedule=cut), "the schedule stops early, with signal left", "cfg"),
    "never dropped": Mistake(RIGHT._replace(dropped=never_dropped), "dropped labels do not reach the network", ""),
    "all or none": Mistake(RIGHT._replace(dropped=all_or_none), "label dropout for the whole batch at once", ""),
    "one level off": Mistake(RIGHT._replace(noised=one_level_off), "training reads the tables at t - 1", ""),
}


def replaced(name: str) -> str:
    """The piece that a mistake replaces. Raises ValueError if it is not exactly one."""
    wrong = MISTAKES[name].pieces
    (field,) = [field for field in Pieces._fields if getattr(wrong, field) is not getattr(RIGHT, field)]
    return field


def draw(pieces: Pieces, models: dict[str, Checkpoint], method: str, s: float, T: int = 1000, each: int = 1) -> Images:
    """`each` of the digits 0 to 9 from the pretrained weights, put together from these pieces: 50 steps with eta = 1, seed 0.

    models, on one device: "unet" for cfg; "ddpm" and "classifier" for cg. T: how many levels the schedule is asked for.
    """
    where = next(models["unet" if method == "cfg" else "ddpm"].net.parameters()).device
    y, schedule = torch.arange(10, device=where).repeat_interleave(each), pieces.schedule(T)
    if method == "cfg":
        net, classes = pieces.ready(models["unet"].net["unet"]), models["unet"].net["classes"]
        null = torch.full_like(y, pieces.null(10))
        eps = pieces.free(bind(net, classes(y)), bind(net, classes(null)), pieces.weight(s))
    else:
        log_prob = pieces.log_prob(models["classifier"].net["classifier"], y)
        eps = pieces.by_classifier(bind(pieces.ready(models["ddpm"].net["unet"])), log_prob, schedule, s)
    eps, stops = clipped(eps, schedule), ddim_timesteps(schedule, 50)
    x_t, generator = start_noise(len(y), 0).to(where), torch.Generator().manual_seed(0)
    with torch.no_grad(), torch.random.fork_rng():
        torch.manual_seed(0)  # for a dropout that is still on
        for level, below in itertools.pairwise(stops):
            sigma = sigma_of_ddpm(schedule, level, below)
            x_t = ddim_step(x_t, (level, below), eps(x_t, batch_t(level, x_t)), schedule, sigma, generator).x_t
            x_t = x_t + (pieces.sigma(schedule, level, below) - sigma) * draw_noise(x_t, generator)  # 0 if the piece is right
    return x_t
