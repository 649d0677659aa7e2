"""RIGHT and WRONG in the test files of checks: {check: answers}, {check: (answer, sentence)s}."""

from collections.abc import Callable


def each(wrong: dict[Callable, list[tuple]]) -> list[tuple]:
    """(check, answer, sentence), one after the other."""
    return [(check, *case) for check, cases in wrong.items() for case in cases]
