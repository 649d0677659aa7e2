"""Every path on torch's meta device, as on a GPU: devices do not mix, no tensor gives a number."""

import pytest
import torch

from minidiff.analytic.ideal_denoiser import IdealDenoiser
from minidiff.diffusion.guidance import classifier_free, clipped
from minidiff.diffusion.samplers import ancestral_path, ddim_path
from minidiff.diffusion.schedule import cosine
from minidiff.diffusion.variants import (
    autoguided,
    limited,
    plus_plus_path,
    projected,
    rescaled,
    thresholded,
)
from minidiff.nets.unet import bind
from minidiff.sampling import cfg, cfg_text, cg, cg_conditional, unconditional
from minidiff.training.checkpoints import Checkpoint
from minidiff.training.distributed import BatchRNG
from minidiff.training.optimizers import take_step
from minidiff.training.recipes import LIVE
from minidiff.training.sentences import to_tokens

META = torch.device("meta")
N, STEPS = 4, 2


def model(name: str) -> Checkpoint:
    schedule = cosine(T=20)
    net = LIVE[name].build(10, schedule).to(META).eval().requires_grad_(False)
    return Checkpoint(net, schedule, {"recipe": {"name": name}, "data_sha256": "d"})


def x_T() -> torch.Tensor:
    return torch.zeros(N, 1, 28, 28, device=META)


Y, SCHEDULE = torch.arange(N), cosine(T=20)  # labels are checked on the CPU, where they enter
METHODS = {
    "cfg": lambda: cfg(model("unet"), Y, 1.0),
    "cfg, w for each row": lambda: cfg(model("unet"), Y, torch.linspace(0, 3, N)),
    "cg": lambda: cg(model("ddpm"), model("classifier"), Y, 1.0),
    "cg_cond": lambda: cg_conditional(model("unet"), model("classifier"), Y, 1.0),
    "autoguidance": lambda: unconditional(model("ddpm"), model("ddpm"), 1.0),
    "unconditional": lambda: unconditional(model("ddpm")),
}


def drawn(path) -> torch.Tensor:
    *_, sample = path
    assert sample.x_t.device == sample.x_0.device == META
    assert sample.x_t.shape == (N, 1, 28, 28)
    return sample.x_t


@pytest.mark.parametrize("eta", [0.0, 1.0])
@pytest.mark.parametrize("name", METHODS)
def test_every_method(name, eta):
    eps = METHODS[name]()
    drawn(ddim_path(eps, x_T(), SCHEDULE, STEPS, eta, torch.Generator()))
    drawn(ancestral_path(eps, x_T(), SCHEDULE, torch.Generator()))


def test_sentences():
    text_unet = model("text_unet")
    tokens = to_tokens(["a thick seven", "", "3", "一个七"]).to(META)
    eps = cfg_text(text_unet, tokens, 2.0, "a thin digit")
    drawn(ddim_path(eps, x_T(), text_unet.schedule, STEPS))


def branches(schedule):
    unet, t = model("unet"), torch.arange(N, device=META)
    net, classes = unet.net["unet"], unet.net["classes"]
    return bind(net, classes(t)), bind(net, classes.unconditional(N))


VARIANTS = {
    "limited": lambda cond, uncond, s: limited(cond, uncond, 1.0, 5, 15),
    "rescaled": lambda cond, uncond, s: rescaled(cond, uncond, 1.0),
    "rescaled v": lambda cond, uncond, s: rescaled(cond, uncond, 1.0, 0.7, s),
    "thresholded": lambda cond, uncond, s: thresholded(classifier_free(cond, uncond, 1.0), s),
    "projected": lambda cond, uncond, s: projected(cond, uncond, s, 1.0, longest=2.0),
    "autoguided": lambda cond, uncond, s: autoguided(cond, uncond, 1.0),
    "clipped": lambda cond, uncond, s: clipped(cond, s),
}


@pytest.mark.parametrize("name", VARIANTS)
def test_every_variant(name):
    schedule = cosine(T=20)
    drawn(ddim_path(VARIANTS[name](*branches(schedule), schedule), x_T(), schedule, STEPS))


def test_paths_of_their_own():
    schedule = cosine(T=20)
    drawn(plus_plus_path(*branches(schedule), x_T(), schedule, 0.4, STEPS))


def test_exact_denoiser_of_images():
    schedule = cosine(T=20)
    exact = IdealDenoiser(torch.zeros(9, 1, 28, 28, device=META), schedule)
    drawn(ddim_path(exact.eps, x_T(), schedule, STEPS))
    assert exact.log_density(x_T(), torch.ones(N, dtype=torch.int64, device=META)).device == META


@pytest.mark.parametrize("name", LIVE)
def test_every_loss_with_its_step_of_the_optimizer(name):
    """Batch and condition are made on the CPU, as in training; then nothing goes back there."""
    recipe = LIVE[name]
    net = recipe.build(10, cosine()).to(META).train()
    if recipe.frozen:
        net["text"].requires_grad_(False)
    optimizers = recipe.optimizers(net, recipe.weight_decay)
    draws = BatchRNG(torch.Generator().manual_seed(0))
    x_0 = torch.rand(N, 1, 28, 28, generator=torch.Generator().manual_seed(1)) * 2 - 1
    y = recipe.condition(x_0, torch.arange(N), draws)
    loss = recipe.loss(net, x_0.to(META), y.to(META), cosine(), draws)
    loss.backward()
    take_step(optimizers, 1e-3)
    assert loss.device == META
    trained = [p for p in net.parameters() if p.requires_grad]
    assert all(p.grad is not None and p.grad.device == META for p in trained)


def test_the_test_sees_mixed_devices_and_questions():
    """A table left on the CPU, and a number asked of a tensor: both are caught."""
    with pytest.raises((RuntimeError, NotImplementedError)):
        x_T() + torch.zeros(N, 1, 28, 28)
    with pytest.raises(RuntimeError):
        bool((x_T() > 0).any())
