"""The mistakes of `teaching.mistakes`, which the lesson shows, planted in the package: the unit
tests must turn red for each.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from minidiff.teaching.mistakes import MISTAKES, RIGHT, replaced

TESTS = Path(__file__).resolve().parents[1]
FILES = {  # the tests that are there for the piece which a mistake replaces
    "schedule": "diffusion/test_schedule.py",
    "noised": "diffusion/test_process.py",
    "by_classifier": "diffusion/test_guidance.py",
    "free": "diffusion/test_guidance.py",
    "weight": "test_sampling.py",
    "null": "nets/test_unet.py",
    "dropped": "nets/test_unet.py",
    "log_prob": "nets/test_classifier.py",
    "ready": "commands/test_sample.py",
    "sigma": "diffusion/test_samplers.py",
}


def run(files: list[str], mistake: str = "") -> subprocess.CompletedProcess:
    """pytest over these files, with a mistake planted or none."""
    path = os.pathsep.join([str(TESTS / "mutation"), os.environ.get("PYTHONPATH", "")])
    environment = {
        **os.environ,
        "PYTHONPATH": path,
        "MINIDIFF_MISTAKE": mistake,
        "PYTEST_ADDOPTS": "",
    }
    words = [
        "-x",
        "-q",
        "--no-header",
        "-p",
        "planted",
        "-p",
        "no:cacheprovider",
        *(str(TESTS / file) for file in files),
    ]
    command = [sys.executable, "-m", "pytest", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, cwd=TESTS.parent
    )


def test_every_piece_has_its_tests():
    assert set(FILES) == set(RIGHT._fields)


@pytest.mark.mutation
def test_without_a_mistake_they_are_green():
    done = run(sorted(set(FILES.values())))
    assert done.returncode == 0, done.stdout[-2000:]


@pytest.mark.mutation
@pytest.mark.parametrize("name", MISTAKES)
def test_each_mistake_turns_them_red(name):
    """A failing test (1), not an error of pytest or of the collection."""
    done = run([FILES[replaced(name)]], name)
    assert done.returncode == 1, done.stdout[-2000:]
    assert "FAILED" in done.stdout
    assert not [
        kind for kind in ("NameError", "ImportError", "SyntaxError") if f"E   {kind}" in done.stdout
    ]
