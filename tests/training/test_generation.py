"""How methods are put together: where each has its plain models on the common axis of guidance scales."""

import pytest
import torch

from minidiff.diffusion.guidance import clipped
from minidiff.nets.conditioning import bind
from minidiff.training.checkpoints import load
from minidiff.training.generation import METHODS, start_noise


@pytest.mark.parametrize(
    ("method", "s", "model", "told"),
    [("cfg", 0.0, "unet", False), ("cfg", 1.0, "unet", True), ("cg", 0.0, "ddpm", None), ("cg_cond", 1.0, "unet", True)],
)
def test_the_scale_of_a_plain_model_gives_that_model(method, s, model, told):
    """s = w for CG; s = 1 + w for both that start from a model that is told y. One step, two images, the shipped networks."""
    needs, build, s_at_zero = METHODS[method]
    models = {name: load(name) for name in needs}
    y, t = torch.tensor([3, 7]), torch.tensor([900, 200])
    net, x_t = models[model].net, start_noise(2, 0)
    c = None if told is None else net["classes"](y) if told else net["classes"].nothing(2)
    plain = clipped(bind(net["unet"], c), models[model].schedule)(x_t, t)
    guided = build(*(models[name] for name in needs)).denoiser(y, s - s_at_zero)(x_t, t)
    torch.testing.assert_close(guided, plain, rtol=0, atol=1e-6)
