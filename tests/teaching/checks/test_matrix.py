"""Every check against every answer of these tests: all sentences reached, any dtype accepted."""

import importlib
import pkgutil
from pathlib import Path

import pytest
import torch

from minidiff.teaching import checks

# those two: test_bugs.py
NAMES = [name for name in checks.__all__ if name not in ("CORRECT", "catches", "caught")]
RIGHT, WRONG = {}, {}
for path in Path(__file__).parent.glob("test_*.py"):
    if "RIGHT = {" in path.read_text() and path != Path(__file__):
        answers = importlib.import_module(f"checks.{path.stem}")
        RIGHT |= {check.__name__: given for check, given in answers.RIGHT.items()}
        WRONG |= {check.__name__: given for check, given in answers.WRONG.items()}
WHOLE = ("dropped",)  # labels are whole numbers


@pytest.fixture
def sentences(monkeypatch) -> set[str]:
    """The sentences that the checks asked in a test could have said."""
    known = set()
    for part in pkgutil.iter_modules(checks.__path__, f"{checks.__name__}."):
        module = importlib.import_module(part.name)
        if hasattr(module, "verdict"):

            def spy(ask, right, mistakes, true=module.verdict):
                known.update(mistakes)
                return true(ask, right, mistakes)

            monkeypatch.setattr(module, "verdict", spy)
    return known


def in_float32(answer):
    return lambda *given: torch.as_tensor(answer(*given)).float()


@pytest.mark.parametrize("name", NAMES)
def test_two_right_styles_and_every_sentence(name, sentences):
    check = getattr(checks, name)
    assert len(RIGHT[name]) >= 2
    assert {check(answer) for answer in RIGHT[name]} == {checks.CORRECT}
    said = {check(answer) for answer, _ in WRONG[name]}
    assert checks.CORRECT not in said
    assert sentences - said == set(), "no wrong answer of the tests gets these sentences"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WHOLE])
def test_float32_is_as_good(name):
    said = {getattr(checks, name)(in_float32(answer)) for answer in RIGHT[name]}
    assert said == {checks.CORRECT}
