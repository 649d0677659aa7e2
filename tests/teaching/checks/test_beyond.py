"""The checks of lesson 12: right answers in several spellings, wrong ones by name."""

import pytest
import torch

from checks.answers import each
from minidiff.diffusion.schedule import cosine
from minidiff.diffusion.variants import projected, rescaled, scale_of_plus_plus
from minidiff.teaching import checks


def std(eps):
    return eps.std(dim=1, keepdim=True)


def dot(a, b):
    return (a * b).sum(dim=1, keepdim=True)


def row_by_row(guided, cond, phi):
    return torch.stack(
        [
            g * (phi * t.var(correction=0).sqrt() / g.var(correction=0).sqrt() + 1 - phi)
            for g, t in zip(guided, cond, strict=True)
        ]
    )


def by_the_package(guided, cond, phi):
    t = torch.ones(len(guided), dtype=torch.int64)
    # M6 with w = 1 is guided
    eps = rescaled(lambda x_t, t: cond, lambda x_t, t: 2 * cond - guided, 1.0, phi)
    return eps(torch.zeros_like(guided), t)


def by_unit_vectors(d, cond):
    unit = torch.nn.functional.normalize(cond, dim=1)
    return d - torch.einsum("nd,nd->n", d, unit)[:, None] * unit


def in_a_table(abar_t, abar_s, scale):
    """The package's own, for a schedule of which only two entries are read."""
    schedule = cosine(T=3)
    schedule.__dict__["abar"] = torch.tensor([1.0, abar_s, abar_t], dtype=torch.float64)
    return scale_of_plus_plus(schedule, (2, 1), scale)


def a_and_b(abar_t, abar_s):
    return (abar_s * (1 - abar_t) / abar_t) ** 0.5, (1 - abar_s) ** 0.5


def of(rule):
    return lambda abar_t, abar_s, scale: rule(*a_and_b(abar_t, abar_s), scale)


RIGHT = {
    checks.respread: [
        lambda guided, cond, phi: phi * guided * std(cond) / std(guided) + (1 - phi) * guided,
        row_by_row,
        by_the_package,
    ],
    checks.across: [
        lambda d, cond: d - dot(d, cond) / dot(cond, cond) * cond,
        by_unit_vectors,
        lambda d, cond: (
            d.float()
            - dot(d.float(), cond.float()) / dot(cond.float(), cond.float()) * cond.float()
        ),
    ],
    checks.own_scale: [
        of(lambda a, b, scale: scale * a / (a - b)),
        of(lambda a, b, scale: scale / (1 - b / a)),
        in_a_table,
    ],
}
WRONG = {
    checks.respread: [
        (lambda g, c, phi: phi * g * c.std() / g.std() + (1 - phi) * g, "whole batch"),
        (lambda g, c, phi: phi * g * c.std(dim=0) / g.std(dim=0) + (1 - phi) * g, "pixel by pixel"),
        (lambda g, c, phi: phi * g * std(g) / std(c) + (1 - phi) * g, "upside down"),
        (lambda g, c, phi: (1 - phi) * g * std(c) / std(g) + phi * g, "wrong way round"),
        (lambda g, c, phi: g * std(c) / std(g), "phi = 1"),
        (lambda g, c, phi: phi * g * std(c) / std(g) + (1 - phi) * c, "not of the conditional"),
        (lambda g, c, phi: g, "Not yet"),
        (lambda g, c, phi: None, "nothing"),
    ],
    checks.across: [
        (lambda d, cond: dot(d, cond) / dot(cond, cond) * cond, "only larger"),
        (lambda d, cond: d - dot(d, cond) / dot(cond, cond) ** 0.5 * cond, "not by |cond|"),
        (lambda d, cond: d - dot(d, cond) * cond, "no unit vector"),
        (lambda d, cond: cond - dot(d, cond) / dot(d, d) * d, "swapped"),
        (lambda d, cond: d - dot(d, cond) / dot(d, d) * d, "on d itself"),
        (lambda d, cond: d - (d * cond).sum() / (cond * cond).sum() * cond, "each row"),
        (lambda d, cond: d + dot(d, cond) / dot(cond, cond) * cond, "once more"),
        (lambda d, cond: d, "Not yet"),
    ],
    checks.own_scale: [
        (of(lambda a, b, scale: scale * a / (a + b)), "subtracted"),
        (of(lambda a, b, scale: scale * a / (b - a)), "sign"),
        (of(lambda a, b, scale: scale * a), "a part of it"),
        (of(lambda a, b, scale: a / (a - b)), "scale is missing"),
        (of(lambda a, b, scale: scale * (a - b) / a), "Upside down"),
        (of(lambda a, b, scale: scale * a**2 / (a**2 - b**2)), "Roots"),
        (lambda *_: 7.0, "Not yet"),
        (lambda *_: None, "nothing"),
    ],
}


@pytest.mark.parametrize(("check", "answer", "says"), each(WRONG))
def test_mistakes_by_name(check, answer, says):
    assert says in check(answer)


def test_the_package_projects_as_the_check_asks():
    """x_0 of `projected` at w = 1 is cond + across: the exercise is the variant's formula."""
    schedule, t = cosine(), torch.tensor([500] * 4)
    root = schedule.abar[500].sqrt(), (1 - schedule.abar[500]).sqrt()

    def answer(d, cond):
        x_t = torch.zeros_like(d)
        both = [(x_t - root[0] * x_0) / root[1] for x_0 in (cond, cond - d)]
        mixed = projected(lambda x, t: both[0], lambda x, t: both[1], schedule, 1.0)(x_t, t)
        return (x_t - root[1] * mixed) / root[0] - cond

    assert checks.across(answer) == checks.CORRECT
