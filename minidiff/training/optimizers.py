"""How a step is taken: AdamW alone, or Muon for the matrices and AdamW for the rest."""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minidiff.settings import precision

Optimizers = list[torch.optim.Optimizer]
Matrices = Float[Tensor, "batch rows columns"]
NEWTON_SCHULZ = (3.4445, -4.7750, 2.0315)  # Jordan's: the steepest at 0, so five steps are enough


class Muon(torch.optim.Optimizer):
    """W <- (1 - lr decay) W - 0.2 sqrt(longer side) lr U V^T, with U S V^T the momentum

    [Jordan 2024, kellerjordan.github.io/posts/muon]. Made orthogonal, directions in which the
    gradient is small learn as fast as those in which it is large. 0.2 sqrt(longer side) makes a
    step as large as AdamW's [Liu 2025, 2502.16982, eq. 4], so that one learning rate serves both.
    A convolution's (out, in, 3, 3) is the matrix (out, 9 in). torch.optim.Muon does the same weight
    by weight, and always in bfloat16; here weights of one shape, wide or tall, are one batch of
    matrices, in the precision of training.
    """

    def __init__(
        self, weights: Iterable[nn.Parameter], weight_decay: float, momentum: float = 0.95
    ):
        super().__init__(weights, {"lr": 0.0, "weight_decay": weight_decay, "momentum": momentum})

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients of the weights."""
        for group in self.param_groups:
            by_shape: dict[tuple[int, ...], list[nn.Parameter]] = {}
            for weight in group["params"]:
                by_shape.setdefault(tuple(sorted(weight.flatten(1).shape)), []).append(weight)
            for (_, longer), weights in by_shape.items():
                momenta = self._momenta(weights, group["momentum"])
                directions = orthogonal(torch.stack([_wide(momentum) for momentum in momenta]))
                steps = [
                    (step if _is_wide(weight) else step.mT).reshape(weight.shape)
                    for step, weight in zip(directions, weights, strict=True)
                ]
                torch._foreach_mul_(weights, 1 - group["lr"] * group["weight_decay"])
                torch._foreach_add_(weights, steps, alpha=-group["lr"] * 0.2 * math.sqrt(longer))

    def _momenta(self, weights: list[nn.Parameter], beta: float) -> tuple[Tensor, ...]:
        """Nesterov's, after these gradients."""
        gradients = [weight.grad for weight in weights]
        momenta = [
            self.state[weight].setdefault("momentum", torch.zeros_like(weight))
            for weight in weights
        ]
        torch._foreach_lerp_(momenta, gradients, 1 - beta)
        return torch._foreach_lerp(gradients, momenta, beta)


def _is_wide(weight: Tensor) -> bool:
    rows, columns = weight.flatten(1).shape
    return rows <= columns


def _wide(weight: Tensor) -> Tensor:
    return weight.flatten(1) if _is_wide(weight) else weight.flatten(1).mT


def orthogonal(matrices: Matrices, steps: int = 5) -> Matrices:
    """About U V^T of each wide matrix U S V^T, by Newton-Schulz   [Jordan 2024]

    X <- a X + (b X X^T + c (X X^T)^2) X, from X = matrix / |matrix|: all singular values come
    between about 0.7 and 1.2, except those that are almost 0.
    """
    a, b, c = NEWTON_SCHULZ
    x = matrices / matrices.norm(dim=(1, 2), keepdim=True).clamp(min=1e-7)
    x = x.bfloat16() if precision(x.device) == "bfloat16" else x
    for _ in range(steps):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x.to(matrices.dtype)


def adamw(net: nn.Module, weight_decay: float) -> Optimizers:
    """AdamW for everything   [Loshchilov & Hutter 2019]"""
    return [torch.optim.AdamW(net.parameters(), lr=0.0, weight_decay=weight_decay)]


def muon(net: nn.Module, weight_decay: float) -> Optimizers:
    """Muon for every matrix and convolution; AdamW for vectors, and for what embeds t and y,
    where rows share nothing.
    """
    embeds = [
        module
        for name, module in net.named_modules()
        if name.split(".")[-1] in ("time_embedding", "classes")
    ]
    apart = {parameter for module in embeds for parameter in module.parameters()}
    matrices, rest = [], []
    for parameter in (parameter for parameter in net.parameters() if parameter.requires_grad):
        (rest if parameter.ndim < 2 or parameter in apart else matrices).append(parameter)
    return [
        Muon(matrices, weight_decay),
        torch.optim.AdamW(rest, lr=0.0, weight_decay=weight_decay),
    ]


def take_step(optimizers: Optimizers, rate: float) -> None:
    """One step of each, with this learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate
        optimizer.step()


def tensors_of(optimizers: Optimizers) -> dict[str, Tensor]:
    """The state of the optimizers as named tensors: "which.parameter.key"."""
    return {
        f"{which}.{number}.{key}": value
        for which, optimizer in enumerate(optimizers)
        for number, state in optimizer.state_dict()["state"].items()
        for key, value in state.items()
    }


def restore(optimizers: Optimizers, tensors: dict[str, Tensor]) -> None:
    """The inverse of tensors_of, in place.

    Raises KeyError or ValueError where the tensors belong to others.
    """
    states: list[dict] = [{} for _ in optimizers]
    for name, value in tensors.items():
        which, number, key = name.split(".", 2)
        states[int(which)].setdefault(int(number), {})[key] = value
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
