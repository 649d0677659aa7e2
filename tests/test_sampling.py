"""Methods: plain models, w for each row, sentences, noise, precision; a record of digits."""

from pathlib import Path

import numpy as np
import pytest
import torch
from torch.testing import assert_close

from minidiff import settings
from minidiff.datasets.mnist import to_bytes
from minidiff.diffusion.guidance import clipped
from minidiff.diffusion.samplers import ddim_path, final_sample
from minidiff.evaluation.sweep import guidance_methods
from minidiff.nets.unet import bind
from minidiff.sampling import (
    cfg,
    cfg_text,
    cg,
    cg_conditional,
    generate,
    predictions,
    sample,
    start_noise,
    unconditional,
)
from minidiff.symbols import InputError
from minidiff.training.checkpoints import Checkpoint, load
from minidiff.training.sentences import to_tokens

RECORD = Path(__file__).with_name("record.npz")
Y, T = torch.tensor([3, 7]), torch.tensor([900, 200])
NAMES = ("cfg", "cg", "cg_cond")


@pytest.fixture(scope="module")
def models() -> dict[str, Checkpoint]:
    return {name: load(name) for name in ("unet", "ddpm", "classifier", "text_unet")}


@pytest.fixture
def text_unet(models) -> Checkpoint:
    return models["text_unet"]


def methods(models):
    """Every method with a label and a weight, as a function of both."""
    unet, ddpm, classifier = models["unet"], models["ddpm"], models["classifier"]
    return {
        "cfg": lambda y, w: cfg(unet, y, w),
        "cg": lambda y, w: cg(ddpm, classifier, y, w),
        "cg_cond": lambda y, w: cg_conditional(unet, classifier, y, w),
    }


@torch.no_grad()
def prediction(eps, t=T):
    """Of the noise in two images of pure noise, or in as many as t has rows."""
    return eps(start_noise(len(t), 0), t)


@pytest.mark.parametrize(
    ("method", "s", "model"),
    [("cfg", 0, "uncond"), ("cfg", 1, "cond"), ("cg", 0, "ddpm"), ("cg_cond", 1, "cond")],
)
def test_the_scale_of_a_plain_model_gives_that_model(models, method, s, model):
    """s = w for CG; s = 1 + w for both that start from a conditional model."""
    cond, uncond = predictions(models["unet"], Y)
    plain = {"cond": cond, "uncond": uncond, "ddpm": bind(models["ddpm"].net["unet"])}[model]
    schedule, chosen = models["unet"].schedule, guidance_methods(models)[method]
    expected = sample(clipped(plain, schedule), start_noise(2, 0), schedule, 3)
    assert_close(chosen.draw(Y, s - chosen.s_at_zero, 3, 0), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", NAMES)
def test_one_weight_for_each_row_is_each_row_with_its_weight(models, name):
    """A sweep over w in one batch, against one w at a time."""
    make, ws = methods(models)[name], (0.5, 4.0)
    one_by_one = torch.stack([prediction(make(Y, w))[i] for i, w in enumerate(ws)])
    assert_close(prediction(make(Y, torch.tensor(ws))), one_by_one, rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="w must be a finite number"):
        make(Y, torch.tensor([1.0, torch.inf]))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("label", [-1, 11])
def test_a_label_that_no_model_knows_is_refused(models, name, label):
    with pytest.raises(InputError, match="Labels must lie in 0"):
        methods(models)[name](torch.tensor([3, label]), 1.0)


def test_the_unconditional_denoiser_is_m6_of_two_networks(models):
    """eps + w (eps - eps_weak), clipped; the weak network predicts half of the noise here."""
    ddpm, t = models["ddpm"], torch.tensor([300, 700])
    net = ddpm.net["unet"]
    half = torch.nn.Module()
    half.forward = lambda x_t, t, c=None: net(x_t, t, c) / 2
    weak = ddpm._replace(net=torch.nn.ModuleDict({"unet": half}))
    for found, w in ((unconditional(ddpm, weak, 3.0), 3.0), (unconditional(ddpm), 0.0)):
        expected = clipped(lambda x_t, t, w=w: (1 + w / 2) * net(x_t, t), ddpm.schedule)
        assert_close(prediction(found, t), prediction(expected, t), atol=1e-5, rtol=1e-4)


def test_sentences_at_w_minus_1_are_the_empty_one_and_at_0_the_conditional_model(text_unet):
    prompts = ["a thick seven", "一个细的三"]
    uncond, cond = (prediction(cfg_text(text_unet, to_tokens(prompts), w)) for w in (-1.0, 0.0))
    for found, sentences in ((uncond, ["", ""]), (cond, prompts)):
        words = text_unet.net["text"](to_tokens(sentences))
        expected = clipped(bind(text_unet.net["unet"], words), text_unet.schedule)
        assert_close(found, prediction(expected), rtol=0, atol=1e-5)
    assert not torch.allclose(cond, uncond, atol=1e-2)


def test_a_negative_sentence_takes_the_place_of_the_empty_one(text_unet):
    tokens, t = to_tokens(["a seven"]), torch.tensor([700])
    negative = prediction(cfg_text(text_unet, tokens, -1.0, negative="a thin seven"), t)
    expected = prediction(cfg_text(text_unet, to_tokens(["a thin seven"]), 0.0), t)
    assert_close(negative, expected, rtol=0, atol=1e-5)
    with pytest.raises(InputError, match="no word 'ugly'"):
        cfg_text(text_unet, tokens, 1.0, negative="an ugly digit")


def test_padding_and_order_of_a_batch_do_not_change_a_sample(text_unet):
    one = to_tokens(["number 7"])
    two = to_tokens(["number 7", "a thick, wide seven, slanted to the left"])
    alone, among = (
        sample(cfg_text(text_unet, tokens, 1.0), start_noise(len(tokens), 0), text_unet.schedule, 3)
        for tokens in (one, two)
    )
    assert_close(among[:1], alone, rtol=0, atol=1e-3)


def test_first_images_do_not_depend_on_how_many_are_drawn():
    assert torch.equal(start_noise(3, seed=2), start_noise(300, seed=2)[:3])


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_fresh_noise_comes_from_the_generator_of_x_T_and_of_this_amount(models, eta):
    unet, generator = models["unet"], torch.Generator().manual_seed(4)
    x_T = start_noise(2, generator)
    expected = final_sample(ddim_path(cfg(unet, Y, 1.0), x_T, unet.schedule, 3, eta, generator))
    drawn = generate(lambda y: cfg(unet, y, 1.0), Y, unet.schedule, 3, eta, seed=4)
    assert_close(drawn, expected, rtol=0, atol=1e-6)
    assert torch.equal(x_T, start_noise(2, 4))
    by_ode = sample(cfg(unet, Y, 1.0), x_T, unet.schedule, 3)
    assert torch.allclose(by_ode, expected, atol=1e-6) == (eta == 0)


def test_fresh_noise_outside_0_to_1_is_refused(models):
    unet = models["unet"]
    with pytest.raises(InputError, match=r"eta must lie in \[0, 1\].* got eta = 1.5"):
        sample(cfg(unet, Y, 1.0), start_noise(2, 0), unet.schedule, 2, 1.5, torch.Generator())


def test_more_rows_than_a_batch_are_drawn_batch_by_batch(models, monkeypatch):
    monkeypatch.setattr("minidiff.sampling.BATCH", 2)
    unet, y, seen = models["unet"], torch.arange(5), []

    def make(rows):
        seen.append(len(rows))
        return cfg(unet, rows, 1.0)

    together = sample(cfg(unet, y, 1.0), start_noise(5, 0), unet.schedule, 2)
    assert_close(generate(make, y, unet.schedule, 2), together, rtol=0, atol=1e-4)
    assert seen == [2, 2, 1]


@pytest.mark.parametrize("name", NAMES)
def test_bfloat16_rounds_the_networks_and_not_the_steps(models, monkeypatch, name):
    """Nearly the same digits; float32 comes out, on more grey levels than bfloat16 has."""
    eps, x_T, schedule = methods(models)[name](Y, 1.0), start_noise(2, 0), models["unet"].schedule
    exact = sample(eps, x_T, schedule, 4)
    monkeypatch.setattr(settings, "SAMPLING_PRECISION", "bfloat16")
    rounded = sample(methods(models)[name](Y, 1.0), x_T, schedule, 4)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, rounded.bfloat16().float())
    assert 1e-4 < (rounded - exact).square().mean().sqrt() < 0.1
    assert not torch.is_autocast_enabled("cpu")  # for nobody else


def test_the_digits_of_the_first_edition(models):
    """Two images of each method, seed 0, within one grey level, on any machine.

    Where a file in data/weights is replaced, its part of the record is as well.
    """
    unet, ddpm, classifier, text_unet = models.values()
    zero_one, sentence = torch.arange(2), to_tokens(["a thick seven, slanted to the left"] * 2)
    eps = {
        "cfg": cfg(unet, zero_one, 1.0),
        "cg": cg(ddpm, classifier, zero_one, 3.0),
        "cg_cond": cg_conditional(unet, classifier, zero_one, 1.0),
        "prompt": cfg_text(text_unet, sentence, 2.0, "a thin seven"),
        "unconditional": unconditional(ddpm),
    }
    with np.load(RECORD) as record:
        assert set(record) == set(eps)
        for name, stored in record.items():
            drawn = to_bytes(sample(eps[name], start_noise(2, 0), unet.schedule))
            assert abs(drawn.numpy().astype(int) - stored).max() <= 1, name
