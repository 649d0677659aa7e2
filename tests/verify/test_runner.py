"""Verdicts: a wrong formula by its name, a check that is itself checked, and what was not run."""

import math

import pytest

from minidiff.symbols import InputError
from minidiff.verify.claims import Formulas
from minidiff.verify.runner import REJECT, at_fault, check_claim, not_run


@pytest.mark.parametrize(
    ("text", "eps_bar"),
    [
        ("the sign: +", lambda eps, grad, root, w: eps + root * w * grad),
        ("the root: 1 - abar_t", lambda eps, grad, root, w: eps - root**2 * w * grad),
        ("no sqrt(1 - abar_t) at all", lambda eps, grad, root, w: eps - w * grad),
        (
            "M6's w, 1 + w for w: what starting from eps(y) does",
            lambda eps, grad, root, w: eps - root * (1 + w) * grad,
        ),
    ],
)
def test_a_wrong_formula_is_called_by_its_name(text, eps_bar, worlds, claims):
    case = worlds[0]

    def guided(eps, log_prob, schedule, w):
        return lambda x_t, t: eps_bar(eps(x_t, t), case.of_y, case.root, w)

    verdict = check_claim(claims["M4"], [case], Formulas(classifier_guided=guided))
    assert not verdict.holds
    assert verdict.looks_like == text
    assert f"this is the wrong version '{text}'" in at_fault([verdict])
    assert at_fault([verdict]).startswith(
        f"M4 fails: the two sides differ by {verdict.worst:.2g} times the scale (1-D linear)"
    )


def test_a_wrong_version_that_is_right_is_reported(worlds, claims):
    """The check of the check: the true formula among the wrong versions makes the claim fail."""
    wrong = {**claims["M5"].wrong, "no mistake at all": lambda case: case.of_y}
    verdict = check_claim(claims["M5"]._replace(wrong=wrong), worlds[:2])
    assert verdict.worst <= verdict.tolerance
    assert not verdict.holds
    assert verdict.accepted == ("no mistake at all",)
    assert "'no mistake at all' was not rejected" in at_fault([verdict])


def test_nan_fails_as_result_and_as_wrong_version(worlds, claims):
    nan = claims["M5"]._replace(got=lambda case, _: case.of_y * math.nan)
    assert not check_claim(nan, worlds[:1]).holds
    silent = claims["M5"]._replace(wrong={"NaN": lambda case: case.of_y * math.nan})
    assert check_claim(silent, worlds[:1]).accepted == ("NaN",)


def test_wrong_versions_miss_by_more_than_a_thousand_tolerances_measured_here(worlds, claims):
    """With our own arithmetic, for one claim: the smallest miss of each wrong version."""
    claim = claims["P1"]
    for text, version in claim.wrong.items():
        misses = [
            ((claim.expected(case) - version(case)).abs().max() / case.x_t.abs().max()).item()
            for case in worlds
        ]
        assert min(misses) > REJECT * claim.tolerance, text


def test_no_world_is_no_verdict(claims):
    with pytest.raises(InputError, match="No world was given"):
        check_claim(claims["M1"], [])


def test_what_was_not_run_does_not_hold_and_shares_a_line(claims):
    verdicts = [not_run(claims[name], "the file is gone.") for name in ("M6", "M7")]
    assert not any(verdict.holds for verdict in verdicts)
    assert at_fault(verdicts) == "Not judged: M6, M7. the file is gone."
    assert at_fault([]) == ""
