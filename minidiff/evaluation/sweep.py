"""The harness: methods x guidance scales x seeds, measured row by row into a CSV file that can be interrupted and continued."""

import csv
import hashlib
import io
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from tqdm import tqdm

from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.evaluation.metrics import (
    class_accuracy,
    confident,
    diversity,
    features_of,
    frechet_distance,
    manifold,
    moments,
    precision_recall,
    share_error,
)
from minidiff.evaluation.reference import Reference
from minidiff.sampling import cfg, cg, cg_conditional, generate
from minidiff.settings import device, sampling_precision
from minidiff.symbols import Denoiser, Images, InputError, Labels
from minidiff.training.checkpoints import Checkpoint, write_atomically

SCALES = (0.0, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 10.0)  # s, the power of p(y|x_t); the same for every method
METRICS = ("accuracy", "confident", "frechet", "precision", "recall", "diversity")
SHARES = ("accuracy", "confident")  # shares of independent images, with the standard error of a share


class Row(NamedTuple):
    """One measurement. s is the guidance scale; method "real" is real test images, the reference for all others."""

    method: str
    s: float
    w: float
    seed: int
    n: int
    steps: int
    accuracy: float
    confident: float
    frechet: float
    precision: float
    recall: float
    diversity: float
    weights: str


class Method(NamedTuple):
    """What is measured: draw(y, w, steps, seed) -> images; the weights it uses; its scale s = w + s_at_zero."""

    draw: Callable[[Labels, float, int, int], Images]
    weights: tuple[Checkpoint, ...]
    s_at_zero: float = 1.0


def drawing(make: Callable[[Labels, float], Denoiser], schedule: NoiseSchedule, eta: float = 0.0) -> Callable:
    """The draw of a Method from a function that returns its denoiser for y and w."""
    return lambda y, w, steps, seed: generate(lambda rows: make(rows, w), y, schedule, steps, eta, seed)


def guidance_methods(models: Mapping[str, Checkpoint], eta: float = 0.0) -> dict[str, Method]:
    """CFG, CG, and CG on the conditional model, by name; s is w for CG and 1 + w for the others."""
    unet, ddpm, classifier = (models[name] for name in ("unet", "ddpm", "classifier"))
    return {
        "cfg": Method(drawing(lambda y, w: cfg(unet, y, w), unet.schedule, eta), (unet,)),
        "cg": Method(drawing(lambda y, w: cg(ddpm, classifier, y, w), ddpm.schedule, eta), (ddpm, classifier), 0.0),
        "cg_cond": Method(drawing(lambda y, w: cg_conditional(unet, classifier, y, w), unet.schedule, eta), (unet, classifier)),
    }


class Setting(NamedTuple):
    """How methods are measured: these scales, seeds 0..seeds - 1, `each` images of every class, DDIM with so many steps."""

    scales: tuple[float, ...] = SCALES
    seeds: int = 4
    each: int = 50
    steps: int = 50


Wanted = tuple[str, float, int]  # method, s, seed
Methods = Mapping[str, Method]


def sweep(methods: Methods, reference: Reference, setting: Setting, done: Sequence[Row] = ()) -> Iterator[Row]:
    """Every row that is not in `done`: real images, then seed by seed. All rows of a seed share their noise."""
    yield from missing(methods, reference, setting, wanted_rows(methods, reference, setting), done)


def wanted_rows(methods: Methods, reference: Reference, setting: Setting) -> list[Wanted]:
    """What a sweep measures, in its order."""
    grid = [(method, s, seed) for seed in range(setting.seeds) for method in methods for s in setting.scales]
    return [*real_rows(reference, setting), *grid]


def real_rows(reference: Reference, setting: Setting) -> list[Wanted]:
    """The rows of real images: as many as there are disjoint sets."""
    return [("real", 0.0, seed) for seed in range(len(reference.balanced_sets(setting.each)))]


def missing(
    methods: Methods, reference: Reference, setting: Setting, wanted: Sequence[Wanted], done: Sequence[Row]
) -> Iterator[Row]:
    """The wanted rows, in this order, without those in `done`."""
    there = {(row.method, row.s, row.seed) for row in done}
    for method, s, seed in wanted:
        if (method, s, seed) not in there:
            if method == "real":
                yield real_row(reference, setting.each, seed)
            else:
                yield measured(method, methods[method], reference, s, setting, seed)


def measured(name: str, method: Method, reference: Reference, s: float, setting: Setting, seed: int) -> Row:
    """One row: `each` images of every class, by one method at guidance scale s."""
    y = torch.arange(reference.evaluator.metadata["classes"]).repeat_interleave(setting.each).to(device())
    w = s - method.s_at_zero
    figures = _metrics(reference, method.draw(y, w, setting.steps, seed), y)
    return Row(name, s, w, seed, len(y), setting.steps, *figures, fingerprint(method.weights, reference.evaluator))


def real_row(reference: Reference, each: int, seed: int) -> Row:
    """The same figures for real images, the seed-th set with `each` test images of every class. s, w and steps are 0."""
    chosen = reference.balanced_sets(each)[seed]
    images, labels = reference.test.x_0(chosen), reference.test.labels[chosen]
    figures = _metrics(reference, images.to(device()), labels.to(device()))
    return Row("real", 0.0, 0.0, seed, len(chosen), 0, *figures, fingerprint((), reference.evaluator))


def measure_into(
    path: Path | None, comment: str, methods: Methods, reference: Reference, setting: Setting, rows: Callable = sweep
) -> list[Row]:
    """All rows, printed as they come, written after each one where there is a file, which is continued; in the file's order.

    rows(methods, reference, setting, done) makes them. Raises InputError as `continued` does; Ctrl-C says what is kept.
    """
    done = continued(path, methods, reference.evaluator, setting) if path else []
    total = len(wanted_rows(methods, reference, setting))
    try:
        with tqdm(desc="evaluate", unit="row", total=total, initial=len(done), leave=False) as bar:
            for row in rows(methods, reference, setting, list(done)):
                tqdm.write(as_text(row))
                bar.update()
                done.append(row)
                if path:
                    write_atomically(path, as_csv(done, comment, methods))
    except KeyboardInterrupt:
        kept = f"{len(done)} of {total} rows are in {path}; the same command goes on." if path and done else ""
        raise KeyboardInterrupt(kept) from None
    return in_order(done, methods)


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
    """Rows that differ in their seed only, put together, in the order in which they come.

    frechet is in units of what real images get.

    Errors: of a share, sqrt(p (1 - p) / n) over all images; of the others std / sqrt(seeds), NaN for a single seed.
    """
    groups: dict[tuple[str, float], list[Row]] = {}
    for row in rows:
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


def fingerprint(weights: Sequence[Checkpoint], evaluator: Checkpoint) -> str:
    """12 hexadecimal digits of the SHA-256 of these weights and the evaluator's, and of bfloat16 where they draw in it."""
    rounded = sampling_precision(device())
    digest = hashlib.sha256(rounded.encode() if weights and rounded != "float32" else b"")
    for checkpoint in (*weights, evaluator):
        for tensor in checkpoint.net.state_dict().values():
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def in_order(rows: Sequence[Row], methods: Methods) -> list[Row]:
    """The rows sorted: real images first, then method by method, scale by scale, seed by seed."""
    order = ["real", *methods]
    return sorted(rows, key=lambda row: (order.index(row.method), row.s, row.seed))


def as_csv(rows: Sequence[Row], comment: str, methods: Methods) -> bytes:
    """The rows in their order as CSV; the first line is a comment with the command that makes them."""
    text = io.StringIO()
    text.write(f"# {comment}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(Row._fields)
    for row in in_order(rows, methods):
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


def continued(path: Path, methods: Methods, evaluator: Checkpoint, setting: Setting) -> list[Row]:
    """The rows that are in the file already; none if there is no file.

    Raises InputError if they were measured with other weights, images, steps, methods or seeds: then nothing is overwritten.
    """
    rows = read_rows(path) if path.exists() else []
    for row in rows:
        if row.method != "real" and not (row.method in methods and row.s in setting.scales and row.seed < setting.seeds):
            which = f"{row.method}, s = {row.s:g}, seed {row.seed}"
            raise InputError(f"{path}: holds more than is asked for ({which}). Ask for all of it.")
        wanted = fingerprint(methods[row.method].weights if row.method in methods else (), evaluator)
        if row.weights != wanted:
            which = f"{row.method}: {row.weights}, here {wanted}"
            raise InputError(f"{path}: measured with other weights ({which}). Nothing was changed.")
        if row.n != setting.each * evaluator.metadata["classes"] or row.steps not in (0, setting.steps):
            raise InputError(f"{path}: measured with n = {row.n}, {row.steps} steps. Ask for the same, or name another file.")
    return rows


def as_text(row: Row) -> str:
    """One line for a terminal: shares in per cent, the Frechet distance as it is."""
    where = f"s = {row.s:5.2f}  w = {row.w:5.2f}" if row.method != "real" else " " * 20
    shares = f"accuracy {100 * row.accuracy:6.2f} %  confident {100 * row.confident:6.2f} %  Frechet {row.frechet:7.3f}"
    rest = f"precision {row.precision:.3f}  recall {row.recall:.3f}  diversity {row.diversity:.2f}"
    return f"{row.method:8s} {where}  seed {row.seed}  n = {row.n}  {shares}  {rest}"


HEAD = ("method", "s", "w", "n", "class accuracy (%)", "confident (%)", "Frechet / real", "precision", "recall", "diversity")


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


def _metrics(reference: Reference, x_0: Images, y: Labels) -> tuple[float, ...]:
    """Every metric of METRICS, in that order."""
    verdict, features = class_accuracy(reference.evaluator, x_0, y), features_of(reference.evaluator, x_0)
    distance = frechet_distance(moments(features), reference.train)
    share = confident(reference.evaluator, x_0)
    return verdict.accuracy, share, distance, *precision_recall(reference.manifold, manifold(features)), diversity(features, y)
