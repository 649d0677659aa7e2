"""Results as pandas tables: a row for each measurement; seeds put together; Markdown."""

import math
from pathlib import Path

import pandas as pd

from minidiff.evaluation.metrics import share_error
from minidiff.symbols import InputError
from minidiff.training.checkpoints import write_atomically

SHARES = ("accuracy", "confident")  # of independent images, with the standard error of a share
METRICS = (*SHARES, "frechet", "precision", "recall", "diversity")
# s is the guidance scale; method "real" is real test images, the reference for all others
COLUMNS = {"method": str, "s": float, "w": float, "seed": int, "n": int, "steps": int}
COLUMNS |= {**dict.fromkeys(METRICS, float), "weights": str}
HEAD = {"accuracy": "class accuracy (%)", "confident": "confident (%)", "frechet": "Frechet / real"}


def read_results(path: str | Path) -> pd.DataFrame:
    """The rows that `minidiff evaluate` wrote. Raises InputError if the file is something else."""
    names = Path(path).read_text(errors="replace").splitlines()[1:2]
    if names != [",".join(COLUMNS)]:
        raise InputError(f"{path}: not a table of minidiff evaluate. Name another file with --out.")
    try:
        rows = pd.read_csv(path, skiprows=1, dtype=COLUMNS)
    except ValueError as error:
        raise _broken(path, error) from error
    if rows.isna().any(axis=None):
        raise _broken(path, "a value is missing")
    return rows


def _broken(path: str | Path, why: object) -> InputError:
    return InputError(
        f"{path}: a line is broken or truncated ({why}). Name another file with --out."
    )


def kept_rows(path: Path) -> list[dict]:
    """The rows of any such file, as far as it was written; none if there is no file."""
    if not path.exists():
        return []
    return pd.read_csv(path, skiprows=1).to_dict("records")


def write_results(path: str | Path, comment: str, rows: pd.DataFrame) -> None:
    """The whole file at once: # comment, the names of the columns, a line for each row."""
    text = rows.to_csv(index=False, lineterminator="\n")
    write_atomically(path, f"# {comment}\n{text}".encode())


def over_seeds(rows: pd.DataFrame) -> pd.DataFrame:
    """A row for each method and s, in the order in which they come: the mean of every metric.

    `accuracy_error` and so on are standard errors: of a share (r + 1) / (n + 2) over all images, as
    share_error does it; of the others std / sqrt(seeds), NaN for one seed. frechet is in units of
    what real images get.
    """
    real = rows.loc[rows.method == "real", "frechet"].mean()
    groups = rows.assign(frechet=rows.frechet / real).groupby(["method", "s"], sort=False)
    means = {name: (name, "mean") for name in METRICS}
    errors = {f"{name}_error": (name, "sem") for name in METRICS}
    found = groups.agg(
        w=("w", "first"), n=("n", "sum"), seeds=("seed", "count"), **means, **errors
    ).reset_index()
    found[list(METRICS)] = found[list(METRICS)].round(9)  # the order of a sum does not show
    for name in SHARES:
        counted = zip(found[name], found.n, strict=True)
        found[f"{name}_error"] = [share_error(round(share * n), n) for share, n in counted]
    return found


def as_table(found: pd.DataFrame) -> str:
    """What over_seeds found as Markdown: mean ± standard error, which one seed does not have."""
    head = ["method", "s", "w", "n", *(HEAD.get(name, name) for name in METRICS)]
    lines = [head, ["---"] * len(head)]
    for row in found.to_dict("records"):
        scales = ("", "") if row["method"] == "real" else (f"{row['s']:g}", f"{row['w']:g}")
        cells = [row["method"], *scales, f"{row['n']:,}"]
        for name in METRICS:
            factor, digits = (100, 1) if name in SHARES else (1, 2)
            cell, error = f"{factor * row[name]:.{digits}f}", factor * row[f"{name}_error"]
            cells.append(f"{cell} ± {error:.{digits}f}" if math.isfinite(error) else cell)
        lines.append(cells)
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
