"""The catalogue of wrong formulas: no entry is right, and none is there twice."""

import pytest

from minidiff.verify.wrong_formulas import M4_FACTORS, M5_FACTORS, M6_WEIGHTS

ABAR, W = 0.3, 2.5
CATALOGUE = [
    (M4_FACTORS, (ABAR, W), (1 - ABAR) ** 0.5 * W),
    (M5_FACTORS, (ABAR,), -1 / (1 - ABAR) ** 0.5),
    (M6_WEIGHTS, (W,), (1 + W, -W)),
]


@pytest.mark.parametrize(("formulas", "at", "right"), CATALOGUE, ids=["M4", "M5", "M6"])
def test_every_formula_is_wrong_in_its_own_way_and_helps(formulas, at, right):
    numbers = [formula.numbers(*at) for formula in formulas]
    assert right not in [pytest.approx(number) for number in numbers]
    assert len({str(number) for number in numbers}) == len(formulas)
    for texts in zip(*((formula.broken, formula.hint) for formula in formulas), strict=True):
        assert len(set(texts)) == len(formulas)
        assert all(texts)
