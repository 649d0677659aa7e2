"""Every invariant holds for the right pieces and rejects its own mistakes, no unrelated ones."""

import inspect

import pytest

from minidiff.teaching import checks
from minidiff.teaching.invariants import INVARIANTS
from minidiff.teaching.mistakes import MISTAKES, RIGHT, Pieces, replaced

pytestmark = pytest.mark.slow


def test_every_mistake_has_an_invariant():
    assert set(INVARIANTS) == set(MISTAKES)


@pytest.mark.parametrize("invariant", dict.fromkeys(INVARIANTS.values()), ids=lambda f: f.__name__)
def test_the_matrix(invariant):
    """A mistake is rejected by its own invariant, and by none that does not use its piece."""
    assert invariant(RIGHT) is True
    own = {name for name, f in INVARIANTS.items() if f is invariant}
    rejected = set(checks.caught(invariant))
    assert own <= rejected
    source = inspect.getsource(invariant)
    used = {field for field in Pieces._fields if f"pieces.{field}(" in source}
    assert {replaced(name) for name in rejected} <= used
