"""The limits that every lesson keeps, read from the stored notebooks (nbval runs them)."""

import inspect
import re
from pathlib import Path
from statistics import median

import nbformat
import pytest

FOLDER = Path(__file__).resolve().parents[1] / "notebooks"
LESSONS = sorted(FOLDER.glob("*.ipynb"))


@pytest.fixture(params=LESSONS, ids=lambda path: path.stem)
def lesson(request):
    return request.param, nbformat.read(request.param, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def text(notebook) -> str:
    return "\n".join(cell.source for cell in notebook.cells if cell.cell_type == "markdown")


def exercises_table() -> str:
    """The table of INSTRUCTORS.md, from the notebooks: a row for each lesson."""
    lines = []
    for path in LESSONS:
        notebook = nbformat.read(path, as_version=4)
        exercise = r"\*\*Exercise \d+\.\d+\*\* · difficulty (\d)/5 · (?:(\d+) min)?"
        found = re.findall(exercise, text(notebook))
        checked = sum(cell.source.count("print(checks.") for cell in code_cells(notebook))
        levels, minutes = [int(level) for level, _ in found], sum(int(m) for _, m in found if m)
        name, span = f"[{path.stem}]({path.name})", f"{min(levels)} to {max(levels)} of 5"
        lines.append(f"| {name} | {len(found)} | {checked} | {span} | {minutes} |")
    return "\n".join(lines)


def test_instructors_see_the_exercises_that_are_there():
    assert exercises_table() in (FOLDER / "INSTRUCTORS.md").read_text(encoding="utf-8")


def test_there_are_lessons():
    names = """00_start_here 01_noising 02_predicting_the_noise 03_train_a_ddpm 04_bayes
        05_noisy_classifier 06_classifier_guidance 07_conditional_unet 08_classifier_free
        09_what_w_does 10_cg_or_cfg 11_words 12_beyond 13_find_the_bug 14_nobody_asks"""
    assert [path.stem for path in LESSONS] == names.split()


def test_every_cell_was_run_once_in_order_and_left_no_error(lesson):
    _, notebook = lesson
    cells = code_cells(notebook)
    assert [cell.execution_count for cell in cells] == list(range(1, len(cells) + 1))
    outputs = [output for cell in cells for output in cell.outputs]
    assert not [output for output in outputs if output.output_type == "error"]
    assert not [output for output in outputs if output.get("name") == "stderr"]
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert 6 <= len(pictures) <= 15


def test_a_stripped_notebook_would_be_noticed(lesson):
    """nbval passes a notebook without outputs: at least half of the cells must have stored one."""
    _, notebook = lesson
    cells = code_cells(notebook)
    assert sum(bool(cell.outputs) for cell in cells) >= len(cells) / 2


def test_nothing_that_is_compared_depends_on_the_machine(lesson):
    """In cells that nbval compares: no residue, no seconds, no share that a network decides."""
    _, notebook = lesson
    for cell in code_cells(notebook):
        if "nbval-ignore-output" in cell.metadata.get("tags", []) or "show(" in cell.source:
            continue
        text = "".join(output.get("text", "") for output in cell.outputs)
        assert not residues(text), cell.source
        assert not re.search(r"\d (s|ms|seconds|MB)\b", text), cell.source
        if re.search(r"\b(class_accuracy|confident|retrieval)\(", cell.source):
            assert not re.search(r"\d %", text), cell.source


def residues(text: str) -> list[str]:
    """Numbers as small as what rounding leaves, unless they are said to be a bound."""
    return re.findall(r"(?<!within )(?<!tolerance )\b\d[\d.]*e-(?:0[7-9]|[1-9]\d)", text)


def test_a_printed_residue_would_be_seen():
    assert residues("cosine: got 9.2e-10") == ["9.2e-10"]
    assert not residues("M4: 8,000 numbers agree within 1e-12: ok; variance 1.2e-06")


def test_the_source_that_a_lesson_shows_is_the_source_of_today(lesson):
    """nbval says so too, minutes later: this names the lesson to run again."""
    _, notebook = lesson
    cells, world = code_cells(notebook), {}
    for line in "\n".join(cell.source for cell in cells).splitlines():
        if re.match(r"(import|from) minidiff", line):
            exec(line, world)
    for cell in cells:
        stored = "".join(output.get("text", "") for output in cell.outputs)
        for name in re.findall(r"\bshow\(([\w.]+)\)", cell.source):
            shown = inspect.getsource(eval(name, world))
            assert shown in stored, f"{name} has changed: run this lesson again"
            assert max(map(len, shown.splitlines())) <= 88, f"{name} is too wide for a page"


def test_code_is_short_and_text_is_not_scarce(lesson):
    _, notebook = lesson
    cells = code_cells(notebook)
    lengths = [len([line for line in cell.source.splitlines() if line.strip()]) for cell in cells]
    assert median(lengths) <= 6
    assert max(lengths) <= 20
    assert not [cell for cell in cells if re.search(r"^\s*class ", cell.source, re.M)]
    assert len(notebook.cells) - len(cells) >= 0.8 * len(cells)
    # without formulas and tags
    prose = re.sub(r"\$\$.*?\$\$|\$[^$]*\$|</?[a-z]+>", " ", text(notebook), flags=re.S)
    words = len(re.findall(r"\w+", prose))
    assert 800 <= words <= 2500


def test_the_anatomy(lesson):
    path, notebook = lesson
    prose = text(notebook)
    # the title is a question, the answer follows in bold
    assert re.match(r"# \d+ · .*\?\n\n\*\*", notebook.cells[0].source)
    for heading in ("Break it", "Exercises", "What to remember"):
        assert f"## {heading}" in prose
    for start in ("**You will be able to**", "**Sources.**"):
        assert start in prose
    number = int(path.stem[:2])
    exercises = re.findall(rf"\*\*Exercise {number}\.(\d)\*\* · difficulty \d/5 · .*? · \*", prose)
    assert exercises == [str(i + 1) for i in range(len(exercises))]
    assert 3 <= len(exercises) <= 5
    assert len(code_cells(notebook)[0].source.splitlines()) <= 8


def test_it_is_small_and_names_no_widget_or_machine(lesson):
    path, notebook = lesson
    assert path.stat().st_size < 1_000_000
    assert "widgets" not in notebook.metadata
    assert notebook.metadata.kernelspec.name == "python3"
    assert not re.search(r"0x[0-9a-f]{8}|cuda:\d", path.read_text())


def test_links_between_lessons_lead_somewhere(lesson):
    _, notebook = lesson
    for target in re.findall(r"\]\(([^)#]+)\)", text(notebook)):
        assert target.startswith("http") or (FOLDER / target).exists(), target
