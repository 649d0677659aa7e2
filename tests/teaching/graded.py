"""A small assignment by hand: tests/course has the real ones, which students do not get."""

import nbformat
from nbformat.notebooknode import NotebookNode

SECRET = "x_t = abar**0.5 * x_0 + (1 - abar) ** 0.5 * eps"


def cell(name: str, source: str, points: int = 0) -> NotebookNode:
    """A solution, or a locked test with points."""
    about = {"grade_id": name, "solution": not points, "locked": points > 0, "grade": points > 0}
    graded = nbformat.v4.new_code_cell(source)
    graded.metadata["nbgrader"] = about | ({"points": points} if points else {})
    return graded


def assignment() -> NotebookNode:
    """Two solutions, the first with two tests."""
    hidden = (
        f"### BEGIN HIDDEN TESTS\nassert noised(1, 0, 1) == 1  # {SECRET}\n### END HIDDEN TESTS"
    )
    notebook = nbformat.v4.new_notebook()
    notebook.cells = [
        nbformat.v4.new_code_cell("import torch"),
        cell("a_noised", f"### BEGIN SOLUTION\n{SECRET}\n### END SOLUTION"),
        cell("a_noised_values", hidden, points=2),
        cell("a_noised_shape", "assert True", points=1),
        nbformat.v4.new_markdown_cell("And now the other one."),
        cell("a_level", "### BEGIN SOLUTION\npass\n### END SOLUTION"),
    ]
    return notebook
