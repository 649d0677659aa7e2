"""Images in sentences, sentences as tokens: where `datasets` and `nets` meet."""

from collections.abc import Sequence

from minidiff.datasets.captions import WORDS, describe, known, left_out, sentences, split
from minidiff.nets.text_encoder import tokens_of
from minidiff.symbols import Images, Labels, Tokens
from minidiff.training.distributed import BatchRNG

VOCABULARY = 3 + len(WORDS)  # padding, start and end come first


def to_tokens(prompts: Sequence[str]) -> Tokens:
    """The sentences as token numbers, padded; "" is the empty sentence.

    Raises InputError for a word that WORDS lacks, and for a sentence that is too long.
    """
    words = [split(prompt) for prompt in prompts]
    for sentence in words:
        known(sentence)
    return tokens_of(words, WORDS)


def captions(x_0: Images, y: Labels, draws: BatchRNG, p_empty: float = 0.0) -> list[str]:
    """A sentence about what is measured on every image, in random form; empty with p_empty."""
    u = draws.uniform(len(y), columns=9)
    said = describe(x_0, y)
    written = sentences(left_out(said, u[:, :8]), u[:, :8])
    chances = zip(written, u[:, 8].tolist(), strict=True)
    return ["" if chance < p_empty else sentence for sentence, chance in chances]
