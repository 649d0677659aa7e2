"""Executes the claims: in every world, at every t, both routes and every wrong version."""

from collections.abc import Iterable
from typing import NamedTuple

from torch import Tensor

from minidiff.symbols import InputError
from minidiff.verify.algebra import is_proved
from minidiff.verify.claims import Claim, Formulas
from minidiff.verify.worlds import World

REJECT = 1000  # tolerances that a wrong version must miss by, at least, in every world


class Verdict(NamedTuple):
    """What came out for one claim: the worst |difference| / scale and in which world, the wrong versions that were accepted.

    `looks_like` is the wrong version that the formula equals, `sympy` whether its algebra is proved (None: it has none),
    `yours` which formulas came from a user's file, `trouble` why the claim could not be judged.
    """

    claim: str
    equation: str
    source: str
    worst: float | None = None
    where: str = ""
    tolerance: float = 0.0
    reason: str = ""
    wrong_versions: int = 0
    accepted: tuple[str, ...] = ()
    looks_like: str = ""
    sympy: bool | None = None
    yours: tuple[str, ...] = ()
    trouble: str = ""

    @property
    def holds(self) -> bool:
        """True if both routes agree within the tolerance and every wrong version is rejected."""
        return not self.trouble and self.worst is not None and self.worst <= self.tolerance and not self.accepted


def check_claim(claim: Claim, worlds: Iterable[World], formulas: Formulas | None = None) -> Verdict:
    """Execute one claim in every world. The formulas are the package's unless others are given."""
    formulas = formulas or Formulas()
    worst, where, accepted, twins = -1.0, "", set(), set(claim.wrong)
    for world in worlds:
        expected, got, scale = claim.expected(world), claim.got(world, formulas), claim.scale(world)
        miss = _miss(expected, got, scale)
        if not miss <= worst:  # a NaN counts as the worst
            worst, where = miss, world.name
        for text, version in claim.wrong.items():
            came = version(world)
            if not _miss(expected, came, scale) >= REJECT * claim.tolerance:
                accepted.add(text)
            if not _miss(came, got, scale) <= 10 * claim.tolerance:
                twins.discard(text)
    if not where:
        raise InputError("No world was given to judge in.")
    looks_like = "" if worst <= claim.tolerance else "; ".join(sorted(twins))
    metadata = (claim.name, claim.equation, claim.source, worst, where, claim.tolerance, claim.reason, len(claim.wrong))
    return Verdict(*metadata, tuple(sorted(accepted)), looks_like, is_proved(claim.algebra))


def _miss(expected: Tensor, got: Tensor, scale: Tensor) -> float:
    return float(((expected - got).abs() / scale).max())


def at_fault(verdicts: Iterable[Verdict]) -> str:
    """What a reader should know about every claim that does not hold; "" if all hold. Claims with one trouble share a line."""
    lines, troubles = [], {}
    for verdict in verdicts:
        if verdict.trouble:
            troubles.setdefault(verdict.trouble, []).append(verdict.claim)
        elif not verdict.holds:
            lines.append(_fault(verdict))
    return "\n".join([*lines, *(f"Not judged: {', '.join(names)}. {trouble}" for trouble, names in troubles.items())])


def _fault(verdict: Verdict) -> str:
    said = []
    if not verdict.worst <= verdict.tolerance:
        said.append(f"the two sides differ by {verdict.worst:.2g} times the scale ({verdict.where})")
    if verdict.looks_like:
        said.append(f"this is the wrong version '{verdict.looks_like}'")
    elif verdict.tolerance < verdict.worst < 1e-5:
        said.append("that is about what float32 rounding makes: keep the dtype of x_t")
    said += [f"the wrong version '{text}' was not rejected" for text in verdict.accepted]
    return f"{verdict.claim} fails: " + "; ".join(said) + "."


def not_run(claim: Claim, trouble: str) -> Verdict:
    """The verdict of a claim that could not be judged."""
    return Verdict(claim.name, claim.equation, claim.source, sympy=is_proved(claim.algebra), trouble=trouble)
