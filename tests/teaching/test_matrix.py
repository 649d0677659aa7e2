"""Every check against every answer of these tests: no sentence that nothing reaches, no check with one right style, any dtype."""

import importlib
import pkgutil
from collections import defaultdict

import pytest
import test_beyond
import test_choosing
import test_laws
import test_reading
import test_stochastic
import test_teaching
import test_words
import torch

from minidiff.teaching import checks

NAMES = [name for name in checks.__all__ if name not in ("CORRECT", "catches", "caught")]  # those two: test_bugs.py
RIGHT, WRONG = defaultdict(list), defaultdict(list)
for module in (test_teaching, test_beyond, test_choosing, test_laws, test_reading, test_stochastic, test_words):
    for test in vars(module).values():
        for mark in getattr(test, "pytestmark", []):
            if mark.name == "parametrize" and mark.args[0][:2] == ("check", "answer"):
                for check, answer, *sentence in mark.args[1]:
                    (WRONG if sentence else RIGHT)[check.__name__].append(answer)
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
    def other(*given):
        return torch.as_tensor(answer(*given)).float()

    return other


@pytest.mark.parametrize("name", NAMES)
def test_two_right_styles_and_every_sentence(name, sentences):
    check = getattr(checks, name)
    assert len(RIGHT[name]) >= 2
    assert [check(answer) for answer in RIGHT[name]] == [checks.CORRECT] * len(RIGHT[name])
    said = {check(answer) for answer in WRONG[name]}
    assert checks.CORRECT not in said
    assert sentences - said == set(), "no wrong answer of the tests gets these sentences"


@pytest.mark.parametrize("name", [name for name in NAMES if name not in WHOLE])
def test_float32_is_as_good(name):
    assert [getattr(checks, name)(in_float32(answer)) for answer in RIGHT[name]] == [checks.CORRECT] * len(RIGHT[name])
