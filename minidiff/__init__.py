"""Guided diffusion from scratch on MNIST. Public names in the order in which the lessons introduce them."""

# ruff: noqa: I001  (the order is the lessons')

from minidiff.symbols import Denoiser, InputError, LogProb
from minidiff.digits.mnist import Digits, load_digits, to_bytes, to_pixels
from minidiff.diffusion.schedule import NoiseSchedule, at, cosine, linear
from minidiff.diffusion.process import (
    draw_noise,
    eps_from_score,
    eps_from_x_0,
    posterior_mean,
    q_sample,
    score_from_eps,
    x_0_from_eps,
)
from minidiff.exact.mixtures import Mixture
from minidiff.exact.empirical import Empirical
from minidiff.exact.cases import three_classes
from minidiff.nets.unet import UNet, VPrediction
from minidiff.training.losses import simple_loss, v_loss
from minidiff.diffusion.samplers import Sample, ancestral_path, ddim_path, last
from minidiff.training.recipes import LIVE, RECIPES, Recipe
from minidiff.training.device import device
from minidiff.training.loop import fit_to_time_budget, train, training_steps
from minidiff.training.checkpoints import Trained, load, save
from minidiff.nets.classifier import Judge, NoisyClassifier, log_prob_of
from minidiff.diffusion.guidance import classifier_free, classifier_guided, clipped, gradient
from minidiff.nets.conditioning import ClassCondition, bind, drop_labels
from minidiff.training.losses import unet_loss
from minidiff.training.generation import METHODS, Guided, cfg, cg, cg_conditional, generate, start_noise
from minidiff.measure.metrics import (
    confident,
    diversity,
    features_of,
    frechet_distance,
    judged,
    manifold,
    moments,
    precision_recall,
)
from minidiff.measure.reference import Reference, reference
from minidiff.measure.evaluate import Point, Row, points, read_rows
from minidiff.digits.strokes import slant, strokes, thickness, width
from minidiff.digits.captions import describe, parse
from minidiff.training.sentences import captions, to_tokens
from minidiff.nets.text import TextEncoder
from minidiff.training.losses import contrastive_loss
from minidiff.training.generation import cfg_words
from minidiff.diffusion.variants import (
    autoguided,
    limited,
    plus_plus_path,
    projected,
    rescaled,
    scale_of_plus_plus,
    thresholded,
)
from minidiff.training.later import VARIANTS, weakened

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
    "three_classes",
    "UNet",
    "VPrediction",
    "simple_loss",
    "v_loss",
    "Sample",
    "ancestral_path",
    "ddim_path",
    "last",
    "LIVE",
    "RECIPES",
    "Recipe",
    "device",
    "fit_to_time_budget",
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
    "unet_loss",
    "METHODS",
    "Guided",
    "cfg",
    "cg",
    "cg_conditional",
    "generate",
    "start_noise",
    "confident",
    "diversity",
    "features_of",
    "frechet_distance",
    "judged",
    "manifold",
    "moments",
    "precision_recall",
    "Reference",
    "reference",
    "Point",
    "Row",
    "points",
    "read_rows",
    "slant",
    "strokes",
    "thickness",
    "width",
    "describe",
    "parse",
    "captions",
    "to_tokens",
    "TextEncoder",
    "contrastive_loss",
    "cfg_words",
    "autoguided",
    "limited",
    "plus_plus_path",
    "projected",
    "rescaled",
    "scale_of_plus_plus",
    "thresholded",
    "VARIANTS",
    "weakened",
]
