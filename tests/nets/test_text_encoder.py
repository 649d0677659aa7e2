"""The text encoder: who sees what, with all parameters random, so that no zero hides a leak."""

import pytest
import torch
import torch.nn.functional as F
from helpers import randomised
from torch.testing import assert_close

from minidiff.nets.layers import Words
from minidiff.nets.text_encoder import END, LONGEST, PADDING, START, Contrast, TextEncoder
from minidiff.nets.text_encoder import tokens_of as tokens_of_words
from minidiff.symbols import InputError

VOCABULARY = ["a", "b", "c", "d"]


@pytest.fixture(scope="module")
def encoder() -> TextEncoder:
    return randomised(TextEncoder(len(VOCABULARY) + 3, dim=16, heads=2))


def tokens_of(*sentences: str) -> torch.Tensor:
    """A letter is a word here."""
    return tokens_of_words([list(sentence) for sentence in sentences], VOCABULARY)


def encode(encoder, *sentences: str) -> Words:
    return encoder(tokens_of(*sentences))


def test_tokens():
    assert tokens_of("ba", "").tolist() == [[START, 4, 3, END], [START, END, PADDING, PADDING]]
    assert tokens_of("", "").tolist() == [[START, END]] * 2


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


def test_order_and_every_word_matter(encoder):
    pooled = encoder.pooled(tokens_of("ab", "ba", "aa", "abc", "", "a"))
    assert (torch.pdist(pooled) > 1e-3).all()


def test_pooled_is_the_state_of_the_end(encoder):
    tokens = tokens_of("abc", "")
    states = encoder(tokens).states
    assert torch.equal(encoder.pooled(tokens), torch.stack([states[0, 4], states[1, 1]]))


def test_the_longest_sentence_and_one_word_more(encoder):
    assert encode(encoder, "a" * (LONGEST - 2)).states.shape == (1, LONGEST, 16)
    with pytest.raises(InputError, match=f"may have {LONGEST - 2} words, got {LONGEST - 1}"):
        encode(encoder, "a" * (LONGEST - 1))


def test_contrast_is_the_cosine_times_a_scale():
    a, b = torch.randn(2, 5, 8, generator=torch.Generator().manual_seed(0)).unbind(0)
    contrast = Contrast()
    cosines = F.cosine_similarity(a[:, None], b[None], dim=2)
    assert_close(contrast(a, b), cosines / 0.07)
    contrast.log_scale.data.fill_(10.0)
    assert_close(contrast(a, b), cosines * 100)
