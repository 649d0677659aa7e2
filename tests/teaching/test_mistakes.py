"""The catalogue: each mistake is one wrong piece, and what it draws shows it."""

import pytest
import torch

from minidiff.diffusion.schedule import cosine
from minidiff.teaching.mistakes import MISTAKES, RIGHT, Pieces, draw, replaced
from minidiff.training.checkpoints import load


def test_a_mistake_is_one_wrong_piece():
    assert len(MISTAKES) >= 12
    assert {replaced(name) for name in MISTAKES} == set(Pieces._fields)
    assert {mistake.method for mistake in MISTAKES.values()} == {"cfg", "cg", ""}


@pytest.mark.parametrize("t", [1, 2, 700, 1000])
def test_the_right_sigma_is_that_of_ddpm(t):
    found = RIGHT.sigma(cosine(), t, t - 1)
    assert found**2 == pytest.approx(cosine().small_variance[t].item(), rel=1e-9, abs=1e-15)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "name"), [("cfg", "w is s"), ("cg", "no root")])
def test_drawings_repeat_and_show_the_mistake(method, name):
    models = {model: load(model) for model in ("unet", "ddpm", "classifier")}
    right, again, wrong = (
        draw(pieces, models, method, 2.0) for pieces in (RIGHT, RIGHT, MISTAKES[name].pieces)
    )
    assert right.shape == (10, 1, 28, 28)
    assert torch.equal(right, again)
    assert (right - wrong).abs().max() > 0.5
    assert right.abs().max() <= 1 + 1e-5  # clipped, and no noise in the last step
