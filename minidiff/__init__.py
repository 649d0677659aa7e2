"""Guided diffusion from scratch on MNIST. Public names in the order in which the lessons introduce them."""

from minidiff.symbols import Denoiser, InputError, LogProb  # isort: skip
from minidiff.digits.mnist import Digits, load_digits, to_bytes, to_pixels  # isort: skip
from minidiff.diffusion.schedule import NoiseSchedule, at, cosine, linear  # isort: skip
from minidiff.diffusion.process import (  # isort: skip
    draw_noise,
    eps_from_score,
    eps_from_x_0,
    posterior_mean,
    q_sample,
    score_from_eps,
    x_0_from_eps,
)
from minidiff.exact.mixtures import Mixture  # isort: skip
from minidiff.exact.empirical import Empirical  # isort: skip
from minidiff.nets.unet import UNet  # isort: skip
from minidiff.training.losses import simple_loss  # isort: skip
from minidiff.diffusion.samplers import Sample, ancestral_path, ddim_path, last  # isort: skip
from minidiff.training.recipes import LIVE, RECIPES, Recipe  # isort: skip
from minidiff.training.device import device  # isort: skip
from minidiff.training.loop import train, training_steps  # isort: skip
from minidiff.training.checkpoints import Trained, load, save  # isort: skip
from minidiff.nets.classifier import Judge, NoisyClassifier, log_prob_of  # isort: skip
from minidiff.diffusion.guidance import classifier_free, classifier_guided, clipped, gradient  # isort: skip
from minidiff.nets.conditioning import ClassCondition, bind, drop_labels  # isort: skip
from minidiff.training.generation import METHODS, Guided, cfg, cg, generate, start_noise  # isort: skip
from minidiff.measure.metrics import judged  # isort: skip

__all__ = [
    "Denoiser",
    "InputError",
    "LogProb",
    "Digits",
    "load_digits",
    "to_bytes",
    "to_pixels",
    "NoiseSchedule",
    "at",
    "cosine",
    "linear",
    "draw_noise",
    "eps_from_score",
    "eps_from_x_0",
    "posterior_mean",
    "q_sample",
    "score_from_eps",
    "x_0_from_eps",
    "Mixture",
    "Empirical",
    "UNet",
    "simple_loss",
    "Sample",
    "ancestral_path",
    "ddim_path",
    "last",
    "LIVE",
    "RECIPES",
    "Recipe",
    "device",
    "train",
    "training_steps",
    "Trained",
    "load",
    "save",
    "Judge",
    "NoisyClassifier",
    "log_prob_of",
    "classifier_free",
    "classifier_guided",
    "clipped",
    "gradient",
    "ClassCondition",
    "bind",
    "drop_labels",
    "METHODS",
    "Guided",
    "cfg",
    "cg",
    "generate",
    "start_noise",
    "judged",
]
