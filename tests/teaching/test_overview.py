"""The picture of the series: both methods at every scale, from one noise."""

import pytest
import torch

from minidiff.sampling import cfg, cg, generate
from minidiff.teaching import overview
from minidiff.training.checkpoints import load

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("method", ["cfg", "cg"])
def test_a_column_is_the_method_at_this_scale(method):
    """s = 1 + w for CFG, s = w for CG."""
    found = overview.digits_by_scale(method, scales=(1, 3), seed=2, steps=2)
    assert found.shape == (10, 2, 28, 28)
    unet, ddpm, classifier = (load(name) for name in ("unet", "ddpm", "classifier"))
    make = {
        "cfg": lambda y: cfg(unet, y, 2.0),
        "cg": lambda y: cg(ddpm, classifier, y, 3.0),
    }[method]
    expected = generate(make, torch.arange(10), unet.schedule, 2, seed=2)
    torch.testing.assert_close(found[:, 1:], expected, rtol=0, atol=1e-4)


def test_the_picture_has_a_row_for_each_digit_and_a_gap_between_the_methods(monkeypatch):
    grey = torch.zeros(10, 5, 28, 28)
    monkeypatch.setattr(overview, "digits_by_scale", lambda method: grey)
    (axes,) = overview.picture().axes
    shown = axes.images[0].get_array()
    assert shown.shape == (10 * 28, 11 * 28)
    assert (shown[:, 5 * 28 : 6 * 28] == 1).all()
    labels = [tick.get_text() for tick in axes.get_xticklabels()]
    assert labels[:2] + labels[6:8] == ["w = 0", "w = 1", "w = -1", "w = 0"]
