"""Interrupted and continued, alone or shared by processes: the same run. And a sentence for what cannot be continued."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from minidiff.__main__ import main
from minidiff.datasets.mnist import Digits, load_digits
from minidiff.symbols import InputError
from minidiff.training import distributed
from minidiff.training import state as states
from minidiff.training.checkpoints import only_run
from minidiff.training.distributed import BatchRNG, Processes, share_of
from minidiff.training.loop import Saving, train, training_steps
from minidiff.training.recipes import LIVE, RECIPES
from minidiff.training.state import begin, continue_run, save_run

pytestmark = pytest.mark.slow
RECIPE = replace(RECIPES["unet"], steps=6, batch=8, warmup=2)


@pytest.fixture(scope="module")
def digits() -> Digits:
    full = load_digits("train")
    return Digits(full.images[:20], full.labels[:20], full.sha256)


def same(first, second) -> bool:
    return all(torch.equal(first[key], second[key]) for key in first) and first.keys() == second.keys()


@pytest.mark.parametrize("name", RECIPES)
def test_a_continued_run_ends_bit_for_bit_where_the_undisturbed_one_does(name, digits, tmp_path):
    """Stopped after step 4 of 6, in the middle of an epoch of 20 images; the file is all that is left."""
    recipe = replace(RECIPES[name], steps=6, batch=8, warmup=2)
    whole = train(recipe, digits, seed=3, progress=False)
    run = begin(recipe, digits, seed=3)
    for state in training_steps(recipe, digits, 3, run):
        if state.step == 4:
            break
    save_run(tmp_path / "c", run)
    rest = train(recipe, digits, 3, progress=False, saving=Saving(tmp_path / "c", 100, resume=True))
    assert same(rest.net.state_dict(), whole.net.state_dict())
    assert rest.metadata["loss"] == whole.metadata["loss"]


def test_the_state_is_written_every_so_many_steps_and_holds_everything(digits, tmp_path):
    train(RECIPE, digits, seed=1, progress=False, saving=Saving(tmp_path / "c", 4))
    run = continue_run(tmp_path / "c", RECIPE, digits, seed=1)
    assert len(run.losses) == 4
    assert run.seconds > 0
    assert len(run.left) == 2 * 20 - 4 * 8
    groups = [group for optimizer in run.optimizers for group in optimizer.param_groups]
    assert {group["weight_decay"] for group in groups} == {RECIPE.weight_decay}


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_killed_at_any_moment_and_resumed(tmp_path):
    """kill -9 after the first checkpoint, then --resume: the file of the weights equals that of an undisturbed run."""
    wanted, out = tmp_path / "whole.safetensors", tmp_path / "killed.safetensors"
    command = ["train", "ddpm", "--steps", "16", "--float32", "--checkpoint-every", "2", "--out"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    start = [sys.executable, "-m", "minidiff", *command]
    subprocess.run([*start, str(wanted)], env=environment, check=True, capture_output=True)
    with subprocess.Popen([*start, str(out)], env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT) as process:
        while not (tmp_path / "killed.safetensors.checkpoint").exists():
            assert process.poll() is None, process.stdout.read()
            time.sleep(0.02)
        process.send_signal(signal.SIGKILL)
    assert not out.exists()
    subprocess.run([*start, str(out), "--resume"], env=environment, check=True, capture_output=True)
    assert same(load_file(wanted), load_file(out))
    assert not list(tmp_path.glob("*.checkpoint"))


def test_a_run_takes_the_threads_of_its_recipe_says_so_and_gives_them_back(digits):
    before, seen = torch.get_num_threads(), []

    def loss(net, x_0, y, schedule, distributed):
        seen.append(torch.get_num_threads())
        return LIVE["evaluator"].loss(net, x_0, y, schedule, distributed)

    other = 1 if before > 1 else 2
    trained = train(replace(LIVE["evaluator"], loss=loss, steps=2, batch=4, threads=other), digits, progress=False)
    assert (seen, trained.metadata["threads"], trained.metadata["recipe"]["threads"]) == ([other, other], other, other)
    assert torch.get_num_threads() == before
    assert "threads" not in LIVE["evaluator"].metadata()  # nobody chose them


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": 2}, "another seed .wanted 2, came 1"),
        (
            {"recipe": replace(RECIPE, steps=7, peak_lr=0.1)},
            "another recipe .peak_lr: wanted 0.1, came 0.005; steps: wanted 7, came 6",
        ),
        ({"sha256": "f" * 64}, "another data sha256"),
    ],
)
def test_a_checkpoint_of_something_else_is_refused(change, message, digits, tmp_path):
    save_run(tmp_path / "c", begin(RECIPE, digits, 1))
    data = Digits(digits.images, digits.labels, change.get("sha256", digits.sha256))
    with pytest.raises(InputError, match=message):
        continue_run(tmp_path / "c", change.get("recipe", RECIPE), data, change.get("seed", 1))


def test_another_device_or_number_of_processes_is_refused(digits, tmp_path, monkeypatch):
    save_run(tmp_path / "c", begin(RECIPE, digits, 1))
    monkeypatch.setattr(states, "processes", lambda: Processes(0, 2))
    with pytest.raises(InputError, match="another processes .wanted 2, came 1.. Delete it to start anew"):
        continue_run(tmp_path / "c", RECIPE, digits, 1)


def test_a_new_run_leaves_the_checkpoint_of_an_earlier_one_alone(tmp_path, capsys):
    """Whoever forgets --resume loses nothing."""
    out, state = tmp_path / "w.safetensors", tmp_path / "w.safetensors.checkpoint"
    state.write_bytes(b"5,500 steps")
    assert main(["train", "ddpm", "--steps", "1", "--out", str(out)]) == 2
    assert f"{state}: the state of an earlier run is there. Go on with --resume, or delete it" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == [state.name]
    assert state.read_bytes() == b"5,500 steps"


def test_nothing_to_resume_or_a_broken_file(digits, tmp_path, capsys):
    assert main(["train", "ddpm", "--resume", "--out", str(tmp_path / "w.safetensors")]) == 2
    assert "there is no checkpoint to resume. Start without --resume." in capsys.readouterr().err
    save_run(tmp_path / "c", begin(RECIPE, digits))
    whole = (tmp_path / "c").read_bytes()
    (tmp_path / "c").write_bytes(whole[:-100])
    with pytest.raises(InputError, match="truncated"):
        continue_run(tmp_path / "c", RECIPE, digits)


def test_a_loss_that_is_not_finite_keeps_the_last_good_checkpoint(digits, tmp_path):
    calls = []

    def breaks(net, x_0, y, schedule, distributed):
        calls.append(1)
        return RECIPE.loss(net, x_0, y, schedule, distributed) * (math.nan if len(calls) == 4 else 1)

    recipe = replace(RECIPE, loss=breaks)
    with pytest.raises(FloatingPointError, match="nan at step 4, learning rate 0.0025"):
        train(recipe, digits, progress=False, saving=Saving(tmp_path / "c", 1))
    assert len(continue_run(tmp_path / "c", recipe, digits).losses) == 3


def test_a_disk_that_becomes_full_keeps_the_last_checkpoint(digits, tmp_path):
    """Room for the first checkpoint and none for the second: the run says so and stops, and can be continued."""
    resource = pytest.importorskip("resource")
    whole = train(RECIPE, digits, progress=False)
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    calls = []

    def fills_the_disk(net, x_0, y, schedule, distributed):
        calls.append(1)
        if len(calls) == 4:
            resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, hard))
        return RECIPE.loss(net, x_0, y, schedule, distributed)

    recipe = replace(RECIPE, loss=fills_the_disk)
    try:
        with pytest.raises(InputError, match="not written .* What was there before is untouched"):
            train(recipe, digits, progress=False, saving=Saving(tmp_path / "c", 2))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    rest = train(recipe, digits, progress=False, saving=Saving(tmp_path / "c", 100, resume=True))
    assert same(rest.net.state_dict(), whole.net.state_dict())


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder in which nobody can write")
def test_no_permission_is_told_before_the_work(capsys):
    assert main(["train", "ddpm", "--steps", "1", "--out", "/proc/w.safetensors"]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_two_runs_must_not_write_to_one_file(tmp_path, capsys):
    out = tmp_path / "w.safetensors"
    with only_run(out):
        assert main(["train", "ddpm", "--steps", "1", "--out", str(out)]) == 2
        assert "another run is writing to it" in capsys.readouterr().err
    with only_run(out):
        pass
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_draw_together_what_one_draws_alone(world):
    def drawn(rank, world):
        mine = BatchRNG(torch.Generator().manual_seed(0), rank, world)
        like = torch.empty(8 // world, 1, 2, 2, dtype=torch.float64)
        middle, mixed = (mine.middle_levels(len(like), 1000, 0.5, 0.9), mine.mixed_levels(len(like), 1000, 0.5, 0.9, 0.2))
        levels = torch.stack([mine.levels(len(like), 1, 1000), middle, mixed], dim=1)
        return levels, mine.normal(like), mine.uniform(len(like), 4), mine.shard(torch.arange(8))

    together = [torch.cat(parts) for parts in zip(*(drawn(rank, world) for rank in range(world)), strict=True)]
    assert all(torch.equal(a, b) for a, b in zip(together, drawn(0, 1), strict=True))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_rows_that_meet_have_together_the_gradient_of_one_process(world, monkeypatch):
    """A loss of all pairs of rows; DistributedDataParallel takes the mean of the gradients of all processes."""
    x, weight = torch.randn(8, 3, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)

    def gradient(rank, world):
        w = weight.clone().requires_grad_()
        mine = BatchRNG(torch.Generator(), rank, world)
        monkeypatch.setattr(
            distributed.dist, "all_gather", lambda rows, own: rows.__setitem__(slice(None), (x @ weight).chunk(world))
        )
        rows = mine.gathered(mine.shard(x) @ w)
        torch.testing.assert_close(rows, x @ weight)
        (rows @ rows.T).logsumexp(dim=1).sum().backward()
        return w.grad

    mean = torch.stack([gradient(rank, world) for rank in range(world)]).mean(dim=0)
    torch.testing.assert_close(mean, gradient(0, 1))


def test_a_batch_that_cannot_be_shared():
    assert share_of(64, Processes(0, 4)) == 16
    with pytest.raises(InputError, match="A batch of 64 images cannot be shared equally by 3 processes"):
        share_of(64, Processes(0, 3))


CURVE = """
import json, sys
from dataclasses import replace
from pathlib import Path
from minidiff import RECIPES, load_digits, settings, training_steps
from minidiff.training.distributed import processes
recipe = replace(RECIPES[sys.argv[2]], steps=int(sys.argv[3]), batch=16, warmup=10)
settings.TRAINING_PRECISION = "float32"
losses = [state.loss for state in training_steps(recipe, load_digits("train"), seed=0)]
if processes().rank == 0:
    open(sys.argv[1], "w").write(json.dumps(losses))
"""


@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
@pytest.mark.parametrize(("name", "steps"), [("unet", 50), ("clip", 20)])
def test_two_processes_under_torchrun_follow_the_curve_of_one(tmp_path, name, steps):
    """The same global batch, float32, steps of the recipe's optimizers: losses agree to 1e-5. In text's every row meets every."""
    script = tmp_path / "curve.py"
    script.write_text(CURVE)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MINIDIFF_DEVICE": "cpu"}
    environment |= {"GLOO_SOCKET_IFNAME": "lo"} if sys.platform == "linux" else {}  # whatever the host's name resolves to
    alone = [sys.executable, script, tmp_path / "one.json"]
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]
    for command in (alone, [*torchrun, script, tmp_path / "two.json"]):
        done = subprocess.run(list(map(str, [*command, name, steps])), env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
    one, two = (torch.tensor(json.loads((tmp_path / name).read_text())) for name in ("one.json", "two.json"))
    assert len(one) == len(two) == steps
    assert (one - two).abs().max() < 1e-5
    assert one[-1] < (0.7 if name == "unet" else 0.96) * one[0]
