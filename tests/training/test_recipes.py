"""Recipes: what they say of themselves, and that each model learns a little."""

import json
from dataclasses import replace

import pytest
import torch

from minidiff.diffusion.schedule import cosine
from minidiff.training.loop import train, training_steps
from minidiff.training.recipes import BUDGETS, LIVE, RECIPES


def test_every_model_has_two_budgets_under_its_own_name():
    assert RECIPES.keys() == LIVE.keys()
    for budget in BUDGETS.values():
        assert all(recipe.name == name for name, recipe in budget.items())
    assert all(LIVE[name].steps < RECIPES[name].steps for name in RECIPES)


@pytest.mark.parametrize("name", RECIPES)
def test_metadata_is_json_and_says_what_is_special(name):
    said = RECIPES[name].metadata()
    assert json.loads(json.dumps(said)) == said
    assert said.get("digits") == ("without_held_out" if name in ("clip", "text_unet") else None)
    assert said.get("frozen") == ("clip" if name == "text_unet" else None)
    assert "threads" not in said  # nobody chose them
    assert replace(RECIPES[name], threads=2).metadata()["threads"] == 2


@pytest.mark.parametrize("name", RECIPES)
def test_networks_have_a_class_more_for_a_class_more(name):
    sizes = [
        sum(p.numel() for p in RECIPES[name].build(classes, cosine()).parameters())
        for classes in (4, 10)
    ]
    assert (sizes[0] < sizes[1]) == (name in ("unet", "classifier", "evaluator"))


@pytest.mark.parametrize("name", RECIPES)
def test_every_model_learns_a_little(name, digits):
    """On 256 images the loss falls for every recipe, through the same loop."""
    # the contrastive loss says nothing for some forty steps (lesson 11)
    steps, falls = (40, 0.97) if name == "clip" else (20, 0.95)
    recipe = replace(RECIPES[name], steps=steps, batch=32, warmup=5)
    seen = [state.loss for state in training_steps(recipe, digits)]
    assert len(seen) == steps
    assert sum(seen[-4:]) < falls * sum(seen[:4])


def test_same_seed_same_weights_and_the_global_generator_is_left_alone(digits):
    torch.manual_seed(1)
    before, recipe = torch.random.get_rng_state(), replace(LIVE["ddpm"], steps=3, batch=16)
    first, same, other = (
        train(recipe, digits, seed, progress=False).net.state_dict() for seed in (5, 5, 6)
    )
    assert all(torch.equal(first[key], same[key]) for key in first)
    assert not all(torch.equal(first[key], other[key]) for key in first)
    assert torch.equal(before, torch.random.get_rng_state())
