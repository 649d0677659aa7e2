"""The later ideas of diffusion.variants, put together with the trained conditional U-Net: methods, as in `generation`."""

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import cache
from typing import NamedTuple

import torch

from minidiff.diffusion.guidance import classifier_free, clipped
from minidiff.diffusion.samplers import Sample
from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.diffusion.variants import autoguided, limited, plus_plus_path, projected, rescaled, thresholded
from minidiff.digits.mnist import load_digits
from minidiff.nets.conditioning import bind
from minidiff.symbols import Denoiser, Images, Labels, Points, Steps
from minidiff.training.checkpoints import Trained, same_origin
from minidiff.training.generation import METHODS, Guided, Method, branches
from minidiff.training.loop import train
from minidiff.training.recipes import RECIPES

Mix = Callable[[Denoiser, Denoiser, NoiseSchedule, float], Denoiser]  # of eps_cond, eps_null, schedule, w


def mixed(mix: Mix, two_networks: bool = False) -> Method:
    """The method whose denoiser is mix(eps_cond, eps_null, schedule, w); x_0_hat is clipped to [-1, 1] after it, as in cfg.

    two_networks: eps_null is ddpm's, a network of its own that is never told anything; Ho & Salimans take one because it is
    simpler [2022, sec. 3.2]. Raises InputError unless both were trained on the same data with the same schedule.
    """

    def build(unet: Trained, ddpm: Trained | None = None) -> Guided:
        if ddpm:
            same_origin(unet, ddpm)

        def denoiser(y: Labels, w: float) -> Denoiser:
            cond, null = branches(unet, y)
            null = bind(ddpm.net["unet"]) if ddpm else null
            return clipped(mix(once(cond), null, unet.schedule, w), unet.schedule)

        return Guided(denoiser, unet.schedule)

    return Method(("unet", "ddpm") if two_networks else ("unet",), build, 1.0)


def once(eps: Denoiser) -> Denoiser:
    """eps, asked only once where a formula names it twice: the same x_t and t get the same answer without a second pass."""
    known: list[Points | Steps] = []

    def eps_once(x_t: Points, t: Steps) -> Points:
        if not known or known[0] is not x_t or known[1] is not t:
            known[:] = [x_t, t, eps(x_t, t)]
        return known[2]

    return eps_once


def away_from_early(steps: int) -> Method:
    """Autoguidance with `weakened(steps)` as the weak model, told the same label   [Karras 2024, 2406.02507]

    Raises InputError when the U-Net was trained on another data set than the one in use.
    """

    def build(unet: Trained) -> Guided:
        weak = weakened(steps)
        same_origin(unet, weak)

        def denoiser(y: Labels, w: float) -> Denoiser:
            return clipped(autoguided(branches(unet, y)[0], branches(weak, y)[0], w), unet.schedule)

        return Guided(denoiser, unet.schedule)

    return Method(("unet",), build, 1.0)


def unconditional(model: Trained, weak: Trained | None = None) -> Guided:
    """A network that is told nothing; where there is a weaker version of it, away from that   [Karras 2024, 2406.02507]

    eps_bar = eps + w (eps - eps_weak), x_0_hat clipped to [-1, 1] after it. Of y only the number of rows counts.
    Raises InputError unless both were trained on the same data with the same schedule.
    """
    nets = [bind(trained.net["unet"]) for trained in (model, weak) if trained]
    if weak:
        same_origin(model, weak)

    def denoiser(y: Labels, w: float) -> Denoiser:
        return clipped(autoguided(*nets, w) if weak else nets[0], model.schedule)

    return Guided(denoiser, model.schedule)


def with_fresh_noise(method: Method, eta: float = 1.0) -> Method:
    """The method with fresh noise in every DDIM step   [Song 2020, eq. 16]. Off: eta = 0, the method itself."""

    def build(*models: Trained) -> Guided:
        return method.build(*models)._replace(eta=eta)

    return Method(method.needs, build, method.s_at_zero)


@cache
def weakened(steps: int, name: str = "unet") -> Trained:
    """The recipe of this name after so few steps, trained here and now with seed 0: a bad version of the shipped network."""
    weak = train(replace(RECIPES[name], steps=steps), load_digits("train"), progress=False)
    weak.net.requires_grad_(False).to(memory_format=torch.channels_last)
    return weak


class PlusPlus(NamedTuple):
    """CFG++ with its trained model in it. Its step is its own, so it is a path and no denoiser; its scale lies in [0, 1].

    Both branches are clipped to [-1, 1]; x_0_hat lies between them.
    """

    unet: Trained

    def path(self, y: Labels, scale: float, x_T: Images, steps: int, generator: torch.Generator) -> Iterator[Sample]:
        """From noise to images, a row of x_T for a row of y; no fresh noise."""
        schedule = self.unet.schedule
        cond, null = (clipped(eps, schedule) for eps in branches(self.unet, y))
        return plus_plus_path(cond, null, x_T, schedule, scale, steps)


def _within(low: int, high: int, two_networks: bool = False) -> Method:
    return mixed(lambda cond, null, schedule, w: limited(classifier_free(cond, null, w), cond, low, high), two_networks)


def _respread(phi: float, of_v: bool = False) -> Method:
    return mixed(lambda cond, null, schedule, w: rescaled(classifier_free(cond, null, w), cond, phi, schedule if of_v else None))


def _thresholded(share: float) -> Method:
    return mixed(lambda cond, null, schedule, w: thresholded(classifier_free(cond, null, w), schedule, share))


VARIANTS = {
    "interval 0-600": _within(0, 600),
    "interval 200-600": _within(200, 600),
    "interval 200-800": _within(200, 800),
    "rescale 0.7": _respread(0.7),
    "rescale 1": _respread(1.0),
    "rescale v 0.7": _respread(0.7, of_v=True),
    "rescale v 1": _respread(1.0, of_v=True),
    "threshold 0.9": _thresholded(0.9),
    "threshold 0.995": _thresholded(0.995),
    "cfg++": Method(("unet",), PlusPlus, 0.0),
    "apg": mixed(projected),
    "apg 2": mixed(lambda cond, null, schedule, w: projected(cond, null, schedule, w, longest=2.0)),
    "autoguidance 150": away_from_early(150),
    "autoguidance 400": away_from_early(400),
}
TWO_NETWORKS = {
    "two networks": mixed(lambda cond, null, schedule, w: classifier_free(cond, null, w), two_networks=True),
    "two networks 200-900": _within(200, 900, two_networks=True),
}
FRESH_NOISE = {f"{name} eta 1": with_fresh_noise(method) for name, method in METHODS.items()}
