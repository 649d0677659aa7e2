"""How a step is taken: AdamW alone, or Muon for the matrices and AdamW for the rest."""

import math
from collections.abc import Iterable

import torch
from jaxtyping import Float
from torch import Tensor, nn

from minidiff.settings import precision

Optimizers = list[torch.optim.Optimizer]
Matrix = Float[Tensor, "rows columns"]


class MatrixMuon(torch.optim.Muon):
    """torch's Muon, for weights of any shape: a convolution's (out, in, 3, 3) is the matrix (out, 9 in)

    [Jordan 2024, kellerjordan.github.io/posts/muon]. The momentum of the gradient is made orthogonal before it is applied, so
    that directions in which the gradient is small learn as fast as those in which it is large; "match_rms_adamw" makes a step
    as large as AdamW's [Liu 2025, 2502.16982, eq. 4], so that one learning rate serves both. torch's Muon orthogonalises in
    bfloat16, whatever the weights are; where we train in float32, this does it in float32, so that rounding stays small.
    """

    def __init__(self, weights: Iterable[nn.Parameter], weight_decay: float):
        self.weights = list(weights)
        matrices = [nn.Parameter(weight.data.flatten(1)) for weight in self.weights]  # views: a step changes the weights
        super().__init__(matrices, lr=0.0, weight_decay=weight_decay, adjust_lr_fn="match_rms_adamw")

    @torch.no_grad()
    def step(self) -> None:
        """One step along the gradients of the weights."""
        for matrix, weight in zip(self.param_groups[0]["params"], self.weights, strict=True):
            matrix.grad = weight.grad.flatten(1)
        if precision(self.weights[0].device) == "bfloat16":
            super().step()
        else:
            for matrix in self.param_groups[0]["params"]:
                self._step_in_float32(matrix)

    def _step_in_float32(self, matrix: nn.Parameter) -> None:
        """weight <- (1 - lr decay) weight - 0.2 sqrt(longer side) lr orthogonal(nesterov momentum), as torch's Muon does it."""
        group = self.param_groups[0]
        momentum = self.state[matrix].setdefault("momentum_buffer", torch.zeros_like(matrix.grad))
        momentum.lerp_(matrix.grad, 1 - group["momentum"])
        step = orthogonal(matrix.grad.lerp(momentum, group["momentum"]), group["ns_coefficients"], group["ns_steps"])
        matrix.mul_(1 - group["lr"] * group["weight_decay"])
        matrix.add_(step, alpha=-group["lr"] * 0.2 * math.sqrt(max(matrix.shape)))


def orthogonal(matrix: Matrix, coefficients: tuple[float, float, float], steps: int) -> Matrix:
    """About U V^T of the matrix U S V^T, by Newton-Schulz: X <- a X + (b X X^T + c (X X^T)^2) X, from X = matrix / |matrix|

    [Jordan 2024]. All singular values come between about 0.7 and 1.2, except those that are almost 0.
    """
    a, b, c = coefficients
    wide = matrix.T if len(matrix) > len(matrix.T) else matrix
    wide = wide / wide.norm().clamp(min=1e-7)
    for _ in range(steps):
        gram = wide @ wide.T
        wide = a * wide + (b * gram + c * gram @ gram) @ wide
    return wide.T if len(matrix) > len(matrix.T) else wide


def adamw(net: nn.Module, weight_decay: float) -> Optimizers:
    """AdamW for everything   [Loshchilov & Hutter 2019]"""
    return [torch.optim.AdamW(net.parameters(), lr=0.0, weight_decay=weight_decay)]


def muon(net: nn.Module, weight_decay: float) -> Optimizers:
    """Muon for every matrix and convolution; AdamW for vectors, and for what embeds t and y, where rows share nothing."""
    embeds = [module for name, module in net.named_modules() if name.split(".")[-1] in ("time_embedding", "classes")]
    apart = {parameter for module in embeds for parameter in module.parameters()}
    matrices, rest = [], []
    for parameter in (parameter for parameter in net.parameters() if parameter.requires_grad):
        (rest if parameter.ndim < 2 or parameter in apart else matrices).append(parameter)
    return [MatrixMuon(matrices, weight_decay), torch.optim.AdamW(rest, lr=0.0, weight_decay=weight_decay)]


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
    """The inverse of tensors_of, in place. Raises KeyError or ValueError where the tensors belong to others."""
    states: list[dict] = [{} for _ in optimizers]
    for name, value in tensors.items():
        which, number, key = name.split(".", 2)
        states[int(which)].setdefault(int(number), {})[key] = value
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict({**optimizer.state_dict(), "state": state})
