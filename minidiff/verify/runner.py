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
    """What came out for one claim: the worst |difference| / scale, and in which world.

    `accepted`: the wrong versions not rejected; `looks_like`: the one that the formula equals;
    `sympy`: whether its algebra is proved (None: it has none); `yours`: which formulas came from a
    user's file; `trouble`: why the claim could not be checked.
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
        if self.trouble or self.accepted or self.worst is None:
            return False
        return self.worst <= self.tolerance


def check_claim(claim: Claim, worlds: Iterable[World], formulas: Formulas | None = None) -> Verdict:
    """Execute one claim in every world, with the package's formulas unless others are given."""
    formulas = formulas or Formulas()
    worst, where, accepted, equal = -1.0, "", set(), set(claim.wrong)
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
                equal.discard(text)
    if not where:
        raise InputError("No world was given to check the claim in.")
    looks_like = "" if worst <= claim.tolerance else "; ".join(sorted(equal))
    about = claim.name, claim.equation, claim.source
    difference = worst, where, claim.tolerance, claim.reason
    wrong = len(claim.wrong), tuple(sorted(accepted)), looks_like
    return Verdict(*about, *difference, *wrong, is_proved(claim.algebra))


def _miss(expected: Tensor, got: Tensor, scale: Tensor) -> float:
    return float(((expected - got).abs() / scale).max())


def at_fault(verdicts: Iterable[Verdict]) -> str:
    """A line for every claim that does not hold, or for all with one trouble; "" if all hold."""
    lines, troubles = [], {}
    for verdict in verdicts:
        if verdict.trouble:
            troubles.setdefault(verdict.trouble, []).append(verdict.claim)
        elif not verdict.holds:
            lines.append(_fault(verdict))
    lines += [f"Not judged: {', '.join(names)}. {trouble}" for trouble, names in troubles.items()]
    return "\n".join(lines)


def _fault(verdict: Verdict) -> str:
    said = []
    if not verdict.worst <= verdict.tolerance:
        by = f"{verdict.worst:.2g} times the scale ({verdict.where})"
        said.append(f"the two sides differ by {by}")
    if verdict.looks_like:
        said.append(f"this is the wrong version '{verdict.looks_like}'")
    elif verdict.tolerance < verdict.worst < 1e-5:
        said.append("that is about what float32 rounding makes: keep the dtype of x_t")
    said += [f"the wrong version '{text}' was not rejected" for text in verdict.accepted]
    return f"{verdict.claim} fails: " + "; ".join(said) + "."


def not_run(claim: Claim, trouble: str) -> Verdict:
    """The verdict of a claim that could not be checked."""
    about = claim.name, claim.equation, claim.source
    return Verdict(*about, sympy=is_proved(claim.algebra), trouble=trouble)
