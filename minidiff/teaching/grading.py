"""Grades what was handed in: feedback and a table of scores, by nbgrader.

    python -m minidiff.teaching.grading [--course build/course]

Each file of submitted/STUDENT/NAME/NAME.ipynb is copied to collected/, with the cells put back that
it lacks, and graded there in a process of its own. Needs the extra `instructor`.
"""

import csv
import hashlib
import io
import json
import re
import sys
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbformat import NotebookNode

from minidiff.symbols import InputError
from minidiff.teaching.course import course_parser, grade_id, nbgrader, release_of
from minidiff.training.checkpoints import write_atomically

SUBMISSION_SECONDS = 300.0
GRADEBOOK = "gradebook.db"
STUDENT = re.compile(r"[\w.@+][\w.@+ '-]*")
Key = tuple[str, str]  # student, assignment


class Found(NamedTuple):
    """What lies in submitted/: notebooks to grade, and why others cannot be graded."""

    notebooks: dict[Key, Path]
    refused: dict[Key, str]


def submissions(course: Path) -> Found:
    """Every folder submitted/STUDENT/NAME. Nothing is read yet."""
    names, found = sorted(path.name for path in course.glob("release/*")), Found({}, {})
    for folder in sorted(path for path in course.glob("submitted/*/*") if path.is_dir()):
        student, name = folder.parts[-2:]
        files = sorted(path.name for path in folder.glob("[!.]*.ipynb"))
        why = ""
        if not STUDENT.fullmatch(student):
            why = "the student's name may hold letters, digits, spaces and . @ + - _ ' only"
        elif name not in names:
            why = f"there is no such assignment; there are {', '.join(names)}"
        elif f"{name}.ipynb" not in files:
            came = ", ".join(files) or "no notebook"
            why = f"expected {name}.ipynb, as it was released; found {came}"
        if why:
            found.refused[student, name] = why
        else:
            found.notebooks[student, name] = folder / f"{name}.ipynb"
    return found


def repaired(handed_in: NotebookNode, released: NotebookNode) -> list[str]:
    """Make `handed_in` hold every graded cell of the release once; notes of what was done.

    A lacking cell is put behind what stood before it, and a second copy is no longer graded.
    (nbgrader itself restores locked cells that were changed.)
    """
    notes, seen = [], set()
    for cell in handed_in.cells:
        name = grade_id(cell)
        if name in seen:
            del cell.metadata["nbgrader"]
            notes.append(f"{name} was there twice, the first one counts")
        seen.add(name or None)
    place = 0
    for cell in released.cells:
        name = grade_id(cell)
        if name and name not in seen:
            handed_in.cells.insert(place, cell)
            notes.append(f"{name} was missing and was put back")
        if name:
            place = [grade_id(one) for one in handed_in.cells].index(name) + 1
    return notes


def grade(course: Path) -> Path:
    """Autograde what is new in submitted/, write feedback/ and the table of all scores; its path.

    Feedback is written for the assignments graded now, or for all of them if the gradebook is not
    as the last run left it: then there are marks given by hand. Whatever cannot be graded is named
    in an InputError at the end, when all else is done and in the table.
    """
    found = submissions(course)
    if not found.notebooks and not found.refused:
        wanted = "no STUDENT/ASSIGNMENT/ASSIGNMENT.ipynb. See INSTRUCTORS.md, Collect."
        raise InputError(f"{course / 'submitted'}: {wanted}")
    record = course / "graded.json"
    done = json.loads(record.read_text("utf-8")) if record.exists() else {}
    by_hand = done.pop(GRADEBOOK, None) != _state_of(course / GRADEBOOK)
    fresh, refused = _autograde(course, found, done, record)
    failed = _feedback(course, fresh, by_hand)
    refused |= failed
    table = _table(course, refused)
    if not failed:
        done[GRADEBOOK] = _state_of(course / GRADEBOOK)
        write_atomically(record, json.dumps(done, indent=1).encode())
    if refused:
        lines = [f"{student}, {name}: {why}" for (student, name), why in refused.items()]
        raise InputError("\n".join(["Not graded:", *lines, f"All others are in {table}."]))
    return table


def _autograde(
    course: Path, found: Found, done: dict[str, str], record: Path
) -> tuple[set[str], dict[Key, str]]:
    """Grade what `done`, kept in `record`, lacks: the assignments, and what was refused and why."""
    refused, notes, fresh, unchanged = dict(found.refused), [], set(), 0
    for (student, name), path in found.notebooks.items():
        state = _state_of(path, release_of(course, name))
        if done.get(f"{student}/{name}") == state:
            unchanged += 1
            continue
        command = "autograde", name, f"--student={student}", "--force"
        try:
            repairs = _collect(course, student, name, path)
            notes += [f"{student}, {name}: {note}" for note in repairs]
            nbgrader(course, *command, seconds=SUBMISSION_SECONDS)
        except InputError as error:
            refused[student, name] = str(error)
            continue
        done[f"{student}/{name}"] = state
        fresh.add(name)
        write_atomically(record, json.dumps(done, indent=1).encode())
        print(f"{name}: {student} graded", flush=True)
    print(f"{unchanged} unchanged since they were graded", *notes, sep="\n")
    return fresh, refused


def _state_of(*paths: Path) -> str:
    """A fingerprint of these files; a missing one counts as empty."""
    content = b"".join(path.read_bytes() for path in paths if path.exists())
    return hashlib.sha256(content).hexdigest()


def _feedback(course: Path, fresh: set[str], every: bool) -> dict[Key, str]:
    """Write the feedback of these assignments, and where it is lacking, or of all; what failed."""
    graded, failed = course / "autograded", {}
    lacking = {
        path.name
        for path in graded.glob("*/*")
        if every or not (course / "feedback" / path.relative_to(graded)).exists()
    }
    for name in sorted(fresh | lacking):
        try:
            nbgrader(course, "generate_feedback", name, "--force")
        except InputError as error:
            failed["the feedback", name] = str(error)
    return failed


def _collect(course: Path, student: str, name: str, path: Path) -> list[str]:
    try:
        notebook = nbformat.read(path, as_version=4)
        notes = repaired(notebook, nbformat.read(release_of(course, name), as_version=4))
    except (ValueError, KeyError, AttributeError, TypeError, nbformat.ValidationError) as error:
        why = f"{type(error).__name__}: {str(error)[:80]}"
        raise InputError(f"this is no notebook ({why})") from error
    copy = course / "collected" / student / name / f"{name}.ipynb"
    copy.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, copy)
    return notes


def _table(course: Path, refused: dict[Key, str]) -> Path:
    """grades.csv: nbgrader's table, and `status`: missing, not graded, to read, or graded."""
    from nbgrader.api import Gradebook, MissingEntry

    raw, table = course / "exported.csv", course / "grades.csv"
    nbgrader(course, "export", "--to", raw.name)
    rows = list(csv.DictReader(raw.read_text().splitlines()))
    raw.unlink()
    with Gradebook(f"sqlite:///{course / GRADEBOOK}") as book:
        for row in rows:
            student, name = row["student_id"], row["assignment"]
            try:
                waits = book.find_submission(name, student).needs_manual_grade
                row["status"] = "to read" if waits else "graded"
            except MissingEntry:
                row["status"] = "missing"
            if (student, name) in refused:
                row["status"] = "not graded"
    first, text = ["student_id", "assignment", "status"], io.StringIO()
    heads = first + [key for key in (rows[0] if rows else []) if key not in first]
    writer = csv.DictWriter(text, heads, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(table, text.getvalue().encode())
    return table


def main() -> None:
    """The command line."""
    parser = course_parser("python -m minidiff.teaching.grading", __doc__)
    try:
        print(grade(parser.parse_args().course.resolve()).read_text("utf-8"))
    except InputError as error:
        sys.exit(f"{error}")


if __name__ == "__main__":
    main()
