"""The text encoder and the attention to its words: who sees what. All parameters random, so that no zero hides a leak."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minidiff.nets.layers import CrossAttention
from minidiff.nets.text_encoder import END, LONGEST, PADDING, START, Contrast, TextEncoder, tokens_of
from minidiff.nets.unet import UNet, Words
from minidiff.symbols import InputError
from tests.nets.test_nets import randomised

VOCABULARY = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return randomised(TextEncoder(len(VOCABULARY) + 3, dim=16, heads=2))


def encode(encoder, *sentences: str) -> Words:
    return encoder(tokens_of([list(sentence) for sentence in sentences], VOCABULARY))


def test_tokens():
    assert tokens_of([["b", "a"], []], VOCABULARY).tolist() == [[START, 4, 3, END], [START, END, PADDING, PADDING]]
    assert tokens_of([[], []], VOCABULARY).tolist() == [[START, END]] * 2


def test_padding_and_other_rows_do_not_change_an_encoding(encoder):
    alone = encode(encoder, "ab")
    among = encode(encoder, "ab", "abcd", "", "dcba")
    assert among.mask.tolist()[0] == [True] * 4 + [False] * 2
    assert_close(among.states[0, :4], alone.states[0], rtol=0, atol=1e-5)
    backwards = encode(encoder, "dcba", "", "abcd", "ab")
    assert_close(backwards.states.flip(0)[0, :4], alone.states[0], rtol=0, atol=1e-5)


def test_the_empty_sentence_is_encoded_like_any_other(encoder):
    one, padded = encode(encoder, ""), encode(encoder, "", "abc")
    assert one.states.isfinite().all()
    assert_close(padded.states[0, :2], one.states[0], rtol=0, atol=1e-5)
    assert not torch.allclose(
        encoder.pooled(tokens_of([[]], VOCABULARY)), encoder.pooled(tokens_of([["a"]], VOCABULARY)), atol=1e-3
    )


def test_order_and_every_word_matter(encoder):
    pooled = encoder.pooled(tokens_of([list(text) for text in ("ab", "ba", "aa", "abc")], VOCABULARY))
    assert (torch.pdist(pooled) > 1e-3).all()


def test_pooled_is_the_state_of_the_end(encoder):
    tokens = tokens_of([list("abc"), []], VOCABULARY)
    states = encoder(tokens).states
    assert torch.equal(encoder.pooled(tokens), torch.stack([states[0, 4], states[1, 1]]))


def test_too_long(encoder):
    with pytest.raises(InputError, match=f"may have {LONGEST - 2} words, got {LONGEST - 1}"):
        encode(encoder, "a" * (LONGEST - 1))


def test_a_sentence_is_no_longer_than_the_encoder_reads(encoder):
    assert encode(encoder, "a" * (LONGEST - 2)).states.shape == (1, LONGEST, 16)


def test_contrast_is_the_cosine_times_a_scale():
    a, b = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    contrast = Contrast()
    cosines = F.cosine_similarity(a[:, None], b[None], dim=2)
    assert_close(contrast(a, b), cosines / 0.07)
    contrast.log_scale.data.fill_(10.0)
    assert_close(contrast(a, b), cosines * 100)


def words_of(states: torch.Tensor, there: list[list[bool]]) -> Words:
    return Words(states, torch.tensor(there))


def test_cross_attention_by_hand():
    """One head, written out: softmax(q k^T / sqrt(d)) v over the words that are there."""
    g = torch.Generator().manual_seed(1)
    layer = randomised(CrossAttention(8, 5, heads=1))
    x, states = torch.randn(2, 8, 3, 3, generator=g), torch.randn(2, 4, 5, generator=g)
    words = words_of(states, [[True] * 4, [True, True, False, False]])
    expected = x.clone()
    for i, count in ((0, 4), (1, 2)):
        q = layer.to_q(layer.norm(x[i : i + 1])).flatten(2)[0].T  # (places, channels)
        k, v = layer.to_kv(states[i, :count]).chunk(2, dim=1)
        mixed = torch.softmax(q @ k.T / math.sqrt(8), dim=1) @ v
        expected[i] += layer.to_out(mixed.T.reshape(1, 8, 3, 3))[0]
    assert_close(layer(x, words), expected, rtol=1e-5, atol=1e-5)


def test_unet_sees_the_words_of_its_own_row_and_no_padding():
    g = torch.Generator().manual_seed(2)
    net = randomised(UNet(width=16, words_dim=6))
    x_t, t = torch.randn(3, 1, 28, 28, generator=g), torch.tensor([1, 500, 1000])
    states = torch.randn(3, 4, 6, generator=g)
    there = [[True, True, False, False]] * 3
    before = net(x_t, t, words_of(states, there))
    padded = states.clone()
    padded[:, 2:] = 100.0
    assert_close(net(x_t, t, words_of(padded, there)), before, rtol=0, atol=1e-6)
    other = states.clone()
    other[1, 1] += 1
    after = net(x_t, t, words_of(other, there))
    assert_close(after[[0, 2]], before[[0, 2]], rtol=0, atol=1e-5)
    assert (after[1] - before[1]).abs().max() > 1e-4


def test_unet_wants_the_condition_it_was_built_for():
    x_t, t = torch.zeros(1, 1, 28, 28), torch.ones(1, dtype=torch.int64)
    words = words_of(torch.zeros(1, 2, 6), [[True, True]])
    with pytest.raises(InputError, match="Words of length 6 .* got length 0 and Words of length 0"):
        UNet(words_dim=6)(x_t, t)
    with pytest.raises(InputError, match="Words of length 0 .* got length 0 and Words of length 6"):
        UNet()(x_t, t, words)
    with pytest.raises(InputError, match="a condition of length 4 .* got length 0 and Words of length 6"):
        UNet(c_dim=4)(x_t, t, words)
