"""Real nbgrader runs: what is built, what students hand in, what the table then says."""

import contextlib
import csv
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
import urllib.request

import nbformat
import pytest
from answers_guidance import WRONG as WRONG_GUIDANCE
from answers_noise import RIGHT as RIGHT_NOISE
from answers_noise import WRONG as WRONG_NOISE

from minidiff.symbols import InputError
from minidiff.teaching import course, grading
from minidiff.teaching.course import SOLVED, grade_id, is_solution, points_of

pytestmark = pytest.mark.grading
WRONG = WRONG_NOISE | WRONG_GUIDANCE
NAMES = [path.stem for path in sorted(SOLVED.glob("*.ipynb"))]
OWN_TEST = """# %% after a1_level: 3 points
assert first_level_below(1e9, torch.tensor([1.0, 0.5])) == 1
"""
ENDLESS = "def first_level_below(snr, abar):\n    while True:\n        pass"
FIRST_MISTAKES = [f"a1_noised_{part}" for part in ("values", "points")]
FIRST_MISTAKES += ["a1_level_values", "a1_guess_middle", "a1_guess_values"]
STUBBORN = "while True:\n    try:\n        while True: pass\n    except BaseException: pass"
GREEDY = "def first_level_below(snr, abar):\n    return len(bytearray(17 << 30))"


@pytest.fixture(scope="module")
def built(tmp_path_factory):
    """A course with one private test, as `make assignments PRIVATE=...` builds it."""
    pytest.importorskip("nbgrader", reason="nbgrader is not installed: make test-grading does it")
    root, private = tmp_path_factory.mktemp("course"), tmp_path_factory.mktemp("private")
    (private / "a1_noising.py").write_text(OWN_TEST)
    start = time.monotonic()
    course.assign(root, private)
    assert time.monotonic() - start < 180
    # the cells that draw pictures may run out of time here: they have no points
    config = root / "nbgrader_config.py"
    usual = config.read_text()
    config.write_text(usual.replace(f"timeout = {course.CELL_SECONDS} ", "timeout = 20 "))
    assert config.read_text() != usual
    return root


def released(built, name):
    return nbformat.read(built / "release" / name / f"{name}.ipynb", as_version=4)


def handed_in(built, student, name, answers):
    """A released notebook with these answers written into it; {grade_id: source}."""
    notebook = released(built, name)
    for cell in notebook.cells:
        cell.source = answers.get(grade_id(cell), cell.source)
    path = built / "submitted" / student / name / f"{name}.ipynb"
    path.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(notebook, path)


def solutions(name):
    cells = nbformat.read(SOLVED / f"{name}.ipynb", as_version=4).cells
    return {grade_id(cell): cell.source for cell in cells if is_solution(cell)}


def feedback(built, student, name):
    return built / "feedback" / student / name / f"{name}.html"


def written(built, student, name):
    """When this student's feedback was written."""
    return feedback(built, student, name).stat().st_mtime_ns


def rows_of(built):
    with (built / "grades.csv").open(newline="") as lines:
        return {(row["student_id"], row["assignment"]): row for row in csv.DictReader(lines)}


@pytest.fixture(scope="module")
def table(built):
    """Everything handed in and graded; {(student, assignment): row of the CSV}."""
    right = solutions("a1_noising")
    wrong = {name: WRONG[name][0][0] for name in right}
    tests = [key for key in points_of(released(built, "a1_noising")) if "a1_noised_" in key]
    submissions = {
        "right": right | {"a1_question": "The mean of all images: the weights are nearly equal."},
        "otherwise": {name: RIGHT_NOISE[name][1] for name in right},
        "wrong": wrong,
        "untouched": {},
        "crashing": right | {"a1_noised": "raise SystemExit('bye')"},
        "endless": right | {"a1_level": ENDLESS},
        "greedy": right | {"a1_level": GREEDY},
        "tampering": wrong | dict.fromkeys(tests, "assert True"),
    }
    for student, answers in submissions.items():
        handed_in(built, student, "a1_noising", answers)
    for name in NAMES[1:]:
        handed_in(built, "right", name, solutions(name))
        handed_in(built, "wrong", name, {key: WRONG[key][0][0] for key in solutions(name)})
    start = time.monotonic()
    path = grading.grade(built)
    # seconds for a submission
    assert (time.monotonic() - start) / (len(submissions) + 2 * len(NAMES[1:])) < 120
    assert path == built / "grades.csv"
    return rows_of(built)


def first_stub(notebook):
    """The name of the first cell that is not implemented."""
    world = {}
    for cell in notebook.cells:
        try:
            exec(cell.source if cell.cell_type == "code" else "", world)
        except NotImplementedError:
            return grade_id(cell)


@pytest.mark.parametrize("name", NAMES)
def test_a_release_tells_nothing_and_fails_at_its_first_stub(built, name):
    notebook = released(built, name)
    source = nbformat.read(built / "source" / name / f"{name}.ipynb", as_version=4)
    assert course.leaks(source, notebook) == []
    assert course.leaks(source, source) != []  # the check can fail
    assert first_stub(notebook).startswith(next(iter(solutions(name))))
    text = "\n".join(cell.source for cell in notebook.cells)
    assert "verdict" not in text
    assert "SOLUTION" not in text
    assert text.count("YOUR CODE HERE") == len(solutions(name))
    assert text.count("YOUR ANSWER HERE") == 1


def test_a_private_test_is_hidden_and_counts(built):
    notebook = released(built, "a1_noising")
    assert points_of(notebook)["a1_level_private_1"] == 3
    assert "1e9" not in str(notebook)


@pytest.mark.parametrize(
    ("student", "lost"),
    [
        ("right", []),
        ("otherwise", []),
        ("wrong", FIRST_MISTAKES),
        ("untouched", ["a1_noised", "a1_level", "a1_guess"]),
        ("crashing", ["a1_noised"]),
        ("endless", ["a1_level"]),
        ("greedy", ["a1_level"]),
        ("tampering", FIRST_MISTAKES),
    ],
)
def test_the_score_in_the_table(built, table, student, lost):
    """Every graded test but the lost ones; the written answer waits for a person."""
    points = points_of(released(built, "a1_noising"))
    kept = [key for key in points if not any(key.startswith(one) for one in [*lost, "a1_question"])]
    row = table[student, "a1_noising"]
    assert float(row["score"]) == sum(points[key] for key in kept)
    assert float(row["max_score"]) == sum(points.values())


@pytest.mark.parametrize("name", NAMES[1:])
def test_every_assignment_tells_right_from_wrong(built, table, name):
    points = points_of(released(built, name))
    by_test = sum(value for key, value in points.items() if not key.endswith("question"))
    assert float(table["right", name]["score"]) == by_test
    assert float(table["wrong", name]["score"]) <= by_test / 2


def test_feedback_names_the_mistake(built, table):
    for student, said in {
        "wrong": "Both roots are missing",
        "endless": "stopped after",
        "greedy": "MemoryError",
        "crashing": "SystemExit",
    }.items():
        assert said in feedback(built, student, "a1_noising").read_text()


def test_a_person_s_points_come_into_the_table(built, table):
    from nbgrader.api import Gradebook

    with Gradebook(f"sqlite:///{built / 'gradebook.db'}") as book:
        waiting = book.find_submission("a1_noising", "right")
        assert waiting.needs_manual_grade
        answer = book.find_grade("a1_question", "a1_noising", "a1_noising", "right")
        answer.manual_score, answer.needs_manual_grade = 3, False  # as the formgrader saves a mark
        book.db.commit()
    before = written(built, "right", "a1_noising"), written(built, "right", NAMES[1])
    grading.grade(built)
    after = written(built, "right", "a1_noising"), written(built, "right", NAMES[1])
    assert all(later > earlier for later, earlier in zip(after, before, strict=True))
    row = rows_of(built)["right", "a1_noising"]
    assert float(row["score"]) == float(table["right", "a1_noising"]["score"]) + 3
    assert [table["right", "a1_noising"]["status"], row["status"]] == ["to read", "graded"]
    assert table["endless", NAMES[1]]["status"] == "missing"


def test_the_formgrader_of_make_formgrade_finds_the_course(built, table):
    """JupyterLab, started in the course's folder, serves what waits for a person."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    options = f"--allow-root --no-browser --ip=127.0.0.1 --port={port} --IdentityProvider.token=x"
    command = [sys.executable, "-m", "jupyter", "lab", *options.split()]
    lab = subprocess.Popen(command, cwd=built, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}/formgrader/api/assignments"
    asked = urllib.request.Request(address, headers={"Authorization": "token x"})
    try:
        for _ in range(60):
            with contextlib.suppress(OSError):
                found = json.load(urllib.request.urlopen(asked, timeout=30))
                break
            time.sleep(1)
    finally:
        lab.terminate()
        lab.wait(30)
    assert [one["name"] for one in found] == NAMES
    assert found[0]["num_submissions"] == 8


def test_what_changed_is_graded_again_and_bad_files_stop_nobody(built, table, capsys):
    """An older file time hides nothing; a written answer that changed waits to be read again."""
    changed = solutions("a1_noising") | {"a1_question": "On second thoughts: no idea."}
    handed_in(built, "right", "a1_noising", changed)
    os.utime(built / "submitted" / "right" / "a1_noising" / "a1_noising.ipynb", (0, 0))
    for student, name, file in (
        ("otto", "a1_noising", "a1_noising (1).ipynb"),
        ("ida", "a1_noise", "a1_noise.ipynb"),
        ("-d", NAMES[1], "x"),
    ):
        (built / "submitted" / student / name).mkdir(parents=True)
        (built / "submitted" / student / name / file).write_text("{}")
    handed_in(built, "broken", "a1_noising", {})
    (built / "submitted" / "broken" / "a1_noising" / "a1_noising.ipynb").write_text("{")
    before = [written(built, "right", name) for name in NAMES]
    with pytest.raises(InputError) as raised:
        grading.grade(built)
    after = [written(built, "right", name) for name in NAMES]
    newer = [later > earlier for later, earlier in zip(after, before, strict=True)]
    assert newer == [True] + 4 * [False]
    said, out = str(raised.value), capsys.readouterr().out
    assert "otto, a1_noising: expected a1_noising.ipynb, as it was released; found a1_" in said
    assert "ida, a1_noise: there is no such assignment; there are a1_noising" in said
    assert "-d, a2_bayes_and_cg: the student's name" in said
    assert "broken, a1_noising: this is no notebook" in said
    assert re.findall(r"^\S+: \w+ graded$", out, re.M) == ["a1_noising: right graded"]
    assert f"{7 + 2 * len(NAMES[1:])} unchanged" in out
    assert rows_of(built)["right", "a1_noising"]["status"] == "to read"
    for student in ("otto", "ida", "-d", "broken"):
        shutil.rmtree(built / "submitted" / student)


def test_cells_that_a_student_lost_are_put_back_and_copies_do_not_count(built, table, capsys):
    """One test cell deleted, one solution copied, one without metadata: full points, and a note."""
    handed_in(built, "careless", "a1_noising", solutions("a1_noising"))
    path = built / "submitted" / "careless" / "a1_noising" / "a1_noising.ipynb"
    notebook = nbformat.read(path, as_version=4)
    cells = [cell for cell in notebook.cells if grade_id(cell) != "a1_noised_values"]
    (copied,) = [cell for cell in cells if grade_id(cell) == "a1_level"]
    cells.insert(cells.index(copied) + 1, nbformat.from_dict({**copied, "id": "another"}))
    (bare,) = [cell for cell in cells if grade_id(cell) == "a1_guess"]
    del bare.metadata["nbgrader"]
    nbformat.write(nbformat.from_dict({**notebook, "cells": cells}), path)
    grading.grade(built)
    out = capsys.readouterr().out
    for note in (
        "a1_noised_values was missing and was put back",
        "a1_level was there twice",
        "a1_guess was missing",
    ):
        assert f"careless, a1_noising: {note}" in out
    assert float(rows_of(built)["careless", "a1_noising"]["score"]) == 19
    shutil.rmtree(path.parent.parent)


def test_a_submission_that_stops_nbgrader_is_named_and_ended(built, table, monkeypatch):
    """One that ignores interrupts would run for ever: the whole process is ended after its time."""
    handed_in(built, "stubborn", "a1_noising", {"a1_noised": STUBBORN})
    monkeypatch.setattr(grading, "SUBMISSION_SECONDS", 25.0)
    with pytest.raises(InputError, match=re.escape("stubborn, a1_noising: stopped after 25 s.")):
        grading.grade(built)


def test_an_assignment_that_was_graded_is_not_changed(built, table, tmp_path):
    """With other private tests nothing is written; with the same ones nothing needs to be."""
    with pytest.raises(InputError, match="a1_noising: changed, but submissions were graded"):
        course.assign(built)
    (tmp_path / "a1_noising.py").write_text(OWN_TEST)
    before = (built / "release" / "a1_noising" / "a1_noising.ipynb").stat().st_mtime_ns
    course.assign(built, tmp_path)
    assert (built / "release" / "a1_noising" / "a1_noising.ipynb").stat().st_mtime_ns == before
