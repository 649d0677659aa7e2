"""minidiff sample: the package's own samples, the same twice, and a sentence for what is wrong."""

import os
import subprocess
import sys
from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import torch

from minidiff.commands.sample import parse_digits
from minidiff.datasets.mnist import load_digits, to_bytes
from minidiff.experiments import model_cards
from minidiff.nets.unet import bind
from minidiff.sampling import cfg, cfg_text, sample, start_noise
from minidiff.symbols import InputError
from minidiff.training.checkpoints import PRETRAINED, load, save
from minidiff.training.loop import train
from minidiff.training.recipes import RECIPES
from minidiff.training.sentences import to_tokens


def drawn(path: str = "a.npz") -> np.ndarray:
    return np.load(path)["x"]


def test_without_a_digit_every_class_of_the_weights_is_drawn(run):
    """A user's own images may have three classes."""
    known = load("unet")
    net = RECIPES["unet"].build(3, known.schedule)
    save("three.safetensors", known._replace(net=net, metadata={**known.metadata, "classes": 3}))
    done = run("sample --weights three.safetensors --n 2 --steps 1 --out a.npz")
    assert "2 x 0-2 by cfg" in done.out
    assert np.load("a.npz")["y"].tolist() == [0, 0, 1, 1, 2, 2]


def test_arrays_are_the_package_s_own_samples_and_the_same_twice(run):
    for name in ("a.npz", "b.npz"):
        done = run(f"sample --digit 3,7-8 --n 2 --w 2 --steps 4 --seed 5 --out {name}")
        assert done.status == 0
        assert "wrote" in done.out
    a = np.load("a.npz")
    assert sorted(a) == ["x", "y"]
    assert a["x"].shape == (6, 28, 28)
    assert a["x"].dtype == np.uint8
    assert a["y"].tolist() == [3, 3, 7, 7, 8, 8]
    assert (a["x"] == drawn("b.npz")).all()
    unet = load("unet")
    eps = cfg(unet, torch.tensor([3, 3, 7, 7, 8, 8]), 2.0)
    expected = sample(eps, start_noise(6, 5), unet.schedule, 4)
    assert (a["x"] == to_bytes(expected).numpy()).all()


def test_eta_adds_fresh_noise(run):
    assert run("sample --digit 3 --steps 4 --seed 5 --eta 0.7 --out a.npz").status == 0
    unet, generator = load("unet"), torch.Generator().manual_seed(5)
    eps, x_T = cfg(unet, torch.tensor([3]), 1.0), start_noise(1, generator)
    expected = sample(eps, x_T, unet.schedule, 4, 0.7, generator)
    assert (drawn() == to_bytes(expected).numpy()).all()


@pytest.mark.parametrize(
    ("options", "rows", "columns"),
    [
        ("--digit 0-2 --n 3", 3, 3),
        ("--digit 0-2 --n 3 --method cg", 3, 3),
        ("--prompt 'number 7'", 1, 1),
        ("--unconditional --n 12", 2, 10),
    ],
)
def test_a_picture_has_a_row_for_each_digit_or_sentence_and_rows_of_ten(
    run, options, rows, columns
):
    assert run(f"sample {options} --steps 2 --out p.png").status == 0
    picture = matplotlib.image.imread("p.png")
    assert picture.shape[:2] == (112 * rows, 112 * columns)
    if columns == 10:  # nothing is left for the last eight places
        assert picture[112:, : 2 * 112, 0].max() > 0.1
        assert picture[112:, 2 * 112 :, 0].max() == 0


def test_prompts_are_the_package_s_own_samples(run):
    prompts = ["a thick seven, slanted to the left", "一个细的三"]
    options = "--negative 'a wide digit' --n 2 --w 2 --steps 3 --seed 1 --out a.npz"
    assert run(f"sample {options} --prompt", *prompts).status == 0
    tokens, text_unet = to_tokens(prompts).repeat_interleave(2, dim=0), load("text_unet")
    eps = cfg_text(text_unet, tokens, 2.0, "a wide digit")
    expected = sample(eps, start_noise(4, 1), text_unet.schedule, 3)
    assert (drawn() == to_bytes(expected).numpy()).all()
    assert np.load("a.npz")["y"].tolist() == [prompts[0], prompts[0], prompts[1], prompts[1]]


def test_a_contradiction_is_drawn_and_said(run):
    options = "--negative 'a wide digit' --steps 2 --out p.png"
    done = run(f"sample --prompt 'a thick thin seven' 7 {options}")
    assert done.status == 0
    assert done.err.count("note:") == 1
    assert "'a thick thin seven' contradicts itself: it names the thickness twice." in done.err
    assert "'a thick thin seven', '7' away from 'a wide digit' by cfg" in done.out


def test_another_seed_another_digit(run):
    for seed in (0, 1):
        run(f"sample --digit 7 --steps 3 --seed {seed} --out {seed}.npz")
    assert (drawn("0.npz") != drawn("1.npz")).any()


def test_unconditional_samples_are_drawn_as_they_are_measured(run, monkeypatch):
    done = run("sample --unconditional --steps 3 --n 3 --eta 1 --out a.npz")
    monkeypatch.setattr(model_cards, "STEPS", 3)
    ddpm = load("ddpm")
    eps = bind(ddpm.net["unet"])
    expected = model_cards.unconditional_samples(eps, ddpm.schedule, n=3, eta=1.0)
    assert sorted(np.load("a.npz")) == ["x"]  # there is no y, nor a w
    assert "3 unconditional, by ddpm, eta = 1, seed 0, " in done.out
    assert (drawn() == to_bytes(expected).numpy()).all()


@pytest.fixture(scope="module")
def weak(tmp_path_factory):
    """Weights of a ddpm after two steps, in full precision."""
    path = tmp_path_factory.mktemp("weights") / "weak.safetensors"
    digits = load_digits("train")
    digits = digits._replace(images=digits.images[:600], labels=digits.labels[:600])
    save(path, train(replace(RECIPES["ddpm"], steps=2), digits, progress=False), torch.float32)
    return path


@pytest.mark.parametrize("itself", [False, True])
def test_autoguidance_by_a_weaker_network(weak, run, itself):
    """w is 1 by default; at 0 the network is alone: the pretrained one, or the weak one."""
    common = "sample --unconditional --steps 3 --n 2" + f" --weights {weak}" * itself
    guided = f"{common} --guiding-weights {weak}"
    done = [run(f"{guided} {w} --out a.npz") and drawn().astype(int) for w in ("--w 0", "--w 2")]
    said = run(f"{guided} --out a.npz").out
    assert f"2 unconditional, by ddpm guided by {weak}, w = 1, " in said
    by_0, by_2, by_1 = *done, drawn().astype(int)
    assert run(f"{common} --out a.npz").status == 0
    assert (by_0 == drawn()).all()
    changed = [abs(by_w - by_0).max() > 1 for by_w in (by_1, by_2)]  # rounding is allowed
    assert changed == [not itself] * 2  # away from itself nothing changes
    assert itself or abs(by_2 - by_1).max() > 1


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--digit 10", "Unknown digit in '10': this model knows 0 to 9"),
        ("--digit seven", "A digit, or digits like"),
        ("--digit 9-0", "No digit in '9-0': write the smaller one first"),
        ("--digit 1,5-3", "No digit in '5-3': write the smaller one first"),
        ("--digit 0-99999999999", "this model knows 0 to 9"),
        ("--eta 1.5", "eta must lie in [0, 1]"),
        ("--w nan", "w must be a finite number, got nan"),
        ("--w inf --method cg", "w must be a finite number, got inf"),
        ("--steps 0", "between 1 and T = 1000, got 0"),
        ("--steps 1001", "between 1 and T = 1000, got 1001"),
        ("--n 0", "--n must be at least 1, got 0"),
        ("--out digits.jpg", "must end in .png or .npz"),
        ("--out no/folder/a.png", "cannot be written"),
        ("--weights nothing.safetensors", "no such weights"),
        ("--prompt 'a dog'", "no word 'dog'"),
        ("--prompt 7 --method cg", "a classifier reads no sentence"),
        ("--digit 7 --negative 8", "--negative is a sentence against a sentence"),
        ("--prompt 7 --negative ugly", "no word 'ugly'"),
        (f"--prompt '{'a ' * 40}'", "may have 22 words, got 40"),
        ("--prompt 7 --n 0", "--n must be at least 1"),
        ("--unconditional --w 2", "with --unconditional it wants --guiding-weights."),
        ("--unconditional --method cg", "--unconditional has no condition to guide to; got cg"),
        ("--unconditional --negative 8", "a sentence against a sentence: it wants --prompt"),
        ("--digit 7 --guiding-weights w.safetensors", "it wants --unconditional"),
        ("--unconditional --guiding-weights w.safetensors", "w.safetensors: no such weights"),
        ("--unconditional --weights UNET", "weights of 'unet', but ddpm are wanted here"),
        ("--unconditional --guiding-weights UNET", "weights of 'unet', but ddpm are wanted here"),
        ("--unconditional --n 0", "--n must be at least 1"),
        ("--unconditional --eta 2", "eta must lie in [0, 1]"),
    ],
)
def test_what_cannot_be_used_is_said_in_a_sentence(refused, options, says):
    unet = f"'{PRETRAINED / 'unet.safetensors'}'"
    assert says in refused(f"sample {options.replace('UNET', unet)}")


def test_a_terminal_without_chinese_shows_what_it_can(tmp_path):
    options = "sample --steps 1 --out p.png --prompt 七"
    done = subprocess.run(
        [sys.executable, "-m", "minidiff", *options.split()],
        env={**os.environ, "PYTHONIOENCODING": "cp1252"},
        capture_output=True,
        text=True,
        cwd=tmp_path,
    )
    assert (done.returncode, done.stderr.count("Traceback")) == (0, 0)
    assert r"1 x '\u4e03' by cfg" in done.stdout


def test_parse_digits():
    assert parse_digits("0-9") == list(range(10))
    assert parse_digits("1, 3,5-7") == [1, 3, 5, 6, 7]
    with pytest.raises(InputError):
        parse_digits("3-")
