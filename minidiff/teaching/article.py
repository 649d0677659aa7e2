"""The source article's two loops, P1 and P2, in its own code style, on this package.

A thin facade with the names that such code uses: `scheduler.timesteps`, `scheduler.step(noise, t,
x).prev_sample`, `unet(x, t, encoder_hidden_states=...).sample`,
`text_encoder.text_encode(sentence)`. Whoever knows diffusers can read it.
"""

from itertools import pairwise
from typing import NamedTuple

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minidiff.diffusion.guidance import clipped, gradient
from minidiff.diffusion.samplers import ancestral_step, batch_t, ddim_step, ddim_timesteps
from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.nets.classifier import log_prob_of
from minidiff.nets.text_encoder import LONGEST
from minidiff.nets.unet import Words, bind
from minidiff.symbols import Images, Labels
from minidiff.training.checkpoints import Checkpoint
from minidiff.training.sentences import to_tokens

HiddenStates = Float[Tensor, "batch tokens dim"]  # padded to LONGEST tokens with rows of 0


class UNetOutput(NamedTuple):
    """What a U-Net returns: `sample` is the predicted noise."""

    sample: Images


class SchedulerOutput(NamedTuple):
    """What a step returns: the less noisy images, their level, and the prediction of x_0."""

    prev_sample: Images
    prev_timestep: int
    pred_original_sample: Images


class ArticleUNet:
    """unet(x, t) or unet(x, t, encoder_hidden_states=...), one t for a batch; sample: eps_hat."""

    def __init__(self, unet: nn.Module):
        self.unet = unet

    def __call__(
        self, x: Images, t: int, encoder_hidden_states: HiddenStates | None = None
    ) -> UNetOutput:
        c = encoder_hidden_states
        words = None if c is None else Words(c, c.abs().sum(dim=2) > 0)
        return UNetOutput(bind(self.unet, words)(x, batch_t(t, x)))


class ArticleTextEncoder:
    """text_encode("a thick seven"): a vector for every token, (1, 24, dim); "" is no condition."""

    def __init__(self, text: nn.Module):
        self.text = text

    def text_encode(self, sentence: str) -> HiddenStates:
        """Raises InputError for a word that the vocabulary lacks."""
        device = next(self.text.parameters()).device
        with torch.no_grad():
            states = self.text(to_tokens([sentence]).to(device)).states
        padding = states.new_zeros(1, LONGEST - states.shape[1], states.shape[2])
        return torch.cat([states, padding], dim=1)


class ArticleClassifier:
    """get_class_guidance(x, t, y): grad log f_phi(y|x_t). The article's call leaves out t."""

    def __init__(self, classifier: nn.Module):
        self.classifier = classifier

    def get_class_guidance(self, x: Images, t: int, y: Labels) -> Images:
        """The gradient with respect to x, a row for each image."""
        return gradient(log_prob_of(self.classifier, y), x, batch_t(t, x))


class DDIMScheduler:
    """Deterministic DDIM steps   [Song 2020, eq. 12 with eta = 0]

    Levels are ours: T..1, where diffusers counts T - 1..0. clip_sample: x_0_hat is clamped to
    [-1, 1] and eps recomputed from it, as everywhere in this package.
    """

    def __init__(self, schedule: NoiseSchedule, steps: int = 50, clip_sample: bool = True):
        self.schedule, self.clip_sample = schedule, clip_sample
        timesteps = ddim_timesteps(schedule, steps)
        self.timesteps, self._prev = timesteps[:-1], dict(pairwise(timesteps))

    def step(self, noise: Images, t: int, x: Images) -> SchedulerOutput:
        """From level t to the next one in `timesteps`; after the last comes 0, the image."""
        eps_t = _clipped(noise, t, x, self.schedule) if self.clip_sample else noise
        sample = ddim_step(x, (t, self._prev[t]), eps_t, self.schedule)
        return SchedulerOutput(sample.x_t, sample.t, sample.x_0)


class DDPMScheduler:
    """Ancestral steps through all T levels with the small variance   [Ho 2020, Alg. 2]

    clip_sample as in DDIMScheduler.
    """

    def __init__(
        self, schedule: NoiseSchedule, generator: torch.Generator, clip_sample: bool = True
    ):
        self.schedule, self.generator, self.clip_sample = schedule, generator, clip_sample
        self.timesteps = list(range(schedule.T, 0, -1))

    def step(self, noise: Images, t: int, x: Images) -> SchedulerOutput:
        """From level t to t - 1; the fresh noise comes from the generator."""
        eps_t = _clipped(noise, t, x, self.schedule) if self.clip_sample else noise
        sample = ancestral_step(x, t, eps_t, self.schedule, self.generator)
        return SchedulerOutput(sample.x_t, sample.t, sample.x_0)


class Pipeline(NamedTuple):
    """The parts of the second loop, from one trained model."""

    unet: ArticleUNet
    text_encoder: ArticleTextEncoder
    scheduler: DDIMScheduler


def pipeline(text_unet: Checkpoint, steps: int = 50) -> Pipeline:
    """U-Net, text encoder and DDIM scheduler of the trained model `words`."""
    return Pipeline(
        ArticleUNet(text_unet.net["unet"]),
        ArticleTextEncoder(text_unet.net["text"]),
        DDIMScheduler(text_unet.schedule, steps),
    )


def class_guidance_loop(
    unet: ArticleUNet,
    classifier: ArticleClassifier,
    scheduler: DDIMScheduler | DDPMScheduler,
    x: Images,
    y: Labels,
    guidance_scale: float,
) -> Images:
    """P1: a step without guidance, then + guidance_scale times the gradient. Not M4: lesson 06."""
    for t in scheduler.timesteps:
        with torch.no_grad():
            noise_pred = unet(x, t).sample
        out = scheduler.step(noise_pred, t, x)
        gradient_y = classifier.get_class_guidance(out.prev_sample, out.prev_timestep, y)
        x = out.prev_sample + guidance_scale * gradient_y
    return x


def text_to_image_loop(
    parts: Pipeline, x: Images, text: str, guidance_scale: float, negative: str = ""
) -> Images:
    """P2: from noise x to an image of the text; both conditions in one batch, M7."""
    unet, text_encoder, scheduler = parts
    text_embeddings = text_encoder.text_encode(text)
    empty_embeddings = text_encoder.text_encode(negative)
    text_embeddings = torch.cat([empty_embeddings, text_embeddings])
    for t in scheduler.timesteps:
        with torch.no_grad():
            out = unet(torch.cat([x, x]), t, encoder_hidden_states=text_embeddings)
        noise_pred_uncond, noise_pred_text = out.sample.chunk(2)
        difference = noise_pred_text - noise_pred_uncond
        noise_pred = noise_pred_uncond + guidance_scale * difference
        x = scheduler.step(noise_pred, t, x).prev_sample
    return x


def _clipped(noise: Images, t: int, x: Images, schedule: NoiseSchedule) -> Images:
    return clipped(lambda x_t, level: noise, schedule)(x, batch_t(t, x))
