"""The table: both methods over a sweep of the guidance scale, judged; as rows, as text, as CSV."""

import csv
import hashlib
import io
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import torch

from minidiff.digits.mnist import Digits
from minidiff.measure.metrics import judged
from minidiff.training.checkpoints import Trained
from minidiff.training.device import device
from minidiff.training.generation import METHODS, generate

SCALES = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 10.0)  # s, the power of p(y|x_t); the same for both methods


class Row(NamedTuple):
    """One line of the table. s is the guidance scale (s = w for CG, 1 + w for CFG); errors are standard errors."""

    method: str
    s: float
    w: float
    n: int
    steps: int
    seed: int
    as_asked: float
    as_asked_error: float
    confidence: float
    confidence_error: float
    weights: str


def sweep(models: Mapping[str, Trained], each: int = 100, steps: int = 50, seed: int = 0) -> Iterator[Row]:
    """A row for every method and every s in SCALES: `each` images of every class, the same noise in every row.

    Then each method's best row again, with the next seed: the choice of the best has not seen that noise. Lazy.
    """
    for method in METHODS:
        rows = []
        for s in SCALES:
            rows.append(measured(models, method, s, each, steps, seed))
            yield rows[-1]
        best = max(rows, key=lambda row: (row.as_asked, -row.s))
        yield measured(models, method, best.s, each, steps, seed + 1)


def measured(models: Mapping[str, Trained], method: str, s: float, each: int, steps: int, seed: int) -> Row:
    """One row: `each` images of every class by one method at guidance scale s, judged. models holds the judge too."""
    needs, build, s_at_zero = METHODS[method]
    guided = build(*[models[name] for name in needs])
    y = torch.arange(models["judge"].facts["classes"]).repeat_interleave(each).to(device())
    w = s - s_at_zero
    verdict = judged(models["judge"], generate(guided, y, w, steps, seed), y)
    return Row(method, s, w, verdict.n, steps, seed, *verdict[1:], fingerprint(models, needs))


def real_images(models: Mapping[str, Trained], digits: Digits) -> Row:
    """The same figures for real images: the ceiling, since the judge errs too."""
    verdict = judged(models["judge"], digits.x_0().to(device()), digits.labels.to(device()))
    return Row("real", float("nan"), float("nan"), verdict.n, 0, 0, *verdict[1:], fingerprint(models, ()))


def fingerprint(models: Mapping[str, Trained], names: Sequence[str]) -> str:
    """12 hexadecimal digits of the SHA-256 of these models' weights and the judge's."""
    digest = hashlib.sha256()
    for name in (*names, "judge"):
        for tensor in models[name].net.state_dict().values():
            digest.update(tensor.cpu().numpy().tobytes())
    return digest.hexdigest()[:12]


def as_csv(rows: Sequence[Row], command: str) -> bytes:
    """The rows as CSV; the first line is a comment with the command that makes them."""
    text = io.StringIO()
    text.write(f"# {command}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    writer.writerows([round(cell, 5) if isinstance(cell, float) else cell for cell in row] for row in rows)
    return text.getvalue().encode()


def as_text(row: Row) -> str:
    """One line for a terminal: shares in per cent, with their standard errors."""
    setting = f"s = {row.s:4.1f}  w = {row.w:4.1f}" if row.s == row.s else " " * 18
    asked = f"as asked {100 * row.as_asked:6.2f} ± {100 * row.as_asked_error:.2f} %"
    sure = f"judge's confidence {100 * row.confidence:6.2f} ± {100 * row.confidence_error:.2f} %"
    return f"{row.method:5s} {setting}  n = {row.n:5d}  seed {row.seed}  {asked}   {sure}"
