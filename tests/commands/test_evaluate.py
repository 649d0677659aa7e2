"""minidiff evaluate: what is measured, and what is said when it is interrupted."""

from pathlib import Path

import pytest

from minidiff.commands import evaluate
from minidiff.evaluation import sweep
from minidiff.evaluation.reference import Reference
from minidiff.evaluation.results import COLUMNS
from minidiff.evaluation.sweep import Setting

VALUES = ("cfg", 2.0, 1.0, 0, 500, 50, 0.98, 0.9, 3.0, 0.8, 0.7, 5.0, "abc")
ROW = dict(zip(COLUMNS, VALUES, strict=True))


@pytest.fixture(autouse=True)
def no_reference(monkeypatch):
    """It would take a minute."""
    monkeypatch.setattr(evaluate, "reference", lambda evaluator: Reference(evaluator, *[None] * 4))


@pytest.fixture
def measured(monkeypatch):
    """Method, s and seed of every row; the first is measured, then Ctrl-C is heard."""
    rows = []

    def once(name, method, reference, s, setting, seed):
        rows.append((name, s, seed))
        if len(rows) > 1:
            raise KeyboardInterrupt
        return ROW

    monkeypatch.setattr(sweep, "measured", once)
    monkeypatch.setattr(sweep, "fingerprint", lambda weights, evaluator: "abc")
    monkeypatch.setattr(sweep, "real_rows", lambda reference, setting: [])
    return rows


def test_nothing_is_measured_twice_and_scales_are_what_the_file_holds(measured, run):
    """A third has no end; the file holds five digits of it, and must stay continuable."""
    assert run("evaluate --methods cfg cg cfg --scales 1.3333333 2 1.33333").status == 130
    assert measured == [("cfg", 1.33333, 0), ("cfg", 2.0, 0)]


def test_an_interrupted_one_says_what_is_kept(measured, run):
    done = run("evaluate --methods cfg --scales 2 --seeds 3 --out t.csv")
    assert done.status == 130
    assert "interrupted; 1 of 3 rows are in t.csv; the same command goes on." in done.err
    assert len(Path("t.csv").read_text().splitlines()) == 3
    measured.clear()
    done = run("evaluate --methods cfg --scales 2")
    assert done.status == 130
    assert "interrupted; no file was changed." in done.err


def test_the_file_names_the_command_that_makes_it():
    setting = Setting((2.0, 0.5), seeds=3, each=4, steps=5)
    words = evaluate.command(("cfg",), setting)
    assert words == (
        "python -m minidiff evaluate --methods cfg --scales 2 0.5 --n 4 --seeds 3 --steps 5"
    )
    usual = evaluate.command(evaluate.METHODS, Setting())
    assert "--methods" not in usual
    assert "--scales" not in usual


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--n 0", "--n must be at least 1"),
        ("--seeds 0", "--seeds must be at least 1"),
        ("--scales nan", "--scales must be finite"),
        ("--n 1 --steps 1 --seeds 1", "wants at least 129 images, got 10"),
        ("--out bytes.csv", "not a table of minidiff evaluate"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(refused, options, says):
    Path("bytes.csv").write_bytes(bytes(range(256)))
    assert says in refused(f"evaluate {options}")
