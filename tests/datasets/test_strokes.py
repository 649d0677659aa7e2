"""Thickness, slant and width of strokes with known numbers; what moving and shearing must do."""

import math

import pytest
import torch
import torch.nn.functional as F
from torch.testing import assert_close

from minidiff.datasets.mnist import load_digits
from minidiff.datasets.strokes import MEASURED, slant, strokes, thickness, width


def ring(h: float, radius: float = 8.0, up: int = 8) -> torch.Tensor:
    """A circle with a stroke of thickness h: it has no ends, so 2 area / perimeter is h exactly."""
    places = (torch.arange(28 * up) + 0.5) / up - 14
    distance = torch.hypot(places[:, None], places[None])
    return 2 * F.avg_pool2d(((distance - radius).abs() < h / 2).float()[None, None], up) - 1


def bar(angle: float, length: float = 18, h: float = 3, up: int = 8) -> torch.Tensor:
    """A straight stroke, leaning by `angle` degrees to the right."""
    places, a = (torch.arange(28 * up) + 0.5) / up - 14, math.radians(angle)
    x, y = places[None, :], places[:, None]  # y downwards
    along, across = y * math.cos(a) - x * math.sin(a), x * math.cos(a) + y * math.sin(a)
    inside = (along.abs() < length / 2) & (across.abs() < h / 2)
    return 2 * F.avg_pool2d(inside.float()[None, None], up) - 1


@pytest.mark.parametrize("h", [2.0, 2.5, 3.0, 4.0, 5.0])
def test_thickness_of_a_ring(h):
    assert thickness(ring(h)).item() == pytest.approx(h, rel=0.05)


def test_thin_lines_still_come_in_order():
    assert thickness(ring(1.0)) < thickness(ring(1.5)) < thickness(ring(2.0))


@pytest.mark.parametrize("angle", [-60, -30, 0, 20, 45, 80])
def test_thickness_hardly_prefers_a_direction(angle):
    assert thickness(bar(angle)).item() == pytest.approx(thickness(bar(0)).item(), rel=0.06)


@pytest.mark.parametrize("angle", [-40, -15, 0, 15, 40])
def test_slant_of_a_thin_bar_is_its_angle(angle):
    assert slant(bar(angle, h=1.5)).item() == pytest.approx(angle, abs=1.0)


def test_a_sheared_digit_changes_its_slant_by_the_shear():
    """x -> x - k y moves whole rows here: every row by an integer, so nothing is interpolated."""
    x_0 = load_digits("test").x_0(slice(20))
    # k = 1: 45 degrees for an upright stroke
    rows = [torch.roll(x_0[:, :, r], shifts=14 - r, dims=-1) for r in range(28)]
    inside = [i for i in range(20) if (x_0[i, 0] > -1).any(dim=0).nonzero().flatten().tolist()]
    sheared = torch.stack(rows, dim=2)[inside]
    kept = [i for i in range(len(inside)) if not_wrapped(x_0[inside[i], 0])]
    assert len(kept) >= 5
    before, after = x_0[inside][kept], sheared[kept]
    change = torch.tan(torch.deg2rad(slant(after))) - torch.tan(torch.deg2rad(slant(before)))
    assert_close(change, torch.ones(len(kept)), rtol=0, atol=1e-4)
    assert_close(width(after), width(before), rtol=0, atol=1e-4)  # slant is taken out of it


def not_wrapped(image: torch.Tensor) -> bool:
    """Whether rolling row r by 14 - r moves no ink over the edge."""
    places = (image > -1).nonzero()
    moved = places[:, 1] + 14 - places[:, 0]
    return bool((moved >= 0).all() and (moved < 28).all())


def test_width_of_a_box():
    """A uniform a x b box has the variances a^2 / 12 and b^2 / 12."""
    x_0 = -torch.ones(1, 1, 28, 28)
    x_0[:, :, 4:24, 9:17] = 1  # 20 high, 8 wide
    # pixels are points: a^2 - 1
    assert width(x_0).item() == pytest.approx(math.sqrt((8**2 - 1) / (20**2 - 1)), rel=1e-4)


def test_place_and_faintness_do_not_matter():
    x_0 = load_digits("test").x_0(slice(8))
    moved = torch.roll(F.pad(x_0, (6, 6, 6, 6), value=-1), shifts=(3, -2), dims=(2, 3))
    faint = (x_0 + 1) / 2 * 0.6 * 2 - 1
    assert_close(strokes(moved), strokes(x_0), rtol=1e-4, atol=1e-3)
    assert_close(strokes(faint), strokes(x_0), rtol=1e-4, atol=1e-3)


def test_mirrored_digits_lean_the_other_way():
    x_0 = load_digits("test").x_0(slice(8))
    assert_close(slant(x_0.flip(3)), -slant(x_0), rtol=1e-4, atol=1e-3)
    assert_close(thickness(x_0.flip(3)), thickness(x_0), rtol=1e-4, atol=1e-4)


def test_no_ink_is_nan_and_columns_have_names():
    assert strokes(-torch.ones(1, 1, 28, 28)).isnan().all()
    x_0 = load_digits("test").x_0(slice(3))
    assert_close(strokes(x_0), torch.stack([globals()[name](x_0) for name in MEASURED], dim=1))
