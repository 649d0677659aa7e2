"""Lays out what Sphinx reads: the repository's texts and notebooks in their places, the lesson
table, a page for each module.
"""

import json
import pkgutil
import re
import shutil
import sys
from importlib import import_module
from pathlib import Path

import minidiff

ROOT = Path(__file__).resolve().parents[1]
TEXTS = [
    "README.md",
    "data/README.md",
    "data/weights/README.md",
    "data/results/README.md",
    "notebooks/INSTRUCTORS.md",
]
FILES = [
    "CITATION.cff",
    "data/results/digits_by_scale.png",
    "tests/diffusion/test_guidance.py",
    "book/package-lock.json",
]
FILES += [str(path.relative_to(ROOT)) for path in sorted((ROOT / "data" / "results").glob("*.csv"))]


def lay_out(place: Path) -> None:
    """Everything that Sphinx reads, fresh, under `place`.

    Links keep working: the folders are those of the repository.
    """
    shutil.rmtree(place, ignore_errors=True)
    for name in [*FILES, *(str(path.relative_to(ROOT)) for path in lessons())]:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(ROOT / name, place / name)
    for name in TEXTS:
        (place / name).parent.mkdir(parents=True, exist_ok=True)
        text = without_assignments((ROOT / name).read_text("utf-8"))
        (place / name).write_text(to_api(text, depth=name.count("/")), "utf-8")
    front = (ROOT / "book" / "index.md").read_text("utf-8")
    (place / "index.md").write_text(front.replace("{{ lessons }}", lesson_table()), "utf-8")
    api_pages(place / "api")


def lessons() -> list[Path]:
    """The notebooks, in order."""
    return sorted((ROOT / "notebooks").glob("[0-9]*.ipynb"))


def lesson_table() -> str:
    """A row for each lesson: question, exercises and prerequisites from the notebook, minutes
    from README's table.
    """
    readme = (ROOT / "README.md").read_text("utf-8")
    minutes = dict(
        re.findall(r"^\| \[(\w+)\]\(notebooks/\w+\.ipynb\) \|.*\| ([^|]+) \|$", readme, re.M)
    )
    rows = ["| lesson | the question | minutes | exercises | before it |", "|---|---|---|---|---|"]
    for path in lessons():
        cells = json.loads(path.read_text("utf-8"))["cells"]
        text = "\n".join(
            "".join(cell["source"]) for cell in cells if cell["cell_type"] == "markdown"
        )
        number, question = re.match(r"# (\d+) · (.+)", text).groups()
        before = re.search(r"^\| \*\*before this\*\* \| (.+?) \|$", text, re.M)[1]
        exercises = len(re.findall(r"^\*\*Exercise \d+\.\d+\*\*", text, re.M))
        link = f"[{int(number):02}](notebooks/{path.name})"
        if path.stem not in minutes:
            sys.exit(f"README's table of lessons has no row for {path.stem}.")
        rows.append(
            f"| {link} | {question} | {minutes[path.stem]} | {exercises} | {linked(before)} |"
        )
    return "\n".join(rows)


def linked(before: str) -> str:
    """What a notebook says comes before it, with its links as seen from the front page."""
    before = re.sub(r"\]\((\w+\.ipynb)\)", r"](notebooks/\1)", before)
    return re.sub(r"`(\d\d)(_\w+)`", r"[\1](notebooks/\1\2.ipynb)", before)


def to_api(text: str, depth: int) -> str:
    """A text whose links to modules lead to their pages, `depth` folders up."""
    up = "../" * depth

    def page(match: re.Match) -> str:
        return f"]({up}api/{match[1].replace('/', '.')}.rst)"

    return re.sub(r"\]\((?:\.\./)*(minidiff(?:/\w+)+)\.py\)", page, text)


def without_assignments(text: str) -> str:
    """A text that names the solved assignments and does not lead to them: they are no pages of
    the book.
    """
    return re.sub(r"\[(\w+)\]\((course/\w+\.ipynb)\)", r"`\2`", text)


def modules() -> list[str]:
    """Every public module of minidiff that says something, in the order of the folders."""
    names = [info.name for info in pkgutil.walk_packages(minidiff.__path__, "minidiff.")]
    return [name for name in names if "._" not in name and import_module(name).__doc__]


def api_pages(place: Path) -> None:
    """A page for each module and one that lists them by folder, with the first sentence of each."""
    place.mkdir(parents=True)
    listed, folder = ["The package", "==========="], None
    for name in sorted(modules(), key=lambda name: name.count(".") > 1):  # those of no folder first
        (place / f"{name}.rst").write_text(
            f"{name}\n{'=' * len(name)}\n\n.. automodule:: {name}\n", "utf-8"
        )
        if folder != (folder := name.split(".")[1] if name.count(".") > 1 else "minidiff"):
            listed += ["", f".. rubric:: {folder}", ""]
        first = import_module(name).__doc__.strip().splitlines()[0]
        listed += [f":doc:`{name}`", f"    {escaped(first)}", ""]
    hidden = [
        "",
        ".. toctree::",
        "   :hidden:",
        "",
        *(f"   {name.removeprefix('minidiff.')} <{name}>" for name in modules()),
        "",
    ]
    (place / "index.rst").write_text("\n".join(listed + hidden), "utf-8")


def escaped(text: str) -> str:
    """A line that reST takes as it is."""
    return re.sub(r"([\\*`|_])", r"\\\1", text)
