"""Building a course without nbgrader: private tests in their places, and what must not leak."""

import nbformat
import pytest
from graded import SECRET, assignment

from minidiff.symbols import InputError
from minidiff.teaching import course
from minidiff.teaching.course import Private, grade_id, is_solution, is_test, points_of


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


def test_private_tests_are_read_and_go_behind_the_tests_of_their_solution(tmp_path):
    path = tmp_path / "a.py"
    path.write_text("# %% after a_noised: 3 points\nassert True\n# %% after a_level: 1 point\nx\n")
    tests = course.private_tests(path)
    assert tests == [Private("a_noised", 3, "assert True"), Private("a_level", 1, "x")]
    assert course.private_tests(tmp_path / "none.py") == []
    names = [grade_id(cell) for cell in course.with_private(assignment(), tests).cells]
    assert names[3:5] == ["a_noised_shape", "a_noised_private_1"]
    assert names[-2:] == ["a_level", "a_level_private_2"]


def test_solutions_tests_and_points_are_told_apart():
    cells = assignment().cells
    assert [grade_id(cell) for cell in cells if is_solution(cell)] == ["a_noised", "a_level"]
    assert [grade_id(cell) for cell in cells if is_test(cell)] == list(points_of(assignment()))
    assert points_of(assignment()) == {"a_noised_values": 2, "a_noised_shape": 1}


def test_solutions_hidden_tests_and_outputs_leak():
    solved, released = assignment(), assignment()
    for cell in released.cells:
        cell.source = course.SECRET.sub("", cell.source)
    assert course.leaks(solved, released) == []
    released.cells[4].source = SECRET
    assert course.leaks(solved, released) == [f"a_noised: {SECRET}"]
    released.cells[4].source = ""
    released.cells[0].outputs = [nbformat.v4.new_output("stream", text="1")]
    assert course.leaks(solved, released) == ["an output: import torch"]
