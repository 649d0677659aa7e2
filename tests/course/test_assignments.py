"""The graded assignments: hidden tests against every answer, and the form nbgrader needs."""

import re

import nbformat
import pytest
from answers_guidance import RIGHT as RIGHT_GUIDANCE
from answers_guidance import WRONG as WRONG_GUIDANCE
from answers_noise import RIGHT as RIGHT_NOISE
from answers_noise import WRONG as WRONG_NOISE

from minidiff.teaching.course import SOLVED, grade_id, is_solution, is_test, points_of

RIGHT, WRONG = RIGHT_NOISE | RIGHT_GUIDANCE, WRONG_NOISE | WRONG_GUIDANCE
ASSIGNMENTS = {
    path.stem: nbformat.read(path, as_version=4) for path in sorted(SOLVED.glob("*.ipynb"))
}
CELLS = {
    grade_id(cell): cell
    for notebook in ASSIGNMENTS.values()
    for cell in notebook.cells
    if grade_id(cell)
}
FUNCTIONS = [name for name, cell in CELLS.items() if is_solution(cell)]
FLOAT32 = """
def in_float32(f):
    def g(*given):
        came = f(*given)
        if callable(came):
            return in_float32(came)
        values = came if isinstance(came, tuple) else (came,)
        back = [torch.as_tensor(value).float() for value in values]
        return tuple(back) if isinstance(came, tuple) else back[0]
    return g
{0} = in_float32({0})
"""


def hidden_tests(name: str) -> list[str]:
    tests = [
        cell.source for key, cell in CELLS.items() if is_test(cell) and key.startswith(f"{name}_")
    ]
    assert len(tests) >= 2, f"{name} has a test that a student sees, and a hidden one"
    return [source for source in tests if "BEGIN HIDDEN TESTS" in source]


def failures(name: str, answer: str) -> list[str]:
    """What the hidden tests of a solution say against an answer."""
    said = []
    for test in hidden_tests(name):
        world = {}
        exec("import torch\nimport minidiff as md\n" + answer, world)
        try:
            exec(test, world)
        except Exception as error:  # as nbgrader: whatever is raised costs the points
            said.append(str(error))
    return said


def function_of(name: str) -> str:
    return re.search(r"^def (\w+)", CELLS[name].source, re.M)[1]


def test_there_are_five_assignments_of_three_functions_and_a_question():
    assert len(ASSIGNMENTS) >= 5
    assert set(RIGHT) == set(WRONG) == set(FUNCTIONS)
    for notebook in ASSIGNMENTS.values():
        assert sum(is_solution(cell) for cell in notebook.cells) >= 3
        (written,) = [
            cell
            for cell in notebook.cells
            if cell.cell_type == "markdown" and grade_id(cell).endswith("question")
        ]
        assert written.metadata.nbgrader.grade
        assert written.metadata.nbgrader.solution


@pytest.mark.parametrize("name", FUNCTIONS)
def test_right_answers_in_every_style_are_accepted(name):
    assert len(RIGHT[name]) >= 2
    for answer in [CELLS[name].source, *RIGHT[name]]:
        assert failures(name, answer) == []
        # levels are whole; Bayes' rule is asked for to 1e-8
        if name not in ("a1_level", "a2_guided"):
            assert failures(name, answer + FLOAT32.format(function_of(name))) == []


@pytest.mark.parametrize(
    ("name", "answer", "sentence"),
    [(name, *case) for name in WRONG for case in WRONG[name]],
    ids=lambda value: str(value)[:30],
)
def test_each_mistake_gets_its_own_sentence(name, answer, sentence):
    said = failures(name, answer)
    assert any(sentence in line for line in said), said


@pytest.mark.parametrize("name", FUNCTIONS)
def test_every_sentence_of_a_hidden_test_is_reached(name):
    sentences = [
        text
        for test in hidden_tests(name)
        for text in re.findall(r'^    "([^"]{10,})": ', test, re.M)
    ]
    said = " ".join(line for answer, _ in WRONG[name] for line in failures(name, answer))
    assert [text for text in sentences if text not in said] == []


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("body", ["raise ValueError('boom')", "return None", "return 'text'"])
def test_an_answer_that_is_none_fails_with_a_sentence(name, body):
    head = CELLS[name].source.splitlines()[0]
    said = failures(name, f"{head}\n    {body}")
    assert said
    assert any(len(line) > 10 for line in said)


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_first_cell_states_the_points(name):
    notebook = ASSIGNMENTS[name]
    told = re.search(r"(\d+) points, (\d+) of them for words", notebook.cells[0].source)
    points = points_of(notebook)
    assert sum(points.values()) == int(told[1])
    assert points[f"{name[:2]}_question"] == int(told[2])
    for title, stated in re.findall(
        r"^## (\d) · .*?\((\d+) points", "\n".join(cell.source for cell in notebook.cells), re.M
    ):
        part = [
            *(grade_id(cell) for cell in notebook.cells if is_solution(cell)),
            f"{name[:2]}_question",
        ][int(title) - 1]
        assert sum(value for key, value in points.items() if key.startswith(part)) == int(stated)


def test_instructors_see_the_points_that_there_are():
    page = (SOLVED.parent / "INSTRUCTORS.md").read_text(encoding="utf-8")
    for name, notebook in ASSIGNMENTS.items():
        points, read = points_of(notebook), points_of(notebook)[f"{name[:2]}_question"]
        minutes = re.search(r"about (\d+) minutes", notebook.cells[0].source)[1]
        functions = sum(is_solution(cell) for cell in notebook.cells)
        row = rf"\| \[{name}\]\(course/{name}\.ipynb\) \| [\d, ]+ \| {functions} \| "
        row += rf"{sum(points.values()) - read} \+ {read} \| {minutes} \|"
        assert re.search(row, page), row


@pytest.mark.parametrize("name", ASSIGNMENTS)
def test_the_solved_notebook_was_run_once_in_order(name):
    code = [cell for cell in ASSIGNMENTS[name].cells if cell.cell_type == "code"]
    assert [cell.execution_count for cell in code] == list(range(1, len(code) + 1))
    outputs = [output for cell in code for output in cell.outputs]
    assert outputs
    assert not [
        output
        for output in outputs
        if output.output_type == "error" or output.get("name") == "stderr"
    ]
