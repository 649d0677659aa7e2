"""Interrupted and continued: the same run; and a sentence for what cannot be continued."""

import math
from dataclasses import replace

import pytest
import torch

from minidiff import settings
from minidiff.symbols import InputError
from minidiff.training import state as states
from minidiff.training.distributed import Processes
from minidiff.training.loop import train, training_steps
from minidiff.training.recipes import RECIPES
from minidiff.training.state import initial_state, load_state, save_state

pytestmark = pytest.mark.slow
RECIPE = replace(RECIPES["unet"], steps=6, batch=8, warmup=2)


@pytest.fixture(scope="module")
def few(digits):
    return digits._replace(images=digits.images[:20], labels=digits.labels[:20])


@pytest.fixture
def path(tmp_path):
    return tmp_path / "c"


def same(first, second) -> bool:
    keys = first.keys() == second.keys()
    return keys and all(torch.equal(first[key], second[key]) for key in first)


@pytest.mark.parametrize("name", RECIPES)
def test_a_continued_run_ends_bit_for_bit_where_the_undisturbed_one_does(name, few, path):
    """Stopped after step 4 of 6, in the middle of an epoch; the file is all that is left."""
    recipe = replace(RECIPES[name], steps=6, batch=8, warmup=2)
    whole = train(recipe, few, seed=3, progress=False)
    for state in training_steps(recipe, few, seed=3):
        if state.step == 4:
            save_state(path, state)
            break
    rest = train(recipe, few, 3, progress=False, checkpoint=path, resume=True)
    assert same(rest.net.state_dict(), whole.net.state_dict())
    assert rest.metadata["loss"] == whole.metadata["loss"]


def test_the_state_is_written_every_so_many_steps_and_holds_everything(few, path, monkeypatch):
    monkeypatch.setattr(settings, "CHECKPOINT_EVERY", 4)
    train(RECIPE, few, seed=1, progress=False, checkpoint=path)
    state = load_state(path, RECIPE, few, seed=1)
    assert state.step == 4
    assert state.seconds > 0
    assert len(state.left) == 2 * 20 - 4 * 8
    groups = [group for optimizer in state.optimizers for group in optimizer.param_groups]
    assert {group["weight_decay"] for group in groups} == {RECIPE.weight_decay}


def test_every_image_is_seen_once_an_epoch(digits):
    ten = digits._replace(images=digits.images[:10], labels=digits.labels[:10])
    state = initial_state(replace(RECIPES["evaluator"], batch=4), ten)
    rows = torch.cat([state.next_rows() for _ in range(5)])
    first, second = rows[:10], rows[10:]
    assert sorted(first.tolist()) == sorted(second.tolist()) == list(range(10))
    assert not torch.equal(first, second)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "another seed .wanted 2, came 1"),
        (
            {"recipe": replace(RECIPE, steps=7, peak_lr=0.1)},
            "another recipe .peak_lr: wanted 0.1, came 0.005; steps: wanted 7, came 6",
        ),
        ({"sha256": "f" * 64}, "another data sha256"),
        ({"world": 2}, "another processes .wanted 2, came 1.. Delete it to start anew"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(change, message, few, path, monkeypatch):
    save_state(path, initial_state(RECIPE, few, 1))
    data = few._replace(sha256=change.get("sha256", few.sha256))
    monkeypatch.setattr(states, "processes", lambda: Processes(0, change.get("world", 1)))
    with pytest.raises(InputError, match=message):
        load_state(path, change.get("recipe", RECIPE), data, change.get("seed", 1))


def test_a_broken_file_is_refused(few, path):
    save_state(path, initial_state(RECIPE, few))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(InputError, match="truncated"):
        load_state(path, RECIPE, few)


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(few, path, monkeypatch):
    calls = []

    def breaks(*given):
        calls.append(1)
        return RECIPE.loss(*given) * (math.nan if len(calls) == 4 else 1)

    monkeypatch.setattr(settings, "CHECKPOINT_EVERY", 1)
    recipe = replace(RECIPE, loss=breaks)
    with pytest.raises(FloatingPointError, match="nan at step 4, learning rate 0.0025"):
        train(recipe, few, progress=False, checkpoint=path)
    assert load_state(path, recipe, few).step == 3


def test_a_disk_that_becomes_full_keeps_the_last_checkpoint(few, path, monkeypatch):
    """Room for the first checkpoint, none for the second: the run says so and can be continued."""
    resource = pytest.importorskip("resource")
    whole = train(RECIPE, few, progress=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    calls = []

    def fills_the_disk(*given):
        calls.append(1)
        if len(calls) == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        return RECIPE.loss(*given)

    monkeypatch.setattr(settings, "CHECKPOINT_EVERY", 2)
    recipe = replace(RECIPE, loss=fills_the_disk)
    try:
        with pytest.raises(InputError, match="not written .* What was there before is untouched"):
            train(recipe, few, progress=False, checkpoint=path)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    rest = train(recipe, few, progress=False, checkpoint=path, resume=True)
    assert same(rest.net.state_dict(), whole.net.state_dict())
