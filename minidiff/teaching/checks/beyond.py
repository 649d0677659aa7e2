"""Checks about what came after w (lesson 12)."""

from collections.abc import Callable

import torch
from jaxtyping import Float
from torch import Tensor

from minidiff.teaching.checks.verdict import normal, verdict

Batch = Float[Tensor, "n d"]


def respread(answer: Callable[[Batch, Batch, float], Batch]) -> str:
    """answer(guided, cond, phi) -> phi guided std(cond) / std(guided) + (1 - phi) guided

    std over each row.
    """
    generator, phi = torch.Generator().manual_seed(0), 0.7
    guided, cond = torch.randn(2, 4, 30, generator=generator, dtype=torch.float64)
    guided = guided * torch.tensor([[2.0], [3.0], [4.0], [0.5]], dtype=torch.float64)

    def spread(eps: Batch) -> Tensor:
        return eps.std(dim=1, keepdim=True)

    whole = guided * spread(cond) / spread(guided)
    swapped = (1 - phi) * whole + phi * guided
    rest_of_cond = phi * whole + (1 - phi) * cond
    mistakes = {
        "That is one std for the whole batch: each row has its own.": (
            phi * guided * cond.std() / guided.std() + (1 - phi) * guided
        ),
        "That is the std over the batch, pixel by pixel: take it over each row, dim = 1.": (
            phi * guided * cond.std(dim=0) / guided.std(dim=0) + (1 - phi) * guided
        ),
        "The ratio is upside down: a prediction that became too large must shrink.": (
            phi * guided * spread(guided) / spread(cond) + (1 - phi) * guided
        ),
        "phi and 1 - phi are the wrong way round: phi = 0 must be plain guidance.": swapped,
        "That is phi = 1: mix it with the guided prediction.": whole,
        "The rest is of the guided prediction, not of the conditional one: phi = 0 must be plain "
        "guidance.": rest_of_cond,
    }
    right = phi * whole + (1 - phi) * guided
    return verdict(lambda: answer(guided.clone(), cond.clone(), phi), right, mistakes)


def across(answer: Callable[[Batch, Batch], Batch]) -> str:
    """answer(d, cond) -> d without its part along cond, row by row."""
    d, cond = 2 * normal(2)
    dot, square = (d * cond).sum(dim=1, keepdim=True), (cond * cond).sum(dim=1, keepdim=True)
    along = dot / square * cond
    along_d = dot / (d * d).sum(dim=1, keepdim=True) * d
    one_for_all = (d * cond).sum() / (cond * cond).sum() * cond
    mistakes = {
        "That is the part along cond, which makes the prediction only larger: take it off "
        "d.": along,
        "Divide by |cond|^2, not by |cond|: the dot product has that length twice too often.": (
            d - dot / square.sqrt() * cond
        ),
        "Divide the dot product by |cond|^2: cond is no unit vector.": d - dot * cond,
        "The roles are swapped: that is cond without its part along d.": cond - along_d,
        "That projects on d itself, so nothing of cond is in it: divide by |cond|^2, multiply by "
        "cond.": d - along_d,
        "That is one projection for the whole batch: sum over each row, dim = 1.": d - one_for_all,
        "The part along cond is added once more: subtract it.": d + along,
    }
    return verdict(lambda: answer(d.clone(), cond.clone()), d - along, mistakes)


def own_scale(answer: Callable[[float, float, float], float]) -> str:
    """answer(abar_t, abar_s, scale) -> the s of CFG whose DDIM step, t to s, is that of CFG++."""
    cases = ((0.2, 0.3, 0.5), (0.7, 0.8, 1.0), (0.9, 1.0, 0.3))

    def factors(now: float, then: float) -> tuple[float, float]:
        return (then * (1 - now) / now) ** 0.5, (1 - then) ** 0.5

    def with_factors(rule: Callable[[float, float, float], float]) -> Callable:
        return lambda now, then, scale: rule(*factors(now, then), scale)

    rules: dict[str, Callable] = {
        "The two factors are subtracted: CFG adds its noise again with both, CFG++ with "
        "eps_uncond alone.": (with_factors(lambda a, b, scale: scale * a / (a + b))),
        "The sign is wrong: a is the larger of the two, and s is positive.": with_factors(
            lambda a, b, scale: scale * a / (b - a)
        ),
        "That is a part of it: CFG's own step multiplies the difference by a - b, not by "
        "1.": with_factors(lambda a, b, scale: scale * a),
        "The scale is missing: s grows with it.": with_factors(lambda a, b, scale: a / (a - b)),
        "Upside down: CFG++ has the factor scale a, CFG s (a - b); solve for s.": with_factors(
            lambda a, b, scale: scale * (a - b) / a
        ),
        "Roots are missing: abar is a power of the signal, the step multiplies by "
        "amplitudes.": with_factors(lambda a, b, scale: scale * a**2 / (a**2 - b**2)),
    }

    def values(rule: Callable) -> list[float] | None:
        said = [rule(*case) for case in cases]
        return None if any(one is None for one in said) else [float(one) for one in said]

    right = values(with_factors(lambda a, b, scale: scale * a / (a - b)))
    mistakes = {text: values(rule) for text, rule in rules.items()}
    return verdict(lambda: values(answer), right, mistakes)
