"""The recipe with a memory: what is remembered is not trained on, and comes back from a file."""

from dataclasses import replace

import pytest
import torch

from minidiff.digits.mnist import Digits, load_digits
from minidiff.training.checkpoints import load, save
from minidiff.training.loop import train
from minidiff.training.recipes import LIVE, RECIPES, SHIPPED_RECIPES
from minidiff.training.runs import begin

RECIPE = replace(LIVE["memory"], steps=2, batch=8)


@pytest.fixture(scope="module")
def digits() -> Digits:
    test = load_digits("test")
    return test._replace(images=test.images[:21], labels=test.labels[:21])


def test_every_second_image_is_remembered_the_others_are_trained_on(digits):
    run = begin(RECIPE, digits)
    memory = run.net["unet"].net.memory
    assert torch.equal(memory.images, digits.x_0(torch.arange(0, 21, 2)))
    assert torch.equal(run.digits.images, digits.images[torch.arange(1, 21, 2)])
    assert torch.equal(run.digits.labels, digits.labels[torch.arange(1, 21, 2)])
    assert run.average.module["unet"].net.memory.images.data_ptr() == memory.images.data_ptr()  # 94 MB with all digits: once


def test_a_trained_one_comes_back_with_its_memory(digits, tmp_path):
    trained = train(RECIPE, digits, progress=False)
    save(tmp_path / "r.safetensors", trained, torch.float32)
    loaded, t = load("memory", tmp_path / "r.safetensors"), torch.tensor([950, 700, 3])
    x_t = torch.randn(3, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    torch.testing.assert_close(loaded.net["unet"](x_t, t), trained.net["unet"](x_t, t), rtol=0, atol=1e-6)
    assert torch.equal(loaded.net["unet"].net.memory.images, digits.x_0(torch.arange(0, 21, 2)))


def test_it_is_ddpm_but_for_the_memory_and_is_not_shipped():
    facts, plain = RECIPES["memory"].facts(), RECIPES["ddpm"].facts()
    assert {key for key in facts if facts[key] != plain.get(key)} == {"name", "build", "digits", "prepare"}
    assert RECIPES.keys() - SHIPPED_RECIPES.keys() == {"memory", "clusters"}
