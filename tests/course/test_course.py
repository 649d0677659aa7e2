"""Building a course, without nbgrader: private tests, leaks, and what is put back into a notebook that came back."""

import nbformat
import pytest

from minidiff.symbols import InputError
from minidiff.teaching import course, grading
from minidiff.teaching.course import SOLVED, grade_id


@pytest.mark.parametrize(
    ("test", "why"),
    [
        ("assert first_level_below(", "SyntaxError"),
        ("assert first_level_below(1.0, torch.ones(3)) == 9", "IndexError"),
        ("assert 1 == 2", "AssertionError"),
    ],
)
def test_a_private_test_that_our_own_solution_fails_is_refused(tmp_path, test, why):
    (tmp_path / "a1_noising.py").write_text(f"# %% after a1_level: 1 point\n{test}\n")
    with pytest.raises(InputError, match=f"a1_level fails on our own solution: {why}"):
        course.solved_notebooks(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        course.solved_notebooks(tmp_path / "typo")
    (tmp_path / "a1_nosing.py").write_text("")
    with pytest.raises(InputError, match="tests for a1_nosing, but the assignments are a1_noising"):
        course.solved_notebooks(tmp_path)


def test_a_line_that_everybody_sees_is_no_leak():
    notebook = nbformat.read(SOLVED / "a1_noising.ipynb", as_version=4)
    line = "x_0, eps = torch.randn(2, 3, 1, 28, 28, dtype=torch.float64)"
    more = course.with_private(notebook, [course.Private("a1_noised", 1, f"{line}\nassert len(x_0) == 3")])
    released = nbformat.from_dict({**notebook, "cells": notebook.cells[:5]})
    assert line in released.cells[4].source
    assert course.leaks(more, released) == course.leaks(notebook, released)


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("assert True\n", "starts with"),
        ("# %% before a1_level: 3 points\nassert True", "not of the form"),
        ("# %% after a1_level: 3 points\n\n", "without a test"),
        ("# %% after a1_level: 0 points\nassert True", "not of the form"),
    ],
)
def test_private_tests_that_are_malformed(tmp_path, text, says):
    (tmp_path / "a1_noising.py").write_text(text)
    with pytest.raises(InputError, match=says):
        course.private_tests(tmp_path / "a1_noising.py")


def test_a_private_test_of_no_solution_names_those_there_are():
    notebook = nbformat.read(SOLVED / "a1_noising.ipynb", as_version=4)
    with pytest.raises(InputError, match="there are: a1_noised, a1_level, a1_guess"):
        course.with_private(notebook, [course.Private("a1_nothing", 1, "assert True")])


def test_what_is_missing_goes_behind_what_stood_before_it():
    """Whatever is taken out, the graded cells come back in their order; what is whole stays as it is."""
    whole = nbformat.read(SOLVED / "a1_noising.ipynb", as_version=4)
    order = [grade_id(cell) for cell in whole.cells if grade_id(cell)]
    for gone in ([], order[:1], order[3:5], order[-1:], order):
        kept = [cell.copy() for cell in whole.cells if grade_id(cell) not in gone]
        came = nbformat.from_dict({**whole, "cells": kept})
        notes = grading.repaired(came, whole)
        assert [note.split()[0] for note in notes] == gone
        assert [grade_id(cell) for cell in came.cells if grade_id(cell)] == order
