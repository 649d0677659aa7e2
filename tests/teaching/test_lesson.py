"""What every lesson uses: comparisons that can fail, shown sources, and shorter runs as a test."""

import math

import pytest
import torch

from minidiff.teaching.lesson import compare, count, show


def test_compare_passes_within_and_raises_beyond(capsys):
    compare("two", 2.0, 2.0 + 1e-9, tolerance=1e-8)
    assert capsys.readouterr().out == "two: expected 2, got 2, the same within 1e-08: ok\n"
    for wrong in (2.1, math.nan):
        with pytest.raises(AssertionError, match="two: the largest difference is"):
            compare("two", 2.0, wrong, tolerance=1e-8)
    compare("many", torch.zeros(3), torch.full((3,), 1e-9), tolerance=1e-8)
    assert capsys.readouterr().out == "many: 3 numbers agree within 1e-08: ok\n"
    compare("all bits", 2, 2, tolerance=0)
    assert "the same exactly: ok" in capsys.readouterr().out


@pytest.mark.parametrize("residue", [3e-17, -4e-14])
def test_compare_prints_no_rounding_noise(capsys, residue):
    """A residue that another CPU rounds otherwise must not be stored in a notebook."""
    compare("nothing", 0.0, residue, tolerance=1e-12)
    compare("mean", 0.7, 0.6994 + residue, tolerance=0.019)
    assert capsys.readouterr().out.count("got 0, ") == 1
    compare("mean", 0.7, 0.6994 + residue, tolerance=0.019)
    assert capsys.readouterr().out == "mean: expected 0.7, got 0.7, the same within 0.019: ok\n"


def test_show_prints_the_source(capsys):
    show(compare)
    assert capsys.readouterr().out.startswith("def compare(")


@pytest.mark.parametrize(("seconds", "draws"), [("59", 20), ("60", 500), ("inf", 500)])
def test_a_lesson_draws_less_where_it_is_a_test(monkeypatch, seconds, draws):
    monkeypatch.setenv("MINIDIFF_SECONDS", seconds)
    assert count(500, 20) == draws
