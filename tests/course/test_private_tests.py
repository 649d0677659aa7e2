"""An instructor's own tests beside the solved assignments: what is refused, and what is a leak."""

import nbformat
import pytest

from minidiff.symbols import InputError
from minidiff.teaching import course
from minidiff.teaching.course import SOLVED


@pytest.fixture
def solved():
    return nbformat.read(SOLVED / "a1_noising.ipynb", as_version=4)


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


def test_a_folder_or_file_of_no_assignment_is_refused(tmp_path):
    with pytest.raises(InputError, match="no such folder"):
        course.solved_notebooks(tmp_path / "typo")
    (tmp_path / "a1_nosing.py").write_text("")
    with pytest.raises(InputError, match="tests for a1_nosing, but the assignments are a1_noising"):
        course.solved_notebooks(tmp_path)


def test_a_line_that_everybody_sees_is_no_leak(solved):
    line = "x_0, eps = torch.randn(2, 3, 1, 28, 28, dtype=torch.float64)"
    own = course.Private("a1_noised", 1, f"{line}\nassert len(x_0) == 3")
    released = nbformat.from_dict({**solved, "cells": solved.cells[:5]})
    assert line in released.cells[4].source
    leaks = course.leaks(course.with_private(solved, [own]), released)
    assert leaks == course.leaks(solved, released)


def test_a_private_test_of_no_solution_names_those_there_are(solved):
    with pytest.raises(InputError, match="there are: a1_noised, a1_level, a1_guess"):
        course.with_private(solved, [course.Private("a1_nothing", 1, "assert True")])
