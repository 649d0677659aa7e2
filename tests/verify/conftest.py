"""All worlds on which claims are executed."""

import pytest

from minidiff.verify.claims import CLAIMS, Claim
from minidiff.verify.worlds import World, all_worlds


@pytest.fixture(scope="session")
def worlds() -> list[World]:
    return list(all_worlds())


@pytest.fixture(scope="session")
def claims() -> dict[str, Claim]:
    """The last claim of each name."""
    return {claim.name: claim for claim in CLAIMS}
