"""python -m minidiff, as a user types it: right results, the same twice, and a sentence for everything that is wrong."""

import os
import shutil
import signal
import subprocess
import sys
import time

import matplotlib.image
import numpy as np
import pytest
import torch

from minidiff.commands import main
from minidiff.commands.sample import parse_digits
from minidiff.datasets.mnist import load_digits, to_bytes
from minidiff.sampling import cfg, cfg_text, sample, start_noise
from minidiff.symbols import InputError
from minidiff.training import checkpoints
from minidiff.training.checkpoints import load
from minidiff.training.recipes import LIVE, RECIPES
from minidiff.training.sentences import to_tokens


def run(*arguments) -> int:
    return main([str(argument) for argument in arguments])


def test_arrays_are_the_package_s_own_samples_and_the_same_twice(tmp_path, capsys):
    for name in ("a.npz", "b.npz"):
        assert run("sample", "--digit", "3,7-8", "--n", 2, "--w", 2, "--steps", 4, "--seed", 5, "--out", tmp_path / name) == 0
    a, b = np.load(tmp_path / "a.npz"), np.load(tmp_path / "b.npz")
    assert sorted(a) == ["x", "y"]
    assert a["x"].shape == (6, 28, 28)
    assert a["x"].dtype == np.uint8
    assert a["y"].tolist() == [3, 3, 7, 7, 8, 8]
    assert (a["x"] == b["x"]).all()
    unet = load("unet")
    expected = sample(cfg(unet, torch.tensor([3, 3, 7, 7, 8, 8]), 2.0), start_noise(6, 5), unet.schedule, 4)
    assert (a["x"] == to_bytes(expected).numpy()).all()
    assert "wrote" in capsys.readouterr().out


def test_eta_adds_fresh_noise(tmp_path):
    assert run("sample", "--digit", "3", "--steps", 4, "--seed", 5, "--eta", 0.7, "--out", tmp_path / "e.npz") == 0
    unet, generator = load("unet"), torch.Generator().manual_seed(5)
    expected = sample(cfg(unet, torch.tensor([3]), 1.0), start_noise(1, generator), unet.schedule, 4, 0.7, generator)
    assert (np.load(tmp_path / "e.npz")["x"] == to_bytes(expected).numpy()).all()


@pytest.mark.parametrize("method", ["cfg", "cg"])
def test_picture_has_a_row_for_each_digit(tmp_path, method):
    assert run("sample", "--digit", "0-2", "--n", 3, "--method", method, "--steps", 2, "--out", tmp_path / "p.png") == 0
    assert matplotlib.image.imread(tmp_path / "p.png").shape[:2] == (3 * 28 * 4, 3 * 28 * 4)


def test_prompts_are_the_package_s_own_samples(tmp_path):
    asked = ["a thick seven, slanted to the left", "一个细的三"]
    options = ["--prompt", *asked, "--negative", "a wide digit", "--n", 2, "--w", 2, "--steps", 3, "--seed", 1]
    assert run("sample", *options, "--out", tmp_path / "p.npz") == 0
    drawn = np.load(tmp_path / "p.npz")
    tokens = to_tokens(asked).repeat_interleave(2, dim=0)
    text_unet = load("text_unet")
    expected = sample(cfg_text(text_unet, tokens, 2.0, "a wide digit"), start_noise(4, 1), text_unet.schedule, 3)
    assert (drawn["x"] == to_bytes(expected).numpy()).all()
    assert drawn["y"].tolist() == [asked[0], asked[0], asked[1], asked[1]]
    assert run("sample", "--prompt", "number 7", "--steps", 2, "--out", tmp_path / "p.png") == 0
    assert matplotlib.image.imread(tmp_path / "p.png").shape[:2] == (112, 112)


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--prompt", "a dog"], "no word 'dog'"),
        (["--prompt", "7", "--method", "cg"], "a classifier reads no sentence"),
        (["--digit", "7", "--negative", "8"], "--negative is a sentence against a sentence"),
        (["--prompt", "7", "--negative", "ugly"], "no word 'ugly'"),
        (["--prompt", "a " * 40], "may have 22 words, got 40"),
        (["--prompt", "7", "--n", 0], "--n must be at least 1"),
    ],
)
def test_prompts_that_cannot_be_used(tmp_path, capsys, options, says):
    assert run("sample", *options, "--steps", 2, "--out", tmp_path / "p.png") == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_a_contradiction_is_drawn_and_said(tmp_path, capsys):
    options = ["--prompt", "a thick thin seven", "7", "--negative", "a wide digit", "--steps", 2]
    assert run("sample", *options, "--out", tmp_path / "p.png") == 0
    out, err = capsys.readouterr()
    assert err.count("note:") == 1
    assert "'a thick thin seven' contradicts itself: it names the thickness twice." in err
    assert "'a thick thin seven', '7' away from 'a wide digit' by cfg" in out


def test_another_seed_another_digit(tmp_path):
    for seed in (0, 1):
        run("sample", "--digit", 7, "--steps", 3, "--seed", seed, "--out", tmp_path / f"{seed}.npz")
    assert (np.load(tmp_path / "0.npz")["x"] != np.load(tmp_path / "1.npz")["x"]).any()


def test_train_then_sample_with_the_new_weights(tmp_path, capsys):
    weights = tmp_path / "mine.safetensors"
    assert run("train", "unet", "--steps", 2, "--out", weights) == 0
    assert load("unet", weights).metadata["images_seen"] == 128
    assert load("unet", weights).metadata["data_sha256"] == load_digits("train").sha256
    for files in ([], ["--weights", weights]):
        run("sample", "--digit", 7, "--steps", 2, "--out", tmp_path / f"{len(files)}.npz", *files)
    assert (np.load(tmp_path / "0.npz")["x"] != np.load(tmp_path / "2.npz")["x"]).any()
    assert "128 images" in capsys.readouterr().out


def test_seconds_are_a_limit_like_steps_and_the_budget_is_live(tmp_path):
    weights = tmp_path / "w.safetensors"
    assert run("train", "evaluator", "--budget", "live", "--seconds", 2, "--out", weights) == 0
    metadata = load("evaluator", weights).metadata
    assert (metadata["recipe"]["seconds"], metadata["recipe"]["steps"]) == (2, LIVE["evaluator"].steps)
    assert 0 < metadata["images_seen"] < LIVE["evaluator"].steps * LIVE["evaluator"].batch
    assert metadata["minutes"] <= 0.2


def test_a_folder_of_one_s_own_is_trained_on_without_touching_code(tmp_path, capsys):
    """Four classes, 20 random images: the number of classes and the checksum follow the data into weights and samples."""
    data, weights = tmp_path / "data", tmp_path / "own.safetensors"
    data.mkdir()
    images = np.random.default_rng(0).integers(0, 256, (20, 28, 28)).astype(np.uint8)
    header = bytes([0, 0, 8, 3]) + b"".join(size.to_bytes(4, "big") for size in images.shape)
    (data / "train-images-idx3-ubyte").write_bytes(header + images.tobytes())
    (data / "train-labels-idx1-ubyte").write_bytes(bytes([0, 0, 8, 1, 0, 0, 0, 20] + [i % 4 for i in range(20)]))
    assert run("train", "unet", "--data", data, "--steps", 1, "--out", weights) == 0
    assert load("unet", weights).metadata["data_sha256"] == load_digits("train", data).sha256
    assert run("sample", "--digit", "0-3", "--steps", 2, "--weights", weights, "--out", tmp_path / "own.npz") == 0
    assert np.load(tmp_path / "own.npz")["y"].tolist() == [0, 1, 2, 3]
    assert run("sample", "--digit", "4", "--weights", weights, "--out", tmp_path / "own.npz") == 2
    assert "this model knows 0 to 3" in capsys.readouterr().err
    assert run("evaluate", "--weights", weights) == 2
    assert "unet and ddpm were trained on different data sets" in capsys.readouterr().err


def test_first_images_do_not_depend_on_how_many_are_asked_for():
    assert torch.equal(start_noise(3, seed=2), start_noise(300, seed=2)[:3])


def test_help_teaches(capsys):
    for command, sentence in ((["--help"], "sample --digit 7 --w 3"), (["sample", "--help"], "w = -1 is unconditional")):
        with pytest.raises(SystemExit, match="0"):
            main(command)
        assert sentence in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["sample", "--digit", "10"], "Unknown digit in '10': this model knows 0 to 9"),
        (["sample", "--digit", "seven"], "A digit, or digits like"),
        (["sample", "--digit", "9-0"], "No digit in '9-0': write the smaller one first"),
        (["sample", "--digit", "1,5-3"], "No digit in '5-3': write the smaller one first"),
        (["sample", "--digit", "0-99999999999"], "this model knows 0 to 9"),
        (["sample", "--eta", "1.5"], "eta must lie in [0, 1]"),
        (["sample", "--w", "nan"], "w must be a finite number, got nan"),
        (["sample", "--w", "inf", "--method", "cg"], "w must be a finite number, got inf"),
        (["sample", "--steps", "0"], "between 1 and T = 1000, got 0"),
        (["sample", "--steps", "1001"], "between 1 and T = 1000, got 1001"),
        (["sample", "--n", "0"], "--n must be at least 1, got 0"),
        (["sample", "--out", "digits.jpg"], "must end in .png or .npz"),
        (["sample", "--out", "no/folder/a.png"], "cannot be written"),
        (["sample", "--weights", "nothing.safetensors"], "no such weights"),
        (["train", "ddpm", "--data", "nowhere"], "file missing"),
        (["train", "ddpm", "--steps", "0"], "--steps must be at least 1"),
        (["train", "ddpm", "--seconds", "0"], "--seconds must be a positive number"),
        (["train", "ddpm", "--seconds", "nan"], "--seconds must be a positive number"),
        (["train", "ddpm", "--out", "no/folder/w.safetensors"], "cannot be written"),
        (["evaluate", "--n", "0"], "--n must be at least 1"),
        (["evaluate", "--seeds", "0"], "--seeds must be at least 1"),
        (["evaluate", "--scales", "nan"], "--scales must be finite"),
        (["evaluate", "--n", "1", "--steps", "1", "--seeds", "1"], "wants at least 129 images, got 10"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    assert main(arguments) == 2
    said = capsys.readouterr().err.split("\r")[-1]  # what a progress bar leaves behind is overwritten
    assert said.startswith("minidiff: ")
    assert message in said
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("arguments", [["sample", "--method", "gan"], ["train", "gan"], ["paint"]])
def test_unknown_names(arguments, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(arguments)
    assert "invalid choice" in capsys.readouterr().err


@pytest.mark.parametrize("seed", ["-1", str(2**63)])
def test_seeds_that_no_generator_takes(seed, capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["sample", f"--seed={seed}"])
    assert "a seed lies between 0 and 2^63 - 1" in capsys.readouterr().err


def test_a_terminal_without_chinese_shows_what_it_can(tmp_path):
    command = [sys.executable, "-m", "minidiff", "sample", "--prompt", "七", "--steps", "1", "--out", str(tmp_path / "p.png")]
    done = subprocess.run(command, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, capture_output=True, text=True)
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert r"1 x '\u4e03' by cfg" in done.stdout


def test_steps_and_seconds_are_one_limit_too_many(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["train", "ddpm", "--steps", "5", "--seconds", "5"])
    assert "not allowed with argument --steps" in capsys.readouterr().err


def test_weights_of_the_wrong_kind(tmp_path, capsys):
    shutil.copy(checkpoints.PRETRAINED / "evaluator.safetensors", tmp_path / "w.safetensors")
    assert run("sample", "--weights", tmp_path / "w.safetensors", "--out", tmp_path / "a.png") == 2
    assert "weights of 'evaluator', but unet are wanted" in capsys.readouterr().err
    twice = [checkpoints.PRETRAINED / "unet.safetensors"] * 2
    assert run("sample", "--weights", *twice, "--out", tmp_path / "a.png") == 2
    assert "one file each" in capsys.readouterr().err


def test_parse_digits():
    assert parse_digits("0-9") == list(range(10))
    assert parse_digits("1, 3,5-7") == [1, 3, 5, 6, 7]
    with pytest.raises(InputError):
        parse_digits("3-")


def hear_ctrl_c():
    """In the child, before it starts: a background job of a shell would ignore Ctrl-C, and its children with it."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


HEARS_CTRL_C = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "preexec_fn": hear_ctrl_c}


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_during_training_changes_no_file(tmp_path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"old")
    command = [sys.executable, "-m", "minidiff", "train", "ddpm", "--out", str(weights)]
    with subprocess.Popen(command, text=True, **HEARS_CTRL_C) as process:
        assert f"ddpm: {RECIPES['ddpm'].steps} steps" in process.stdout.readline()
        time.sleep(2)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert "interrupted; no file was changed" in said
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors"]
    assert weights.read_bytes() == b"old"


@pytest.mark.skipif(os.name == "nt", reason="POSIX signals")
def test_ctrl_c_after_a_checkpoint_says_how_to_go_on(tmp_path):
    weights = tmp_path / "w.safetensors"
    command = [sys.executable, "-m", "minidiff", "train", "ddpm", "--checkpoint-every", "1", "--out", str(weights)]
    with subprocess.Popen(command, text=True, **HEARS_CTRL_C) as process:
        while not (tmp_path / "w.safetensors.checkpoint").exists():
            time.sleep(0.05)
        process.send_signal(signal.SIGINT)
        _, said = process.communicate(timeout=30)
    assert process.returncode == 130
    assert f"interrupted; go on with --resume, from {weights}.checkpoint." in said
    assert [file.name for file in tmp_path.iterdir()] == ["w.safetensors.checkpoint"]
