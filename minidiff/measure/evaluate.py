"""The harness: methods x guidance scales x seeds, measured row by row into a CSV file that can be interrupted and continued."""

import csv
import hashlib
import io
import math
import shlex
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from minidiff.measure.ideal import EXACT
from minidiff.measure.metrics import (
    confident,
    diversity,
    features_of,
    frechet_distance,
    judged,
    manifold,
    moments,
    precision_recall,
    share_error,
)
from minidiff.measure.reference import Reference
from minidiff.symbols import Images, InputError, Labels
from minidiff.training.checkpoints import Trained
from minidiff.training.device import device, sampling_precision
from minidiff.training.generation import METHODS, generate
from minidiff.training.later import FRESH_NOISE, TWO_NETWORKS, VARIANTS

EVERY = {**METHODS, "exact": EXACT, **FRESH_NOISE, **TWO_NETWORKS, **VARIANTS}  # all that can be measured, by name
SCALES = (0.0, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 10.0)  # s, the power of p(y|x_t); the same for every method
METRICS = ("as_asked", "sure", "frechet", "precision", "recall", "diversity")
SHARES = ("as_asked", "sure")  # shares of independent images, with the standard error of a share


class Row(NamedTuple):
    """One measurement. s is the guidance scale; method "real" is real test images, the floor and the ceiling of all others."""

    method: str
    s: float
    w: float
    seed: int
    n: int
    steps: int
    as_asked: float
    sure: float
    frechet: float
    precision: float
    recall: float
    diversity: float
    weights: str


class Setting(NamedTuple):
    """What is measured in a file: these methods at these scales, with seeds 0..seeds - 1, `each` images of every class."""

    methods: tuple[str, ...] = tuple(METHODS)
    scales: tuple[float, ...] = SCALES
    seeds: int = 4
    each: int = 50
    steps: int = 50

    def command(self) -> str:
        """The command that makes the file."""
        defaults, words = Setting(), ["python -m minidiff evaluate"]
        if self.methods != defaults.methods:
            words += ["--methods", *(shlex.quote(method) for method in self.methods)]
        if self.scales != defaults.scales:
            words += ["--scales", *(f"{s:g}" for s in self.scales)]
        return " ".join([*words, f"--n {self.each} --seeds {self.seeds} --steps {self.steps}"])

    def count(self) -> int:
        """How many rows there will be, real ones not counted."""
        return self.seeds * len(self.methods) * len(self.scales)

    def wants(self, method: str, s: float, seed: int) -> bool:
        """Whether such a row belongs into the file."""
        return method in self.methods and s in self.scales and seed < self.seeds


Wanted = tuple[str, float, int]  # method, s, seed


def sweep(models: Mapping[str, Trained], by: Reference, setting: Setting, done: Sequence[Row] = ()) -> Iterator[Row]:
    """Every row of the setting that is not in `done`: real images, then seed by seed. All rows of a seed share their noise."""
    grid = [(method, s, seed) for seed in range(setting.seeds) for method in setting.methods for s in setting.scales]
    yield from missing(models, by, setting, [*real_ones(by, setting), *grid], done)


def real_ones(by: Reference, setting: Setting) -> list[Wanted]:
    """The rows of real images: as many as there are disjoint sets."""
    return [("real", 0.0, seed) for seed in range(len(by.balanced_sets(setting.each)))]


def missing(
    models: Mapping[str, Trained], by: Reference, setting: Setting, wanted: Sequence[Wanted], done: Sequence[Row]
) -> Iterator[Row]:
    """The wanted rows, in this order, without those in `done`."""
    there = {(row.method, row.s, row.seed) for row in done}
    for method, s, seed in wanted:
        if (method, s, seed) not in there:
            real = method == "real"
            yield real_row(models, by, setting.each, seed) if real else measured(models, by, method, s, setting, seed)


def measured(models: Mapping[str, Trained], by: Reference, method: str, s: float, setting: Setting, seed: int) -> Row:
    """One row: `each` images of every class, by one method at guidance scale s."""
    needs, build, s_at_zero = EVERY[method]
    guided = build(*[models[name] for name in needs])
    y = torch.arange(by.judge.facts["classes"]).repeat_interleave(setting.each).to(device())
    w = s - s_at_zero
    x_0 = generate(guided, y, w, setting.steps, seed)
    return Row(method, s, w, seed, len(y), setting.steps, *_metrics(by, x_0, y), fingerprint(models, needs))


def real_row(models: Mapping[str, Trained], by: Reference, each: int, seed: int) -> Row:
    """The same figures for real images, the seed-th set with `each` test images of every class. s, w and steps are 0."""
    chosen = by.balanced_sets(each)[seed]
    figures = _metrics(by, by.test.x_0(chosen).to(device()), by.test.labels[chosen].to(device()))
    return Row("real", 0.0, 0.0, seed, len(chosen), 0, *figures, fingerprint(models, ()))


class Point(NamedTuple):
    """All seeds of one method at one scale: the mean and the standard error of every metric, n images in all."""

    method: str
    s: float
    w: float
    n: int
    seeds: int
    mean: dict[str, float]
    error: dict[str, float]


def points(rows: Sequence[Row]) -> list[Point]:
    """Rows that differ in their seed only, put together. frechet is in units of the floor, which is what real images get.

    Errors: of a share, sqrt(p (1 - p) / n) over all images; of the others std / sqrt(seeds), NaN for a single seed.
    """
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in in_order(rows):
        groups.setdefault((row.method, row.s), []).append(row)
    real = groups.get(("real", 0.0), [])
    floor = sum(row.frechet for row in real) / len(real) if real else math.nan
    found = []
    for (method, s), same in groups.items():
        n, mean, error = sum(row.n for row in same), {}, {}
        for name in METRICS:
            values = torch.tensor([getattr(row, name) for row in same], dtype=torch.float64) / (floor if name == "frechet" else 1)
            mean[name] = float(values.mean())
            spread = float(values.std()) / math.sqrt(len(same)) if len(same) > 1 else math.nan
            error[name] = share_error(round(mean[name] * n), n) if name in SHARES else spread
        found.append(Point(method, s, same[0].w, n, len(same), mean, error))
    return found


def fingerprint(models: Mapping[str, Trained], names: Sequence[str]) -> str:
    """12 hexadecimal digits of the SHA-256 of these models' weights and the judge's, and of bfloat16 where they draw in it."""
    rounded = sampling_precision(device())
    digest = hashlib.sha256(rounded.encode() if names and rounded != "float32" else b"")
    for name in (*names, "judge"):
        for tensor in models[name].net.state_dict().values():
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def in_order(rows: Sequence[Row]) -> list[Row]:
    """The rows sorted: real images first, then method by method, scale by scale, seed by seed."""
    order = ["real", *EVERY]
    return sorted(rows, key=lambda row: (order.index(row.method), row.s, row.seed))


def as_csv(rows: Sequence[Row], setting: Setting) -> bytes:
    """The rows in their order (method, s, seed) as CSV; the first line is a comment with the command that makes them."""
    text = io.StringIO()
    text.write(f"# {setting.command()}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in in_order(rows):
        writer.writerow([round(cell, 5) if isinstance(cell, float) else cell for cell in row])
    return text.getvalue().encode()


def read_rows(path: str | Path) -> list[Row]:
    """The rows of a file of as_csv. Raises InputError if it is something else."""
    lines = Path(path).read_text(errors="replace").splitlines()
    table = csv.DictReader(lines[1:])
    if tuple(table.fieldnames or ()) != Row._fields:
        raise InputError(f"{path}: not a table of minidiff evaluate. Name another file with --out.")
    kinds = Row.__annotations__
    try:
        return [Row(**{name: kinds[name](cell) for name, cell in line.items()}) for line in table]
    except (TypeError, ValueError, KeyError) as error:
        raise InputError(f"{path}: a line is broken or truncated ({error}). Name another file with --out.") from error


def continued(path: Path, models: Mapping[str, Trained], setting: Setting) -> list[Row]:
    """The rows that are in the file already; none if there is no file.

    Raises InputError if they were measured with other weights, images or steps: then nothing is overwritten.
    """
    rows = read_rows(path) if path.exists() else []
    for row in rows:
        wanted = fingerprint(models, EVERY[row.method].needs if row.method in EVERY else ())
        if row.weights != wanted:
            raise InputError(
                f"{path}: measured with other weights ({row.method}: {row.weights}, here {wanted}). Nothing was changed."
            )
        if row.n != setting.each * models["judge"].facts["classes"] or row.steps not in (0, setting.steps):
            raise InputError(f"{path}: measured with n = {row.n}, {row.steps} steps. Ask for the same, or name another file.")
        if row.method != "real" and not setting.wants(row.method, row.s, row.seed):
            raise InputError(
                f"{path}: holds more than is asked for ({row.method}, s = {row.s:g}, seed {row.seed}). Ask for all of it."
            )
    return rows


def as_text(row: Row) -> str:
    """One line for a terminal: shares in per cent, the Frechet distance as it is."""
    where = f"s = {row.s:5.2f}  w = {row.w:5.2f}" if row.method != "real" else " " * 20
    shares = f"as asked {100 * row.as_asked:6.2f} %  sure {100 * row.sure:6.2f} %  Frechet {row.frechet:7.3f}"
    rest = f"precision {row.precision:.3f}  recall {row.recall:.3f}  diversity {row.diversity:.2f}"
    return f"{row.method:8s} {where}  seed {row.seed}  n = {row.n}  {shares}  {rest}"


HEAD = ("method", "s", "w", "n", "as asked (%)", "judge sure (%)", "Frechet / real", "precision", "recall", "diversity")


def as_table(found: Sequence[Point]) -> str:
    """The points as a Markdown table: mean ± standard error; no error where there is one seed."""
    lines = [HEAD, ("---",) * len(HEAD)]
    for point in found:
        cells = [point.method, *(f"{value:g}" if point.method != "real" else "" for value in (point.s, point.w)), f"{point.n:,}"]
        for name in METRICS:
            factor, digits = (100, 1) if name in SHARES else (1, 2)
            mean, error = factor * point.mean[name], factor * point.error[name]
            cells.append(f"{mean:.{digits}f}" + (f" ± {error:.{digits}f}" if math.isfinite(error) else ""))
        lines.append(tuple(cells))
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _metrics(by: Reference, x_0: Images, y: Labels) -> tuple[float, ...]:
    """Every metric of METRICS, in that order."""
    verdict, features = judged(by.judge, x_0, y), features_of(by.judge, x_0)
    distance = frechet_distance(moments(features), by.train)
    sure = confident(by.judge, x_0)
    return verdict.as_asked, sure, distance, *precision_recall(by.manifold, manifold(features)), diversity(features, y)
