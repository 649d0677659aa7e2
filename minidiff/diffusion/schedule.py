"""The noise schedule. Every table has T + 1 float64 entries, and entry 0 is clean data."""

import math
from dataclasses import dataclass
from functools import cached_property

import torch
from jaxtyping import Float
from torch import Tensor

from minidiff.symbols import InputError, Points, Steps, Table

SAME = 1e-12  # two tables that differ by less are the same schedule, computed on two machines


@dataclass(frozen=True, eq=False)
class NoiseSchedule:
    """beta_t and abar_t = prod over s <= t of (1 - beta_s), beta_0 = 0, abar_0 = 1

    [Ho 2020, eq. 4]. beta: (T+1,) float64 in [0, 1). `max_signal` bounds sqrt(abar_T), the part of
    x_0 left in x_T: samplers start from N(0, I), which is right only if that part is small. `name`
    says which schedule it is, with its parameters. Raises InputError for tables that break this.
    """

    beta: Table
    max_signal: float = 0.02
    name: str = "custom"

    def __post_init__(self):
        if self.beta[0] != 0 or not bool(((self.beta[1:] > 0) & (self.beta[1:] < 1)).all()):
            raise InputError("beta_0 must be 0, and beta_1..beta_T strictly between 0 and 1.")
        signal = float(self.abar[-1].sqrt())
        if signal > self.max_signal:
            raise InputError(
                f"sqrt(abar_T) is {signal:.4f} and must be at most {self.max_signal}: x_T still "
                "holds signal, so starting from N(0, I) is wrong. Scale the betas by 1000 / T "
                f"(T is {self.T}), or pass max_signal to see it fail."
            )

    @property
    def T(self) -> int:
        """Number of noise levels."""
        return len(self.beta) - 1

    @cached_property
    def abar(self) -> Table:
        """abar_t = prod over s <= t of (1 - beta_s), the signal power left   [Ho 2020, eq. 4]"""
        return torch.cumprod(1 - self.beta, dim=0)

    @cached_property
    def small_variance(self) -> Table:
        """beta-tilde_t = (1 - abar_{t-1}) / (1 - abar_t) beta_t, 0 at t = 1   [Ho 2020, eq. 7]"""
        inner = (1 - self.abar[:-1]) / (1 - self.abar[1:]) * self.beta[1:]
        return torch.cat([self.beta[:1], inner])

    @cached_property
    def large_variance(self) -> Table:
        """beta_t, but 0 at t = 1, where Alg. 2 sets z = 0   [Ho 2020, sec. 3.2 and Alg. 2]"""
        return torch.cat([torch.zeros_like(self.beta[:2]), self.beta[2:]])

    def same_as(self, other: "NoiseSchedule") -> bool:
        """Same T, and tables within 1e-12: CPUs differ in the last bit of a cosine."""
        if self.T != other.T:
            return False
        pairs = ((self.beta, other.beta), (self.abar, other.abar))
        return all(bool(((mine - theirs).abs() <= SAME).all()) for mine, theirs in pairs)


def extract(table: Table, t: Steps, like: Points) -> Float[Tensor, "batch *ones"]:
    """table[t] as a factor of `like`: its dtype and device, shaped (batch, 1, ...)."""
    values = table.to(t.device)[t].to(device=like.device, dtype=like.dtype)
    return values.reshape(-1, *[1] * (like.ndim - 1))


def linear(
    T: int = 1000, first: float = 1e-4, last: float = 0.02, max_signal: float = 0.02
) -> NoiseSchedule:
    """beta_t evenly spaced [Ho 2020, sec. 4], times 1000 / T, so that x_T is noise for every T"""
    beta = torch.linspace(first, last, T, dtype=torch.float64, device="cpu") * (1000 / T)
    return _schedule(beta, f"linear(T={T}, first={first:g}, last={last:g})", max_signal)


def cosine(T: int = 1000, s: float = 0.008) -> NoiseSchedule:
    """abar_t = f(t) / f(0), f(t) = cos^2((t/T + s) / (1 + s) * pi/2), beta_t <= 0.999

    [Nichol & Dhariwal 2021, eq. 17]
    """
    angle = (torch.arange(T + 1, dtype=torch.float64, device="cpu") / T + s) / (1 + s) * math.pi / 2
    f = angle.cos().square()
    return _schedule(1 - f[1:] / f[:-1], f"cosine(T={T}, s={s:g})")


def _schedule(beta_from_1: Table, name: str, max_signal: float = 0.02) -> NoiseSchedule:
    beta = torch.cat([torch.zeros_like(beta_from_1[:1]), beta_from_1.clamp(max=0.999)])
    return NoiseSchedule(beta, max_signal, name)
