"""minidiff train: weights that can be used, own data, limits, and runs that are interrupted."""

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from minidiff.datasets.mnist import load_digits
from minidiff.training.checkpoints import load, only_run
from minidiff.training.recipes import LIVE, RECIPES

posix = pytest.mark.skipif(os.name == "nt", reason="POSIX signals")


def test_train_then_sample_with_the_new_weights(run):
    done = run("train unet --steps 2 --out mine.safetensors")
    assert done.status == 0
    assert "128 images" in done.out
    metadata = load("unet", "mine.safetensors").metadata
    assert metadata["images_seen"] == 128
    assert metadata["data_sha256"] == load_digits("train").sha256
    run("sample --digit 7 --steps 2 --out a.npz")
    run("sample --digit 7 --steps 2 --out b.npz --weights mine.safetensors")
    assert (np.load("a.npz")["x"] != np.load("b.npz")["x"]).any()


def test_seconds_are_a_limit_like_steps_and_the_budget_is_live(run):
    assert run("train evaluator --budget live --seconds 2 --out w.safetensors").status == 0
    metadata, live = load("evaluator", "w.safetensors").metadata, LIVE["evaluator"]
    assert (metadata["recipe"]["seconds"], metadata["recipe"]["steps"]) == (2, live.steps)
    assert 0 < metadata["images_seen"] < live.steps * live.batch
    assert metadata["minutes"] <= 0.2


def test_a_folder_of_one_s_own_is_trained_on_without_touching_code(run, tmp_path, refused):
    """Four classes, 20 images: classes and checksum follow the data into weights and samples."""
    data = tmp_path / "data"
    data.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
    header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in images.shape)
    labels = bytes([0, 0, 8, 1, 0, 0, 0, 20] + [i % 4 for i in range(20)])
    (data / "train-images-idx3-ubyte").write_bytes(header + images.tobytes())
    (data / "train-labels-idx1-ubyte").write_bytes(labels)
    assert run("train unet --data data --steps 1 --out w.safetensors").status == 0
    sha256 = load_digits("train", data).sha256
    assert load("unet", "w.safetensors").metadata["data_sha256"] == sha256
    own = "--weights w.safetensors --out a.npz"
    assert run(f"sample --digit 0-3 --steps 2 {own}").status == 0
    assert np.load("a.npz")["y"].tolist() == [0, 1, 2, 3]
    assert "this model knows 0 to 3" in refused(f"sample --digit 4 {own}")
    said = refused("evaluate --weights w.safetensors")
    assert "unet and ddpm were trained on different data sets" in said


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--data nowhere", "file missing"),
        ("--steps 0", "--steps must be at least 1"),
        ("--seconds 0", "--seconds must be a positive number"),
        ("--seconds nan", "--seconds must be a positive number"),
        ("--out no/folder/w.safetensors", "cannot be written"),
        ("--resume", "there is no checkpoint to resume. Start without --resume."),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(refused, options, says):
    assert says in refused(f"train ddpm {options}")


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="needs a folder in which nobody can write")
def test_no_permission_is_said_before_the_work(refused):
    assert "cannot be written" in refused("train ddpm --steps 1 --out /proc/w.safetensors")


def test_a_new_run_leaves_the_checkpoint_of_an_earlier_one_alone(refused):
    """Whoever forgets --resume loses nothing."""
    checkpoint = Path("w.safetensors.checkpoint")
    checkpoint.write_bytes(b"5,500 steps")
    said = refused("train ddpm --steps 1 --out w.safetensors")
    assert f"{checkpoint}: the state of an earlier run is there. Go on with --resume, or" in said
    assert checkpoint.read_bytes() == b"5,500 steps"


def test_two_runs_must_not_write_to_one_file(run, tmp_path):
    out = tmp_path / "w.safetensors"
    with only_run(out):
        done = run("train ddpm --steps 1 --out", out)
    assert done.status == 2
    assert "another run is writing to it" in done.err
    with only_run(out):
        pass
    assert not list(tmp_path.iterdir())


@contextlib.contextmanager
def training(folder: Path, options: str, interrupt: signal.Signals) -> Iterator[subprocess.Popen]:
    """`train ddpm` in a child; on leaving it is interrupted and its status and words are read.

    A background job of a shell ignores Ctrl-C and its children with it, unless told otherwise.
    """
    command = [sys.executable, "-m", "minidiff", "train", "ddpm", *options.split()]
    with subprocess.Popen(
        command,
        cwd=folder,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    ) as process:
        yield process
        process.send_signal(interrupt)
        _, process.said = process.communicate(timeout=30)


def wait_for(path: Path, process: subprocess.Popen) -> None:
    while not path.exists():
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)


@posix
def test_ctrl_c_during_training_changes_no_file(tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"old")
    with training(tmp_path, "--out w.safetensors", signal.SIGINT) as process:
        assert f"ddpm: {RECIPES['ddpm'].steps} steps" in process.stdout.readline()
        time.sleep(2)
    assert process.returncode == 130
    assert "interrupted; no file was changed" in process.said
    assert list(tmp_path.iterdir()) == [weights]
    assert weights.read_bytes() == b"old"


@posix
def test_ctrl_c_after_a_checkpoint_says_how_to_go_on(tmp_path):
    checkpoint = tmp_path / "w.safetensors.checkpoint"
    options = "--checkpoint-every 1 --out w.safetensors"
    with training(tmp_path, options, signal.SIGINT) as process:
        wait_for(checkpoint, process)
    assert process.returncode == 130
    assert f"interrupted; go on with --resume, from {checkpoint.name}." in process.said
    assert list(tmp_path.iterdir()) == [checkpoint]


@posix
@pytest.mark.slow
def test_killed_at_any_moment_and_resumed(run, tmp_path):
    """kill -9 after the first checkpoint, then --resume: the weights of an undisturbed run."""
    torch.set_num_threads(1)  # as in the child
    options = "--steps 16 --float32 --checkpoint-every 2 --out"
    with training(tmp_path, f"{options} killed.safetensors", signal.SIGKILL) as process:
        wait_for(tmp_path / "killed.safetensors.checkpoint", process)
    assert not Path("killed.safetensors").exists()
    assert run(f"train ddpm {options} killed.safetensors --resume").status == 0
    assert run(f"train ddpm {options} whole.safetensors").status == 0
    killed, whole = load_file("killed.safetensors"), load_file("whole.safetensors")
    assert killed.keys() == whole.keys()
    assert all(torch.equal(killed[key], whole[key]) for key in whole)
    assert not list(tmp_path.glob("*.checkpoint"))
