"""Where to compute: MINIDIFF_DEVICE=cpu|cuda|auto; how to train: MINIDIFF_PRECISION=float32|auto, MINIDIFF_COMPILE=0|1.

How to draw: MINIDIFF_SAMPLING=float32|auto|bfloat16. How long a lesson may train: MINIDIFF_SECONDS=150.
"""

import contextlib
import math
import os
from collections.abc import Iterator

import torch

from minidiff.symbols import InputError


def device() -> torch.device:
    """The device named by MINIDIFF_DEVICE; "auto" (the default) takes a GPU when there is one. Raises InputError.

    On a GPU float32 convolutions are float32, not TF32 (which rounds to 1e-3), and cuDNN takes what it can repeat exactly.
    """
    wanted = _chosen("MINIDIFF_DEVICE", "cpu", "cuda", "auto", default="auto")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("MINIDIFF_DEVICE is cuda, but torch sees no GPU here. Set it to cpu or auto.")
    if not torch.cuda.is_available() or wanted == "cpu":
        return torch.device("cpu")
    torch.backends.cudnn.allow_tf32, torch.backends.cudnn.deterministic = False, True
    return torch.device("cuda")


def bfloat16_is_native(where: torch.device) -> bool:
    """True where bfloat16 arithmetic is in hardware, so that autocast gains time; elsewhere training stays in float32."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def precision(where: torch.device) -> str:
    """ "bfloat16" or "float32", in which training computes: MINIDIFF_PRECISION, where "auto" (the default) takes bfloat16

    only where it is native. Raises InputError for any other word.
    """
    wanted = _chosen("MINIDIFF_PRECISION", "float32", "auto", default="auto")
    return "bfloat16" if wanted == "auto" and bfloat16_is_native(where) else "float32"


def sampling_precision(where: torch.device) -> str:
    """ "bfloat16" or "float32", in which networks compute while they draw: MINIDIFF_SAMPLING. The steps stay float32.

    float32, the default, is what everything here was measured in; its digits are the same on every machine up to rounding. auto
    takes bfloat16 where it is native; bfloat16 takes it anywhere, slowly where it is not. Raises InputError for any other word.
    """
    wanted = _chosen("MINIDIFF_SAMPLING", "float32", "bfloat16", "auto", default="float32")
    return "bfloat16" if wanted == "bfloat16" or (wanted == "auto" and bfloat16_is_native(where)) else "float32"


def compiled() -> bool:
    """Whether training compiles its network: MINIDIFF_COMPILE=1. The default is 0, since a live run is over before the

    compiler has earned its time back (`make bench` shows gain and cost). Raises InputError for any other word.
    """
    return _chosen("MINIDIFF_COMPILE", "0", "1", default="0") == "1"


def live_seconds() -> float:
    """The seconds that a lesson's training may take: MINIDIFF_SECONDS, 150 by default; inf is as long as it wants.

    Raises InputError for what is no positive number.
    """
    wanted = os.environ.get("MINIDIFF_SECONDS", "150")
    try:
        seconds = float(wanted)
    except ValueError:
        seconds = math.nan
    if not seconds > 0:
        raise InputError(f"MINIDIFF_SECONDS must be a positive number of seconds, or inf, got {wanted!r}.")
    return seconds


@contextlib.contextmanager
def torch_as_it_starts(threads: int | None = None) -> Iterator[None]:
    """Inside, torch's defaults are its own: float32, the CPU, autograd on, whatever a user has set; and this many CPU threads.

    For everything that builds a network, trains it or draws with it: a user's settings must not change what comes out.
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
    """A context for the forward pass in this precision: bfloat16, or nothing at all for float32. Weights stay float32."""
    return torch.autocast(where.type, dtype=torch.bfloat16, enabled=rounded == "bfloat16")


def _chosen(name: str, *words: str, default: str) -> str:
    """The word that the environment gives this name. Raises InputError for a word that is none of these."""
    wanted = os.environ.get(name, default)
    if wanted not in words:
        raise InputError(f"{name} must be {', '.join(words[:-1])} or {words[-1]}, got {wanted!r}.")
    return wanted
