"""How methods are put together: where each has its plain models on the common axis of guidance scales."""

import pytest
import torch
from minidiff.experiments.variant_methods import FRESH_NOISE

from minidiff.diffusion.guidance import clipped
from minidiff.diffusion.samplers import ddim_path, final_sample
from minidiff.nets.unet import bind
from minidiff.sampling import METHODS, cfg, generate, start_noise
from minidiff.symbols import InputError
from minidiff.training.checkpoints import load


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
    c = None if told is None else net["classes"](y) if told else net["classes"].unconditional(2)
    plain = clipped(bind(net["unet"], c), models[model].schedule)(x_t, t)
    guided = build(*(models[name] for name in needs)).denoiser(y, s - s_at_zero)(x_t, t)
    torch.testing.assert_close(guided, plain, rtol=0, atol=1e-6)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_fresh_noise_comes_from_the_generator_of_x_T_and_of_this_amount(eta):
    y, unet, generator = torch.tensor([3, 7]), load("unet"), torch.Generator().manual_seed(4)
    x_T, guided = start_noise(2, generator), cfg(unet)
    expected = final_sample(ddim_path(guided.denoiser(y, 1.0), x_T, unet.schedule, 3, eta, generator))
    assert torch.equal(generate(guided._replace(eta=eta), y, 1.0, 3, seed=4), expected)
    assert torch.equal(x_T, start_noise(2, 4))
    plain = generate(guided, y, 1.0, 3, seed=4)
    assert torch.equal(plain, expected) == (eta == 0)


def test_fresh_noise_outside_0_to_1_is_refused():
    with pytest.raises(InputError, match=r"eta must lie in \[0, 1\].* got eta = 1.5"):
        generate(cfg(load("unet"))._replace(eta=1.5), torch.tensor([3]), 1.0, 2)


@pytest.mark.parametrize("name", METHODS)
def test_a_method_with_fresh_noise_is_the_method_but_for_eta(name):
    plain, noisy = METHODS[name], FRESH_NOISE[f"{name} eta 1"]
    models = [load(model) for model in plain.needs]
    y, x_t, t = torch.tensor([3, 7]), start_noise(2, 0), torch.tensor([900, 200])
    first, second = plain.build(*models), noisy.build(*models)
    assert (plain.needs, plain.s_at_zero, first.eta, second.eta) == (noisy.needs, noisy.s_at_zero, 0.0, 1.0)
    assert torch.equal(first.denoiser(y, 2.0)(x_t, t), second.denoiser(y, 2.0)(x_t, t))


@pytest.mark.parametrize("name", METHODS)
def test_bfloat16_rounds_the_networks_and_not_the_steps(monkeypatch, name):
    """Nearly the same digits, not the same; float32 comes out, on more grey levels than bfloat16 has."""
    method, y = METHODS[name], torch.tensor([3, 7])
    guided = method.build(*(load(model) for model in method.needs))
    plain = generate(guided, y, 1.0, 4)
    monkeypatch.setenv("MINIDIFF_SAMPLING", "bfloat16")
    rounded = generate(guided, y, 1.0, 4)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, rounded.bfloat16().float())
    assert 1e-4 < (rounded - plain).square().mean().sqrt() < 0.1
    assert not torch.is_autocast_enabled("cpu")  # for nobody else
