"""Graded assignments: solved notebooks in, a student release out, by nbgrader. python -m minidiff.teaching.course assign

    python -m minidiff.teaching.course assign [--course build/course] [--private FOLDER]

Needs the extra `instructor`. notebooks/INSTRUCTORS.md says how to use it and what it cannot do; `teaching.grading` grades.
"""

import argparse
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from minidiff.symbols import InputError
from minidiff.training.checkpoints import write_atomically

SOLVED = Path(__file__).resolve().parents[2] / "notebooks" / "course"
HIDDEN = "### BEGIN HIDDEN TESTS\n{}\n### END HIDDEN TESTS"
ANNOUNCED = "# More tests run here when the assignment is graded."
STUB = "# YOUR CODE HERE\nraise NotImplementedError()"
CELL_SECONDS, MEMORY_GB = 60, 16
CONFIG = f'''"""Written by minidiff.teaching.course assign. Edit it: it is written only where it is missing."""
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "minidiff"
c.CourseDirectory.submitted_directory = "collected"  # make grade copies what lies in submitted/ to there
c.Execute.timeout = {CELL_SECONDS}  # seconds for a cell, then it is interrupted and the next one runs
c.ClearSolutions.code_stub = {{"python": {STUB!r}}}
'''


class Private(NamedTuple):
    """An instructor's own hidden test: after which solution, for how many points, and its source."""

    after: str
    points: int
    source: str


def private_tests(path: Path) -> list[Private]:
    """The tests of a file of blocks "# %% after GRADE_ID: N points" and code. InputError where a block starts otherwise."""
    if not path.exists():
        return []
    first, *blocks = re.split(r"^# %%", path.read_text(encoding="utf-8"), flags=re.M)
    if first.strip() or not blocks:
        raise InputError(f'{path}: starts with "{first[:40].strip()}"; expected "# %% after GRADE_ID: N points".')
    found = []
    for block in blocks:
        head, _, source = block.partition("\n")
        named = re.fullmatch(r" after (\w+): ([1-9]\d*) points?", head.rstrip())
        if not named or not source.strip():
            raise InputError(f'{path}: "# %%{head}" without a test, or not of the form "# %% after GRADE_ID: N points".')
        found.append(Private(named[1], int(named[2]), source.strip()))
    return found


def with_private(notebook: NotebookNode, tests: list[Private]) -> NotebookNode:
    """The notebook with each private test behind the tests that follow its solution. InputError names unknown solutions."""
    cells = list(notebook.cells)
    for number, test in enumerate(tests, start=1):
        solutions = [grade_id(cell) for cell in cells if is_solution(cell)]
        if test.after not in solutions:
            raise InputError(f"There is no solution {test.after!r}; there are: {', '.join(solutions)}.")
        place = [grade_id(cell) for cell in cells].index(test.after) + 1
        while place < len(cells) and is_test(cells[place]):
            place += 1
        cell = nbformat.v4.new_code_cell(f"{ANNOUNCED}\n{HIDDEN.format(test.source)}")
        about = {"grade": True, "solution": False, "locked": True, "task": False, "schema_version": 3}
        cell.metadata["nbgrader"] = about | {"points": test.points, "grade_id": f"{test.after}_private_{number}"}
        cells.insert(place, cell)
    return nbformat.from_dict({**notebook, "cells": cells})


def grade_id(cell: NotebookNode) -> str:
    """nbgrader's name of a cell, "" for a cell that is not its business."""
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def is_solution(cell: NotebookNode) -> bool:
    """Whether a student writes code here that is graded by the tests below it."""
    about = cell.metadata.get("nbgrader", {})
    return cell.cell_type == "code" and bool(about.get("solution"))


def is_test(cell: NotebookNode) -> bool:
    """Whether this is a locked cell with points."""
    about = cell.metadata.get("nbgrader", {})
    return bool(about.get("grade") and about.get("locked"))


def points_of(notebook: NotebookNode) -> dict[str, int]:
    """The points of every graded cell, by its name."""
    graded = [cell for cell in notebook.cells if cell.metadata.get("nbgrader", {}).get("grade")]
    return {grade_id(cell): int(cell.metadata.nbgrader.points) for cell in graded}


SECRET = re.compile(r"BEGIN (?:SOLUTION|HIDDEN TESTS)(.*?)END (?:SOLUTION|HIDDEN TESTS)", re.S)


def leaks(solved: NotebookNode, released: NotebookNode) -> list[str]:
    """What of the solutions, hidden tests and outputs of `solved` stands in `released`: nothing, if all is well.

    A line that also stands outside of every solution and hidden test is no secret.
    """
    told, shown = ("\n".join(cell.source for cell in notebook.cells) for notebook in (released, solved))
    open_text, found = SECRET.sub("", shown), []
    for cell in solved.cells:
        for secret in SECRET.findall(cell.source):
            lines = [line.strip(" #") for line in secret.splitlines()]
            found += [f"{grade_id(cell)}: {line}" for line in lines if len(line) > 25 and line in told and line not in open_text]
    outputs = [cell for cell in released.cells if cell.get("outputs") or cell.get("execution_count")]
    return found + [f"an output: {cell.source[:40]}" for cell in outputs]


def fails(notebook: NotebookNode, tests: list[Private]) -> str:
    """Why a private test fails on the model solutions, "" if none does: then it would take points from everybody."""
    world: dict = {}
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for source in [first.source, *(cell.source for cell in notebook.cells if is_solution(cell))]:
        exec(source, world)
    for test in tests:
        try:
            exec(test.source, dict(world))
        except Exception as error:
            return f"the test after {test.after} fails on our own solution: {type(error).__name__}: {error}"
    return ""


def solved_notebooks(private: Path | None) -> dict[str, NotebookNode]:
    """Every assignment by name, with the instructor's own tests in it. Raises InputError for tests that cannot be meant."""
    names = sorted(path.stem for path in SOLVED.glob("*.ipynb"))
    if not names:
        raise InputError(f"{SOLVED}: no solved assignments. They come with the repository, not with the package alone.")
    if private and not private.is_dir() and private.resolve() != SOLVED / "private":
        raise InputError(f"{private}: no such folder of private tests.")
    strangers = sorted({path.stem for path in private.glob("*.py")} - set(names)) if private else []
    if strangers:
        raise InputError(f"{private}: tests for {', '.join(strangers)}, but the assignments are {', '.join(names)}.")
    found = {}
    for name in names:
        tests = private_tests(private / f"{name}.py") if private else []
        plain = nbformat.read(SOLVED / f"{name}.ipynb", as_version=4)
        found[name] = with_private(plain, tests)
        why = fails(plain, tests) if tests else ""
        if why:
            raise InputError(f"{private / name}.py: {why}")
    return found


def assign(course: Path, private: Path | None = None) -> list[Path]:
    """Build source/ and release/ of every assignment in the folder `course`; the release notebooks.

    private: a folder with a file NAME.py of the instructor's own tests for an assignment (see private_tests).
    What did not change is not built again. Raises InputError, before anything is written, if an assignment changed after
    submissions to it were graded; and if something of a solution is left in a release.
    """
    solved = solved_notebooks(private)
    changed = [name for name in solved if not _is_built(course, name, solved[name])]
    graded = [name for name in changed if list(course.glob(f"autograded/*/{name}"))]
    if graded:
        raise InputError(
            f"{', '.join(graded)}: changed, but submissions were graded with the tests of before. Nothing was written. Keep this "
            "course as it is; or build another (COURSE=...), copy submitted/ into it and grade there: marks by hand do not move."
        )
    course.mkdir(parents=True, exist_ok=True)
    if not (course / "nbgrader_config.py").exists():
        write_atomically(course / "nbgrader_config.py", CONFIG.encode())
    for name in changed:
        source = course / "source" / name / f"{name}.ipynb"
        source.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(solved[name], source)
        nbgrader(course, "generate_assignment", name, "--create", "--force")
        left = leaks(solved[name], nbformat.read(release_of(course, name), as_version=4))
        if left:
            release_of(course, name).unlink()
            raise InputError(f"{name}: the release would tell {left}. It was deleted.")
    for name, notebook in solved.items():
        print(f"{name}: {sum(points_of(notebook).values())} points, {release_of(course, name)}")
    return [release_of(course, name) for name in solved]


def release_of(course: Path, name: str) -> Path:
    """Where the notebook lies that students get."""
    return course / "release" / name / f"{name}.ipynb"


def _is_built(course: Path, name: str, solved: NotebookNode) -> bool:
    source = course / "source" / name / f"{name}.ipynb"
    if not source.exists() or not release_of(course, name).exists():
        return False
    built = nbformat.read(source, as_version=4)
    same = [cell.source for cell in built.cells] == [cell.source for cell in solved.cells]
    return same and points_of(built) == points_of(solved)


def nbgrader(course: Path, *words: str, seconds: float | None = None) -> None:
    """nbgrader with these words, in the folder of the course, in a process with limits. Raises InputError with its errors."""
    command, limit = [sys.executable, "-m", "nbgrader", *words], _limit if sys.platform == "linux" else None
    here = os.pathsep.join([str(Path(sys.executable).parent), os.environ.get("PATH", "")])  # nbgrader calls alembic by its name
    process = subprocess.Popen(
        command,
        cwd=course,
        env={**os.environ, "PATH": here},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        preexec_fn=limit,
    )
    try:
        said, _ = process.communicate(timeout=seconds)
    except subprocess.TimeoutExpired as error:
        _end(process.pid)
        raise InputError(f"stopped after {seconds:g} s.") from error
    if process.returncode:
        told = [line for line in said.splitlines() if re.search(r"ERROR|Error|exists multiple", line)] or [said[-400:]]
        raise InputError(f"nbgrader {words[0]} failed: {' / '.join(told[:4])[:600]}")


def _limit() -> None:
    import resource

    wanted = MEMORY_GB << 30
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    resource.setrlimit(resource.RLIMIT_AS, (wanted if hard == resource.RLIM_INFINITY else min(wanted, hard), hard))


def _end(pid: int) -> None:
    import psutil  # comes with ipykernel

    process = psutil.Process(pid)
    for one in [*process.children(recursive=True), process]:
        one.kill()


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m minidiff.teaching.course", description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("assign",), help="build the releases")
    parser.add_argument("--course", type=Path, default=Path("build/course"), help="the folder of the course (%(default)s)")
    parser.add_argument("--private", type=Path, help="a folder with your own hidden tests, NAME.py for an assignment")
    asked = parser.parse_args()
    try:
        assign(asked.course.resolve(), asked.private)
    except InputError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
