"""Tables of results: seeds put together by hand, files read back, and files that are none."""

import math

import pandas as pd
import pytest

from minidiff.evaluation.metrics import share_error
from minidiff.evaluation.results import (
    COLUMNS,
    METRICS,
    as_table,
    kept_rows,
    over_seeds,
    read_results,
    write_results,
)
from minidiff.symbols import InputError

USUAL = {"method": "cfg", "s": 2.0, "w": 1.0, "seed": 0, "n": 500, "steps": 50, "accuracy": 0.98}
USUAL |= {"confident": 0.9, "frechet": 3.0, "precision": 0.8, "recall": 0.7, "diversity": 5.0}
USUAL |= {"weights": "00e12"}


def table(*changes: dict) -> pd.DataFrame:
    return pd.DataFrame([{**USUAL, **change} for change in changes]).astype(COLUMNS)


REAL = {"method": "real", "s": 0.0}


def test_seeds_are_put_together_by_hand():
    found = over_seeds(
        table(
            {**REAL, "frechet": 2.0},
            {**REAL, "frechet": 4.0, "seed": 1},
            {"accuracy": 0.97, "frechet": 5.0},
            {"accuracy": 0.99, "frechet": 7.0, "seed": 1},
            {"s": 4.0},
        )
    )
    real, two, one = found.itertuples()
    assert (two.method, two.s, two.w, two.n, two.seeds) == ("cfg", 2.0, 1.0, 1000, 2)
    assert two.accuracy == pytest.approx(0.98)
    assert two.accuracy_error == share_error(980, 1000)
    assert two.frechet == pytest.approx(6 / 3)  # the mean of the real rows is 3
    # std of 5/3 and 7/3 is 2/3 / sqrt(2); over sqrt(2) seeds
    assert two.frechet_error == pytest.approx(1 / 3)
    assert real.frechet == pytest.approx(1)
    assert math.isnan(one.recall_error)
    assert one.accuracy_error > 0
    assert {*METRICS, *(f"{name}_error" for name in METRICS)} < set(found.columns)


def test_what_is_written_is_read_back(tmp_path):
    """Fingerprints that look like numbers stay words."""
    rows = table({"seed": 1}, {"method": "cg", "accuracy": 1 / 3}, REAL)
    write_results(tmp_path / "a.csv", "how it came about", rows)
    assert (tmp_path / "a.csv").read_text().startswith("# how it came about\nmethod,s,w,seed,n,")
    pd.testing.assert_frame_equal(read_results(tmp_path / "a.csv"), rows)
    assert read_results(tmp_path / "a.csv").weights[0] == "00e12"
    assert [row["accuracy"] for row in kept_rows(tmp_path / "a.csv")] == [0.98, 1 / 3, 0.98]
    assert kept_rows(tmp_path / "none.csv") == []


def test_the_table_shows_means_with_their_errors():
    rows = table(
        {**REAL, "frechet": 2.0},
        {"accuracy": 0.97, "frechet": 5.0},
        {"accuracy": 0.99, "frechet": 7.0, "seed": 1},
    )
    head, _, real, two = as_table(over_seeds(rows)).splitlines()
    assert len(head.split("|")) == len(two.split("|"))
    assert real == "| real |  |  | 500 | 98.0 ± 0.7 | 90.0 ± 1.4 | 1.00 | 0.80 | 0.70 | 5.00 |"
    assert two.startswith("| cfg | 2 | 1 | 1,000 | 98.0 ± 0.5 | 90.0 ± 1.0 | 3.00 ± 0.50 | 0.80 ±")


def test_no_table_and_a_broken_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("# something\na,b\n1,2\n")
    with pytest.raises(InputError, match="not a table of minidiff evaluate"):
        read_results(path)
    write_results(path, "whole", table({}))
    whole = path.read_text()
    for broken in (whole[:-30], whole.replace(",500,", ",many,")):
        path.write_text(broken)
        with pytest.raises(InputError, match="broken or truncated"):
            read_results(path)
