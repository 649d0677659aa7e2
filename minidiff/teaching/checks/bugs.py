"""Checks of invariants (lesson 13), which hold for the right pieces and fail for a wrong one."""

from collections.abc import Callable

from minidiff.teaching.checks.verdict import CORRECT, attempt
from minidiff.teaching.mistakes import MISTAKES, RIGHT, Pieces

Invariant = Callable[[Pieces], bool]


def catches(name: str, answer: Invariant) -> str:
    """ "correct" if answer is True for the right pieces, False for MISTAKES[name]'s; else why not.

    Pieces that make the answer raise an error count as rejected, but the right ones must not.
    """
    if name not in MISTAKES:
        return f"There is no mistake {name!r}; there are: {', '.join(MISTAKES)}."
    holds = attempt(lambda: answer(RIGHT))
    if isinstance(holds, str):
        return f"On the right pieces: {holds[0].lower()}{holds[1:]}"
    if not bool(holds.all()):
        return (
            "Your invariant rejects the right pieces: it asks for what need not be so, or its "
            "tolerance is too small."
        )
    if not rejects(answer, name):
        which = "Which number does the mistake change?"
        return f"Your invariant accepts the mistake: {MISTAKES[name].says}. {which}"
    return CORRECT


def caught(answer: Invariant) -> list[str]:
    """The names of all mistakes in the catalogue that an invariant rejects."""
    return [name for name in MISTAKES if rejects(answer, name)]


def rejects(answer: Invariant, name: str) -> bool:
    """Whether the answer is not True for the pieces of this mistake."""
    holds = attempt(lambda: answer(MISTAKES[name].pieces))
    return isinstance(holds, str) or not bool(holds.all())  # a crash is a rejection too
