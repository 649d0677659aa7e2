"""Sentences in training: what is said of a batch, the contrastive loss, the frozen encoder, guidance by sentences."""

import math
from dataclasses import replace

import pytest
import torch
from torch.testing import assert_close

from minidiff.datasets.captions import describe, is_held_out, left_out, parse
from minidiff.datasets.mnist import Digits, load_digits
from minidiff.diffusion.guidance import clipped
from minidiff.nets.text_encoder import END, PADDING, START
from minidiff.nets.unet import bind
from minidiff.sampling import cfg_text, sample, start_noise
from minidiff.symbols import InputError
from minidiff.training import losses
from minidiff.training.checkpoints import load
from minidiff.training.distributed import BatchRNG
from minidiff.training.loop import train, training_steps
from minidiff.training.recipes import LIVE, RECIPES
from minidiff.training.sentences import VOCABULARY, captions, to_tokens
from minidiff.training.state import begin, continue_run, save_run


@pytest.fixture(scope="module")
def few() -> Digits:
    full = load_digits("train")
    return Digits(full.images[:256], full.labels[:256], full.sha256)


def draws(seed: int = 0) -> BatchRNG:
    return BatchRNG(torch.Generator().manual_seed(seed))


def test_captions_say_what_is_there(few):
    x_0, y = few.x_0(), few.labels
    written = captions(x_0, y, draws())
    said = left_out(describe(x_0, y), draws().uniform(len(y), columns=9)[:, :8])
    assert [parse(sentence) for sentence in written] == [tuple(row) for row in said.tolist()]
    assert len(set(written)) > 150
    assert any("一" in sentence for sentence in written)


def test_a_share_of_the_captions_is_empty_each_on_its_own(few):
    x_0, y = few.x_0().repeat(10, 1, 1, 1), few.labels.repeat(10)
    n = len(y)
    empties = torch.tensor([sentence == "" for sentence in captions(x_0, y, draws(), p_empty=0.1)])
    assert abs(empties.double().mean() - 0.1) < 5 * math.sqrt(0.09 / n)
    assert 0 < empties[:256].sum() < 256
    assert "" not in captions(x_0, y, draws())


def test_tokens_are_numbers_of_known_words():
    tokens = to_tokens(["a thick seven", "", "一个七"])
    assert tokens[0, 0] == START
    assert tokens[1].tolist() == [START, END, *[PADDING] * 3]
    assert tokens.max() < VOCABULARY
    assert to_tokens([""]).tolist() == [[START, END]]
    with pytest.raises(InputError, match="no word 'dog'"):
        to_tokens(["a seven", "a dog"])


def test_contrastive_loss_by_hand():
    logits = torch.randn(6, 6, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    p = logits.exp()
    rows, columns = p / p.sum(dim=1, keepdim=True), p / p.sum(dim=0, keepdim=True)
    by_hand = sum(-math.log(rows[i, i]) - math.log(columns[i, i]) for i in range(6)) / 12
    assert losses.contrastive_loss(logits).item() == pytest.approx(by_hand, rel=1e-12)
    assert losses.contrastive_loss(torch.zeros(6, 6)).item() == pytest.approx(math.log(6), rel=1e-6)


def test_every_loss_of_sentences_learns_and_leaves_what_is_frozen(few):
    for name in ("clip", "text_unet"):
        recipe = replace(LIVE[name], steps=40, batch=32, warmup=5, ema_power=3)
        trained = train(recipe, few, progress=False)
        curve = trained.metadata["loss"]
        assert sum(curve[-3:]) < 0.97 * sum(curve[:3]), name
        if recipe.frozen:
            shipped = load("clip").net["text"].state_dict()
            assert_close(trained.net["text"].state_dict(), shipped, rtol=0, atol=0)
            assert not any(parameter.requires_grad for parameter in trained.net["text"].parameters())


def test_the_held_out_are_never_drawn(few):
    run = begin(LIVE["text_unet"], few)
    assert 100 < len(run.digits.labels) < 256
    assert not is_held_out(describe(run.digits.x_0(), run.digits.labels)).any()
    assert run.digits.sha256 == few.sha256


def test_a_run_with_a_frozen_part_goes_on_bit_for_bit(few, tmp_path):
    recipe = replace(LIVE["text_unet"], steps=4, batch=8)
    whole = train(recipe, few, progress=False)
    run = begin(recipe, few)
    steps = training_steps(recipe, few, run=run)
    next(steps), next(steps)
    save_run(tmp_path / "c", run)
    resumed = continue_run(tmp_path / "c", recipe, few)
    list(training_steps(recipe, few, run=resumed))
    assert_close(resumed.average.module.state_dict(), whole.net.state_dict(), rtol=0, atol=0)


def test_an_encoder_of_another_data_set_is_refused(few):
    with pytest.raises(InputError, match="another data set"):
        begin(LIVE["text_unet"], few._replace(sha256="0" * 64))


@pytest.fixture(scope="module")
def text_unet():
    return load("text_unet")


def guess(eps, x_t, t):
    with torch.no_grad():
        return eps(x_t, t)


def test_w_minus_1_is_the_empty_sentence_and_0_the_plain_model(text_unet):
    tokens, x_t, t = to_tokens(["a thick seven", "一个细的三"]), start_noise(2, 0), torch.tensor([600, 900])
    net, text = text_unet.net["unet"], text_unet.net["text"]
    unguided = guess(cfg_text(text_unet, tokens, -1.0), x_t, t)
    assert_close(unguided, guess(clipped(bind(net, text(to_tokens(["", ""]))), text_unet.schedule), x_t, t), rtol=0, atol=1e-5)
    plain = guess(cfg_text(text_unet, tokens, 0.0), x_t, t)
    assert_close(plain, guess(clipped(bind(net, text(tokens)), text_unet.schedule), x_t, t), rtol=0, atol=1e-5)
    assert not torch.allclose(plain, unguided, atol=1e-2)


def test_a_negative_sentence_takes_the_null_s_place(text_unet):
    tokens, x_t, t = to_tokens(["a seven"]), start_noise(1, 0), torch.tensor([700])
    drawn_away = guess(cfg_text(text_unet, tokens, -1.0, negative="a thin seven"), x_t, t)
    asked = guess(cfg_text(text_unet, to_tokens(["a thin seven"]), 0.0), x_t, t)
    assert_close(drawn_away, asked, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="no word 'ugly'"):
        cfg_text(text_unet, tokens, 1.0, negative="an ugly digit")


def test_padding_and_order_of_a_batch_do_not_change_a_sample(text_unet):
    one, two = to_tokens(["number 7"]), to_tokens(["number 7", "a thick, wide seven, slanted to the left"])
    alone, among = (
        sample(cfg_text(text_unet, tokens, 1.0), start_noise(len(tokens), 0), text_unet.schedule, 3) for tokens in (one, two)
    )
    assert_close(among[:1], alone, rtol=0, atol=1e-3)


def test_recipes_say_what_they_leave_out():
    assert RECIPES["text_unet"].metadata()["digits"] == "without_held_out"
    assert RECIPES["text_unet"].metadata()["frozen"] == "clip"
    assert "frozen" not in RECIPES["unet"].metadata()
    assert "digits" not in RECIPES["unet"].metadata()
