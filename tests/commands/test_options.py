"""What commands share: help that teaches, names and seeds that argparse refuses, models by file."""

import pytest

from minidiff.commands.options import load_models, positive
from minidiff.symbols import InputError
from minidiff.training.checkpoints import PRETRAINED


@pytest.mark.parametrize(
    ("command", "sentences"),
    [
        ("--help", ["sample --digit 7 --w 3"]),
        ("sample --help", ["w = -1 is unconditional", "(default: 50)", "guidance weight (def"]),
    ],
)
def test_help_teaches_and_shows_defaults(run, capsys, command, sentences):
    with pytest.raises(SystemExit, match="0"):
        run(command)
    shown = " ".join(capsys.readouterr().out.split())
    assert all(sentence in shown for sentence in sentences)
    assert "(default: None)" not in shown


@pytest.mark.parametrize(
    ("command", "says"),
    [
        ("sample --method gan", "invalid choice"),
        ("train gan", "invalid choice"),
        ("paint", "invalid choice"),
        ("sample --seed=-1", "a seed lies between 0 and 2^63 - 1"),
        (f"sample --seed {2**63}", "a seed lies between 0 and 2^63 - 1"),
        ("train ddpm --steps 5 --seconds 5", "not allowed with argument --steps"),
        ("sample --unconditional --digit 7", "not allowed with argument"),
    ],
)
def test_what_argparse_refuses(run, capsys, command, says):
    with pytest.raises(SystemExit, match="2"):
        run(command)
    assert says in capsys.readouterr().err


def test_models_come_from_the_files_that_are_given_each_once():
    models = load_models(("unet", "ddpm"), [str(PRETRAINED / "ddpm.safetensors")])
    assert list(models) == ["unet", "ddpm"]
    assert models["ddpm"].metadata["recipe"]["name"] == "ddpm"
    with pytest.raises(InputError, match="weights of 'evaluator', but unet are wanted"):
        load_models(("unet",), [str(PRETRAINED / "evaluator.safetensors")])
    with pytest.raises(InputError, match="one file each"):
        load_models(("unet",), [str(PRETRAINED / "unet.safetensors")] * 2)


def test_positive():
    assert positive("--n", 1) == 1
    with pytest.raises(InputError, match="--n must be at least 1, got 0"):
        positive("--n", 0)
