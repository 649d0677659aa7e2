"""Metrics against cases that can be counted by hand, and the table's rows."""

import csv
import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from minidiff.diffusion.schedule import cosine
from minidiff.digits.mnist import load_digits
from minidiff.measure.evaluate import SCALES, Row, as_csv, as_text, fingerprint, measured, real_images
from minidiff.measure.metrics import judged, share_error
from minidiff.symbols import InputError
from minidiff.training.checkpoints import Trained, load
from minidiff.training.generation import METHODS


@pytest.fixture(scope="module")
def models():
    return {name: load(name) for name in ("unet", "ddpm", "classifier", "judge")}


def brightness_judge():
    """A judge that reads the brightness of an image as its digit, with confidence known by hand."""

    class Brightness(nn.Module):
        def forward(self, x_0):
            digit = ((x_0.mean(dim=(1, 2, 3)) + 1) / 2 * 10).long().clamp(0, 9)
            return math.log(99) * F.one_hot(digit, 10).float()

    return Trained(nn.ModuleDict({"judge": Brightness()}), cosine(), {})


def test_counting_by_hand():
    y = torch.arange(10)
    x_0 = ((y + 0.5) / 5 - 1)[:, None, None, None].expand(10, 1, 28, 28).clone()
    verdict = judged(brightness_judge(), x_0, y)
    assert (verdict.n, verdict.as_asked) == (10, 1.0)
    assert verdict.confidence == pytest.approx(99 / 108, rel=1e-5)
    assert judged(brightness_judge(), x_0, y.roll(1)).as_asked == 0.0
    assert judged(brightness_judge(), x_0, y.clone().index_fill_(0, torch.tensor([0, 1]), 9)).as_asked == 0.8


def test_standard_error_of_a_share():
    """Against the spread of 20,000 simulated shares; and it is never 0."""
    n, p = 1000, 0.97
    shares = torch.distributions.Binomial(n, torch.tensor(p)).sample((20_000,)) / n
    assert share_error(970, n) == pytest.approx(shares.std().item(), rel=0.05)
    assert 0 < share_error(n, n) < 1.5 / n


@pytest.mark.parametrize(
    ("x_0", "y", "message"),
    [
        (torch.zeros(0, 1, 28, 28), torch.zeros(0, dtype=torch.int64), "at least one image"),
        (torch.zeros(3, 1, 28, 28), torch.zeros(2, dtype=torch.int64), "got 3 and 2"),
        (torch.full((1, 1, 28, 28), math.nan), torch.zeros(1, dtype=torch.int64), "finite pixels"),
    ],
)
def test_what_cannot_be_judged(x_0, y, message):
    with pytest.raises(InputError, match=message):
        judged(brightness_judge(), x_0, y)


def test_the_judge_knows_real_digits(models):
    """The judge that counts: at least 99.3 % on the 10,000 test images."""
    row = real_images(models, load_digits("test"))
    assert row.n == 10_000
    assert row.as_asked >= 0.993


@pytest.mark.parametrize(("method", "s", "least"), [("cfg", 2.0, 0.95), ("cg", 4.0, 0.85)])
def test_guided_digits_are_as_asked(models, method, s, least):
    """A small re-measurement of the table (n = 50): at most 5 standard errors below what is promised."""
    row = measured(models, method, s, each=5, steps=50, seed=123)
    assert row.n == 50
    assert row.w == s - {"cfg": 1, "cg": 0}[method]
    assert row.as_asked + 5 * share_error(round(least * 50), 50) >= least
    assert row.as_asked > 0.6


def test_without_guidance_nothing_is_as_asked(models):
    """s = 0 is the unconditional model in both methods: about one digit in ten is right by chance."""
    for method in ("cfg", "cg"):
        row = measured(models, method, 0.0, each=5, steps=20, seed=7)
        assert row.as_asked < 0.1 + 5 * math.sqrt(0.1 * 0.9 / 50)


def test_fingerprint_sees_one_weight(models):
    before = fingerprint(models, ("unet",))
    assert before == fingerprint(models, ("unet",))
    other = load("unet")
    next(other.net.parameters()).data.view(-1)[0] += 1e-3
    assert fingerprint({**models, "unet": other}, ("unet",)) != before


def test_csv_and_text_hold_the_row():
    row = Row("cfg", 2.0, 1.0, 1000, 50, 0, 0.987654321, 0.003, 0.99, 0.001, "abc")
    lines = as_csv([row], "python -m minidiff evaluate").decode().splitlines()
    assert lines[0] == "# python -m minidiff evaluate"
    assert lines[1].split(",") == list(Row._fields)
    assert lines[2] == "cfg,2.0,1.0,1000,50,0,0.98765,0.003,0.99,0.001,abc"
    assert "98.77 ± 0.30 %" in as_text(row)


def test_scales_include_the_plain_models():
    assert SCALES[:2] == (0.0, 1.0)


def test_the_stored_table_was_measured_with_the_shipped_weights(models):
    """A table from other weights than those beside it would be a claim that nobody can check."""
    stored = Path(__file__).resolve().parents[2] / "data" / "results" / "sweep.csv"
    rows = list(csv.DictReader(stored.read_text().splitlines()[1:]))
    assert {row["method"] for row in rows} == {"real", *METHODS}
    for row in rows:
        needs = METHODS[row["method"]].needs if row["method"] in METHODS else ()
        assert row["weights"] == fingerprint(models, needs)
