"""Every number of every training run, with its reason.

On 2 cores with bfloat16 the U-Net trains at about 1,000 images/s (the bar of `train` shows it; compare ratios, not seconds).
`live` recipes are short enough for a lesson; the others make the shipped weights.
"""

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace

from torch import nn

from minidiff.diffusion.schedule import NoiseSchedule, cosine
from minidiff.nets.classifier import Judge, NoisyClassifier
from minidiff.nets.conditioning import ClassCondition
from minidiff.nets.unet import UNet
from minidiff.training.losses import classifier_loss, ddpm_loss, judge_loss, unet_loss

C_DIM = 48  # length of the condition vector: as wide as the U-Net's first map


@dataclass(frozen=True)
class Recipe:
    """What is trained, on which loss, for how long.

    build(classes) makes the networks with fresh weights; loss(net, x_0, y, schedule, draws) is a number to minimise.
    """

    name: str
    build: Callable[[int], nn.ModuleDict]
    loss: Callable
    schedule: Callable[[], NoiseSchedule] = cosine  # linear leaves few levels between noise and digit; cosine spends more there
    steps: int = 12_000  # 12,000 x 64 images is 12.8 epochs
    batch: int = 64  # small batches give more updates in the same time
    # of AdamW. U-Net, 400 steps, mean loss of the last 24: 1e-3 .081, 2e-3 .072, 4e-3 .068; we stay a little below 4e-3
    peak_lr: float = 3e-3
    warmup: int = 200  # steps from 0 to peak_lr, then down to 0 along a cosine; blocks that start as identities need few
    weight_decay: float = 0.01  # AdamW's default
    ema: float = 0.999  # averages about the last 1,000 steps, a small part of the run

    def facts(self) -> dict:
        """The recipe as plain JSON; functions by their names."""
        return {key: getattr(value, "__name__", value) for key, value in asdict(self).items()}


def build_ddpm(classes: int) -> nn.ModuleDict:
    """The unconditional U-Net; the number of classes does not matter to it."""
    return nn.ModuleDict({"unet": UNet()})


def build_unet(classes: int) -> nn.ModuleDict:
    """The conditional U-Net and its table of classes, the null row included."""
    return nn.ModuleDict({"unet": UNet(c_dim=C_DIM), "classes": ClassCondition(classes, C_DIM)})


def build_classifier(classes: int) -> nn.ModuleDict:
    """The noise-conditioned classifier."""
    return nn.ModuleDict({"classifier": NoisyClassifier(classes)})


def build_judge(classes: int) -> nn.ModuleDict:
    """The clean classifier that judges samples."""
    return nn.ModuleDict({"judge": Judge(classes)})


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("ddpm", build_ddpm, ddpm_loss),
        Recipe("classifier", build_classifier, classifier_loss, steps=6_000, batch=128, peak_lr=1e-3),
        Recipe("unet", build_unet, unet_loss),
        Recipe("judge", build_judge, judge_loss, steps=6_000, batch=128, peak_lr=1e-3),
    )
}

# Inside a lesson: under two minutes on 2 cores. The average is shorter, because the whole run is.
LIVE = {"ddpm": replace(RECIPES["ddpm"], steps=1_200, ema=0.99, warmup=100)}
