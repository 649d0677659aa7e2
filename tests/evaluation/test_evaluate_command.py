"""minidiff evaluate, without the work: what is measured, and what is said when it is interrupted."""

import pytest

from minidiff.commands import evaluate, main
from minidiff.evaluation import sweep
from minidiff.evaluation.reference import Reference
from minidiff.evaluation.sweep import Row

ROW = Row("cfg", 2.0, 1.0, 0, 500, 50, 0.98, 0.9, 3.0, 0.8, 0.7, 5.0, "abc")


@pytest.fixture
def asked(monkeypatch):
    """What is measured: method, s and seed of every row; the first is made, then Ctrl-C is heard."""
    rows = []

    def measured(name, method, reference, s, setting, seed):
        rows.append((name, s, seed))
        if len(rows) > 1:
            raise KeyboardInterrupt
        return ROW

    monkeypatch.setattr(sweep, "measured", measured)
    monkeypatch.setattr(sweep, "fingerprint", lambda weights, evaluator: "abc")
    monkeypatch.setattr(sweep, "real_rows", lambda reference, setting: [])
    monkeypatch.setattr(evaluate, "reference", lambda evaluator: Reference(evaluator, *[None] * 4))
    return rows


def test_nothing_is_measured_twice_and_scales_are_what_the_file_holds(asked):
    """A third has no end; the file holds five digits of it, and must be one that can be continued."""
    assert main(["evaluate", "--methods", "cfg", "cg", "cfg", "--scales", "1.3333333", "2", "1.33333"]) == 130
    assert asked == [("cfg", 1.33333, 0), ("cfg", 2.0, 0)]


def test_an_interrupted_one_says_what_is_kept(asked, tmp_path, capsys):
    out = tmp_path / "t.csv"
    assert main(["evaluate", "--methods", "cfg", "--scales", "2", "--seeds", "3", "--out", str(out)]) == 130
    assert f"interrupted; 1 of 3 rows are in {out}; the same command goes on." in capsys.readouterr().err
    assert len(out.read_text().splitlines()) == 3
    asked.clear()
    assert main(["evaluate", "--methods", "cfg", "--scales", "2"]) == 130
    assert "interrupted; no file was changed." in capsys.readouterr().err


def test_a_file_that_is_no_text_is_refused(tmp_path, capsys):
    (tmp_path / "t.csv").write_bytes(bytes(range(256)))
    assert main(["evaluate", "--out", str(tmp_path / "t.csv")]) == 2
    assert "not a table of minidiff evaluate" in capsys.readouterr().err
