"""One loss a model: what is drawn (t, noise, dropped labels), what is compared."""

import math

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from minidiff.diffusion.process import q_sample
from minidiff.diffusion.schedule import NoiseSchedule, extract
from minidiff.nets.unet import bind, drop_labels
from minidiff.symbols import Denoiser, Images, Labels, Points, Steps, Tokens
from minidiff.training.distributed import BatchRNG

Loss = Float[Tensor, ""]
# where the U-Nets are trained: t / T is sigmoid(N(mean, spread^2)); half lies above 0.62, where a
# digit's plan is made. One level in five is uniform instead: alone, the first rule trains t < 100
# once in 700 draws, and background noise stays in the black
LEVEL_MEAN, LEVEL_SPREAD, LEVELS_EVERYWHERE = 0.5, 0.9, 0.2
P_UNCOND = 0.1  # 0.1 and 0.2 are about equal, 0.5 is worse   [Ho & Salimans 2022, sec. 4.2]


def simple_loss(
    eps: Denoiser, x_0: Points, t: Steps, noise: Points, schedule: NoiseSchedule
) -> Loss:
    """mean of |noise - eps(x_t, t)|^2, x_t = q_sample(...)   [Ho 2020, eq. 14]"""
    return F.mse_loss(eps(q_sample(x_0, t, noise, schedule), t), noise)


def v_loss(
    eps: Denoiser,
    x_0: Points,
    t: Steps,
    noise: Points,
    schedule: NoiseSchedule,
) -> Loss:
    """mean of |noise - eps|^2 / abar_t = |v - v_hat|^2   [Salimans & Ho 2022, sec. 4]

    v = sqrt(abar_t) noise - sqrt(1 - abar_t) x_0. This is the simple loss with more
    weight where little signal is left: there a small miss of the noise is a large miss
    of x_0. eps must be a VPrediction or exact: with cosine() 1 / abar_T is over 10^8.
    """
    miss = noise - eps(q_sample(x_0, t, noise, schedule), t)
    return (miss.square() / extract(schedule.abar, t, miss)).mean()


def ddpm_loss(
    net: nn.ModuleDict, x_0: Images, y: Labels, schedule: NoiseSchedule, draws: BatchRNG
) -> Loss:
    """The v-loss of an unconditional U-Net; y is not used."""
    return v_loss(bind(net["unet"]), x_0, *_level_and_noise(x_0, schedule, draws), schedule)


def unet_loss(
    net: nn.ModuleDict, x_0: Images, y: Labels, schedule: NoiseSchedule, draws: BatchRNG
) -> Loss:
    """The v-loss with labels dropped, each on its own   [Ho & Salimans 2022, Alg. 1]"""
    eps = bind(net["unet"], net["classes"](drop_some(net, y, draws)))
    return v_loss(eps, x_0, *_level_and_noise(x_0, schedule, draws), schedule)


def drop_some(net: nn.ModuleDict, y: Labels, draws: BatchRNG, p_uncond: float = P_UNCOND) -> Labels:
    """The labels, a share p_uncond of them replaced by the null label."""
    return drop_labels(y, net["classes"].null, p_uncond, draws.uniform(len(y))[:, 0])


def classifier_loss(
    net: nn.ModuleDict, x_0: Images, y: Labels, schedule: NoiseSchedule, draws: BatchRNG
) -> Loss:
    """-log f_phi(y | x_t), t uniform in 0..T: clean too   [Dhariwal & Nichol 2021, sec. 4]"""
    t, noise = draws.levels(len(x_0), 0, schedule.T).to(x_0.device), draws.normal(x_0)
    return F.cross_entropy(net["classifier"](q_sample(x_0, t, noise, schedule), t), y)


def evaluator_loss(
    net: nn.ModuleDict, x_0: Images, y: Labels, schedule: NoiseSchedule, draws: BatchRNG
) -> Loss:
    """-log p(y | x_0) of clean images, each turned, scaled and shifted a little."""
    return F.cross_entropy(net["evaluator"](jitter(x_0, draws)), y, label_smoothing=0.05)


def clip_loss(
    net: nn.ModuleDict, x_0: Images, tokens: Tokens, schedule: NoiseSchedule, draws: BatchRNG
) -> Loss:
    """The contrastive loss of images and sentences about them, of all processes together."""
    images = draws.gathered(net["image"](x_0))
    sentences = draws.gathered(net["text"].pooled(tokens))
    return contrastive_loss(net["contrast"](images, sentences))


def contrastive_loss(logits: Float[Tensor, "rows rows"]) -> Loss:
    """(-log p(sentence i | image i) - log p(image i | sentence i)) / 2

    p is a softmax over a row, over a column [Radford 2021, 2103.00020, fig. 3];
    row i and column i belong together.
    """
    same = torch.arange(len(logits), device=logits.device)
    return (F.cross_entropy(logits, same) + F.cross_entropy(logits.T, same)) / 2


def text_unet_loss(
    net: nn.ModuleDict, x_0: Images, tokens: Tokens, schedule: NoiseSchedule, draws: BatchRNG
) -> Loss:
    """The v-loss conditioned on sentences, a share P_UNCOND empty; `text` is not trained."""
    eps = bind(net["unet"], net["text"](tokens))
    return v_loss(eps, x_0, *_level_and_noise(x_0, schedule, draws), schedule)


def jitter(x_0: Images, draws: BatchRNG) -> Images:
    """Every image turned by up to 12 degrees, scaled by 0.9 to 1.1, shifted by up to 2.5 pixels."""
    turn, scale, right, down = (2 * draws.uniform(len(x_0), columns=4).T - 1).to(x_0.device)
    angle, scale = turn * math.radians(12), 1 + 0.1 * scale
    cos, sin = angle.cos() / scale, angle.sin() / scale
    shift = 2.5 / 14  # affine_grid counts 14 pixels as 1
    rows = torch.stack([cos, -sin, shift * right, sin, cos, shift * down], dim=1).reshape(-1, 2, 3)
    grid = F.affine_grid(rows, list(x_0.shape), align_corners=False)
    # grid_sample fills with 0, so background is moved to 0
    return F.grid_sample(x_0 + 1, grid, align_corners=False) - 1


def _level_and_noise(x_0: Images, schedule: NoiseSchedule, draws: BatchRNG) -> tuple[Steps, Images]:
    t = draws.mixed_levels(len(x_0), schedule.T, LEVEL_MEAN, LEVEL_SPREAD, LEVELS_EVERYWHERE)
    return t.to(x_0.device), draws.normal(x_0)
