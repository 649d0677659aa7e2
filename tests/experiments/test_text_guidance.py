"""What is measured of sentences: pairs, retrieval and rows, on answers that are known."""

import math
from pathlib import Path

import pytest
import torch
from torch import nn

from minidiff.datasets.captions import HELD_OUT, UNSAID, describe, parse
from minidiff.datasets.mnist import load_digits
from minidiff.datasets.strokes import thickness
from minidiff.experiments import text_guidance
from minidiff.experiments.text_guidance import (
    EVERY,
    STYLES,
    Ruler,
    _correlation,
    as_table,
    measured_row,
    pairs,
    plainly,
    read_rows,
    retrieval,
    ruler,
)
from minidiff.nets.text_encoder import Contrast
from minidiff.training.checkpoints import Checkpoint, load
from minidiff.training.sentences import to_tokens


def test_pairs_are_ten_held_out_and_thirty_seen():
    out, seen = pairs(held_out=True), pairs(held_out=False)
    every = {(row[0], column, row[column]) for row in out.tolist() for column in STYLES}
    assert {pair for pair in every if pair[2] != UNSAID} == set(HELD_OUT)
    assert len(seen) == 30
    together = torch.cat([out, seen])
    assert len(together.unique(dim=0)) == 40
    assert ((together != UNSAID).sum(dim=1) == 2).all()
    assert set(together[:, 1:].flatten().tolist()) == {UNSAID, 0, 2}


def test_plain_sentences_say_it_all():
    assert [parse(sentence) for sentence in plainly(EVERY)] == [
        tuple(row) for row in EVERY.tolist()
    ]
    assert len(set(plainly(EVERY))) == len(EVERY) == 270


class Knows(nn.Module):
    """An image tower that reads the one-hot label which the test wrote into the pixels."""

    def forward(self, x_0):
        return x_0[:, 0, 0, :10] + 1e-3


class Names(nn.Module):
    """A text encoder that knows which numeral a sentence names, and nothing else."""

    def pooled(self, tokens):
        numbers = [parse_row(tokens_row) for tokens_row in tokens.tolist()]
        return torch.eye(10)[numbers]


def parse_row(row: list[int]) -> int:
    return next(digit for digit, token in enumerate(NUMERALS) if token in row)


NAMES = "zero one two three four five six seven eight nine"
NUMERALS = to_tokens(NAMES.split())[:, 1].tolist()


def test_retrieval_of_an_encoder_that_knows_the_digit_alone():
    test = load_digits("test")
    images = test.images[:300].clone()
    images[:, 0, :10] = (torch.eye(10)[test.labels[:300]] * 255).to(torch.uint8)
    marked = test._replace(images=images, labels=test.labels[:300])
    net = nn.ModuleDict({"text": Names(), "image": Knows(), "contrast": Contrast()})
    found = retrieval(Checkpoint(net, None, {}), marked, n=300)
    assert found.sentence_for_image[0] == 1
    assert found.image_for_sentence[0] == 1
    assert (found.sentence_for_image[1:] < 0.6).all()
    assert found.images == 300
    assert found.sentences == len(describe(marked.x_0(), marked.labels).unique(dim=0))


@pytest.fixture(scope="module")
def by() -> Ruler:
    return ruler(load("evaluator"))


def test_real_images_meet_what_is_true_of_them(by):
    test = load_digits("test")
    shown = describe(test.x_0(), test.labels)
    wanted = pairs(held_out=False)
    image, pair = (
        ((shown[:, None] == wanted) | (wanted == UNSAID)).all(dim=2).nonzero(as_tuple=True)
    )
    row = measured_row(by, test.x_0(image[:2000]), wanted[pair[:2000]], "seen", "real")
    assert row.accuracy > 0.99
    assert row.thickness_in_bin == row.slant_in_bin == 1
    assert row.thickness_shift > 1.5
    assert row.slant_correlation > 0.8


def test_images_that_do_not_listen_are_at_chance(by):
    """Random real digits of the right class: styles are met in a third, there is no shift."""
    test, g = load_digits("test"), torch.Generator().manual_seed(0)
    wanted = pairs(held_out=False).repeat_interleave(60, dim=0)
    rows = [(test.labels == digit).nonzero()[:, 0] for digit in range(10)]
    chosen = torch.stack(
        [rows[d][torch.randint(len(rows[d]), (1,), generator=g)[0]] for d in wanted[:, 0].tolist()]
    )
    row = measured_row(by, test.x_0(chosen), wanted, "seen", 0.0)
    for name in ("thickness", "slant"):
        shift, error = getattr(row, f"{name}_shift"), getattr(row, f"{name}_shift_error")
        assert abs(shift) < 5 * error
        assert 0.02 < error < 0.2
    assert abs(row.thickness_correlation) < 5 * row.thickness_correlation_error
    assert abs(row.slant_correlation) < 5 * 0.05
    assert abs(row.thickness_in_bin - 1 / 3) < 0.1


def test_shift_and_correlation_by_hand(by):
    """Six images of one digit: thin requested of three, thick of three; written out."""
    test = load_digits("test")
    x_0 = test.x_0((test.labels == 3).nonzero()[:6, 0])
    wanted = torch.tensor([[3, 0, UNSAID, UNSAID]] * 3 + [[3, 2, UNSAID, UNSAID]] * 3)
    wanted = torch.cat(
        [wanted, torch.tensor([[3, UNSAID, 0, UNSAID]] * 2 + [[3, UNSAID, 2, UNSAID]] * 2)]
    )
    more = torch.cat([x_0, x_0[:4]])
    row = measured_row(by, more, wanted, "seen", 1.0)
    low, high = (thickness(part).double() / by.spread[0] for part in (x_0[:3], x_0[3:]))
    assert row.thickness_shift == pytest.approx(float(high.mean() - low.mean()), abs=1e-3)
    error = math.sqrt(float(high.var() / 3 + low.var() / 3))
    assert row.thickness_shift_error == pytest.approx(error, abs=1e-3)
    values, ends = torch.cat([low, high]), torch.tensor([0.0] * 3 + [1.0] * 3)
    r = float(torch.corrcoef(torch.stack([values, ends.double()]))[0, 1])
    assert row.thickness_correlation == pytest.approx(r, abs=1e-3)


@pytest.mark.parametrize("apart", [0.0, 1.0, 3.0])
def test_the_error_of_a_correlation_is_what_repeated_draws_show(apart):
    """1,000 sets of 400 normal values, half of them shifted: the spread of r, within 10 %."""
    generator, high = torch.Generator().manual_seed(0), torch.arange(400) % 2 == 1
    values = torch.randn(1_000, 400, generator=generator, dtype=torch.float64) + apart * high
    found = torch.tensor([_correlation(row, high) for row in values])
    assert float(found[:, 0].std()) == pytest.approx(float(found[:, 1].mean()), rel=0.1)


def test_the_committed_rows_are_whole_and_the_page_shows_them():
    results = Path(__file__).parents[2] / "data" / "results"
    rows = read_rows(results / "text_guidance.csv")
    assert as_table(rows) in (results / "README.md").read_text(encoding="utf-8")
    assert [row.pairs for row in rows if row.w == "real"] == ["held out", "seen"]
    for name in ("held out", "seen"):
        scales = [row.w for row in rows if row.pairs == name and row.w != "real"]
        assert scales == sorted(scales)
        assert scales[0] == 0
    assert all(0 <= row.accuracy <= 1 and row.n >= 900 for row in rows if row.w != "real")


def test_an_interrupted_measurement_leaves_the_old_table(tmp_path, monkeypatch):
    path = tmp_path / "t.csv"
    row = read_rows(Path(__file__).parents[2] / "data" / "results" / "text_guidance.csv")[0]

    def interrupted(words, by):
        yield row
        raise KeyboardInterrupt

    path.write_text("old")
    monkeypatch.setattr(text_guidance, "ruler", lambda evaluator: None)
    monkeypatch.setattr(text_guidance, "rows", interrupted)
    with pytest.raises(KeyboardInterrupt):
        text_guidance.main(path)
    assert path.read_text() == "old"
    monkeypatch.setattr(text_guidance, "rows", lambda words, by: [row])
    text_guidance.main(path)
    assert read_rows(path) == [row]
    assert [file.name for file in tmp_path.iterdir()] == ["t.csv"]
