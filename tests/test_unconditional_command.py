"""python -m minidiff sample --unconditional: what networks draw that are asked for no digit."""

from dataclasses import replace

import matplotlib.image
import numpy as np
import pytest
import torch

from minidiff.__main__ import main
from minidiff.datasets.mnist import load_digits, to_bytes
from minidiff.experiments import model_cards
from minidiff.nets.unet import bind
from minidiff.sampling import unconditional
from minidiff.training.checkpoints import PRETRAINED, load, save
from minidiff.training.loop import train
from minidiff.training.recipes import RECIPES


def sample(*options) -> int:
    return main(["sample", "--unconditional", "--steps", "3", *map(str, options)])


@pytest.fixture(scope="module")
def weak(tmp_path_factory):
    """Weights of a ddpm after two steps, in full precision."""
    path = tmp_path_factory.mktemp("weights") / "weak.safetensors"
    digits = load_digits("train")
    digits = digits._replace(images=digits.images[:600], labels=digits.labels[:600])
    save(path, train(replace(RECIPES["ddpm"], steps=2), digits, progress=False), torch.float32)
    return path


def test_the_shipped_ddpm_is_drawn_from_as_it_is_measured(tmp_path, monkeypatch, capsys):
    assert sample("--n", 3, "--eta", 1, "--out", tmp_path / "a.npz") == 0
    monkeypatch.setattr(model_cards, "STEPS", 3)
    ddpm = load("ddpm")
    expected = model_cards.unconditional_samples(bind(ddpm.net["unet"]), ddpm.schedule, n=3, eta=1.0)
    drawn = np.load(tmp_path / "a.npz")
    assert sorted(drawn) == ["x"]  # nobody asked: there is no y
    assert "3 unconditional, by ddpm, eta = 1, seed 0, " in capsys.readouterr().out  # nor is there a w
    assert (drawn["x"] == to_bytes(expected).numpy()).all()


@pytest.mark.parametrize("itself", [False, True])
def test_away_from_a_weaker_self(weak, tmp_path, capsys, itself):
    """w is 1 unless it is said, and at 0 the network is alone: the shipped one, or the weak one itself."""
    good = ["--weights", weak] if itself else []
    for out, options in (("0.npz", ["--w", 0]), ("1.npz", []), ("2.npz", ["--w", 2])):
        assert sample("--n", 2, *good, "--guiding-weights", weak, *options, "--out", tmp_path / out) == 0
    drawn = [np.load(tmp_path / f"{w}.npz")["x"].astype(int) for w in (0, 1, 2)]
    assert sample("--n", 2, *good, "--out", tmp_path / "plain.npz") == 0
    assert (drawn[0] == np.load(tmp_path / "plain.npz")["x"]).all()
    changed = [abs(drawn[w] - drawn[0]).max() > 1 for w in (1, 2)]  # grey levels, rounding allowed
    assert changed == [not itself] * 2  # away from itself nothing changes
    assert itself or abs(drawn[2] - drawn[1]).max() > 1
    assert f"2 unconditional, by ddpm guided by {weak}, w = 1, " in capsys.readouterr().out


def test_the_guess_is_the_formula():
    ddpm, t = load("ddpm"), torch.tensor([300, 700])
    weak = ddpm._replace(net=torch.nn.ModuleDict({"unet": Half(ddpm.net["unet"])}))
    x_t = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        eps = ddpm.net["unet"](x_t, t, None)
        guess = unconditional(ddpm, weak, 3.0)(x_t, t)
        alone = unconditional(ddpm)(x_t, t)
    for found, wanted in ((guess, eps + 3 * (eps - eps / 2)), (alone, eps)):
        abar = ddpm.schedule.abar[t].float()[:, None, None, None]
        x_0 = ((x_t - (1 - abar).sqrt() * wanted) / abar.sqrt()).clamp(-1, 1)
        torch.testing.assert_close(found, (x_t - abar.sqrt() * x_0) / (1 - abar).sqrt(), atol=1e-5, rtol=1e-4)


class Half(torch.nn.Module):
    """Half of every guess."""

    def __init__(self, net):
        super().__init__()
        self.net = net

    def forward(self, x_t, t, c=None):
        return self.net(x_t, t, c) / 2


def test_a_picture_has_rows_of_ten(tmp_path):
    assert sample("--n", 12, "--out", tmp_path / "p.png") == 0
    picture = matplotlib.image.imread(tmp_path / "p.png")
    assert picture.shape[:2] == (2 * 112, 10 * 112)
    assert picture[112:, : 2 * 112, 0].max() > 0.1
    assert picture[112:, 2 * 112 :, 0].max() == 0  # nothing is left for the last eight places


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (["--unconditional", "--w", "2"], "with --unconditional it wants --guiding-weights."),
        (["--unconditional", "--method", "cg"], "--unconditional has no condition to guide to; got cg"),
        (["--unconditional", "--negative", "8"], "--negative is a sentence against a sentence: it wants --prompt"),
        (["--digit", "7", "--guiding-weights", "w.safetensors"], "it wants --unconditional"),
        (["--unconditional", "--guiding-weights", "w.safetensors"], "w.safetensors: no such weights"),
        (["--unconditional", "--weights", "UNET"], "weights of 'unet', but ddpm are wanted here"),
        (["--unconditional", "--guiding-weights", "UNET"], "weights of 'unet', but ddpm are wanted here"),
        (["--unconditional", "--n", "0"], "--n must be at least 1"),
        (["--unconditional", "--eta", "2"], "eta must lie in [0, 1]"),
    ],
)
def test_what_does_not_go_together(tmp_path, monkeypatch, capsys, options, says):
    monkeypatch.chdir(tmp_path)
    unet = str(PRETRAINED / "unet.safetensors")
    assert main(["sample", *(unet if option == "UNET" else option for option in options)]) == 2
    assert says in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_asked_and_unasked_are_one_too_many(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["sample", "--unconditional", "--digit", "7"])
    assert "not allowed with argument" in capsys.readouterr().err
