"""A mistake as a wrong line in a function of the package, and the file with the mistake in it."""

import ast
from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple

# found, not imported: the runner imports minidiff only after a fork
PACKAGE = Path(find_spec("minidiff").origin).parent

GUIDANCE, PROCESS = "diffusion/guidance.py", "diffusion/process.py"
SAMPLERS, SCHEDULE = "diffusion/samplers.py", "diffusion/schedule.py"
POWERED = "analytic/smc.py"


class Mutant(NamedTuple):
    """In `function` of `file` the text `old`, which stands there once, becomes `new`."""

    file: str
    function: str
    broken: str  # what that is, in words
    old: str
    new: str

    @property
    def name(self) -> str:
        return f"{self.function}: {self.broken}"


def in_function(file: str, function: str, *mistakes: tuple[str, str, str]) -> list[Mutant]:
    """Several mistakes in one function: (broken, old, new)."""
    return [Mutant(file, function, *mistake) for mistake in mistakes]


def function_lines(text: str, function: str) -> tuple[int, int]:
    """First line (from 0) and end of a function in a file's text; a method is Class.method.

    Decorators stay outside.
    """
    nodes = ast.parse(text).body
    for part in function.split("."):
        (node,) = [node for node in nodes if getattr(node, "name", None) == part]
        nodes = node.body
    return node.lineno - 1, node.end_lineno


def mutated(mutant: Mutant) -> str:
    """The whole file with the mistake in it.

    Raises ValueError unless the old text stands exactly once in the function.
    """
    lines = (PACKAGE / mutant.file).read_text(encoding="utf-8").splitlines(keepends=True)
    start, end = function_lines("".join(lines), mutant.function)
    body = "".join(lines[start:end])
    if body.count(mutant.old) != 1:
        raise ValueError(
            f"{mutant.name}: {mutant.old!r} stands {body.count(mutant.old)} times in "
            f"{mutant.function}, not once."
        )
    return "".join(lines[:start]) + body.replace(mutant.old, mutant.new) + "".join(lines[end:])
