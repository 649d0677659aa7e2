"""Grading without nbgrader: what was handed in, and cells that were lost or copied."""

from copy import deepcopy

import nbformat
import pytest
from graded import assignment

from minidiff.symbols import InputError
from minidiff.teaching import grading
from minidiff.teaching.course import grade_id


def names(notebook) -> list[str]:
    return [grade_id(cell) for cell in notebook.cells if grade_id(cell)]


@pytest.mark.parametrize("gone", [[], [0], [1, 2], [3], [0, 1, 2, 3]])
def test_what_is_missing_goes_behind_what_stood_before_it(gone):
    """Whatever is taken out, the graded cells come back in their order."""
    whole, order = assignment(), names(assignment())
    lost = [order[i] for i in gone]
    kept = [cell for cell in assignment().cells if grade_id(cell) not in lost]
    came = nbformat.from_dict({**whole, "cells": kept})
    assert [note.split()[0] for note in grading.repaired(came, whole)] == lost
    assert names(came) == order


def test_the_copy_of_a_cell_is_no_longer_graded():
    came = assignment()
    came.cells.insert(3, deepcopy(came.cells[1]))
    assert grading.repaired(came, assignment()) == [
        "a_noised was there twice, the first one counts"
    ]
    assert names(came) == names(assignment())


def test_submissions_are_found_and_others_are_refused_with_a_reason(tmp_path):
    (tmp_path / "release" / "a").mkdir(parents=True)
    for file in ("ada/a/a.ipynb", "ada/b/b.ipynb", "otto/a/a (1).ipynb", "-d/a/a.ipynb"):
        path = tmp_path / "submitted" / file
        path.parent.mkdir(parents=True)
        path.write_text("{}")
    found = grading.submissions(tmp_path)
    assert found.notebooks == {("ada", "a"): tmp_path / "submitted" / "ada" / "a" / "a.ipynb"}
    assert "there is no such assignment; there are a" in found.refused["ada", "b"]
    assert "found a (1).ipynb" in found.refused["otto", "a"]
    assert "the student's name" in found.refused["-d", "a"]


def test_an_empty_course_is_told_what_to_do(tmp_path):
    with pytest.raises(InputError, match="no STUDENT/ASSIGNMENT"):
        grading.grade(tmp_path)
