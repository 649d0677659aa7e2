"""That the imitations are what they say, and that they see what broke on another CPU."""

import os
import runpy
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

PLANTED = Path(__file__).resolve().with_name("planted")
ROOT = PLANTED.parents[2]
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def on_another_machine(source: str) -> str:
    """What a script prints where every float64 cosine, exponential, logarithm and every draw is
    off by one ulp.
    """
    path = os.pathsep.join([str(PLANTED), str(ROOT), os.environ.get("PYTHONPATH", "")])
    done = subprocess.run(
        [sys.executable, "-c", source],
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_one_ulp_makes_other_bits_and_the_same_schedule():
    """The first edition compared schedules bit for bit: there every pair of models made on two
    machines was refused.
    """
    source = """
import torch
here = torch.linspace(0.1, 1.5, 50, dtype=torch.float64)
right = here.cos()
import minidiff as md
wrong = here.cos()
assert not torch.equal(right, wrong) and (right - wrong).abs().max() < 3e-16
assert here.cos().equal(wrong)  # one machine agrees with itself
x = here.clone().requires_grad_()
assert torch.allclose(torch.autograd.grad(x.log().sum(), x)[0], 1 / here)
ddpm, classifier = md.load("ddpm"), md.load("classifier")
assert not torch.equal(md.cosine().beta, ddpm.schedule.beta), "nothing was planted"
assert md.cosine().same_as(ddpm.schedule)
md.cg(ddpm._replace(schedule=md.cosine()), classifier, torch.tensor([3]), 1.0)
print("ok")
"""
    assert on_another_machine(source) == "ok\n"


@pytest.mark.network
@pytest.mark.parametrize("version", ["3.11", "3.12", "3.13"])
@pytest.mark.parametrize("extra", EXTRAS)
def test_every_extra_resolves(extra, version):
    """With the pinned versions, as README installs it."""
    assert resolved(extra, version).returncode == 0


@pytest.mark.network
def test_a_version_that_is_not_promised_does_not_resolve():
    done = resolved("dev", "3.10")
    assert done.returncode != 0
    assert "3.11" in done.stderr


def resolved(extra: str, version: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "uv", "pip", "compile", "--quiet", "--python-version", version]
    command += ["pyproject.toml", "--extra", extra, "-c", "constraints.txt", "-o", os.devnull]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True)


def test_the_tests_and_lessons_that_are_named_exist():
    """A folder that was renamed would leave the short run without tests."""
    names = runpy.run_path(str(ROOT / "tests" / "other_machines" / "run.py"))
    folders = [
        word for word in (*names["QUICK"], *names["SHORT_TESTS"]) if word.startswith("tests")
    ]
    lessons = [f"notebooks/{stem}.ipynb" for stem in (*names["SHORT_LESSONS"], *names["TRAINING"])]
    assert len(folders) >= 6
    assert not [path for path in (*folders, *lessons) if not (ROOT / path).exists()]
