"""How methods are put together: plain models on the common scale, w for each row, noise, precision; a record."""

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
from minidiff.sampling import cfg, cfg_text, cg, cg_conditional, generate, predictions, sample, start_noise, unconditional
from minidiff.symbols import InputError
from minidiff.training.checkpoints import Checkpoint, load
from minidiff.training.sentences import to_tokens

RECORD = Path(__file__).with_name("record.npz")
Y, T = torch.tensor([3, 7]), torch.tensor([900, 200])


@pytest.fixture(scope="module")
def models() -> dict[str, Checkpoint]:
    return {name: load(name) for name in ("unet", "ddpm", "classifier", "text_unet")}


def methods(models):
    """Every method with a label and a weight, as a function of both."""
    unet, ddpm, classifier = models["unet"], models["ddpm"], models["classifier"]
    return {
        "cfg": lambda y, w: cfg(unet, y, w),
        "cg": lambda y, w: cg(ddpm, classifier, y, w),
        "cg_cond": lambda y, w: cg_conditional(unet, classifier, y, w),
    }


@pytest.mark.parametrize(("method", "s"), [("cfg", 0.0), ("cfg", 1.0), ("cg", 0.0), ("cg_cond", 1.0)])
def test_the_scale_of_a_plain_model_gives_that_model(models, monkeypatch, method, s):
    """s = w for CG; s = 1 + w for both that start from a conditional model. One step, two images, the pretrained networks."""
    made = []
    monkeypatch.setattr("minidiff.evaluation.sweep.generate", lambda make, y, *_: made.append(make(y)) or y)
    draw, _, s_at_zero = guidance_methods(models)[method]
    draw(Y, s - s_at_zero, 1, 0)
    cond, uncond = predictions(models["unet"], Y)
    plain = bind(models["ddpm"].net["unet"]) if method == "cg" else cond if s else uncond
    x_t = start_noise(2, 0)
    assert_close(made[0](x_t, T), clipped(plain, models["unet"].schedule)(x_t, T), rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["cfg", "cg", "cg_cond"])
def test_one_weight_for_each_row_is_each_row_with_its_weight(models, name):
    """A sweep over w in one batch, against one w at a time."""
    make, x_t, ws = methods(models)[name], start_noise(2, 0), (0.5, 4.0)
    together = make(Y, torch.tensor(ws))(x_t, T)
    assert_close(together, torch.stack([make(Y, w)(x_t, T)[i] for i, w in enumerate(ws)]), rtol=0, atol=1e-6)
    with pytest.raises(InputError, match="w must be a finite number"):
        make(Y, torch.tensor([1.0, torch.inf]))


@pytest.mark.parametrize("name", ["cfg", "cg", "cg_cond"])
@pytest.mark.parametrize("label", [-1, 11])
def test_a_label_that_no_model_knows_is_refused(models, name, label):
    with pytest.raises(InputError, match="Labels must lie in 0"):
        methods(models)[name](torch.tensor([3, label]), 1.0)


@pytest.mark.parametrize("eta", [0.0, 0.5, 1.0])
def test_fresh_noise_comes_from_the_generator_of_x_T_and_of_this_amount(models, eta):
    unet, generator = models["unet"], torch.Generator().manual_seed(4)
    x_T = start_noise(2, generator)
    expected = final_sample(ddim_path(cfg(unet, Y, 1.0), x_T, unet.schedule, 3, eta, generator))
    drawn = generate(lambda y: cfg(unet, y, 1.0), Y, unet.schedule, 3, eta, seed=4)
    assert_close(drawn, expected, rtol=0, atol=1e-6)
    assert torch.equal(x_T, start_noise(2, 4))
    plain = sample(cfg(unet, Y, 1.0), x_T, unet.schedule, 3)
    assert torch.allclose(plain, expected, atol=1e-6) == (eta == 0)


def test_fresh_noise_outside_0_to_1_is_refused(models):
    with pytest.raises(InputError, match=r"eta must lie in \[0, 1\].* got eta = 1.5"):
        sample(cfg(models["unet"], Y, 1.0), start_noise(2, 0), models["unet"].schedule, 2, eta=1.5, generator=torch.Generator())


def test_more_rows_than_a_batch_are_drawn_batch_by_batch(models, monkeypatch):
    monkeypatch.setattr("minidiff.sampling.BATCH", 2)
    unet, y, seen = models["unet"], torch.arange(5), []

    def make(rows):
        seen.append(len(rows))
        return cfg(unet, rows, 1.0)

    together = sample(cfg(unet, y, 1.0), start_noise(5, 0), unet.schedule, 2)
    assert_close(generate(make, y, unet.schedule, 2), together, rtol=0, atol=1e-4)
    assert seen == [2, 2, 1]


@pytest.mark.parametrize("name", ["cfg", "cg", "cg_cond"])
def test_bfloat16_rounds_the_networks_and_not_the_steps(models, monkeypatch, name):
    """Nearly the same digits, not the same; float32 comes out, on more grey levels than bfloat16 has."""
    eps, x_T, schedule = methods(models)[name](Y, 1.0), start_noise(2, 0), models["unet"].schedule
    plain = sample(eps, x_T, schedule, 4)
    monkeypatch.setattr(settings, "SAMPLING_PRECISION", "bfloat16")
    rounded = sample(methods(models)[name](Y, 1.0), x_T, schedule, 4)
    assert rounded.dtype == torch.float32
    assert not torch.equal(rounded, rounded.bfloat16().float())
    assert 1e-4 < (rounded - plain).square().mean().sqrt() < 0.1
    assert not torch.is_autocast_enabled("cpu")  # for nobody else


def test_the_digits_of_the_first_edition(models):
    """Two images of each way of drawing, seed 0, as the first edition drew them: within one grey level, on any machine.

    The digits are of the first edition's weights: where a file in data/weights is replaced, its part of the record is as well.
    """
    unet, ddpm, classifier, text_unet = models.values()
    zero, sentence = torch.arange(2), to_tokens(["a thick seven, slanted to the left"] * 2)
    eps = {
        "cfg": cfg(unet, zero, 1.0),
        "cg": cg(ddpm, classifier, zero, 3.0),
        "cg_cond": cg_conditional(unet, classifier, zero, 1.0),
        "prompt": cfg_text(text_unet, sentence, 2.0, "a thin seven"),
        "unconditional": unconditional(ddpm),
    }
    with np.load(RECORD) as record:
        assert set(record) == set(eps)
        for name, stored in record.items():
            drawn = to_bytes(sample(eps[name], start_noise(2, 0), unet.schedule)).numpy().astype(int)
            assert abs(drawn - stored).max() <= 1, name
