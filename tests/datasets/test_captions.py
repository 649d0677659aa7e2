"""Sentences: what is written is what is meant; the held-out pairs are never seen."""

import itertools

import pytest
import torch
from torch.testing import assert_close

from minidiff.datasets.captions import (
    EDGES,
    HELD_OUT,
    UNSAID,
    WORDS,
    bins,
    describe,
    is_held_out,
    left_out,
    parse,
    sentences,
    split,
    without_held_out,
)
from minidiff.datasets.mnist import load_digits
from minidiff.datasets.strokes import strokes
from minidiff.symbols import InputError


@pytest.fixture(scope="module")
def train():
    return load_digits("train")


@pytest.fixture(scope="module")
def measured(train):
    return strokes(train.x_0())


def test_edges_are_the_thirds_of_the_training_images(measured):
    thirds = torch.quantile(measured, torch.tensor([1 / 3, 2 / 3]), dim=0)
    assert_close(torch.tensor(EDGES).T, thirds, rtol=0, atol=6e-5)
    for column in bins(measured).T:
        shares = torch.bincount(column) / len(column)
        assert_close(shares, torch.full((3,), 1 / 3), rtol=0, atol=1e-3)


def test_every_sentence_means_what_was_said():
    """All descriptions, gaps included, in every form of both languages."""
    every = torch.cartesian_prod(torch.arange(-1, 10), *[torch.arange(-1, 3)] * 3)
    for choice in itertools.product((0.1, 0.9), (0.1, 0.7, 0.9), (0.1, 0.9), (0.1, 0.9)):
        u = torch.tensor([1.0] * 4 + list(choice)).repeat(len(every), 1)
        written = sentences(every, u)
        assert [parse(sentence) for sentence in written] == [tuple(row) for row in every.tolist()]


@pytest.mark.parametrize(
    ("sentence", "means"),
    [
        ("a thick seven, slanted to the left", (7, 2, 0, -1)),
        ("number 7", (7, -1, -1, -1)),
        ("Thin 3", (3, 0, -1, -1)),
        ("一个粗的七，向左倾斜", (7, 2, 0, -1)),
        ("一个一", (1, -1, -1, -1)),
        ("一", (1, -1, -1, -1)),
        ("数字", (-1, -1, -1, -1)),
        ("an eight, upright", (8, -1, 1, -1)),
        ("", (-1, -1, -1, -1)),
    ],
)
def test_sentences_written_by_hand(sentence, means):
    assert parse(sentence) == means


def test_examples_of_the_grammar():
    rows = torch.tensor([[7, 2, 0, -1], [7, -1, -1, -1], [7, 2, 0, 2], [8, -1, -1, -1]])
    choices = torch.tensor([[0, 0, 1, 1], [0, 0.9, 0, 1], [1, 0, 1, 1], [0, 0, 1, 1]])
    written = sentences(rows, torch.cat([torch.ones(4, 4), choices], dim=1))
    assert written[:2] == ["a thick seven, slanted to the left", "number 7"]
    assert written[2:] == ["一个粗的、宽的七，向左倾斜", "an eight"]


@pytest.mark.parametrize(
    ("sentence", "says"),
    [
        ("a thikc seven", "no word 'thikc'. The nearest known: thick"),
        ("a blue seven", "no word 'blue'"),
        ("一个红的七", "no word '红'. Known are: 一 七 三 "),
        ("a thick thin seven", "contradicts itself: it names the thickness twice"),
        ("17", "names the digit twice"),
    ],
)
def test_sentences_that_cannot_be_used(sentence, says):
    with pytest.raises(InputError, match=says):
        parse(sentence)


def test_saying_it_twice_is_no_contradiction():
    assert parse("number 7, seven, thick, bold") == (7, 2, UNSAID, UNSAID)


def test_words_are_split_and_known():
    assert " ".join(split("A thick, narrow 7-一个粗的")) == "a thick narrow 7 一 个 粗 的"
    assert len(set(WORDS)) == len(WORDS)
    assert "" not in WORDS


def test_how_often_things_are_left_out():
    n = 40_000
    u = torch.rand(n, 8, generator=torch.Generator().manual_seed(0))
    said = left_out(torch.zeros(n, 4, dtype=torch.int64), u)
    expected = torch.tensor([0.1, 0.4, 0.4, 0.4], dtype=torch.float64)
    assert_close((said == UNSAID).double().mean(dim=0), expected, rtol=0, atol=2.5 / n**0.5)
    together = ((said[:, 1] == UNSAID) & (said[:, 2] == UNSAID)).double().mean()
    assert abs(together - 0.16) < 5 * 0.4 / n**0.5  # each on its own


def test_held_out_pairs_are_gone_and_nothing_else(train):
    described = torch.cat([train.labels[:, None], bins(strokes(train.x_0()))], dim=1)
    seen = without_held_out(train)
    gone = torch.zeros(len(described), dtype=torch.bool)
    for digit, column, value in HELD_OUT:
        gone |= (described[:, 0] == digit) & (described[:, column] == value)
    assert torch.equal(seen.labels, train.labels[~gone])
    assert torch.equal(seen.images, train.images[~gone])
    assert not is_held_out(describe(seen.x_0(), seen.labels)).any()
    assert 0.15 < gone.double().mean() < 0.45
    assert sorted(digit for digit, *_ in HELD_OUT) == list(range(10))
    assert {(column, value) for _, column, value in HELD_OUT} == {(1, 0), (1, 2), (2, 0), (2, 2)}


def test_a_label_without_a_name_is_said():
    described = describe(-torch.ones(2, 1, 28, 28), torch.tensor([3, 20]))
    with pytest.raises(InputError, match="digits 0 to 9; the data has a label 20"):
        sentences(described, torch.zeros(2, 8))
