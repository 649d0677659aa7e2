"""A CPU that rounds otherwise, imitated: on Python's path, it moves float64 cos, exp, log and every
randn by one ulp.

The move is always the same, up, so that one machine still agrees with itself. 0 and infinity stay
what they are.
"""

import importlib.abc
import sys


def plant() -> None:
    """Replace the four functions.

    Tensors that need a gradient keep it: a constant is added to them.
    """
    import torch

    def moved(out: torch.Tensor) -> torch.Tensor:
        still = out.detach()
        away = torch.nextafter(still, torch.full_like(still, torch.inf)) - still
        return out + torch.where(still.isfinite() & (still != 0), away, torch.zeros_like(still))

    def one_ulp_off(right):
        def off(*given, **named):
            out = right(*given, **named)
            return moved(out) if out.dtype in (torch.float32, torch.float64) else out

        return off

    def in_float64(right):
        def off(*given, **named):
            out = right(*given, **named)
            return moved(out) if out.dtype == torch.float64 else out

        return off

    for name in ("cos", "exp", "log"):
        setattr(torch.Tensor, name, in_float64(getattr(torch.Tensor, name)))
        setattr(torch, name, in_float64(getattr(torch, name)))
    torch.randn = one_ulp_off(torch.randn)


class BeforeMinidiff(importlib.abc.MetaPathFinder):
    """Plants as soon as minidiff is about to be imported, so that other programs on this path
    start as ever.
    """

    def find_spec(self, name, path=None, target=None):
        """Never finds anything."""
        if name == "minidiff":
            sys.meta_path.remove(self)
            plant()


sys.meta_path.insert(0, BeforeMinidiff())
