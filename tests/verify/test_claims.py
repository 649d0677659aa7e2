"""Every claim holds, says why its tolerance is what it is, and notices what it must notice."""

from dataclasses import fields, replace

import pytest

from minidiff.analytic.gaussian_mixture import GaussianMixture
from minidiff.diffusion.guidance import classifier_free, classifier_guided
from minidiff.diffusion.schedule import extract
from minidiff.verify.claims import CLAIMS, Formulas
from minidiff.verify.runner import at_fault, check_claim

IDS = [f"{claim.name}-{i}" for i, claim in enumerate(CLAIMS)]


@pytest.mark.parametrize("claim", CLAIMS, ids=IDS)
def test_claim_holds_in_every_world_and_rejects_every_wrong_version(claim, worlds):
    verdict = check_claim(claim, worlds)
    assert verdict.holds, at_fault([verdict])
    assert verdict.wrong_versions >= 3


def test_every_equation_of_the_source_is_a_claim(claims):
    assert list(claims) == ["M1", "M2", "M3", "M4", "M5", "M6", "M7", "M4=M6", "P1"]
    for claim in CLAIMS:
        assert claim.equation
        assert claim.source
        assert claim.reason
        by_rounding = claim.tolerance == 1e-12
        assert by_rounding or (claim.name == "M3" and claim.reason != CLAIMS[0].reason)


@pytest.mark.parametrize(
    "claim", [claim for claim in CLAIMS if claim.uses], ids=lambda claim: claim.name
)
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


def test_a_false_world_is_noticed(worlds):
    """A wrong variance of x_t would be shared by most routes: M1 and Tweedie must see it."""
    case = next(case for case in worlds if case.name == "1-D cosine")
    false = FalseMixture(*(getattr(case.mixture, field.name) for field in fields(case.mixture)))
    broken = [
        claim for claim in CLAIMS if not check_claim(claim, [replace(case, mixture=false)]).holds
    ]
    assert {
        "log p(x_t|y) = log p(x_t) + log p(y|x_t) - log p(y)",
        "the same, with eps from E[x_0 | x_t] (Tweedie)",
    } <= {claim.equation for claim in broken}


class FalseMixture(GaussianMixture):
    """Adds the variance 1 - abar_t^2 for 1 - abar_t."""

    def _moments(self, x_t, t):
        mean, variance = super()._moments(x_t, t)
        abar = extract(self.schedule.abar, t, x_t)[:, :, None]
        return mean, variance + abar - abar**2
