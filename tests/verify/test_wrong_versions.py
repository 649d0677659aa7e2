"""Wrong versions: where a mistake does nothing they are right, elsewhere far off."""

import pytest
import torch
from torch.testing import assert_close

from minidiff.verify import wrong_versions
from minidiff.verify.wrong_versions import WEIGHTS, each

HARMLESS = [  # a family, its version, its claim, and the weight at which it is no mistake
    (wrong_versions.CLASSIFIER_GUIDED, "w left out", "M4", 1.0),
    (wrong_versions.CLASSIFIER_GUIDED, "the sign: +", "M4", 0.0),
    (wrong_versions.CLASSIFIER_FREE, "without eps: (1 + w) eps(y)", "M6", 0.0),
    (wrong_versions.SAME_WEIGHT, "1 - w for 1 + w", "M4=M6", 0.0),
    (wrong_versions.AFTER_THE_STEP, "beta-tilde_t, the small variance", "P1", 0.0),
]


def test_the_weights_hold_both_plain_models_and_bayes():
    assert {-1.0, 0.0, 1.0} <= set(WEIGHTS)
    assert each(lambda w: torch.full((2, 3), w)).shape == (len(WEIGHTS), 2, 3)


@pytest.mark.parametrize(("family", "text", "name", "harmless"), HARMLESS)
def test_a_mistake_does_nothing_at_one_weight_and_shows_at_another(
    worlds, claims, family, text, name, harmless
):
    """So every version is its own mistake and no other: the rest of the formula is right."""
    case, claim = worlds[1], claims[name]
    miss = (claim.expected(case) - family[text](case)).abs() / claim.scale(case)
    at = WEIGHTS.index(harmless)
    assert_close(miss[at], torch.zeros_like(miss[at]), rtol=0, atol=1e-11)
    assert miss[WEIGHTS.index(3.0)].max() > 1e-4
