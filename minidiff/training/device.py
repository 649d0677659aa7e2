"""Where to compute: MINIDIFF_DEVICE=cpu|cuda|auto, and whether training may round to bfloat16 there."""

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


def autocast(where: torch.device) -> torch.autocast:
    """A context for the forward pass of training: bfloat16 where it is native, float32 elsewhere. Weights stay float32."""
    return torch.autocast(where.type, dtype=torch.bfloat16, enabled=bfloat16_is_native(where))
