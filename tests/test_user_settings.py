"""What a user has set in torch changes no digit and no training: the same bits as without."""

import contextlib
from collections.abc import Iterator
from dataclasses import replace

import pytest
import torch

import minidiff as md

pytestmark = pytest.mark.slow


def digits() -> md.Digits:
    full = md.load_digits("train")
    return full._replace(images=full.images[:64], labels=full.labels[:64])


def results() -> dict[str, torch.Tensor]:
    """What the commands compute, made small: methods, sentences, training, tables."""
    unet, ddpm, classifier, text_unet = (
        md.load(name) for name in ("unet", "ddpm", "classifier", "text_unet")
    )
    y, x_T, schedule = torch.tensor([3, 8], device="cpu"), md.start_noise(2, 0), unet.schedule
    by_text = md.cfg_text(text_unet, md.to_tokens(["a thick seven"] * 2), 2.0)
    generator = torch.Generator("cpu").manual_seed(0)
    found = {
        "cfg": md.sample(md.cfg(unet, y, 2.0), x_T, schedule, 2),
        "cg": md.sample(md.cg(ddpm, classifier, y, 2.0), x_T, schedule, 2),
        "unconditional": md.generate(lambda y: md.unconditional(ddpm), y, schedule, 2, eta=1.0),
        "text_unet": md.sample(by_text, x_T, schedule, 2),
        "schedule": md.cosine().beta,
        "strokes": md.strokes(digits().x_0()),
        "mixture": md.three_classes(md.cosine()).sample(5, generator)[0],
    }
    x_t, t = md.start_noise(2, 5), torch.tensor([300, 900], device="cpu")
    found["gradient"] = md.gradient(md.log_prob_of(classifier.net["classifier"], y), x_t, t)
    for name in ("unet", "classifier", "text_unet"):
        recipe = replace(md.LIVE[name], steps=2, batch=8, warmup=1)
        trained = md.train(recipe, digits(), progress=False)
        found |= {f"{name} {key}": value for key, value in trained.net.state_dict().items()}
    return found


@contextlib.contextmanager
def default_dtype() -> Iterator[None]:
    torch.set_default_dtype(torch.float64)
    try:
        yield
    finally:
        torch.set_default_dtype(torch.float32)


@contextlib.contextmanager
def default_device() -> Iterator[None]:
    """meta holds no numbers: whatever lands there is noticed."""
    torch.set_default_device("meta")
    try:
        yield
    finally:
        torch.set_default_device(None)


@contextlib.contextmanager
def deterministic() -> Iterator[None]:
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(False)


def state() -> tuple:
    grad, inference = torch.is_grad_enabled(), torch.is_inference_mode_enabled()
    return torch.get_default_dtype(), grad, inference


SETTINGS = {
    "float64": default_dtype,
    "another device": default_device,
    "deterministic": deterministic,
    "no_grad": torch.no_grad,
    "inference_mode": torch.inference_mode,
    "set_grad_enabled": lambda: torch.set_grad_enabled(True),
}


@pytest.fixture(scope="module")
def expected() -> dict[str, torch.Tensor]:
    return results()


@pytest.mark.parametrize("name", SETTINGS)
def test_a_setting_changes_nothing(expected, name):
    before = state()
    with SETTINGS[name]():
        inside = state()
        found = results()
        assert inside == state()
    assert before == state()
    assert found.keys() == expected.keys()
    for key, value in expected.items():
        assert (found[key].dtype, found[key].device) == (value.dtype, value.device), key
        assert torch.equal(found[key], value), key
