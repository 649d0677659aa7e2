"""verify --module: right functions pass, wrong ones are named; whatever a file does, a sentence says so and the rest goes on."""

import json
from textwrap import dedent

import pytest

from minidiff.__main__ import main
from minidiff.analytic.gaussian_mixture import random_mixture
from minidiff.diffusion.schedule import linear
from minidiff.symbols import InputError
from minidiff.verify.claims import CLAIMS
from minidiff.verify.runner import check_claim
from minidiff.verify.user_module import check_module, load_formulas
from minidiff.verify.worlds import draw_world

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
            told, untold = eps_cond(x_t, t), eps_uncond(x_t, t)
            return untold + (w + 1) * (told - untold)
        return guided
"""
FREE = "import torch\ndef classifier_free(eps_cond, eps_uncond, w):\n    return lambda x_t, t: "


def verify(tmp_path, capsys, source, *options):
    """Exit status and output for a user's file."""
    file = tmp_path / "my_guidance.py"
    file.write_text(dedent(source))
    status = main(["verify", "--module", str(file), *options])
    return status, capsys.readouterr().out


def test_a_right_module_passes_whatever_else_it_does(tmp_path, capfd):
    """It holds a dataclass, forks while importing, and prints: none of this reaches the JSON."""
    head = (
        "from __future__ import annotations\nimport os\nfrom dataclasses import dataclass\n\n@dataclass\nclass A:\n    x: int\n"
    )
    file = tmp_path / "loud.py"
    file.write_text(head + "if hasattr(os, 'fork'):\n    os.fork()\nprint('hello')\nos.write(1, b'hello')\n" + dedent(RIGHT))
    assert main(["verify", "--module", str(file), "--claim", "m4=m6", "--json"]) == 0
    told = capfd.readouterr()
    (claim,) = json.loads(told.out)["claims"]
    assert claim["holds"]
    assert claim["yours"] == ["classifier_guided", "classifier_free"]
    assert "hello" in told.err


def test_the_mistake_of_a_wrong_module_is_named(tmp_path, capsys):
    status, said = verify(
        tmp_path, capsys, FREE + "w * eps_cond(x_t, t) + (1 - w) * eps_uncond(x_t, t)", "--json", "--claim", "M6"
    )
    told = json.loads(said)
    assert status == 1
    assert not told["holds"]
    (m6,) = told["claims"]
    assert m6["looks_like"] == "s for w: w eps(y) + (1 - w) eps"
    assert m6["yours"] == ["classifier_free"]
    assert m6["worst"] > 0.1
    status, said = verify(tmp_path, capsys, RIGHT.replace("- w * root", "+ w * root"), "--claim", "M4")
    assert status == 1
    assert "this is the wrong version 'the sign: +'" in said


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import no_such_library", "does not import: ModuleNotFoundError: No module named 'no_such_library'."),
        ("def (", "does not import: SyntaxError"),
        ("raise SystemExit(3)", "does not import: SystemExit: 3."),
        ("x = 1", "has neither classifier_guided nor classifier_free."),
        ("classifier_free = 3", "classifier_free in my_guidance.py is no function, but a value of type int."),
        ("def classifier_free(a, b):\n    return a", "classifier_free raised TypeError"),
        ("def classifier_free(a, b, w):\n    return 3", "must return a function of x_t and t, and returned a int."),
        (FREE + "None", "must return a tensor, and returned a NoneType."),
        (FREE + "eps_cond(x_t, t)[:1]", "classifier_free: the shape must be that of x_t, (1000, 1), and is (1, 1)."),
        (FREE + "eps_cond(x_t, t).float()", "the dtype must be that of x_t, torch.float64, and is torch.float32."),
        (FREE + "eps_cond(x_t, t) / 0 * 0", "classifier_free returns NaN or infinity."),
        (FREE + "1 / 0", "classifier_free's denoiser raised ZeroDivisionError: division by zero."),
        (FREE + "eps_cond(x_t.zero_(), t)", "classifier_free writes to x_t, which belongs to the caller: work on a copy."),
        (FREE + "torch.autograd.grad(x_t.sum(), x_t)", "Without autograd, as in the samplers, classifier_free's denoiser raised"),
        (FREE + "eps_cond(x_t, t).to('meta')", "must return a dense tensor on cpu, got torch.strided on meta."),
        (FREE + "(_ for _ in ()).throw(KeyboardInterrupt)", "denoiser raised KeyboardInterrupt."),
        (FREE + "exit()", "classifier_free's denoiser raised SystemExit: None."),
    ],
)
def test_what_cannot_be_judged_is_said_in_a_sentence(tmp_path, source, sentence):
    """In this process, where it is quick; the command's own way through a child process is in the tests below."""
    file = tmp_path / "my_guidance.py"
    file.write_text(source)
    case = draw_world("small", random_mixture(linear(), dim=1), each=1)
    (m7,) = [claim for claim in CLAIMS if claim.name == "M7"]
    with pytest.raises(InputError) as error:
        check_claim(m7, [case], load_formulas(file)[0])
    assert sentence in str(error.value)


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("import os\n" + FREE + "os._exit(7)", "my_guidance.py: the process ended with status 7."),
        ("import os\nos._exit(7)", "my_guidance.py: the process ended with status 7."),
    ],
)
def test_the_command_says_it_and_exits_with_2(tmp_path, capsys, source, sentence):
    status, said = verify(tmp_path, capsys, source, "--claim", "M7")
    assert status == 2
    assert f"Not judged: M7. {sentence}" in said
    assert "NOT RUN" in said


def test_what_never_returns_is_stopped_and_the_other_claims_run(tmp_path):
    endless = FREE + "eps_cond(x_t, t)\n\ndef classifier_guided(eps, log_prob, schedule, w):\n    while True:\n        pass"
    file = tmp_path / "my_guidance.py"
    file.write_text(endless)
    names = [claim.name for claim in CLAIMS]
    chosen = [names.index("M4"), names.index("M7")]
    (first, m4), (second, m7) = check_module(file, chosen, seconds=4)
    assert [first, second] == chosen
    assert m4.trouble == "my_guidance.py: did not return within 4 seconds."
    assert not m7.trouble
    assert m7.worst > 0.1  # class_accuracy, and broken


def test_a_file_that_never_finishes_importing(tmp_path, capsys):
    status, said = verify(tmp_path, capsys, "while True:\n    pass", "--time-limit", "1", "--claim", "P1")
    assert status == 2
    assert "my_guidance.py: does not finish importing within 1 seconds." in said


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--claim", "M9"], "No claim 'M9': M1, M2, M3, M4, M5, M6, M7, M4=M6, P1."),
        (["--claim", "M5", "--module", __file__], "M5 uses neither function of a module. These do: M4, M6, M7, M4=M6, P1."),
        (["--time-limit", "0"], "--time-limit must be a positive number"),
        (["--time-limit", "nan"], "--time-limit must be a positive number"),
        (["--time-limit", "inf"], "--time-limit must be a positive number"),
    ],
)
def test_bad_options(options, sentence, capsys):
    assert main(["verify", *options]) == 2
    assert sentence in capsys.readouterr().err


def test_no_such_file(tmp_path, capsys):
    assert main(["verify", "--module", str(tmp_path / "none.py"), "--claim", "M6"]) == 2
    assert "none.py: no such file." in capsys.readouterr().err


def test_a_file_that_these_claims_do_not_use_is_not_called_right(tmp_path, capsys):
    status, said = verify(tmp_path, capsys, FREE + "eps_cond(x_t, t)", "--claim", "M4")
    assert status == 2
    assert "Judged from" in said
    assert "nothing" in said


def test_a_formula_that_only_knows_flat_points_is_found_out(tmp_path):
    """abar[t].reshape(-1, 1) times an image multiplies rows of pixels, not images: silently, if there are as many."""
    file = tmp_path / "my_guidance.py"
    file.write_text(dedent(RIGHT).replace("reshape(-1, *[1] * (x_t.ndim - 1))", "reshape(-1, 1)"))
    (m4,) = [claim for claim in CLAIMS if claim.name == "M4"]
    case = draw_world("images", random_mixture(linear(), dim=64), each=1)
    formulas = load_formulas(file)[0]
    assert check_claim(m4, [draw_world("flat", random_mixture(linear(), dim=2), each=1)], formulas).holds
    with pytest.raises(InputError, match="classifier_guided's denoiser raised RuntimeError"):
        check_claim(m4, [case], formulas)


def test_one_claim_in_a_table(capsys):
    assert main(["verify", "--claim", "M3"]) == 0
    head, *rows, _, _, _, _ = capsys.readouterr().out.splitlines()
    assert head.split() == ["claim", "worst", "tolerance", "rejected", "sympy", "verdict", "equation"]
    assert len(rows) == 3
    assert all(row.split()[0] == "M3" and "holds" in row for row in rows)
    assert [row.split()[6 - 0 if "of" in row else 0] for row in rows] == ["proved", "-", "-"]
