"""Checks of exercises: "correct", or the mistake by name.

They decide by what an answer does, never by how it is written.
"""

from minidiff.teaching.checks.beyond import across, own_scale, respread
from minidiff.teaching.checks.bugs import catches, caught
from minidiff.teaching.checks.choosing import log_either, standard_errors_apart
from minidiff.teaching.checks.guidance import (
    dropped,
    free_noise,
    guided_mean,
    guided_noise,
    implicit_gradient,
    in_one_batch,
    posterior,
    scale_for_p1,
    scale_of,
)
from minidiff.teaching.checks.laws import effective_number, powered_variance
from minidiff.teaching.checks.noise import (
    ddim_step,
    jump,
    noised,
    scaled_betas,
    score_of_noise,
    tweedie,
    two_points,
    weighted_loss,
    x_0_from_v,
)
from minidiff.teaching.checks.reading import averaged, overconfidence
from minidiff.teaching.checks.stochastic import new_noise
from minidiff.teaching.checks.verdict import CORRECT
from minidiff.teaching.checks.words import away_from, contrastive

__all__ = [
    "CORRECT",
    "across",
    "averaged",
    "away_from",
    "catches",
    "caught",
    "contrastive",
    "ddim_step",
    "dropped",
    "effective_number",
    "free_noise",
    "guided_mean",
    "guided_noise",
    "implicit_gradient",
    "in_one_batch",
    "jump",
    "log_either",
    "new_noise",
    "noised",
    "overconfidence",
    "own_scale",
    "posterior",
    "powered_variance",
    "respread",
    "scale_for_p1",
    "scale_of",
    "scaled_betas",
    "score_of_noise",
    "standard_errors_apart",
    "tweedie",
    "two_points",
    "weighted_loss",
    "x_0_from_v",
]
