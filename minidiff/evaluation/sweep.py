"""Methods x guidance scales x seeds, measured row by row into a file that can be continued."""

import hashlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import pandas as pd
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
)
from minidiff.evaluation.reference import Reference
from minidiff.evaluation.results import COLUMNS, SHARES, read_results, write_results
from minidiff.sampling import cfg, cg, cg_conditional, generate
from minidiff.settings import device, sampling_precision
from minidiff.symbols import Denoiser, Images, InputError, Labels
from minidiff.training.checkpoints import Checkpoint

# s, the power of p(y|x_t); the same for every method
SCALES = (0.0, 1.0, 1.25, 1.5, 2.0, 2.5, 3.0, 4.0, 6.0, 8.0, 10.0)
DECIMALS = 5  # of what is written

Row = dict[str, str | float]  # one measurement, by the names of results.COLUMNS
Draw = Callable[[Labels, float, int, int], Images]  # of y, w, steps, seed
Wanted = tuple[str, float, int]  # method, s, seed


class Method(NamedTuple):
    """What is measured: how it draws, the weights it uses, its scale s = w + s_at_zero."""

    draw: Draw
    weights: tuple[Checkpoint, ...]
    s_at_zero: float = 1.0


Methods = Mapping[str, Method]


class Setting(NamedTuple):
    """How methods are measured."""

    scales: tuple[float, ...] = SCALES
    seeds: int = 4  # 0..seeds - 1
    each: int = 50  # images of every class
    steps: int = 50  # of DDIM


def drawing(
    make: Callable[[Labels, float], Denoiser], schedule: NoiseSchedule, eta: float = 0.0
) -> Draw:
    """The draw of a Method from a function that returns its denoiser for y and w."""

    def draw(y: Labels, w: float, steps: int, seed: int) -> Images:
        return generate(lambda rows: make(rows, w), y, schedule, steps, eta, seed)

    return draw


def guidance_methods(models: Mapping[str, Checkpoint], eta: float = 0.0) -> dict[str, Method]:
    """CFG, CG, and CG on the conditional model, by name; s is w for CG and 1 + w for the others."""
    unet, ddpm, classifier = (models[name] for name in ("unet", "ddpm", "classifier"))
    by_cfg = drawing(lambda y, w: cfg(unet, y, w), unet.schedule, eta)
    by_cg = drawing(lambda y, w: cg(ddpm, classifier, y, w), ddpm.schedule, eta)
    by_both = drawing(lambda y, w: cg_conditional(unet, classifier, y, w), unet.schedule, eta)
    return {
        "cfg": Method(by_cfg, (unet,)),
        "cg": Method(by_cg, (ddpm, classifier), s_at_zero=0.0),
        "cg_cond": Method(by_both, (unet, classifier)),
    }


def sweep(
    methods: Methods, reference: Reference, setting: Setting, done: pd.DataFrame
) -> Iterator[Row]:
    """Every row that is not in `done`: real images, then seed by seed, which share their noise."""
    yield from missing(methods, reference, setting, wanted_rows(methods, reference, setting), done)


def wanted_rows(methods: Methods, reference: Reference, setting: Setting) -> list[Wanted]:
    """What a sweep measures, in its order."""
    grid = [
        (method, s, seed)
        for seed in range(setting.seeds)
        for method in methods
        for s in setting.scales
    ]
    return [*real_rows(reference, setting), *grid]


def real_rows(reference: Reference, setting: Setting) -> list[Wanted]:
    """The rows of real images: as many as there are disjoint sets."""
    return [("real", 0.0, seed) for seed in range(len(reference.balanced_sets(setting.each)))]


def missing(
    methods: Methods,
    reference: Reference,
    setting: Setting,
    wanted: Sequence[Wanted],
    done: pd.DataFrame,
) -> Iterator[Row]:
    """The wanted rows, in this order, without those in `done`."""
    there = set(zip(done.method, done.s, done.seed, strict=True))
    for method, s, seed in wanted:
        if (method, s, seed) in there:
            continue
        if method == "real":
            yield real_row(reference, setting.each, seed)
        else:
            yield measured(method, methods[method], reference, s, setting, seed)


def measured(
    name: str, method: Method, reference: Reference, s: float, setting: Setting, seed: int
) -> Row:
    """One row: `each` images of every class, by one method at guidance scale s."""
    classes = torch.arange(reference.evaluator.metadata["classes"])
    y = classes.repeat_interleave(setting.each).to(device())
    w = s - method.s_at_zero
    metrics = _metrics(reference, method.draw(y, w, setting.steps, seed), y)
    weights = fingerprint(method.weights, reference.evaluator)
    how = (name, s, w, seed, len(y), setting.steps)
    return dict(zip(COLUMNS, (*how, *metrics, weights), strict=True))


def real_row(reference: Reference, each: int, seed: int) -> Row:
    """The same for real images, the seed-th set of `each` of every class; s, w, steps are 0."""
    chosen = reference.balanced_sets(each)[seed]
    images, labels = reference.test.x_0(chosen), reference.test.labels[chosen]
    metrics = _metrics(reference, images.to(device()), labels.to(device()))
    how = ("real", 0.0, 0.0, seed, len(chosen), 0)
    weights = fingerprint((), reference.evaluator)
    return dict(zip(COLUMNS, (*how, *metrics, weights), strict=True))


def measure_into(
    path: Path | None,
    comment: str,
    methods: Methods,
    reference: Reference,
    setting: Setting,
    rows: Callable = sweep,
) -> pd.DataFrame:
    """All rows in order, printed as they come, written after each one where there is a file.

    rows(methods, reference, setting, done) makes them; a file is continued. Raises InputError as
    `continued` does; Ctrl-C says what is kept.
    """
    done = continued(path, methods, reference.evaluator, setting) if path else as_frame([])
    total = len(wanted_rows(methods, reference, setting))
    try:
        with tqdm(desc="evaluate", unit="row", total=total, initial=len(done), leave=False) as bar:
            for row in rows(methods, reference, setting, done):
                tqdm.write(as_text(row))
                bar.update()
                done = pd.concat([done, as_frame([row])], ignore_index=True)
                if path:
                    write_results(path, comment, in_order(done, methods).round(DECIMALS))
    except KeyboardInterrupt:
        kept = f"{len(done)} of {total} rows are in {path}; the same command goes on."
        raise KeyboardInterrupt(kept if path and len(done) else "") from None
    return in_order(done, methods)


def as_frame(rows: Sequence[Row]) -> pd.DataFrame:
    """Rows as a table."""
    return pd.DataFrame(rows, columns=list(COLUMNS)).astype(COLUMNS)


def in_order(rows: pd.DataFrame, methods: Methods) -> pd.DataFrame:
    """Sorted: real images first, then method by method, scale by scale, seed by seed."""
    place = {name: place for place, name in enumerate(["real", *methods])}
    ordered = rows.assign(place=rows.method.map(place)).sort_values(["place", "s", "seed"])
    return ordered.drop(columns="place").reset_index(drop=True)


def fingerprint(weights: Sequence[Checkpoint], evaluator: Checkpoint) -> str:
    """12 hexadecimal digits of the SHA-256 of all these weights, and of bfloat16 if drawn in it."""
    rounded = sampling_precision(device())
    digest = hashlib.sha256(rounded.encode() if weights and rounded != "float32" else b"")
    for checkpoint in (*weights, evaluator):
        for tensor in checkpoint.net.state_dict().values():
            digest.update(tensor.cpu().contiguous().numpy().tobytes())
    return digest.hexdigest()[:12]


def continued(
    path: Path, methods: Methods, evaluator: Checkpoint, setting: Setting
) -> pd.DataFrame:
    """The rows that are in the file already; none if there is no file.

    Raises InputError if they were measured with other weights, images, steps, methods or seeds:
    then nothing is overwritten.
    """
    if not path.exists():
        return as_frame([])
    rows = read_results(path)
    n = setting.each * evaluator.metadata["classes"]
    known = {"real": fingerprint((), evaluator)}
    known |= {name: fingerprint(method.weights, evaluator) for name, method in methods.items()}
    for row in rows.itertuples():
        method, real = row.method, row.method == "real"
        if not real and not (
            method in methods and row.s in setting.scales and row.seed < setting.seeds
        ):
            which = f"{method}, s = {row.s:g}, seed {row.seed}"
            raise InputError(f"{path}: holds more than is asked for ({which}). Ask for all of it.")
        if row.weights != known[method]:
            which = f"{method}: {row.weights}, here {known[method]}"
            raise InputError(f"{path}: measured with other weights ({which}). Nothing was changed.")
        if row.n != n or row.steps != (0 if real else setting.steps):
            how = f"n = {row.n}, {row.steps} steps"
            raise InputError(
                f"{path}: measured with {how}. Ask for the same, or name another file."
            )
    return rows


def as_text(row: Row) -> str:
    """One line for a terminal: shares in per cent, the Frechet distance as it is."""
    where = f"s = {row['s']:5.2f}  w = {row['w']:5.2f}" if row["method"] != "real" else " " * 20
    shares = (f"{name} {100 * row[name]:6.2f} %" for name in SHARES)
    rest = f"precision {row['precision']:.3f}  recall {row['recall']:.3f}  "
    rest += f"diversity {row['diversity']:.2f}"
    how = f"{row['method']:8s} {where}  seed {row['seed']}  n = {row['n']}"
    return f"{how}  {'  '.join(shares)}  Frechet {row['frechet']:7.3f}  {rest}"


def _metrics(reference: Reference, x_0: Images, y: Labels) -> tuple[float, ...]:
    """Every metric of METRICS, in that order."""
    evaluator = reference.evaluator
    features = features_of(evaluator, x_0)
    return (
        class_accuracy(evaluator, x_0, y).accuracy,
        confident(evaluator, x_0),
        frechet_distance(moments(features), reference.train),
        *precision_recall(reference.manifold, manifold(features)),
        diversity(features, y),
    )
