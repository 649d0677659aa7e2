"""MNIST, or a folder of four IDX files like it: read by hand, SHA-256 checked, in [-1, 1]."""

import functools
import gzip
import hashlib
import os
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import UInt8
from torch import Tensor

from minidiff.symbols import Images, InputError, Labels

MNIST = Path(__file__).resolve().parents[2] / "data" / "mnist"
IMAGES, LABELS = 0x803, 0x801  # IDX magic numbers: unsigned bytes in 3 dimensions, in 1 dimension

# SHA-256 of the uncompressed bytes; gzip bytes differ from mirror to mirror. See data/README.md.
SHA256 = {
    "train-images-idx3-ubyte": "ba891046e6505d7aadcbbe25680a0738ad16aec93bde7f9b65e87a2fc25776db",
    "train-labels-idx1-ubyte": "65a50cbbf4e906d70832878ad85ccda5333a97f0f4c3dd2ef09a8a9eef7101c5",
    "t10k-images-idx3-ubyte": "0fa7898d509279e482958e8ce81c8e77db3f2f8254e26661ceb7762c4d494ce7",
    "t10k-labels-idx1-ubyte": "ff7bcfd416de33731a308c3f266cc351222c34898ecbeaf847f06e48f7ec33f2",
}


class Digits(NamedTuple):
    """Images and labels of one split, and the SHA-256 that says which data set they came from."""

    images: UInt8[Tensor, "n 28 28"]
    labels: Labels
    sha256: str

    @property
    def classes(self) -> int:
        """Number of classes K; labels run from 0 to K - 1."""
        return int(self.labels.max()) + 1

    def x_0(self, rows: slice | Tensor = slice(None)) -> Images:
        """The chosen images as (n, 1, 28, 28) float32 in [-1, 1]."""
        return to_pixels(self.images[rows])


def load_digits(split: str = "train", folder: str | Path | None = None) -> Digits:
    """The "train" (60,000) or "test" (10,000) images of MNIST, or of another folder of IDX files.

    folder: default MINIDIFF_DATA, else data/mnist. The shipped files must have the original
    checksums; those of another folder are recorded in Digits.sha256, not enforced. Files may be
    gzipped. Read and hashed once a process. Raises InputError, naming the file, what was expected
    and what came.
    """
    if split not in ("train", "test"):
        raise InputError(f'split must be "train" or "test", got {split!r}.')
    folder = Path(folder or os.environ.get("MINIDIFF_DATA") or MNIST)
    return _load(split, folder.expanduser().resolve())


def to_pixels(images: UInt8[Tensor, "n height width"]) -> Images:
    """Bytes 0..255 to pixels in [-1, 1], with a channel axis."""
    return images.unsqueeze(1).float() / 127.5 - 1


def to_bytes(x_0: Images) -> UInt8[Tensor, "n height width"]:
    """Pixels in [-1, 1] to bytes 0..255; what lies outside is clamped."""
    return ((x_0.clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8).squeeze(1)


@functools.cache
def _load(split: str, folder: Path) -> Digits:
    stem = {"train": "train", "test": "t10k"}[split]
    names = f"{stem}-images-idx3-ubyte", f"{stem}-labels-idx1-ubyte"
    raw = [_bytes(folder, name) for name in names]
    images = _idx(folder / names[0], raw[0], IMAGES)
    labels = _idx(folder / names[1], raw[1], LABELS)
    if len(images) != len(labels) or images.shape[1:] != (28, 28) or len(labels) == 0:
        raise InputError(
            f"{folder}: wanted as many 28 x 28 images as labels, at least one; "
            f"got images of shape {images.shape} and {len(labels)} labels."
        )
    digests = [hashlib.sha256(data).hexdigest() for data in raw]
    if folder == MNIST:
        _check(folder, dict(zip(names, digests, strict=True)))
    identity = hashlib.sha256("".join(digests).encode()).hexdigest()
    labels = torch.from_numpy(labels.astype(np.int64))
    return Digits(torch.from_numpy(images.copy()), labels, identity)


def _check(folder: Path, digests: dict[str, str]) -> None:
    for name, came in digests.items():
        if came != SHA256[name]:
            raise InputError(
                f"{folder / name}: the file was altered. Expected SHA-256 {SHA256[name]} of the "
                f"uncompressed bytes, got {came}. Restore it with: git checkout -- data/mnist"
            )


def _bytes(folder: Path, name: str) -> bytes:
    plain, zipped = folder / name, folder / f"{name}.gz"
    if not plain.exists() and not zipped.exists():
        raise InputError(
            f"{zipped}: file missing (nor is there {plain.name}). Expected four IDX files in "
            f"{folder}. Restore them with: git checkout -- data/mnist, or name another folder with "
            "MINIDIFF_DATA or --data."
        )
    if plain.exists():
        return plain.read_bytes()
    try:
        return gzip.decompress(zipped.read_bytes())
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{zipped}: not a whole gzip file ({error}); {zipped.stat().st_size} bytes came. It "
            "was truncated or altered: restore it with: git checkout -- data/mnist, or copy it "
            "again."
        ) from error


def _idx(path: Path, raw: bytes, magic: int) -> np.ndarray:
    """The array in an IDX file: big-endian magic number, a 32-bit size per dimension, the bytes."""
    dimensions = magic & 0xFF
    header = 4 + 4 * dimensions
    came = int.from_bytes(raw[:4], "big")
    if len(raw) < header or came != magic:
        wanted = f"magic number {magic:#x} expected, {came:#x} came"
        raise InputError(f"{path}: not the expected IDX file: {wanted}.")
    shape = tuple(int.from_bytes(raw[4 + 4 * i : 8 + 4 * i], "big") for i in range(dimensions))
    expected = header + int(np.prod(shape))
    if len(raw) != expected:
        wanted = f"{expected} bytes expected for shape {shape}, {len(raw)} came"
        raise InputError(f"{path}: truncated or altered: {wanted}.")
    return np.frombuffer(raw, np.uint8, offset=header).reshape(shape)
