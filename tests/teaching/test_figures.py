"""Figures hold what they are given: images in their places, curves, a slider without a kernel."""

import io

import matplotlib.image
import matplotlib.pyplot as plt
import pandas as pd
import pytest
import torch

from minidiff.teaching.figures import field, grid, plane, png, slider_html, swept


@pytest.fixture(autouse=True)
def closed():
    plt.switch_backend("agg")
    yield
    plt.close("all")


def test_grid_puts_every_image_in_its_place():
    images = torch.full((2, 3, 28, 28), -1.0)
    images[1, 2] = 1.0
    axes = grid(images, rows="ab", columns="xyz").axes[0]
    shown = axes.images[0].get_array()
    assert shown.shape == (56, 84)
    assert (shown[28:, 56:] == 1).all()
    assert shown.sum() == 784 - 5 * 784
    assert axes.images[0].get_clim() == (-1, 1)
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["x", "y", "z"]


def test_slider_holds_every_frame_and_shows_one():
    frames = [png(grid(torch.full((1, 1, 28, 28), value))) for value in (-1.0, 1.0)]
    assert matplotlib.image.imread(io.BytesIO(frames[0])).shape[1] == 700
    html = slider_html(frames, ["w = 0", "w < 1"], start=1)
    assert html.count("<img") == 2
    assert html.count("display:block") == 1
    assert 'max="1" value="1"' in html
    assert "w &lt; 1" in html
    assert "http" not in html
    assert html == slider_html(frames, ["w = 0", "w < 1"], start=1)


def test_a_plane_goes_row_by_row_and_long_arrows_are_cut_to_a_cell():
    points = plane(2.0, 3)
    assert points[[0, 2, -1]].tolist() == [[-2, -2], [2, -2], [2, 2]]
    _, axes = plt.subplots()
    arrows = torch.tensor([[0.0, 0.1]] * 8 + [[0.0, 9.0]])
    field(axes, points[:, 0], arrows, 2.0, "C0")
    (quiver,) = [found for found in axes.collections if hasattr(found, "V")]
    assert max(quiver.V) <= 2.0  # the distance of two arrows
    assert max(quiver.V) == quiver.V[-1] > quiver.V[0]


def test_swept_draws_what_it_is_given():
    """Shares in per cent, none below `lowest`, real digits as a line, names apart."""

    curves = [(m, s, 0.5 + s / 100) for m in ("cfg", "cg") for s in (0.0, 1.0, 2.0)]
    found = pd.DataFrame([("real", 0, 0.9), *curves], columns=["method", "s", "accuracy"])
    found["accuracy_error"] = 0.01
    _, axes = plt.subplots()
    swept(axes, found, "accuracy")
    bars = [container.lines[0].get_xydata() for container in axes.containers]
    assert [xy.tolist() for xy in bars] == [[[1.0, 51.0], [2.0, 52.0]]] * 2
    assert list(axes.lines[-1].get_ydata()) == [90.0, 90.0]
    heights = [text.xy[1] for text in axes.texts]
    assert sorted(text.get_text() for text in axes.texts) == ["CFG", "CG"]
    assert heights[0] - heights[1] == pytest.approx((axes.get_ylim()[1] - axes.get_ylim()[0]) / 12)
