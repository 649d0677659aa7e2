"""What the options of `sample` ask for: digits, sentences, or nothing. Each becomes a method and rows of what it is told."""

import argparse
import re
import sys
from typing import NamedTuple

import numpy as np
import torch

from minidiff.digits.captions import parse
from minidiff.symbols import Asked, InputError
from minidiff.training.checkpoints import Trained, kind, load, same_data
from minidiff.training.device import device
from minidiff.training.generation import METHODS, Guided, cfg_words
from minidiff.training.later import unconditional
from minidiff.training.sentences import to_tokens


class Question(NamedTuple):
    """The method that answers, a row of y for every image, their names for a file, images in a row of a picture, and words.

    weighs: whether w matters.
    """

    guided: Guided
    y: Asked
    names: np.ndarray | None
    columns: int
    said: str
    weighs: bool = True


def asked(options: argparse.Namespace) -> Question:
    """What is to be drawn. Raises InputError for options that do not go together, and for weights of another kind."""
    if options.away and not options.unasked:
        raise InputError("--away is a weaker network to move away from where nobody asks: it wants --unasked.")
    if options.negative and not options.prompt:
        raise InputError("--negative is a sentence against a sentence: it wants --prompt.")
    if (options.prompt or options.unasked) and options.method != "cfg":
        what = "--prompt goes with classifier-free guidance only: a classifier reads no sentence"
        raise InputError(f"{what if options.prompt else '--unasked has no digit to guide to'}; got {options.method}.")
    return _by_prompt(options) if options.prompt else _by_nobody(options) if options.unasked else _by_digit(options)


def _by_digit(options: argparse.Namespace) -> Question:
    method = METHODS[options.method]
    models = models_of(method.needs, options.weights)
    digits = parse_digits(options.digit, models[method.needs[-1]].facts["classes"])
    y, said = torch.tensor(digits).repeat_interleave(options.n), f"{options.n} x {options.digit} by {options.method}"
    return Question(method.build(*models.values()), y, y.numpy(), options.n, said)


def _by_prompt(options: argparse.Namespace) -> Question:
    tokens = to_tokens(options.prompt)
    for prompt in filter(None, (*options.prompt, options.negative)):
        try:
            parse(prompt)
        except InputError as error:
            print(f"note: {error} It is drawn all the same, somehow.", file=sys.stderr)
    guided = cfg_words(models_of(("words",), options.weights)["words"], options.negative)
    said = ", ".join(map(repr, options.prompt)) + (f" away from {options.negative!r}" if options.negative else "")
    names = np.repeat(np.array(options.prompt), options.n)
    return Question(guided, tokens.repeat_interleave(options.n, dim=0), names, options.n, f"{options.n} x {said} by cfg")


def _by_nobody(options: argparse.Namespace) -> Question:
    """Rows of ten."""
    if options.w is not None and not options.away:
        raise InputError("--w is how far to move away from something: with --unasked it wants --away.")
    ddpm = models_of(("ddpm",), options.weights)["ddpm"]
    weak = models_of(("ddpm",), [options.away])["ddpm"] if options.away else None
    said = f"{options.n} unasked, by ddpm" + (f" away from {options.away}" if weak else "")
    y = torch.zeros(options.n, dtype=torch.long)
    return Question(unconditional(ddpm, weak), y, None, min(options.n, 10), said, weak is not None)


def parse_digits(text: str, classes: int = 10) -> list[int]:
    """ "7", "0-9" or "1,3,5-7" as a list. Raises InputError for anything else and for a digit outside 0..classes - 1."""
    digits = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match:
            raise InputError(f'A digit, or digits like "0-9" or "1,3,5-7", expected, got {text!r}.')
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high:
            raise InputError(f"No digit in {part.strip()!r}: write the smaller one first.")
        if high >= classes:
            raise InputError(f"Unknown digit in {text!r}: this model knows 0 to {classes - 1}.")
        digits += range(low, high + 1)
    return digits


def models_of(needs: tuple[str, ...], files: list[str]) -> dict[str, Trained]:
    """The needed models on the device, from the named files where there are some, else the shipped weights."""
    named = {}
    for file in files:
        name = kind(file)
        if name not in needs or name in named:
            raise InputError(f"{file}: weights of {name!r}, but {' and '.join(needs)} are wanted here, one file each.")
        named[name] = file
    models = {name: load(name, named.get(name)) for name in needs}
    same_data(*models.values())
    for model in models.values():
        model.net.to(device())
    return models
