"""Sentences about digits, in English and Chinese: how they are made, and what they mean.

An image is described by four numbers: the digit, and a bin (0, 1, 2) of its thickness, slant and
width; -1 is "not said". The bins are thirds: their edges are the 1/3 and 2/3 quantiles of the
60,000 training images.
"""

import difflib
import re
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from minidiff.datasets.mnist import Digits
from minidiff.datasets.strokes import MEASURED, Strokes, strokes
from minidiff.symbols import Images, InputError, Labels

Described = Int[Tensor, "batch 4"]
Uniforms = Float[Tensor, "batch 8"]
ATTRIBUTES = ("digit", *MEASURED)  # the columns of Described
UNSAID = -1
EDGES = ((2.2488, 2.7454), (-0.5797, 12.6061), (0.5480, 0.7244))  # pixels, degrees, ratio


class Language(NamedTuple):
    """The words for each digit; for each bin of an attribute, with synonyms; for no digit."""

    digits: tuple[str, ...]
    thickness: tuple[tuple[str, ...], ...]
    slant: tuple[tuple[str, ...], ...]
    width: tuple[tuple[str, ...], ...]
    unnamed: str
    fillers: tuple[str, ...]


ENGLISH = Language(
    digits=("zero", "one", "two", "three", "four", "five", "six", "seven", "eight", "nine"),
    thickness=(("thin", "fine"), ("medium", "medium"), ("thick", "bold")),
    slant=(
        ("slanted to the left", "leaning left"),
        ("upright", "straight"),
        ("slanted to the right", "leaning right"),
    ),
    width=(("narrow", "slim"), ("regular", "regular"), ("wide", "broad")),
    unnamed="digit",
    fillers=("a", "an", "number", "slanted", "leaning", "to", "the", "digit"),
)
CHINESE = Language(
    digits=tuple("零一二三四五六七八九"),
    thickness=(("细", "纤细"), ("中等", "中等"), ("粗", "粗大")),
    slant=(("向左倾斜", "左斜"), ("直立", "端正"), ("向右倾斜", "右斜")),
    width=(("窄", "狭窄"), ("适中", "适中"), ("宽", "宽阔")),
    unnamed="数字",
    fillers=("一个", "的", "数字", "向", "倾斜", "斜"),
)


def describe(x_0: Images, y: Labels) -> Described:
    """Digit, and the bins of thickness, slant and width (0 without ink), of every image."""
    return torch.cat([y[:, None], bins(strokes(x_0)).to(y.device)], dim=1)


def bins(measured: Strokes) -> Int[Tensor, "batch 3"]:
    """How many of its two EDGES each measured number exceeds: 0, 1 or 2."""
    edges = torch.tensor(EDGES, dtype=measured.dtype, device=measured.device)  # (attribute, edge)
    return (measured[:, :, None] > edges).sum(dim=2)


def left_out(described: Described, u: Uniforms) -> Described:
    """Some attributes become UNSAID: the digit where its u < 0.1, each other where its u < 0.4.

    u: uniform in [0, 1), columns 0 to 3 in the order of ATTRIBUTES, the others for `sentences`.
    """
    p = torch.tensor([0.1, 0.4, 0.4, 0.4], dtype=u.dtype, device=u.device)
    return described.masked_fill((u[:, :4] < p).to(described.device), UNSAID)


def sentences(described: Described, u: Uniforms) -> list[str]:
    """A sentence for every row; columns 4 to 7 of u choose language, form, numeral and synonym.

    Raises InputError for a label over 9: there is no name for it.
    """
    largest = int(described[:, 0].max()) if len(described) else 0
    if largest > 9:
        raise InputError(f"Sentences name the digits 0 to 9; the data has a label {largest}.")
    rows = zip(described.tolist(), u[:, 4:].tolist(), strict=True)
    return [_sentence(row, chances) for row, chances in rows]


def parse(sentence: str) -> tuple[int, int, int, int]:
    """What a sentence says: (digit, thickness, slant, width), UNSAID where it is silent.

    Raises InputError for a word that WORDS lacks, with the nearest that it has, and for a sentence
    that contradicts itself.
    """
    said, rest = [UNSAID] * len(ATTRIBUTES), split(sentence)
    known(rest)
    while rest:
        length = next((n for n in range(_LONGEST, 0, -1) if tuple(rest[:n]) in _MEANING), 1)
        for column, value in _MEANING.get(tuple(rest[:length]), ()):
            if said[column] not in (UNSAID, value):
                twice = f"it names the {ATTRIBUTES[column]} twice"
                raise InputError(f"{sentence!r} contradicts itself: {twice}.")
            said[column] = value
        rest = rest[length:]
    return tuple(said)


def split(sentence: str) -> list[str]:
    """Latin words in lower case, single numerals and Chinese characters, without punctuation."""
    return re.findall(r"[^\W\d_\u4e00-\u9fff]+|\d|[\u4e00-\u9fff]", sentence.lower())


def known(words: Iterable[str]) -> None:
    """Raises InputError for the first word that WORDS lacks, and names the nearest that it has."""
    for word in words:
        if word not in WORDS:
            alike = [other for other in WORDS if other.isascii() == word.isascii()]  # one script
            near = difflib.get_close_matches(word, alike, n=3, cutoff=0.5)
            instead = f"Known are: {' '.join(alike)}"
            if near:
                instead = f"The nearest known: {', '.join(near)}."
            raise InputError(f"The vocabulary has no word {word!r}. {instead}")


# for each digit a style (column of Described, bin) that training never sees with it
_STYLES = ((1, 0), (1, 2), (1, 2), (2, 0), (2, 2), (1, 0), (1, 0), (1, 2), (2, 0), (2, 2))
HELD_OUT = tuple((digit, *style) for digit, style in enumerate(_STYLES))


def is_held_out(described: Described) -> Bool[Tensor, "batch"]:
    """Whether a row shows one of the HELD_OUT pairs of digit and style."""
    found = torch.zeros(len(described), dtype=torch.bool, device=described.device)
    for digit, column, value in HELD_OUT:
        found |= (described[:, 0] == digit) & (described[:, column] == value)
    return found


def without_held_out(digits: Digits) -> Digits:
    """The data set without images of a HELD_OUT pair; the checksum stays that of the whole."""
    keep = ~is_held_out(describe(digits.x_0(), digits.labels))
    return digits._replace(images=digits.images[keep], labels=digits.labels[keep])


def _sentence(row: Sequence[int], chances: Sequence[float]) -> str:
    language, form, numeral, synonym = chances
    words = ENGLISH if language < 0.5 else CHINESE
    digit, *styles = row
    which, names = int(synonym < 0.5), (words.thickness, words.slant, words.width)
    thickness, slant, width = (
        "" if value == UNSAID else synonyms[value][which]
        for value, synonyms in zip(styles, names, strict=True)
    )
    name = str(digit) if numeral < 0.3 else words.digits[digit]
    if digit == UNSAID:
        name = words.unnamed
    build = _english if words is ENGLISH else _chinese
    return build(name, [style for style in (thickness, width) if style], slant, form)


def _english(name: str, styles: list[str], slant: str, form: float) -> str:
    if form < 0.6:  # a thick, wide seven, slanted to the left
        article = "an" if not styles and name in ("8", "eight") else "a"
        before = " ".join([article, ", ".join(styles), name]) if styles else f"{article} {name}"
        return f"{before}, {slant}" if slant else before
    # number 7, thick, leaning left
    start = name if form < 0.8 or name == ENGLISH.unnamed else f"number {name}"
    return ", ".join([start, *styles, *([slant] if slant else [])])


def _chinese(name: str, styles: list[str], slant: str, form: float) -> str:
    if form < 0.6:  # 一个粗的、宽的七，向左倾斜
        before = f"一个{'、'.join(f'{style}的' for style in styles)}{name}"
        return f"{before}，{slant}" if slant else before
    start = name if form < 0.8 or name == CHINESE.unnamed else f"数字{name}"  # 数字7，粗，左斜
    return "，".join([start, *styles, *([slant] if slant else [])])


def _meanings() -> dict[tuple[str, ...], tuple[tuple[int, int], ...]]:
    """Phrase, as its words, to what it says: pairs of column and value. Fillers say nothing."""
    found: dict[tuple[str, ...], tuple[tuple[int, int], ...]] = {}
    for language in (ENGLISH, CHINESE):
        found |= {tuple(split(filler)): () for filler in language.fillers}
        found |= {(name,): ((0, digit),) for digit, name in enumerate(language.digits)}
        styles = language.thickness, language.slant, language.width
        for column, names in enumerate(styles, start=1):
            for value, synonyms in enumerate(names):
                found |= {tuple(split(name)): ((column, value),) for name in synonyms}
    return found | {(str(digit),): ((0, digit),) for digit in range(10)}


_MEANING = _meanings()
_LONGEST = max(map(len, _MEANING))
WORDS = tuple(sorted({word for phrase in _MEANING for word in phrase}))
