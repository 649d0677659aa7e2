"""Sentences in training: captions of a batch, tokens, the frozen encoder, held-out pairs."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from minidiff.datasets.captions import describe, is_held_out, left_out, parse
from minidiff.nets.text_encoder import END, PADDING, START
from minidiff.symbols import InputError
from minidiff.training.checkpoints import load
from minidiff.training.distributed import BatchRNG
from minidiff.training.loop import train
from minidiff.training.recipes import LIVE
from minidiff.training.sentences import VOCABULARY, captions, to_tokens
from minidiff.training.state import initial_state


def test_captions_say_what_is_there(digits, draws):
    x_0, y = digits.x_0(), digits.labels
    written = captions(x_0, y, draws)
    again = BatchRNG(torch.Generator().manual_seed(0)).uniform(len(y), columns=9)[:, :8]
    said = left_out(describe(x_0, y), again)
    assert [parse(sentence) for sentence in written] == [tuple(row) for row in said.tolist()]
    assert len(set(written)) > 150
    assert any("一" in sentence for sentence in written)


def test_a_share_of_the_captions_is_empty_each_on_its_own(digits, draws):
    x_0, y = digits.x_0().repeat(10, 1, 1, 1), digits.labels.repeat(10)
    written = captions(x_0, y, draws, p_empty=0.1)
    empty = torch.tensor([sentence == "" for sentence in written])
    assert abs(empty.double().mean() - 0.1) < 5 * math.sqrt(0.09 / len(y))
    assert 0 < empty[:256].sum() < 256
    assert "" not in captions(x_0, y, draws)


def test_tokens_are_numbers_of_known_words():
    tokens = to_tokens(["a thick seven", "", "一个七"])
    assert tokens[0, 0] == START
    assert tokens[1].tolist() == [START, END, *[PADDING] * 3]
    assert tokens.max() < VOCABULARY
    assert to_tokens([""]).tolist() == [[START, END]]
    with pytest.raises(InputError, match="no word 'dog'"):
        to_tokens(["a seven", "a dog"])


def test_training_leaves_the_frozen_encoder_as_it_is(digits):
    recipe = replace(LIVE["text_unet"], steps=2, batch=32, ema_power=3)
    trained = train(recipe, digits, progress=False)
    pretrained = load("clip").net["text"].state_dict()
    assert_close(trained.net["text"].state_dict(), pretrained, rtol=0, atol=0)
    assert not any(parameter.requires_grad for parameter in trained.net["text"].parameters())


def test_the_held_out_are_never_drawn(digits):
    seen = initial_state(LIVE["text_unet"], digits).digits
    assert 100 < len(seen.labels) < 256
    assert not is_held_out(describe(seen.x_0(), seen.labels)).any()
    assert seen.sha256 == digits.sha256


def test_an_encoder_of_another_data_set_is_refused(digits):
    with pytest.raises(InputError, match="another data set"):
        initial_state(LIVE["text_unet"], digits._replace(sha256="0" * 64))
