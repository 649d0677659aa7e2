"""What sampling costs: tensors and passes counted by hand."""

import pytest
import torch

from minidiff.experiments.costs import LiveTensors, alone, costs, passes
from minidiff.sampling import cfg, start_noise
from minidiff.training.checkpoints import load


@pytest.fixture(scope="module")
def models():
    return {name: load(name) for name in ("unet", "ddpm", "classifier")}


def test_live_tensors_by_hand():
    """4 bytes a number; views and writing in place are free; what was there is not counted."""
    before = torch.ones(1000)
    with LiveTensors() as tensors:
        view = before.view(10, 100)
        view += 1
        assert tensors.most == 0
        first = torch.zeros(100)
        second = first + 1
        third = second.reshape(10, 10)
        assert (tensors.alive, tensors.most) == (800, 800)
        del first
        assert (tensors.alive, tensors.most) == (400, 800)
        del second
        assert tensors.alive == 400  # third still holds it
        del third
        assert (tensors.alive, tensors.most) == (0, 800)


def test_what_gradients_keep_is_seen():
    """Ten layers of 100 numbers: two alive at a time without gradients, with them all ten."""

    def most(wanted):
        x = torch.ones(100, requires_grad=wanted)
        with LiveTensors() as tensors:
            for _ in range(10):
                x = x.sin()
        return tensors.most

    assert (most(False), most(True)) == (800, 4000)


@pytest.mark.parametrize(
    ("name", "expected"), [("alone", (1, 0)), ("cfg", (2, 0)), ("cg", (1, 1)), ("cg_cond", (1, 1))]
)
def test_passes(models, name, expected):
    """CFG runs one network twice, CG two networks once; and no hook is left behind."""
    assert passes(models, name) == expected
    assert not any(
        module._forward_hooks for model in models.values() for module in model.net.modules()
    )


def test_alone_is_cfg_at_w_0(models):
    y = torch.tensor([3, 8])
    x_t, t = start_noise(2, 0), torch.tensor([900, 200])
    found, expected = (make(models["unet"], y, 0.0)(x_t, t) for make in (alone, cfg))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_costs_are_of_every_way(monkeypatch):
    for name, value in (("N", 4), ("STEPS", 2), ("REPEATS", 1)):
        monkeypatch.setattr(f"minidiff.experiments.costs.{name}", value)
    found = costs()
    assert list(found) == ["alone", "cfg", "cg", "cg_cond"]
    assert found["cfg"].parameters == found["alone"].parameters < found["cg"].parameters
    assert found["cg"].megabytes > found["alone"].megabytes > 4 * 28 * 28 * 4 / 2**20
    assert all(cost.seconds > 0 for cost in found.values())
