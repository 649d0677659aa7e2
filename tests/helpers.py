"""Numbers that are the same every time; networks that are random in every parameter, or fixed."""

import torch
from torch import nn


def normal(seed: int, *shape: int, dtype: torch.dtype = torch.float64) -> torch.Tensor:
    """N(0, 1), always the same."""
    return torch.randn(shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


def randomised(net: nn.Module) -> nn.Module:
    """Every parameter random: the zero-initialised layers too."""
    g = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for p in net.parameters():
            p.copy_(0.1 * torch.randn(p.shape, generator=g))
    return net.eval()


def says(v: torch.Tensor) -> nn.Module:
    """A network that answers v to everything."""
    net = nn.Module()
    net.forward = lambda x_t, t, c=None: v[: len(x_t)]
    return net
