"""Graded assignments, by nbgrader: solved notebooks in, a student release out; submissions in, feedback and a CSV out.

    python -m minidiff.teaching.course assign [--course build/course] [--private FOLDER]
    python -m minidiff.teaching.course grade [--course build/course]

Needs the extra `instructor`. notebooks/INSTRUCTORS.md says how to use it and what it cannot do.
"""

import argparse
import os
import re
import subprocess
import sys
from collections.abc import Iterator
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
CELL_SECONDS, SUBMISSION_SECONDS, MEMORY_GB = 60, 300, 16
CONFIG = f'''"""Written by minidiff.teaching.course assign. Edit it: it is written only where it is missing."""
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "minidiff"
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


def leaks(solved: NotebookNode, released: NotebookNode) -> list[str]:
    """What of the solutions, hidden tests and outputs of `solved` stands in `released`: nothing, if all is well."""
    text, found = "\n".join(cell.source for cell in released.cells), []
    for cell in solved.cells:
        for secret in re.findall(r"BEGIN (?:SOLUTION|HIDDEN TESTS)(.*?)END (?:SOLUTION|HIDDEN TESTS)", cell.source, re.S):
            lines = [line.strip(" #") for line in secret.splitlines()]
            found += [f"{grade_id(cell)}: {line}" for line in lines if len(line) > 25 and line in text]
    outputs = [cell for cell in released.cells if cell.get("outputs") or cell.get("execution_count")]
    return found + [f"an output: {cell.source[:40]}" for cell in outputs]


def assign(course: Path, private: Path | None = None) -> list[Path]:
    """Build source/ and release/ of every assignment in the folder `course`; the release notebooks.

    private: a folder with a file NAME.py of the instructor's own tests for an assignment (see private_tests).
    Raises InputError if something of a solution is left in a release.
    """
    names = sorted(path.stem for path in SOLVED.glob("*.ipynb"))
    if not names:
        raise InputError(f"{SOLVED}: no solved assignments. They come with the repository, not with the package alone.")
    strangers = sorted({path.stem for path in private.glob("*.py")} - set(names)) if private else []
    if strangers:
        raise InputError(f"{private}: tests for {', '.join(strangers)}, but the assignments are {', '.join(names)}.")
    course.mkdir(parents=True, exist_ok=True)
    config = course / "nbgrader_config.py"
    if not config.exists():
        write_atomically(config, CONFIG.encode())
    released = []
    for name in names:
        tests = private_tests(private / f"{name}.py") if private else []
        solved = with_private(nbformat.read(SOLVED / f"{name}.ipynb", as_version=4), tests)
        source = course / "source" / name / f"{name}.ipynb"
        source.parent.mkdir(parents=True, exist_ok=True)
        nbformat.write(solved, source)
        nbgrader(course, "generate_assignment", name, "--create", "--force")
        released.append(course / "release" / name / f"{name}.ipynb")
        left = leaks(solved, nbformat.read(released[-1], as_version=4))
        if left:
            released[-1].unlink()
            raise InputError(f"{name}: the release would tell {left}. It was deleted.")
        print(f"{name}: {sum(points_of(solved).values())} points, {released[-1]}")
    return released


def submissions(course: Path) -> Iterator[tuple[str, str, bool]]:
    """(student, assignment, whether it is new since it was last graded) of every notebook in submitted/."""
    for path in sorted(course.glob("submitted/*/*/*.ipynb")):
        student, name = path.parts[-3:-1]
        if path.stem != name:
            raise InputError(f"{path.relative_to(course)}: expected the name {name}.ipynb, as it was released.")
        graded = course / "autograded" / student / name / path.name
        yield student, name, not graded.exists() or graded.stat().st_mtime < path.stat().st_mtime


def grade(course: Path) -> Path:
    """Autograde what is new in submitted/, write feedback/ for all, and the table of all scores; its path.

    A submission that does not end within SUBMISSION_SECONDS, or that nbgrader refuses, is named; the others are graded.
    """
    stuck, names = [], set()
    for student, name, new in submissions(course):
        names.add(name)
        if new:
            try:
                nbgrader(course, "autograde", name, "--student", student, "--force")
                print(f"{name}: {student} graded", flush=True)
            except InputError as error:
                stuck.append(f"{student}, {name}: {error}")
    if not names:
        raise InputError(f"{course / 'submitted'}: no STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb. See INSTRUCTORS.md, Collect.")
    for name in sorted(names):
        nbgrader(course, "generate_feedback", name, "--force")
    table = course / "grades.csv"
    nbgrader(course, "export", "--to", table.name)
    if stuck:
        raise InputError("\n".join(["Not graded:", *stuck, f"All others are in {table}."]))
    return table


def nbgrader(course: Path, *words: str) -> None:
    """nbgrader with these words, in the folder of the course, in a process with limits. Raises InputError with its last lines."""
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
        said, _ = process.communicate(timeout=SUBMISSION_SECONDS)
    except subprocess.TimeoutExpired as error:
        _end(process.pid)
        raise InputError(f"stopped after {SUBMISSION_SECONDS} s.") from error
    if process.returncode:
        raise InputError(f"nbgrader {words[0]} failed:\n{said[-800:]}")


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
    parser.add_argument("what", choices=("assign", "grade"), help="build the releases, or grade what was handed in")
    parser.add_argument("--course", type=Path, default=Path("build/course"), help="the folder of the course (%(default)s)")
    parser.add_argument("--private", type=Path, help="a folder with your own hidden tests, NAME.py for an assignment")
    asked = parser.parse_args()
    try:
        if asked.what == "assign":
            assign(asked.course.resolve(), asked.private)
        else:
            print(grade(asked.course.resolve()).read_text())
    except InputError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
