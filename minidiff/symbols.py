"""One name per symbol of the papers, with its meaning, shape and units; and the two callables.

| code       | maths      | meaning                                        | shape, units         |
|------------|------------|------------------------------------------------|----------------------|
| x_0, x_t   | x₀, x_t    | clean and noisy data, pixels in [-1, 1]        | (batch, ...)         |
| t, T       | t, T       | noise level, number of levels; 0 is clean data | (batch,) int in 0..T |
| beta, abar | β, ᾱ       | noise added at t; signal power left at t       | (T+1,) float64       |
| eps, score | ε, ∇log p  | the noise (or its prediction); score of x_t    | like x_t             |
| y          | y          | labels                                         | (batch,) int         |
| c          |            | the condition vector made of them              | (batch, dim)         |
| w, s       | w, s       | guidance weight (M4, M6); guidance scale (M7)  | float, or (batch,)   |
| z          | z          | fresh noise inside a sampler                   | like x_t             |
"""

from typing import Protocol, runtime_checkable

from jaxtyping import Float, Float64, Int
from torch import Tensor

Points = Float[Tensor, "batch *point"]
Images = Float[Tensor, "batch 1 height width"]
Steps = Int[Tensor, "batch"]
Labels = Int[Tensor, "batch"]
Condition = Float[Tensor, "batch dim"]
Logits = Float[Tensor, "batch classes"]
Features = Float[Tensor, "batch features"]
LogProbs = Float[Tensor, "batch"]
Table = Float64[Tensor, "levels"]
Weight = float | Float[Tensor, "batch"]  # the guidance weight w: one number, or one for each row
Tokens = Int[Tensor, "batch tokens"]
Conditions = Int[Tensor, "batch *tokens"]  # what is conditioned on: labels, or tokens


class InputError(ValueError):
    """A user's input cannot be used. The message says what was expected, what came, what to do."""


@runtime_checkable
class Denoiser(Protocol):
    """eps_hat(x_t, t), the prediction of the noise in x_t. Any condition is already bound."""

    def __call__(self, x_t: Points, t: Steps) -> Points: ...


@runtime_checkable
class LogProb(Protocol):
    """log p(y | x_t) for every row, differentiable in x_t. The label y is already bound."""

    def __call__(self, x_t: Points, t: Steps) -> LogProbs: ...
