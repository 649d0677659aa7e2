"""verify --module: right functions pass, wrong ones are named; any file ends in a sentence."""

import json

import pytest

from minidiff.analytic.gaussian_mixture import random_mixture
from minidiff.commands import main
from minidiff.diffusion.schedule import linear
from minidiff.symbols import InputError
from minidiff.verify.claims import CLAIMS
from minidiff.verify.runner import check_claim
from minidiff.verify.user_module import check_module, load_formulas
from minidiff.verify.worlds import World, draw_world

pytestmark = pytest.mark.slow

RIGHT = """
import torch

def classifier_guided(eps, log_prob, schedule, w):
    def guided(x_t, t):
        x = x_t.detach().clone().requires_grad_(True)
        with torch.enable_grad():
            slope = torch.autograd.grad(log_prob(x, t).sum(), x)[0]
        root = torch.sqrt(1.0 - schedule.abar[t]).reshape(-1, *[1] * (x_t.ndim - 1))
        return eps(x_t, t) - w * root * slope
    return guided

def classifier_free(eps_cond, eps_uncond, w):
    def guided(x_t, t):
        cond, uncond = eps_cond(x_t, t), eps_uncond(x_t, t)
        return uncond + (w + 1) * (cond - uncond)
    return guided
"""
LOUD = """
from __future__ import annotations
import os
from dataclasses import dataclass

@dataclass
class A:
    x: int

if hasattr(os, 'fork'):
    os.fork()
print('hello')
os.write(1, b'hello')
"""
FREE = "import torch\ndef classifier_free(eps_cond, eps_uncond, w):\n    return lambda x_t, t: "
ENDLESS = "\n\ndef classifier_guided(eps, log_prob, schedule, w):\n    while True:\n        pass"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "my_guidance.py"


def world(dim: int) -> World:
    """A point at every t."""
    return draw_world(f"{dim}-D", random_mixture(linear(), dim), each=1)


def test_a_right_module_passes_whatever_else_it_does(file, capfd):
    """It holds a dataclass, forks while importing, and prints: none of this reaches the JSON."""
    file.write_text(LOUD.lstrip() + RIGHT)
    assert main(["verify", "--module", str(file), "--claim", "m4=m6", "--json"]) == 0
    printed = capfd.readouterr()
    (claim,) = json.loads(printed.out)["claims"]
    assert claim["holds"]
    assert claim["yours"] == ["classifier_guided", "classifier_free"]
    assert "hello" in printed.err


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import no_such_library", "does not import: ModuleNotFoundError: No module named 'no"),
        ("def (", "does not import: SyntaxError"),
        ("raise SystemExit(3)", "does not import: SystemExit: 3."),
        ("x = 1", "has neither classifier_guided nor classifier_free."),
        ("classifier_free = 3", "my_guidance.py is no function, but a value of type int."),
        ("def classifier_free(a, b):\n    return a", "classifier_free raised TypeError"),
        (
            "def classifier_free(a, b, w):\n    return 3",
            "must return a function of x_t and t, and returned a int.",
        ),
        (FREE + "None", "must return a tensor, and returned a NoneType."),
        (FREE + "eps_cond(x_t, t)[:1]", "must be that of x_t, (1000, 1), and is (1, 1)."),
        (FREE + "eps_cond(x_t, t).float()", "of x_t, torch.float64, and is torch.float32."),
        (FREE + "eps_cond(x_t, t) / 0 * 0", "classifier_free returns NaN or infinity."),
        (FREE + "1 / 0", "classifier_free's denoiser raised ZeroDivisionError: division by zero."),
        (FREE + "eps_cond(x_t.zero_(), t)", "free writes to x_t, which belongs to the caller"),
        (FREE + "torch.autograd.grad(x_t.sum(), x_t)", "Without autograd, as in the samplers, "),
        (FREE + "eps_cond(x_t, t).to('meta')", "a dense tensor on cpu, got torch.strided on meta"),
        (FREE + "(_ for _ in ()).throw(KeyboardInterrupt)", "denoiser raised KeyboardInterrupt."),
        (FREE + "exit()", "classifier_free's denoiser raised SystemExit: None."),
    ],
)
def test_what_cannot_be_judged_is_said_in_a_sentence(file, claims, source, sentence):
    """In this process, where it is quick; the command's child process has its own tests."""
    file.write_text(source)
    with pytest.raises(InputError) as error:
        check_claim(claims["M7"], [world(1)], load_formulas(file)[0])
    assert sentence in str(error.value)


def test_what_never_returns_is_stopped_and_the_other_claims_run(file):
    file.write_text(FREE + "eps_cond(x_t, t)" + ENDLESS)
    names = [claim.name for claim in CLAIMS]
    chosen = [names.index("M4"), names.index("M7")]
    (first, m4), (second, m7) = check_module(file, chosen, seconds=4)
    assert [first, second] == chosen
    assert m4.trouble == "my_guidance.py: did not return within 4 seconds."
    assert not m7.trouble
    assert m7.worst > 0.1  # judged, and broken


def test_a_formula_that_only_knows_flat_points_is_found_out(file, claims):
    """abar[t].reshape(-1, 1) times an image multiplies rows of pixels, not images."""
    file.write_text(RIGHT.replace("reshape(-1, *[1] * (x_t.ndim - 1))", "reshape(-1, 1)"))
    formulas = load_formulas(file)[0]
    assert check_claim(claims["M4"], [world(2)], formulas).holds
    with pytest.raises(InputError, match="classifier_guided's denoiser raised RuntimeError"):
        check_claim(claims["M4"], [world(64)], formulas)
