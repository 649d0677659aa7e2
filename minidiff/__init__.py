"""Guided diffusion from scratch on MNIST.

Public names in the order in which the lessons introduce them.
"""

# ruff: noqa: F401, I001  (names to import; the order is the lessons')

from minidiff.symbols import Denoiser, InputError, LogProb
from minidiff.datasets.mnist import Digits, load_digits, to_bytes, to_pixels
from minidiff.diffusion.schedule import NoiseSchedule, extract, cosine, linear
from minidiff.diffusion.process import (
    draw_noise,
    eps_from_score,
    eps_from_x_0,
    posterior_mean,
    q_sample,
    score_from_eps,
    x_0_from_eps,
)
from minidiff.analytic.gaussian_mixture import GaussianMixture
from minidiff.analytic.ideal_denoiser import IdealDenoiser
from minidiff.analytic.gaussian_mixture import three_classes
from minidiff.nets.unet import UNet, VPrediction
from minidiff.training.losses import simple_loss, v_loss
from minidiff.diffusion.samplers import Sample, ancestral_path, ddim_path, final_sample
from minidiff.training.recipes import LIVE, RECIPES, Recipe
from minidiff.settings import device
from minidiff.training.loop import fit_to_time_budget, train, training_steps
from minidiff.training.checkpoints import Checkpoint, load, save
from minidiff.nets.classifier import EvaluationClassifier, NoisyClassifier, log_prob_of
from minidiff.diffusion.guidance import classifier_free, classifier_guided, clipped, gradient
from minidiff.nets.unet import ClassCondition, bind, drop_labels
from minidiff.training.losses import unet_loss
from minidiff.sampling import (
    cfg,
    cg,
    cg_conditional,
    predictions,
    sample,
    start_noise,
    unconditional,
)
from minidiff.evaluation.metrics import (
    confident,
    diversity,
    features_of,
    frechet_distance,
    class_accuracy,
    manifold,
    moments,
    precision_recall,
)
from minidiff.evaluation.reference import Reference, reference
from minidiff.evaluation.results import over_seeds, read_results
from minidiff.datasets.strokes import slant, strokes, thickness, width
from minidiff.datasets.captions import describe, parse
from minidiff.training.sentences import captions, to_tokens
from minidiff.nets.text_encoder import TextEncoder
from minidiff.training.losses import contrastive_loss
from minidiff.sampling import cfg_text, generate
from minidiff.diffusion.variants import (
    autoguided,
    limited,
    plus_plus_path,
    projected,
    rescaled,
    scale_of_plus_plus,
    thresholded,
)
