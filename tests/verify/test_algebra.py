"""The algebra in sympy: proved for any density, and not for its mistake."""

import pytest

from minidiff.verify.algebra import identities, is_proved
from minidiff.verify.claims import CLAIMS


@pytest.mark.parametrize("name", sorted(identities()))
def test_algebra_holds_for_any_density_and_its_mistake_does_not(name):
    assert is_proved(name) is True
    assert identities()[name].wrong != identities()[name].right


def test_what_is_no_algebra_is_not_called_proved():
    assert is_proved("") is None
    named = [claim.algebra for claim in CLAIMS if claim.algebra]
    assert sorted(named) == sorted(identities())
    assert all(claim.algebra in ("", claim.name) for claim in CLAIMS)
