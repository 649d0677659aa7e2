"""The checks of lesson 13: an invariant must hold for right pieces and fail for wrong ones."""

import pytest

from minidiff.teaching import checks
from minidiff.teaching.invariants import INVARIANTS
from minidiff.teaching.mistakes import MISTAKES

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("name", MISTAKES)
def test_the_check_says_correct_for_the_right_invariant(name):
    assert checks.catches(name, INVARIANTS[name]) == checks.CORRECT


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (lambda pieces: True, "accepts the mistake: sqrt(1 - abar_t) is missing in M4"),
        (lambda pieces: False, "rejects the right pieces"),
        (lambda pieces: None, "right pieces: your function returned nothing"),
        (lambda pieces: 1 / 0, "your function raised ZeroDivisionError"),
        (INVARIANTS["w is s"], "accepts the mistake"),
    ],
)
def test_answers_that_are_no_invariant(answer, says):
    assert says in checks.catches("no root", answer)


def test_a_crash_on_the_wrong_pieces_counts_as_rejected():
    def fragile(pieces):
        assert pieces.null(10) == 10
        return True

    assert checks.catches("null is 0", fragile) == checks.CORRECT
    assert "There is no mistake 'typo'" in checks.catches("typo", fragile)
