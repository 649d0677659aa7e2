"""Graded assignments: solved notebooks in, a student release out, by nbgrader.

    python -m minidiff.teaching.course assign [--course build/course] [--private FOLDER]

Needs the extra `instructor`. notebooks/INSTRUCTORS.md says how to use it and what it cannot do;
`teaching.grading` grades.
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
LOCKED_TEST = {"grade": True, "solution": False, "locked": True, "task": False, "schema_version": 3}
CONFIG = f'''"""Written by minidiff.teaching.course assign, only where it is missing: edit it."""
c = get_config()  # noqa: F821
c.CourseDirectory.course_id = "minidiff"
c.CourseDirectory.submitted_directory = "collected"  # a copy of submitted/
c.Execute.timeout = {CELL_SECONDS}  # seconds for a cell, then the next one runs
c.ClearSolutions.code_stub = {{"python": {STUB!r}}}
'''


class Private(NamedTuple):
    """An instructor's own hidden test: after which solution, for how many points, its source."""

    after: str
    points: int
    source: str


def private_tests(path: Path) -> list[Private]:
    """The tests of a file of blocks "# %% after GRADE_ID: N points" and code; else InputError."""
    if not path.exists():
        return []
    first, *blocks = re.split(r"^# %%", path.read_text(encoding="utf-8"), flags=re.M)
    form = '"# %% after GRADE_ID: N points"'
    if first.strip() or not blocks:
        raise InputError(f'{path}: starts with "{first[:40].strip()}"; expected {form}.')
    found = []
    for block in blocks:
        head, _, source = block.partition("\n")
        named = re.fullmatch(r" after (\w+): ([1-9]\d*) points?", head.rstrip())
        if not named or not source.strip():
            raise InputError(f'{path}: "# %%{head}" without a test, or not of the form {form}.')
        found.append(Private(named[1], int(named[2]), source.strip()))
    return found


def with_private(notebook: NotebookNode, tests: list[Private]) -> NotebookNode:
    """The notebook with each private test behind its solution's tests; else InputError."""
    cells = list(notebook.cells)
    for number, test in enumerate(tests, start=1):
        solutions = [grade_id(cell) for cell in cells if is_solution(cell)]
        if test.after not in solutions:
            known = ", ".join(solutions)
            raise InputError(f"There is no solution {test.after!r}; there are: {known}.")
        place = [grade_id(cell) for cell in cells].index(test.after) + 1
        while place < len(cells) and is_test(cells[place]):
            place += 1
        cell = nbformat.v4.new_code_cell(f"{ANNOUNCED}\n{HIDDEN.format(test.source)}")
        name = f"{test.after}_private_{number}"
        cell.metadata["nbgrader"] = LOCKED_TEST | {"points": test.points, "grade_id": name}
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
    """The lines of `solved`'s solutions and hidden tests, and the outputs, that `released` shows.

    A line that also stands outside of every solution and hidden test is no secret.
    """
    public = "\n".join(cell.source for cell in released.cells)
    open_text = SECRET.sub("", "\n".join(cell.source for cell in solved.cells))
    found = []
    for cell in solved.cells:
        for secret in SECRET.findall(cell.source):
            lines = [line.strip(" #") for line in secret.splitlines()]
            leaked = [line for line in lines if len(line) > 25 and line in public]
            found += [f"{grade_id(cell)}: {line}" for line in leaked if line not in open_text]
    for cell in released.cells:
        if cell.get("outputs") or cell.get("execution_count"):
            found.append(f"an output: {cell.source[:40]}")
    return found


def fails(notebook: NotebookNode, tests: list[Private]) -> str:
    """Why a private test fails on the model solutions, and so for everybody; "" if none does."""
    world: dict = {}
    first = next(cell for cell in notebook.cells if cell.cell_type == "code")
    for source in [first.source, *(cell.source for cell in notebook.cells if is_solution(cell))]:
        exec(source, world)
    for test in tests:
        try:
            exec(test.source, dict(world))
        except Exception as error:
            why = f"{type(error).__name__}: {error}"
            return f"the test after {test.after} fails on our own solution: {why}"
    return ""


def solved_notebooks(private: Path | None) -> dict[str, NotebookNode]:
    """Every assignment by name, with the instructor's own tests in it; else InputError."""
    names = sorted(path.stem for path in SOLVED.glob("*.ipynb"))
    if not names:
        raise InputError(f"{SOLVED}: no solved assignments. They come with the repository.")
    if private and not private.is_dir() and private.resolve() != SOLVED / "private":
        raise InputError(f"{private}: no such folder of private tests.")
    strangers = sorted({path.stem for path in private.glob("*.py")} - set(names)) if private else []
    if strangers:
        wanted = f"but the assignments are {', '.join(names)}"
        raise InputError(f"{private}: tests for {', '.join(strangers)}, {wanted}.")
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

    private: a folder with a file NAME.py of the instructor's own tests for an assignment (see
    private_tests). What did not change is not built again. Raises InputError, before anything is
    written, if an assignment changed after submissions to it were graded; and if something of a
    solution is left in a release.
    """
    solved = solved_notebooks(private)
    changed = [name for name in solved if not _is_built(course, name, solved[name])]
    graded = [name for name in changed if list(course.glob(f"autograded/*/{name}"))]
    if graded:
        raise InputError(
            f"{', '.join(graded)}: changed, but submissions were graded with the tests of before. "
            "Nothing was written. Keep this course as it is; or build another (COURSE=...), copy "
            "submitted/ into it and grade there: marks by hand do not move."
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
    """Run nbgrader in the course's folder, in a process with limits; its errors as InputError."""
    command = [sys.executable, "-m", "nbgrader", *words]
    limit = _limit if sys.platform == "linux" else None
    here = str(Path(sys.executable).parent)  # nbgrader calls alembic by its name
    environment = {**os.environ, "PATH": os.pathsep.join([here, os.environ.get("PATH", "")])}
    process = subprocess.Popen(
        command,
        cwd=course,
        env=environment,
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
        pattern = re.compile(r"ERROR|Error|exists multiple")
        errors = [line for line in said.splitlines() if pattern.search(line)] or [said[-400:]]
        raise InputError(f"nbgrader {words[0]} failed: {' / '.join(errors[:4])[:600]}")


def _limit() -> None:
    import resource

    wanted = MEMORY_GB << 30
    hard = resource.getrlimit(resource.RLIMIT_AS)[1]
    soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _end(pid: int) -> None:
    import psutil  # comes with ipykernel

    process = psutil.Process(pid)
    for one in [*process.children(recursive=True), process]:
        one.kill()


def course_parser(prog: str, about: str) -> argparse.ArgumentParser:
    """A parser of the option --course, described by the first line of `about`."""
    parser = argparse.ArgumentParser(prog=prog, description=about.splitlines()[0])
    folder = "the folder of the course (%(default)s)"
    parser.add_argument("--course", type=Path, default=Path("build/course"), help=folder)
    return parser


def main() -> None:
    """The command line."""
    parser = course_parser("python -m minidiff.teaching.course", __doc__)
    parser.add_argument("what", choices=("assign",), help="build the releases")
    own_tests = "a folder with your own hidden tests, NAME.py for an assignment"
    parser.add_argument("--private", type=Path, help=own_tests)
    options = parser.parse_args()
    try:
        assign(options.course.resolve(), options.private)
    except InputError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
