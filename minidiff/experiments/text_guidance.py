"""What sentences are worth: how well the contrastive encoder finds, and prompt adherence.

python -m minidiff.experiments.text_guidance FILE draws with the pretrained U-Net at several w and
writes a row for each.
"""

import math
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pandas as pd
import torch
from jaxtyping import Float
from torch import Tensor

from minidiff.datasets.captions import (
    ATTRIBUTES,
    UNSAID,
    Described,
    bins,
    describe,
    is_held_out,
    sentences,
)
from minidiff.datasets.mnist import Digits, load_digits
from minidiff.datasets.strokes import strokes
from minidiff.evaluation.metrics import class_accuracy, share_error
from minidiff.evaluation.results import write_results
from minidiff.sampling import cfg_text, generate
from minidiff.settings import device
from minidiff.symbols import Features, Images
from minidiff.training.checkpoints import Checkpoint, load
from minidiff.training.sentences import to_tokens

EVERY = torch.cartesian_prod(torch.arange(10), *[torch.arange(3)] * 3)  # all 270 full descriptions
STYLES = (1, 2)  # the columns of Described that are asked for and measured: thickness and slant
# the shares of a Row; each has its "..._error"
MET = ("accuracy", "thickness_in_bin", "slant_in_bin")
SCALES, N, STEPS, SEED = (0.0, 0.5, 1.0, 2.0, 3.0, 5.0), 1_000, 50, 0


class Retrieval(NamedTuple):
    """Shares of queries whose best match is right, in the order of ATTRIBUTES, both ways."""

    sentence_for_image: Float[Tensor, "4"]
    image_for_sentence: Float[Tensor, "4"]
    images: int
    sentences: int


def retrieval(text: Checkpoint, digits: Digits, n: int = 1_000) -> Retrieval:
    """The first n images against all 270 full sentences that are true of one of them, both ways."""
    x_0 = digits.x_0(slice(n))
    shown = describe(x_0, digits.labels[:n])
    there = (EVERY[:, None] == shown).all(dim=2).any(dim=1)
    with torch.no_grad():
        images = text.net["image"](x_0.to(device()))
        fits = text.net["contrast"](images, _encoded(text, EVERY)).cpu()  # (images, sentences)
    found, backwards = EVERY[fits.argmax(dim=1)], shown[fits[:, there].argmax(dim=0)]
    right = (found == shown).double().mean(dim=0), (backwards == EVERY[there]).double().mean(dim=0)
    return Retrieval(*right, len(x_0), int(there.sum()))


def plainly(described: Described) -> list[str]:
    """One English sentence a row, always in the same form: "a bold, slim seven, leaning left"."""
    form = torch.tensor([0.0] * 4 + [0.0, 0.0, 1.0, 0.0])
    return sentences(described, form.repeat(len(described), 1))


def pairs(held_out: bool) -> Described:
    """A digit and one end of its thickness or slant: the 10 that training never saw, or the 30."""
    rows = torch.full((40, len(ATTRIBUTES)), UNSAID)
    every = torch.cartesian_prod(torch.arange(10), torch.tensor(STYLES), torch.tensor([0, 2]))
    for row, (digit, column, value) in zip(rows, every, strict=True):
        row[0], row[column] = digit, value
    return rows[is_held_out(rows) == held_out]


def asked_for(held_out: bool, n: int) -> Described:
    """At most n rows of pairs, as many of each."""
    wanted = pairs(held_out)
    return wanted.repeat_interleave(n // len(wanted), dim=0)


class Row(NamedTuple):
    """n images of pairs, as many of each, drawn at w or real: prompt adherence, with errors.

    in_bin: the share in the requested third; real images: 1. shift: mean where the high end was
    requested minus mean where the low end was, in standard deviations of the data;
    correlation: of the end and the measured number. Both count from the mean of the digit's
    training images, so that a digit which is thick by nature is no success.
    """

    pairs: str
    w: float | str
    n: int
    accuracy: float
    accuracy_error: float
    thickness_in_bin: float
    thickness_in_bin_error: float
    thickness_shift: float
    thickness_shift_error: float
    thickness_correlation: float
    thickness_correlation_error: float
    slant_in_bin: float
    slant_in_bin_error: float
    slant_shift: float
    slant_shift_error: float
    slant_correlation: float
    slant_correlation_error: float


class Ruler(NamedTuple):
    """Means of the measures for each digit of the training set, standard deviations over all."""

    means: Float[Tensor, "10 3"]
    spread: Float[Tensor, "3"]
    evaluator: Checkpoint


def ruler(evaluator: Checkpoint) -> Ruler:
    """From the 60,000 training images."""
    train = load_digits("train")
    measured = strokes(train.x_0())
    means = torch.stack([measured[train.labels == digit].mean(dim=0) for digit in range(10)])
    return Ruler(means, measured.std(dim=0), evaluator)


def measured_row(by: Ruler, x_0: Images, asked: Described, name: str, w: float | str) -> Row:
    """Prompt adherence: rows of `asked` name a digit and one end of one style."""
    verdict = class_accuracy(by.evaluator, x_0, asked[:, 0].to(x_0.device))
    shown = strokes(x_0).cpu()
    found: list[float] = []
    for column in STYLES:
        named = asked[:, column] != UNSAID
        high = asked[named, column] == 2
        measure = column - 1
        from_mean = shown[named, measure] - by.means[asked[named, 0], measure]
        from_mean = from_mean / by.spread[measure]
        hits = int((bins(shown[named])[:, measure] == asked[named, column]).sum())
        found += [
            hits / len(high),
            share_error(hits, len(high)),
            *_shift(from_mean, high),
            *_correlation(from_mean, high),
        ]
    found = [verdict.accuracy, verdict.accuracy_error, *found]
    return Row(name, w, len(x_0), *(round(value, 4) for value in found))


def drawn(text_unet: Checkpoint, asked: Described, w: float, seed: int = SEED) -> Images:
    """An image for every row, from its plain English sentence."""
    tokens = to_tokens(plainly(asked)).to(device())
    return generate(
        lambda rows: cfg_text(text_unet, rows, w), tokens, text_unet.schedule, STEPS, seed=seed
    )


def rows(
    text_unet: Checkpoint, by: Ruler, scales: tuple[float, ...] = SCALES, n: int = N
) -> Iterator[Row]:
    """Held-out pairs, then seen ones: real test images (for each pair they show), then every w."""
    test = load_digits("test")
    shown = describe(test.x_0(), test.labels)
    for held_out, name in ((True, "held out"), (False, "seen")):
        wanted = pairs(held_out)
        fits = ((shown[:, None] == wanted) | (wanted == UNSAID)).all(dim=2)  # (images, pairs)
        # as many of every pair
        image = torch.cat([column.nonzero()[: int(fits.sum(dim=0).min()), 0] for column in fits.T])
        real, each = test.x_0(image).to(device()), len(image) // len(wanted)
        yield measured_row(by, real, wanted.repeat_interleave(each, 0), name, "real")
        for w in scales:
            asked = asked_for(held_out, n)
            yield measured_row(by, drawn(text_unet, asked, w), asked, name, w)


def read_rows(path: str | Path) -> list[Row]:
    """The rows that `main` wrote; "real" stays a word, all else becomes numbers."""
    table = pd.read_csv(path, skiprows=1, converters={"w": _scale})
    return [Row(*row) for row in table.itertuples(index=False)]


def _scale(text: str) -> float | str:
    return text if text == "real" else float(text)


def as_table(rows: list[Row], scales: tuple[float, ...] = (0.0, 2.0, 5.0)) -> str:
    """Shares in per cent at these w as a markdown table."""
    heads = "| pairs | w | digit class accuracy (%) | thickness met (%) | slant met (%) |"
    lines = [heads, "|---|---|---|---|---|"]
    for row in rows:
        if row.w in scales:
            value = row._asdict()
            shares = ((100 * value[what], 100 * value[f"{what}_error"]) for what in MET)
            cells = " | ".join(f"{share:.1f} ± {error:.1f}" for share, error in shares)
            lines.append(f"| {row.pairs} | {row.w:g} | {cells} |")
    return "\n".join(lines)


def main(path: Path) -> None:
    """Measure, print, and write the rows beside the file, which they replace when all are there."""
    models = {name: load(name) for name in ("text_unet", "evaluator")}
    for model in models.values():
        model.net.to(device())
    how = f"DDIM {STEPS} steps, seed {SEED}"
    comment = f"python -m minidiff.experiments.text_guidance {path.name}: {how}"
    done, part = [], path.with_name(f"{path.name}.part")
    for row in rows(models["text_unet"], ruler(models["evaluator"])):
        done.append(row)
        print(row, flush=True)
        write_results(part, comment, pd.DataFrame(done))
    part.replace(path)


def _encoded(text: Checkpoint, described: Described) -> Features:
    return text.net["text"].pooled(to_tokens(plainly(described)).to(device()))


def _shift(values: Tensor, high: Tensor) -> tuple[float, float]:
    up, down = values[high], values[~high]
    error = math.sqrt(up.var() / len(up) + down.var() / len(down))
    return float(up.mean() - down.mean()), error


def _correlation(values: Tensor, high: Tensor) -> tuple[float, float]:
    """r and its standard error: both ends equally often, normal values at each   [Tate 1954]"""
    r = float(torch.corrcoef(torch.stack([values, high.to(values.dtype)]))[0, 1])
    return r, (1 - r * r) * math.sqrt((1 - r * r / 2) / (len(values) - 2))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
