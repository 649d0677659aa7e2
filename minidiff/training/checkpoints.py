"""Weights on disk: safetensors with schedule and metadata, written atomically, never unpickled."""

import contextlib
import json
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import torch
from filelock import FileLock, Timeout
from safetensors import SafetensorError, safe_open
from safetensors.torch import save as to_safetensors
from torch import nn

from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.settings import torch_as_it_starts
from minidiff.symbols import InputError
from minidiff.training.recipes import RECIPES

PRETRAINED = Path(__file__).resolve().parents[2] / "data" / "weights"
FORMAT = 3


class Checkpoint(NamedTuple):
    """A trained model: its networks by name, its schedule, the metadata of its training run."""

    net: nn.ModuleDict
    schedule: NoiseSchedule
    metadata: dict


def save(path: str | Path, trained: Checkpoint, dtype: torch.dtype = torch.float16) -> None:
    """Weights (rounded to `dtype`), schedule (float64) and metadata as one safetensors file."""
    tensors = {
        name: value.detach().to("cpu", dtype).contiguous()
        for name, value in trained.net.state_dict().items()
    }
    tensors["schedule.beta"] = trained.schedule.beta
    metadata = json.dumps({"format": FORMAT, "schedule": trained.schedule.name, **trained.metadata})
    write_atomically(path, to_safetensors(tensors, metadata={"minidiff": metadata}))


@torch_as_it_starts()
def load(name: str, path: str | Path | None = None, data_sha256: str | None = None) -> Checkpoint:
    """The model `name` ("ddpm", "unet", ...) from a file of `save`; default: the pretrained one.

    Weights come back as float32 on the CPU, in eval mode. Raises InputError when the file is
    missing, truncated, of another recipe, format, shape or schedule, or, where data_sha256 is
    given, was trained on another data set.
    """
    if name not in RECIPES:
        raise InputError(f"There is no model {name!r}; there are {', '.join(RECIPES)}.")
    path = Path(path or PRETRAINED / f"{name}.safetensors")
    tensors, metadata = _read(path)
    came = metadata["recipe"]["name"]
    if came != name:
        raise InputError(f"{path}: these are weights of the recipe {came!r}; {name!r} was wanted.")
    if data_sha256 not in (None, metadata["data_sha256"]):
        theirs, ours = f"{metadata['data_sha256'][:12]}...", f"{data_sha256[:12]}..."
        raise InputError(
            f"{path}: trained on another data set (SHA-256 {theirs}) than the one in use ({ours}). "
            f"Train on this one: python -m minidiff train {name} --out {path}"
        )
    try:
        schedule = NoiseSchedule(tensors.pop("schedule.beta"), name=metadata["schedule"])
    except KeyError as error:
        missing = "the schedule is missing. Was the file written by minidiff?"
        raise InputError(f"{path}: {missing}") from error
    net = RECIPES[name].build(metadata["classes"], schedule)
    try:
        net.load_state_dict({key: value.float() for key, value in tensors.items()})
    except RuntimeError as error:
        raise InputError(f"{path}: the weights do not fit the recipe {name!r}. {error}") from error
    # the same numbers in another order: convolutions sample faster so
    net.to(memory_format=torch.channels_last)
    return Checkpoint(net.eval().requires_grad_(False), schedule, metadata)


def kind(path: str | Path) -> str:
    """The name of the recipe whose weights a file holds."""
    return _read(Path(path))[1]["recipe"]["name"]


def same_origin(first: Checkpoint, second: Checkpoint) -> None:
    """Raises InputError unless both share schedule and data set: guidance mixes their outputs."""
    one, other = (trained.metadata["recipe"]["name"] for trained in (first, second))
    if not first.schedule.same_as(second.schedule):
        schedules = f"{first.schedule.name} and {second.schedule.name}"
        raise InputError(f"{one} and {other} have different noise schedules: {schedules}.")
    same_data(first, second)


def same_data(*models: Checkpoint) -> None:
    """Raises InputError unless all models were trained on the same data set."""
    for other in models[1:]:
        if other.metadata["data_sha256"] != models[0].metadata["data_sha256"]:
            names = [model.metadata["recipe"]["name"] for model in (models[0], other)]
            raise InputError(f"{names[0]} and {names[1]} were trained on different data sets.")


def write_atomically(path: str | Path, content: bytes) -> None:
    """All of `content` at `path`, or the old file untouched: written beside it, then renamed.

    Raises InputError where the disk is full or the folder cannot be written; Ctrl-C passes through.
    """
    path, beside = Path(path), None
    where = {"dir": path.parent, "prefix": f".{path.name}."}
    try:
        with tempfile.NamedTemporaryFile(**where, delete=False) as file:
            beside = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        beside.chmod(0o644)
        beside.replace(path)
    except BaseException as error:  # Ctrl-C too: the half-written file must not stay
        if beside is not None:
            beside.unlink(missing_ok=True)
        if isinstance(error, OSError):
            why = error.strerror or error
            raise InputError(
                f"{path}: not written ({why}). What was there before is untouched."
            ) from error
        raise


def check_writable(path: str | Path) -> Path:
    """The path, after a try to make a file beside it. Raises InputError: now, not in an hour."""
    path = Path(path).expanduser()
    try:
        if path.is_dir():
            raise IsADirectoryError("it is a folder")
        with tempfile.NamedTemporaryFile(dir=path.parent):
            return path
    except OSError as error:
        raise InputError(
            f"{path}: cannot be written ({error.strerror or error}). Name another file with --out."
        ) from error


@contextlib.contextmanager
def only_run(path: Path) -> Iterator[None]:
    """Raises InputError if another process that still lives is inside only_run for this file."""
    lock = FileLock(path.with_name(f".{path.name}.lock"), timeout=0)
    try:
        with lock:
            try:
                yield
            finally:
                # on Windows an open file stays, and filelock removes it
                with contextlib.suppress(OSError):
                    Path(lock.lock_file).unlink()
    except Timeout:
        raise InputError(
            f"{path}: another run is writing to it. Wait for it, or name another file with --out."
        ) from None


def read_tensors(path: Path, key: str, missing: str) -> tuple[dict[str, torch.Tensor], dict]:
    """All tensors of a safetensors file and the JSON under `key` of its metadata.

    Raises InputError if the file is broken, or is not there: then `missing` says what to do.
    """
    if not path.is_file():
        raise InputError(f"{path}: {missing}")
    try:
        with safe_open(path, framework="pt") as file:
            metadata = (file.metadata() or {}).get(key)
            names = list(file.keys())
            # copies: what safe_open returns are windows into a file that may be replaced meanwhile
            tensors = {name: file.get_tensor(name).clone() for name in names}
    except (SafetensorError, OSError) as error:
        raise InputError(
            f"{path}: not a whole safetensors file ({error}). "
            "It was truncated or is no weights file."
        ) from error
    try:
        return tensors, json.loads(metadata or "{}")
    except ValueError:
        return tensors, {}


def _read(path: Path) -> tuple[dict[str, torch.Tensor], dict]:
    missing = f"no such weights. Make them with: python -m minidiff train NAME --out {path.name}"
    tensors, metadata = read_tensors(path, "minidiff", missing)
    came, needed = metadata.get("format"), {"recipe", "classes", "data_sha256"}
    if came != FORMAT or not needed <= metadata.keys():
        raise InputError(
            f"{path}: format {FORMAT} of minidiff's weights was expected, {came} came."
        )
    return tensors, metadata
