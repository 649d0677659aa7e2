"""Every number of every training run, with its reason.

Two budgets: RECIPES makes the pretrained weights, LIVE is short enough for a lesson. What each
choice gives is measured in data/results/ablations.csv.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from torch import nn

from minidiff.datasets.captions import without_held_out
from minidiff.datasets.mnist import Digits
from minidiff.diffusion.schedule import NoiseSchedule, cosine
from minidiff.nets.classifier import EvaluationClassifier, NoisyClassifier
from minidiff.nets.text_encoder import Contrast, TextEncoder
from minidiff.nets.unet import ClassCondition, UNet, VPrediction
from minidiff.symbols import Conditions, Images, Labels, Tokens
from minidiff.training.distributed import BatchRNG
from minidiff.training.losses import (
    P_UNCOND,
    classifier_loss,
    clip_loss,
    ddpm_loss,
    evaluator_loss,
    text_unet_loss,
    unet_loss,
)
from minidiff.training.optimizers import Optimizers, adamw, muon
from minidiff.training.sentences import VOCABULARY, captions, to_tokens

WORDS_DIM = 64  # length of a word's vector; a sentence has at most four things to say
C_DIM = 48  # length of the condition vector: as wide as the U-Net's first map


def everything(digits: Digits) -> Digits:
    """All images."""
    return digits


def by_label(x_0: Images, y: Labels, draws: BatchRNG) -> Labels:
    """The labels as they are."""
    return y


def by_sentence(x_0: Images, y: Labels, draws: BatchRNG) -> Tokens:
    """A sentence about every image."""
    return to_tokens(captions(x_0, y, draws))


def by_sentence_or_none(x_0: Images, y: Labels, draws: BatchRNG) -> Tokens:
    """A sentence about every image, a share P_UNCOND of them empty."""
    return to_tokens(captions(x_0, y, draws, P_UNCOND))


@dataclass(frozen=True)
class Recipe:
    """What is trained, on which loss, for how long: steps, or seconds where they are given.

    build(classes, schedule) makes the networks with fresh weights; loss(net, x_0, y, schedule,
    draws) is a number to minimise; optimizers(net, weight_decay) take the steps.
    """

    name: str
    build: Callable[[int, NoiseSchedule], nn.ModuleDict]
    loss: Callable
    # linear leaves few levels between noise and digit; cosine spends more there
    schedule: Callable[[], NoiseSchedule] = cosine
    optimizers: Callable[[nn.Module, float], Optimizers] = adamw
    steps: int = 6_000
    seconds: float | None = None  # no limit: a limit in steps can be repeated exactly
    threads: int | None = None  # of the CPU; None is as many as torch takes
    batch: int = 128
    peak_lr: float = 1e-3  # of a step's size, for each weight: both optimizers mean the same by it
    warmup: int = 100  # steps from 0 to peak_lr; blocks that start as identities need few
    weight_decay: float = 0.01  # AdamW's default
    ema_power: int = 10  # averages about the last tenth of the run
    digits: Callable[[Digits], Digits] = everything  # which of the images are trained on
    # the condition in a batch, made on the CPU
    condition: Callable[[Images, Labels, BatchRNG], Conditions] = by_label
    # the pretrained weights of this name bring the text encoder, which is not trained
    frozen: str = ""

    def metadata(self) -> dict:
        """As plain JSON: functions by name, without what does nothing or the loss implies."""
        unsaid = {"condition"} if self.threads else {"condition", "threads"}
        said = {key: value for key, value in asdict(self).items() if value not in ("", everything)}
        named = {key: getattr(value, "__name__", value) for key, value in said.items()}
        return {key: value for key, value in named.items() if key not in unsaid}


def build_ddpm(classes: int, schedule: NoiseSchedule) -> nn.ModuleDict:
    """The unconditional U-Net; the number of classes does not matter to it."""
    return nn.ModuleDict({"unet": VPrediction(UNet(), schedule.abar)})


def build_unet(classes: int, schedule: NoiseSchedule) -> nn.ModuleDict:
    """The conditional U-Net and its table of classes, the null row included."""
    unet = VPrediction(UNet(c_dim=C_DIM), schedule.abar)
    return nn.ModuleDict({"unet": unet, "classes": ClassCondition(classes, C_DIM)})


def build_classifier(classes: int, schedule: NoiseSchedule) -> nn.ModuleDict:
    """The noise-conditioned classifier; it sees t, the schedule does not matter to it."""
    return nn.ModuleDict({"classifier": NoisyClassifier(classes)})


def build_evaluator(classes: int, schedule: NoiseSchedule) -> nn.ModuleDict:
    """The clean classifier that evaluates samples; it never sees noise."""
    return nn.ModuleDict({"evaluator": EvaluationClassifier(classes)})


def build_clip(classes: int, schedule: NoiseSchedule) -> nn.ModuleDict:
    """Text encoder, image tower (a CNN with an embedding for logits), and what compares them."""
    text, image = TextEncoder(VOCABULARY, WORDS_DIM), EvaluationClassifier(WORDS_DIM, width=16)
    return nn.ModuleDict({"text": text, "image": image, "contrast": Contrast()})


def build_text_unet(classes: int, schedule: NoiseSchedule) -> nn.ModuleDict:
    """The U-Net that looks at the words of a sentence, and the encoder that reads it."""
    unet = VPrediction(UNet(words_dim=WORDS_DIM), schedule.abar)
    return nn.ModuleDict({"unet": unet, "text": TextEncoder(VOCABULARY, WORDS_DIM)})


# Small batches give more updates in the same time. Muon's samples are nearer to real digits than
# AdamW's after as many steps (ablations.csv); a step takes longer. 6,000 x 64 images: 6.4 epochs
_DENOISER = {"optimizers": muon, "batch": 64, "peak_lr": 5e-3, "steps": 6_000}
_SENTENCES = {"digits": without_held_out, "condition": by_sentence}
_OR_NONE = {"digits": without_held_out, "condition": by_sentence_or_none, "frozen": "clip"}

RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("ddpm", build_ddpm, ddpm_loss, **_DENOISER),
        Recipe("classifier", build_classifier, classifier_loss),
        Recipe("unet", build_unet, unet_loss, **_DENOISER),
        Recipe("evaluator", build_evaluator, evaluator_loss),
        # many wrong sentences in a batch make the task harder, so the batch is large
        Recipe("clip", build_clip, clip_loss, batch=256, steps=3_000, **_SENTENCES),
        Recipe("text_unet", build_text_unet, text_unet_loss, **_DENOISER, **_OR_NONE),
    )
}

# Inside a lesson, on 2 cores with bfloat16: two and a half minutes, and under one for the
# classifiers; loop.fit_to_time_budget shortens them.
_LIVE_STEPS = {"ddpm": 1_200, "unet": 1_200, "text_unet": 1_200, "clip": 300}
_LIVE_STEPS |= {"classifier": 900, "evaluator": 900}
LIVE = {name: replace(RECIPES[name], steps=steps) for name, steps in _LIVE_STEPS.items()}
# better than AdamW after so few steps
LIVE["classifier"] = replace(LIVE["classifier"], optimizers=muon, peak_lr=5e-3)
BUDGETS = {"full": RECIPES, "live": LIVE}
