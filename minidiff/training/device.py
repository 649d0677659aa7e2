"""Where to compute: MINIDIFF_DEVICE=cpu|cuda|auto; how to train: MINIDIFF_PRECISION=float32|auto, MINIDIFF_COMPILE=0|1.

How long a lesson may train: MINIDIFF_SECONDS=150.
"""

import math
import os

import torch

from minidiff.symbols import InputError


def device() -> torch.device:
    """The device named by MINIDIFF_DEVICE; "auto" (the default) takes a GPU when there is one. Raises InputError."""
    wanted = os.environ.get("MINIDIFF_DEVICE", "auto")
    if wanted not in ("cpu", "cuda", "auto"):
        raise InputError(f"MINIDIFF_DEVICE must be cpu, cuda or auto, got {wanted!r}.")
    if wanted == "cuda" and not torch.cuda.is_available():
        raise InputError("MINIDIFF_DEVICE is cuda, but torch sees no GPU here. Set it to cpu or auto.")
    return torch.device("cuda" if torch.cuda.is_available() and wanted != "cpu" else "cpu")


def bfloat16_is_native(where: torch.device) -> bool:
    """True where bfloat16 arithmetic is in hardware, so that autocast gains time; elsewhere training stays in float32."""
    if where.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    return bool(torch.cpu.get_capabilities().get("avx512_bf16", False))


def precision(where: torch.device) -> str:
    """ "bfloat16" or "float32", in which training computes: MINIDIFF_PRECISION, where "auto" (the default) takes bfloat16

    only where it is native. Raises InputError for any other word.
    """
    wanted = os.environ.get("MINIDIFF_PRECISION", "auto")
    if wanted not in ("float32", "auto"):
        raise InputError(f"MINIDIFF_PRECISION must be float32 or auto, got {wanted!r}.")
    return "bfloat16" if wanted == "auto" and bfloat16_is_native(where) else "float32"


def compiled() -> bool:
    """Whether training compiles its network: MINIDIFF_COMPILE=1. The default is 0, since a live run is over before the

    compiler has earned its time back (`make bench` shows gain and cost). Raises InputError for any other word.
    """
    wanted = os.environ.get("MINIDIFF_COMPILE", "0")
    if wanted not in ("0", "1"):
        raise InputError(f"MINIDIFF_COMPILE must be 0 or 1, got {wanted!r}.")
    return wanted == "1"


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


def autocast(where: torch.device) -> torch.autocast:
    """A context for the forward pass of training: bfloat16 or nothing, as precision() says. Weights stay float32."""
    return torch.autocast(where.type, dtype=torch.bfloat16, enabled=precision(where) == "bfloat16")
