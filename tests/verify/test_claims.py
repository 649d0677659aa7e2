"""Every claim holds, says why its tolerance is what it is, and notices what it must notice."""

import math
from dataclasses import fields, replace

import pytest
import torch

from minidiff.analytic.gaussian_mixture import GaussianMixture
from minidiff.diffusion.guidance import classifier_free, classifier_guided
from minidiff.diffusion.schedule import extract
from minidiff.symbols import InputError
from minidiff.verify import wrong_versions
from minidiff.verify.algebra import identities, is_proved
from minidiff.verify.claims import CLAIMS, Formulas
from minidiff.verify.runner import REJECT, at_fault, check_claim
from minidiff.verify.worlds import DIMS, SCHEDULES, all_worlds

IDS = [f"{claim.name}-{i}" for i, claim in enumerate(CLAIMS)]


@pytest.fixture(scope="module")
def worlds():
    return list(all_worlds())


@pytest.mark.parametrize("claim", CLAIMS, ids=IDS)
def test_claim_holds_in_every_world_and_rejects_every_wrong_version(claim, worlds):
    verdict = check_claim(claim, worlds)
    assert verdict.holds, at_fault([verdict])
    assert verdict.wrong_versions >= 3


def test_every_equation_of_the_source_is_a_claim():
    assert {claim.name for claim in CLAIMS} == {"M1", "M2", "M3", "M4", "M5", "M6", "M7", "M4=M6", "P1"}
    for claim in CLAIMS:
        assert claim.equation
        assert claim.source
        assert claim.reason
        by_rounding = claim.tolerance == 1e-12
        assert by_rounding or (claim.name == "M3" and claim.reason != CLAIMS[0].reason)


def test_the_worlds_are_as_promised(worlds):
    """1, 2 and 64 dimensions, both schedules, every t, float64, own labels and others."""
    assert len(worlds) == len(DIMS) * len(SCHEDULES) == 6
    for case in worlds:
        assert case.t.unique().tolist() == list(range(1, 1001))
        assert case.x_t.dtype == torch.float64
        assert case.y.unique().tolist() == [0, 1, 2]
        share = case.log_y(case.x_t).exp()
        assert (share > 0.9).any()
        assert (share < 0.1).any()


def test_scale_is_the_largest_score_of_the_level(worlds):
    case = worlds[1]
    scores = torch.stack([case.mixture.score(case.x_t, case.t), case.mixture.score(case.x_t, case.t, case.y)]).abs()
    for level in (1, 500, 1000):
        rows = case.t == level
        assert case.score_scale[rows].unique().tolist() == [scores[:, rows].max().item()]


@pytest.mark.parametrize("claim", [claim for claim in CLAIMS if claim.uses], ids=lambda claim: claim.name)
def test_a_changed_formula_breaks_the_claims_that_use_it(claim, worlds):
    """A relative error of 1e-9, far below what anybody would see, in the last of all weights."""

    def almost(formula):
        def changed(*arguments):
            denoiser, w = formula(*arguments), arguments[-1]
            return (lambda x_t, t: (1 + 1e-9) * denoiser(x_t, t)) if w > 5 else denoiser

        return changed

    formulas = Formulas(almost(classifier_guided), classifier_free)
    if claim.uses[0] == "classifier_free":
        formulas = Formulas(classifier_guided, almost(classifier_free))
    verdict = check_claim(claim, worlds[:1], formulas)
    assert not verdict.holds
    assert 1e-11 < verdict.worst < 1e-6


@pytest.mark.parametrize(
    ("text", "eps_bar"),
    [
        ("the sign: +", lambda eps, grad, root, w: eps + root * w * grad),
        ("the root: 1 - abar_t", lambda eps, grad, root, w: eps - root**2 * w * grad),
        ("no sqrt(1 - abar_t) at all", lambda eps, grad, root, w: eps - w * grad),
        ("M6's w, 1 + w for w: what starting from eps(y) does", lambda eps, grad, root, w: eps - root * (1 + w) * grad),
    ],
)
def test_a_wrong_formula_is_called_by_its_name(text, eps_bar, worlds):
    case = worlds[0]

    def guided(eps, log_prob, schedule, w):
        return lambda x_t, t: eps_bar(eps(x_t, t), case.of_y, case.root, w)

    (claim,) = [claim for claim in CLAIMS if claim.name == "M4"]
    verdict = check_claim(claim, [case], Formulas(classifier_guided=guided))
    assert not verdict.holds
    assert verdict.looks_like == text
    assert f"this is the wrong version '{text}'" in at_fault([verdict])
    assert at_fault([verdict]).startswith(f"M4 fails: the two sides differ by {verdict.worst:.2g} times the scale (1-D linear)")


def test_a_wrong_version_that_is_right_is_reported(worlds):
    """The check of the check: put the true formula among the wrong versions, and the claim fails."""
    (claim,) = [claim for claim in CLAIMS if claim.name == "M5"]
    verdict = check_claim(claim._replace(wrong={**claim.wrong, "no mistake at all": lambda case: case.of_y}), worlds[:2])
    assert verdict.worst <= verdict.tolerance
    assert not verdict.holds
    assert verdict.accepted == ("no mistake at all",)
    assert "'no mistake at all' was not rejected" in at_fault([verdict])


def test_nan_fails_as_result_and_as_wrong_version(worlds):
    (claim,) = [claim for claim in CLAIMS if claim.name == "M5"]
    nan = claim._replace(got=lambda case, _: case.of_y * math.nan)
    assert not check_claim(nan, worlds[:1]).holds
    silent = claim._replace(wrong={"NaN": lambda case: case.of_y * math.nan})
    assert check_claim(silent, worlds[:1]).accepted == ("NaN",)


def test_wrong_versions_miss_by_more_than_a_thousand_tolerances_measured_here(worlds):
    """The same with our own arithmetic, for one claim: the smallest miss of each wrong version over the worlds."""
    (claim,) = [claim for claim in CLAIMS if claim.name == "P1"]
    for text, version in claim.wrong.items():
        misses = [((claim.expected(case) - version(case)).abs().max() / case.x_t.abs().max()).item() for case in worlds]
        assert min(misses) > REJECT * claim.tolerance, text


def test_scale_0_and_minus_1_are_among_the_weights():
    assert {-1.0, 0.0, 1.0} <= set(wrong_versions.WEIGHTS)


@pytest.mark.parametrize("name", sorted(identities()))
def test_algebra_holds_for_any_density_and_its_mistake_does_not(name):
    assert is_proved(name) is True
    assert identities()[name].wrong != identities()[name].right


def test_what_is_no_algebra_is_not_called_proved():
    assert is_proved("") is None
    named = [claim.algebra for claim in CLAIMS if claim.algebra]
    assert sorted(named) == sorted(identities())
    assert all(claim.algebra in ("", claim.name) for claim in CLAIMS)


def test_no_world_is_no_verdict():
    with pytest.raises(InputError, match="No world was given"):
        check_claim(CLAIMS[0], [])


def test_a_false_world_is_noticed(worlds):
    """If the variance of x_t were wrong in GaussianMixture, most routes would share the mistake: M1 and Tweedie must see it."""
    case = next(case for case in worlds if case.name == "1-D cosine")
    false = FalseMixture(*(getattr(case.mixture, field.name) for field in fields(case.mixture)))
    broken = [claim for claim in CLAIMS if not check_claim(claim, [replace(case, mixture=false)]).holds]
    assert {"log p(x_t|y) = log p(x_t) + log p(y|x_t) - log p(y)", "the same, with eps from E[x_0 | x_t] (Tweedie)"} <= {
        claim.equation for claim in broken
    }


class FalseMixture(GaussianMixture):
    """Adds the variance 1 - abar_t^2 for 1 - abar_t."""

    def _moments(self, x_t, t):
        mean, variance = super()._moments(x_t, t)
        abar = extract(self.schedule.abar, t, x_t)[:, :, None]
        return mean, variance + abar - abar**2
