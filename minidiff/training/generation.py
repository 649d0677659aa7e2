"""From trained models to guided images: the two methods in one form, and one way to run them."""

from collections.abc import Callable, Iterator
from typing import NamedTuple, Protocol, runtime_checkable

import torch
from tqdm import tqdm

from minidiff.diffusion.guidance import classifier_free, classifier_guided, clipped
from minidiff.diffusion.process import draw_noise
from minidiff.diffusion.samplers import Sample, ddim_path, last
from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.nets.classifier import log_prob_of
from minidiff.nets.conditioning import bind, checked_labels
from minidiff.symbols import Asked, Denoiser, Images, Labels, Tokens
from minidiff.training.checkpoints import Trained, same_origin
from minidiff.training.device import autocast, sampling_precision, torch_as_it_starts
from minidiff.training.sentences import to_tokens

BATCH = 250  # images sampled at once: well under 1 GB, gradients included


@runtime_checkable
class Ready(Protocol):
    """A method that can draw."""

    def path(self, y: Asked, w: float, x_T: Images, steps: int, generator: torch.Generator) -> Iterator[Sample]:
        """From noise to images, a row of x_T for a row of y; fresh noise, where a step wants it, from the generator."""


class Guided(NamedTuple):
    """A method with its trained models in it: denoiser(y, w) is its guided denoiser, on this schedule. y: labels or tokens.

    eta: how much of the noise is fresh in every DDIM step, from 0, none, to 1, as much as in DDPM's   [Song 2020, eq. 16]
    """

    denoiser: Callable[[Asked, float], Denoiser]
    schedule: NoiseSchedule
    eta: float = 0.0

    def path(self, y: Asked, w: float, x_T: Images, steps: int, generator: torch.Generator) -> Iterator[Sample]:
        """DDIM from noise to images, a row of x_T for a row of y. Raises InputError unless 0 <= eta <= 1."""
        return ddim_path(self.denoiser(y, w), x_T, self.schedule, steps, self.eta, generator)


def branches(unet: Trained, y: Labels) -> tuple[Denoiser, Denoiser]:
    """eps(x_t, t, y) and eps(x_t, t) of one conditional U-Net: what guidance mixes."""
    net, classes = unet.net["unet"], unet.net["classes"]
    return bind(net, classes(checked_labels(y, classes.null, net))), bind(net, classes.nothing(len(y)))


def cfg(unet: Trained) -> Guided:
    """Classifier-free guidance, M6, from one conditional U-Net; x_0_hat is clipped to [-1, 1] after guidance."""

    def denoiser(y: Labels, w: float) -> Denoiser:
        return clipped(classifier_free(*branches(unet, y), w), unet.schedule)

    return Guided(denoiser, unet.schedule)


def cfg_words(words: Trained, negative: str = "") -> Guided:
    """Classifier-free guidance, M6, towards sentences and away from `negative`; x_0_hat is clipped after guidance.

    eps_bar = (1 + w) eps(x_t, t, sentence) - w eps(x_t, t, negative); the empty sentence is "no condition", and makes this M6.
    w = 0 is the plain conditional model, w = -1 draws `negative`. The y of its denoiser are `to_tokens(sentences)`.
    Raises InputError for a word that the vocabulary lacks.
    """
    net, text, away = words.net["unet"], words.net["text"], to_tokens([negative])

    def denoiser(tokens: Tokens, w: float) -> Denoiser:
        with torch.no_grad():
            told, null = text(tokens), text(away.to(tokens.device).repeat(len(tokens), 1))
        return clipped(classifier_free(bind(net, told), bind(net, null), w), words.schedule)

    return Guided(denoiser, words.schedule)


def cg(ddpm: Trained, classifier: Trained) -> Guided:
    """Classifier guidance, M4, from an unconditional U-Net and a noise-conditioned classifier; x_0_hat is clipped after it.

    Raises InputError unless both were trained on the same data with the same schedule.
    """
    return _by_classifier(ddpm, classifier, lambda y: bind(ddpm.net["unet"]))


def cg_conditional(unet: Trained, classifier: Trained) -> Guided:
    """Classifier guidance on top of the conditional model: M4 with eps(x_t, t, y), which is what M6 starts from.

    The network has used p(y|x_t) once already, so s = 1 + w, as in M6   [Dhariwal & Nichol 2021, table 4]. Errors as in cg.
    """
    return _by_classifier(unet, classifier, lambda y: branches(unet, y)[0])


def _by_classifier(model: Trained, classifier: Trained, eps: Callable[[Labels], Denoiser]) -> Guided:
    same_origin(model, classifier)
    net = classifier.net["classifier"]

    def denoiser(y: Labels, w: float) -> Denoiser:
        log_prob = log_prob_of(net, checked_labels(y, net.head.out_features - 1, net))
        return clipped(classifier_guided(eps(y), log_prob, model.schedule, w), model.schedule)

    return Guided(denoiser, model.schedule)


class Method(NamedTuple):
    """What a method needs by name, how it is put together, and its guidance scale s at w = 0: s = w + s_at_zero."""

    needs: tuple[str, ...]
    build: Callable[..., Ready]
    s_at_zero: float


METHODS = {
    "cfg": Method(("unet",), cfg, 1.0),
    "cg": Method(("ddpm", "classifier"), cg, 0.0),
    "cg_cond": Method(("unet", "classifier"), cg_conditional, 1.0),
}


def start_noise(n: int, seed: int | torch.Generator) -> Images:
    """x_T: n images of N(0, I), drawn on the CPU from this seed. The first images do not depend on n."""
    generator = seed if isinstance(seed, torch.Generator) else torch.Generator().manual_seed(seed)
    return draw_noise(torch.empty(n, 1, 28, 28, dtype=torch.float32, device="cpu"), generator)


@torch_as_it_starts()
def generate(guided: Ready, y: Asked, w: float, steps: int = 50, seed: int = 0, progress: bool = False) -> Images:
    """One image a row of y (label, or tokens): the method's path from start_noise(len(y), seed), BATCH at a time, on y's device.

    The same arguments give the same images on the same machine, bit for bit. The generator of x_T goes on with what fresh noise
    the steps want (eta > 0; images then depend on n). Networks compute in sampling_precision(). Raises InputError if the images
    are not finite.
    """
    y, generator = y.clone(), torch.Generator().manual_seed(seed)  # a clone: autograd may not keep what inference mode made
    rounded = autocast(y.device, sampling_precision(y.device))
    with rounded, tqdm(total=len(y) * steps, unit="img step", leave=False, disable=not progress) as bar:

        def watched(path: Iterator[Sample]) -> Iterator[Sample]:
            for sample in path:
                bar.update(len(sample.x_t))
                yield sample

        pieces = []
        for x_T, told in zip(start_noise(len(y), generator).split(BATCH), y.split(BATCH), strict=True):
            pieces.append(last(watched(guided.path(told, w, x_T.to(y.device), steps, generator))))
        return torch.cat(pieces)
