"""Where and how to compute: the device, the precision, the time that a lesson may train.

MINIDIFF_DEVICE=cpu|cuda|auto and MINIDIFF_SECONDS=150 are for notebooks. Commands have options,
which set the constants below; they are read when they are used.
"""

import contextlib
import math
import os
from collections.abc import Iterator

import torch

from minidiff.symbols import InputError

CHECKPOINT_EVERY = 500  # training steps between two writes of the whole state
PRECISIONS = ("float32", "bfloat16", "auto")
TRAINING_PRECISION = "auto"  # bfloat16 where it is in hardware: elsewhere it is slower than float32
SAMPLING_PRECISION = "float32"  # as in all results; the same everywhere, up to rounding
COMPILE = False  # a lesson ends before torch.compile has earned its time back: see `make bench`
# instruction sets without bfloat16 that ONEDNN_MAX_CPU_ISA may limit oneDNN, and so torch, to
WITHOUT_BFLOAT16 = {"SSE41", "AVX", "AVX2", "AVX2_VNNI", "AVX2_VNNI_2"}
WITHOUT_BFLOAT16 |= {"AVX512_CORE", "AVX512_CORE_VNNI"}


def device() -> torch.device:
    """The device named by MINIDIFF_DEVICE; "auto" (the default) takes a GPU when there is one.

    On a GPU float32 convolutions are float32, not TF32 (which rounds to 1e-3), and cuDNN takes what
    it can repeat exactly. Raises InputError.
    """
    wanted = _chosen("MINIDIFF_DEVICE", "cpu", "cuda", "auto", default="auto")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("MINIDIFF_DEVICE is cuda, but torch sees no GPU. Set it to cpu or auto.")
    if not torch.cuda.is_available() or wanted == "cpu":
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32 = False
    torch.backends.cudnn.deterministic = True
    return torch.device("cuda")


def bfloat16_is_native(where: torch.device) -> bool:
    """True where bfloat16 arithmetic is in hardware, so that autocast saves time."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    if os.environ.get("ONEDNN_MAX_CPU_ISA", "").upper() in WITHOUT_BFLOAT16:
        return False
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def precision(where: torch.device) -> str:
    """TRAINING_PRECISION; "auto" is "bfloat16" where it is native, else "float32"."""
    return _rounded(TRAINING_PRECISION, where)


def sampling_precision(where: torch.device) -> str:
    """SAMPLING_PRECISION, of the networks, resolved as above; a sampler's steps stay float32."""
    return _rounded(SAMPLING_PRECISION, where)


def _rounded(wanted: str, where: torch.device) -> str:
    if wanted == "auto":
        return "bfloat16" if bfloat16_is_native(where) else "float32"
    return wanted


def live_seconds() -> float:
    """MINIDIFF_SECONDS, the time limit of a lesson's training: 150 by default, inf for no limit.

    Raises InputError for what is no positive number.
    """
    wanted = os.environ.get("MINIDIFF_SECONDS", "150")
    try:
        seconds = float(wanted)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InputError(f"MINIDIFF_SECONDS must be a positive number, or inf, got {wanted!r}.")
    return seconds


@contextlib.contextmanager
def torch_as_it_starts(threads: int | None = None) -> Iterator[None]:
    """A context with torch's own defaults (float32, CPU, autograd on), and this many CPU threads.

    For everything that builds a network, trains it or samples with it: a user's settings must not
    change the result.
    """
    dtype, before = torch.get_default_dtype(), torch.get_num_threads()
    torch.set_default_dtype(torch.float32)
    if threads:
        torch.set_num_threads(threads)
    try:
        with torch.device("cpu"), torch.inference_mode(False), torch.enable_grad():
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_num_threads(before)


def autocast(where: torch.device, rounded: str) -> torch.autocast:
    """The forward pass in bfloat16, or unchanged for float32. Weights stay float32."""
    return torch.autocast(where.type, dtype=torch.bfloat16, enabled=rounded == "bfloat16")


def _chosen(name: str, *words: str, default: str) -> str:
    """The environment variable, one of these words. Raises InputError for any other."""
    wanted = os.environ.get(name, default)
    if wanted not in words:
        raise InputError(f"{name} must be {', '.join(words[:-1])} or {words[-1]}, got {wanted!r}.")
    return wanted
