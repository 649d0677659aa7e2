"""The article's loops against our samplers; its schedulers against diffusers, if installed."""

from copy import deepcopy
from functools import partial

import pytest
import torch
from helpers import randomised
from torch import nn
from torch.testing import assert_close

from minidiff.diffusion.samplers import ancestral_path, ddim_path, final_sample
from minidiff.diffusion.schedule import cosine, linear
from minidiff.nets.classifier import NoisyClassifier
from minidiff.nets.text_encoder import LONGEST
from minidiff.nets.unet import bind
from minidiff.sampling import cfg_text, sample, start_noise
from minidiff.symbols import InputError
from minidiff.teaching.article import (
    ArticleClassifier,
    ArticleTextEncoder,
    ArticleUNet,
    DDIMScheduler,
    DDPMScheduler,
    class_guidance_loop,
    pipeline,
    text_to_image_loop,
)
from minidiff.training.checkpoints import Checkpoint, load
from minidiff.training.recipes import RECIPES
from minidiff.training.sentences import to_tokens


@pytest.fixture(scope="module")
def text_unet() -> Checkpoint:
    return load("text_unet")


@pytest.mark.parametrize(
    ("sentence", "negative"), [("a thick seven, slanted to the left", ""), ("7", "a thin eight")]
)
def test_the_text_loop_is_classifier_free_guidance(text_unet, sentence, negative):
    """s = 1 + w; the loop's one batch of two against the package's two passes."""
    x_T, tokens = start_noise(1, 3), to_tokens([sentence])
    ten = pipeline(text_unet, steps=10)
    looped = text_to_image_loop(ten, x_T, sentence, guidance_scale=3.0, negative=negative)
    at_2, at_3 = (
        sample(cfg_text(text_unet, tokens, w, negative), x_T, text_unet.schedule, 10)
        for w in (2.0, 3.0)
    )
    assert_close(looped, at_2, rtol=0, atol=2e-3)  # float32, through ten steps
    assert (looped - at_3).abs().max() > 0.05


def test_hidden_states_are_padded_with_zeros_that_nobody_sees(text_unet):
    encoder, unet = ArticleTextEncoder(text_unet.net["text"]), ArticleUNet(text_unet.net["unet"])
    states = encoder.text_encode("a seven")
    assert states.shape == (1, LONGEST, 64)
    x = start_noise(1, 0)
    tokens = to_tokens(["a seven"])
    alone = bind(text_unet.net["unet"], text_unet.net["text"](tokens))(x, torch.tensor([500]))
    assert_close(unet(x, 500, encoder_hidden_states=states).sample, alone, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="no word 'dog'"):
        encoder.text_encode("a dog")


def test_the_class_loop_by_hand():
    """P1 with three steps: the gradient is taken at the new image and its t, and added whole."""
    schedule = cosine()
    net = randomised(RECIPES["ddpm"].build(10, schedule))["unet"].requires_grad_(False)
    classifier = randomised(NoisyClassifier())
    scheduler, x, y = DDIMScheduler(schedule, steps=3), start_noise(2, 0), torch.tensor([7, 3])
    networks = ArticleUNet(net), ArticleClassifier(classifier)
    looped = class_guidance_loop(*networks, scheduler, x, y, guidance_scale=0.5)
    for t, t_prev in ((1000, 667), (667, 333), (333, 0)):
        x = scheduler.step(net(x, torch.full((2,), t)), t, x).prev_sample
        at = x.clone().requires_grad_()
        log_p = classifier(at, torch.full((2,), t_prev)).log_softmax(dim=1)
        x = x + 0.5 * torch.autograd.grad(log_p[torch.arange(2), y].sum(), at)[0]
    assert_close(looped, x, rtol=0, atol=1e-6)


class Noisy(nn.Module):
    """Some denoiser, the same for everybody."""

    def forward(self, x_t, t):
        return torch.tanh(x_t + t[:, None, None, None] / 700)


@pytest.mark.parametrize("schedule", [cosine(), linear()], ids=["cosine", "linear"])
def test_schedulers_are_the_samplers(schedule):
    net, x_T = Noisy(), start_noise(2, 1)
    ddim = DDIMScheduler(schedule, 20, clip_sample=False)
    ddpm = DDPMScheduler(schedule, generator(), clip_sample=False)
    for scheduler, path in (
        (ddim, ddim_path(net, x_T, schedule, 20)),
        (ddpm, ancestral_path(net, x_T, schedule, generator())),
    ):
        x = x_T
        for t in scheduler.timesteps:
            x = scheduler.step(net(x, torch.full((2,), t)), t, x).prev_sample
        assert torch.equal(x, final_sample(path))


def generator() -> torch.Generator:
    return torch.Generator().manual_seed(4)


def same_steps(ours, step_of_theirs) -> None:
    """Every step from the same x_t, in float64."""
    x = start_noise(2, 2).double()
    for t in ours.timesteps:
        noise = Noisy()(x, torch.full((2,), t))
        expected = step_of_theirs(noise, t - 1, x).prev_sample
        x = ours.step(noise, t, x).prev_sample
        assert_close(x, expected, rtol=0, atol=1e-7 * expected.abs().max().item())


@pytest.mark.parametrize("clip", [False, True])
@pytest.mark.parametrize("schedule", [cosine(), linear()], ids=["cosine", "linear"])
def test_steps_are_those_of_diffusers(schedule, clip):
    """50 DDIM steps and 1,000 DDPM steps. Our tables: theirs are float32, which costs 1e-5."""
    diffusers = pytest.importorskip("diffusers")
    settings = {"trained_betas": schedule.beta[1:].numpy(), "clip_sample": clip}
    ddim = diffusers.DDIMScheduler(**settings, timestep_spacing="trailing", set_alpha_to_one=True)
    ddpm = diffusers.DDPMScheduler(**settings, variance_type="fixed_small")
    ddim.set_timesteps(50)
    for theirs in (ddim, ddpm):
        theirs.alphas_cumprod, theirs.alphas = schedule.abar[1:], 1 - schedule.beta[1:]
    ours = DDIMScheduler(schedule, 50, clip)
    assert [t - 1 for t in ours.timesteps] == ddim.timesteps.tolist()
    same_steps(ours, partial(ddim.step, use_clipped_model_output=clip))
    ours = DDPMScheduler(schedule, generator(), clip)
    same_steps(ours, partial(ddpm.step, generator=generator()))


def test_sentences_are_encoded_where_the_encoder_is(text_unet):
    """meta stands for a GPU."""
    encoder = ArticleTextEncoder(deepcopy(text_unet.net["text"]).to("meta"))
    assert encoder.text_encode("7").device.type == "meta"
