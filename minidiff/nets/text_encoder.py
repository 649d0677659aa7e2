"""Sentences as numbers: tokens, a small transformer, and the contrast of sentences and images."""

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from jaxtyping import Float
from torch import Tensor, nn

from minidiff.nets.layers import Words, zeroed
from minidiff.symbols import Features, InputError, Logits, Tokens

States = Float[Tensor, "batch tokens dim"]
PADDING, START, END = 0, 1, 2  # the first three token numbers; the words follow
LONGEST = 24  # tokens, START and END included


class TextEncoder(nn.Module):
    """A transformer, a vector for every token   [Vaswani 2017; Radford 2021, sec. 2.4]

    Tokens attend to all tokens of their sentence and never to padding: neither padding nor the
    other rows change an encoding. The empty sentence is START, END, encoded like any other.
    """

    def __init__(self, vocabulary: int, dim: int = 64, depth: int = 2, heads: int = 4):
        super().__init__()
        self.token_embedding = nn.Embedding(vocabulary, dim)
        self.position_embedding = nn.Parameter(0.02 * torch.randn(LONGEST, dim))
        self.blocks = nn.ModuleList([TransformerBlock(dim, heads) for _ in range(depth)])
        self.norm = nn.LayerNorm(dim)

    def forward(self, tokens: Tokens) -> Words:
        mask = tokens != PADDING
        h = self.token_embedding(tokens) + self.position_embedding[: tokens.shape[1]]
        for block in self.blocks:
            h = block(h, mask)
        return Words(self.norm(h), mask)

    def pooled(self, tokens: Tokens) -> Features:
        """One vector a sentence: the state of its END token   [Radford 2021, sec. 2.4]"""
        return at_end(self(tokens), tokens)


class TransformerBlock(nn.Module):
    """h + attention(h), then h + MLP(h), each after a LayerNorm; both start as the identity."""

    def __init__(self, dim: int, heads: int):
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(dim), nn.LayerNorm(dim)
        self.to_qkv, self.to_out = nn.Linear(dim, 3 * dim), zeroed(nn.Linear(dim, dim))
        fc_in, fc_out = nn.Linear(dim, 4 * dim), zeroed(nn.Linear(4 * dim, dim))
        self.mlp = nn.Sequential(fc_in, nn.GELU(), fc_out)

    def forward(self, h: States, mask: Tensor) -> States:
        qkv = self.to_qkv(self.norm_1(h)).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.permute(2, 0, 3, 1, 4)  # each (batch, heads, tokens, dim / heads)
        attended = F.scaled_dot_product_attention(q, k, v, attn_mask=mask[:, None, None])
        h = h + self.to_out(attended.transpose(1, 2).flatten(2))
        return h + self.mlp(self.norm_2(h))


class Contrast(nn.Module):
    """logits_ij = a cos(image_i, sentence_j), the fit of image and sentence [Radford 2021, fig. 3]

    a = exp(log_scale) starts at 1 / 0.07, is learned, and stays below 100.
    """

    def __init__(self):
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(math.log(1 / 0.07)))

    def forward(self, images: Features, sentences: Float[Tensor, "others features"]) -> Logits:
        scale = self.log_scale.clamp(max=math.log(100)).exp()
        return scale * F.normalize(images.float(), dim=1) @ F.normalize(sentences.float(), dim=1).T


def tokens_of(sentences: Sequence[Sequence[str]], vocabulary: Sequence[str]) -> Tokens:
    """A row for each sentence, given as its words: START, the words' numbers, END, then PADDING.

    Raises InputError for a sentence of more than LONGEST - 2 words.
    """
    longest = max(map(len, sentences))
    if longest > LONGEST - 2:
        raise InputError(f"A sentence may have {LONGEST - 2} words, got {longest}.")
    number = {word: i for i, word in enumerate(vocabulary, start=END + 1)}
    rows = [[START, *(number[word] for word in words), END] for words in sentences]
    tensors = [torch.tensor(row, device="cpu") for row in rows]
    return nn.utils.rnn.pad_sequence(tensors, batch_first=True, padding_value=PADDING)


def at_end(words: Words, tokens: Tokens) -> Features:
    """The state of every row's END token."""
    rows = torch.arange(len(tokens), device=tokens.device)
    return words.states[rows, (tokens == END).int().argmax(dim=1)]
