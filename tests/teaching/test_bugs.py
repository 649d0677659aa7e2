"""The catalogue of mistakes: every invariant holds for the right pieces, and rejects its own mistakes and no unrelated ones."""

import inspect

import pytest
import torch

from minidiff.teaching import checks
from minidiff.teaching.invariants import INVARIANTS
from minidiff.teaching.mistakes import MISTAKES, RIGHT, Pieces, draw, replaced
from minidiff.training.checkpoints import load

pytestmark = pytest.mark.slow


def test_a_mistake_is_one_wrong_piece():
    assert len(MISTAKES) >= 12
    assert list(INVARIANTS) == list(MISTAKES) or set(INVARIANTS) == set(MISTAKES)
    assert {replaced(name) for name in MISTAKES} == set(Pieces._fields)


@pytest.mark.parametrize("invariant", dict.fromkeys(INVARIANTS.values()), ids=lambda f: f.__name__)
def test_right_pieces_keep_every_invariant(invariant):
    assert invariant(RIGHT) is True


@pytest.mark.parametrize("invariant", dict.fromkeys(INVARIANTS.values()), ids=lambda f: f.__name__)
def test_the_matrix(invariant):
    """A mistake is rejected by its own invariant; one in a piece that an invariant does not use is not its business."""
    own = {name for name, f in INVARIANTS.items() if f is invariant}
    rejected = set(checks.caught(invariant))
    assert own <= rejected
    source = inspect.getsource(invariant)
    used = {field for field in Pieces._fields if f"pieces.{field}(" in source}
    assert {replaced(name) for name in rejected} <= used


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


@pytest.mark.parametrize(("method", "name"), [("cfg", "w is s"), ("cg", "no root")])
def test_drawings_repeat_and_show_the_mistake(method, name):
    models = {model: load(model) for model in ("unet", "ddpm", "classifier")}
    right, again, wrong = (draw(pieces, models, method, 2.0) for pieces in (RIGHT, RIGHT, MISTAKES[name].pieces))
    assert right.shape == (10, 1, 28, 28)
    assert torch.equal(right, again)
    assert (right - wrong).abs().max() > 0.5
    assert right.abs().max() <= 1 + 1e-5  # clipped, and no noise in the last step
