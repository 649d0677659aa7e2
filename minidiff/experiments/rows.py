"""Rows that were measured, in a CSV file whose first line is a comment: how they came about."""

import csv
import io
from collections.abc import Sequence
from pathlib import Path

from minidiff.training.checkpoints import write_atomically


def kept(path: Path) -> list[dict]:
    """The rows of the file, values as text; none if there is no file."""
    return list(csv.DictReader(path.read_text().splitlines()[1:])) if path.exists() else []


def write(path: Path, comment: str, fields: Sequence[str], rows: Sequence[dict]) -> None:
    """The whole file, at once: # comment, the names of the fields, a line for each row."""
    text = io.StringIO()
    text.write(f"# {comment}\n")
    writer = csv.DictWriter(text, fields, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(path, text.getvalue().encode())
