"""Every check survives whatever an answer does, and is fair to other spellings and dtypes."""

import contextlib
import random
import threading
import time

import numpy as np
import pytest
import torch

from minidiff.teaching import checks
from minidiff.teaching.checks import verdict as verdicts

EVERY = [name for name in checks.__all__ if name not in ("CORRECT", "caught")]


def check(name: str, answer) -> str:
    return checks.catches("no root", answer) if name == "catches" else getattr(checks, name)(answer)


def boom(*_):
    raise ValueError("boom")


def leaves(*_):
    raise SystemExit("bye")


def endless(*_):
    while True:
        with contextlib.suppress(Exception):
            time.sleep(0.001)


@pytest.fixture
def hurry(monkeypatch):
    monkeypatch.setattr(verdicts, "SECONDS", 0.3)


@pytest.mark.parametrize("name", EVERY)
def test_an_answer_that_crashes(name):
    assert "raised ValueError: boom" in check(name, boom)
    assert "raised SystemExit: bye" in check(name, leaves)


@pytest.mark.parametrize("name", EVERY)
def test_an_answer_that_never_ends(name, hurry):
    start = time.monotonic()
    assert "stopped after 0.3 seconds" in check(name, endless)
    assert time.monotonic() - start < 5


@pytest.mark.parametrize("name", EVERY)
@pytest.mark.parametrize(
    "nonsense",
    [
        None,
        "text",
        float("nan"),
        [],
        torch.zeros(0),
        torch.full((4, 3), torch.nan),
        {"a": 1},
        np.zeros((2, 2)),
        1e9,
    ],
    ids=["None", "text", "nan", "list", "empty", "NaNs", "dict", "array", "number"],
)
def test_an_answer_that_is_nonsense(name, nonsense):
    said = check(name, lambda *_: nonsense)
    assert isinstance(said, str)
    assert len(said) > 10
    assert said != checks.CORRECT or (name == "catches" and nonsense is None)


@pytest.mark.parametrize("name", [name for name in EVERY if name != "catches"])
def test_an_answer_that_draws_its_own_numbers(name):
    for draw in (
        lambda *_: torch.randn(4, 3, dtype=torch.float64),
        lambda *_: torch.rand(()).item(),
    ):
        assert check(name, draw) != checks.CORRECT


def test_a_result_that_changes_is_named():
    """Right but for a little noise of its own: not "not yet", but what is wrong with it."""

    def noised(x_0, eps, abar):
        return abar**0.5 * x_0 + (1 - abar) ** 0.5 * eps + 1e-3 * torch.randn(4, 3)

    assert "changes from call to call" in checks.noised(noised)


def test_inputs_may_be_changed_and_random_states_stay():
    def noised(x_0, eps, abar):
        x_0.mul_(abar**0.5)
        eps.mul_((1 - abar) ** 0.5)
        return x_0.add_(eps)

    before = torch.random.get_rng_state(), random.getstate()
    assert checks.noised(noised) == checks.CORRECT
    assert torch.equal(before[0], torch.random.get_rng_state())
    assert before[1] == random.getstate()


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_other_dtypes_and_loops_are_welcome(dtype):
    def noised(x_0, eps, abar):
        return (float(abar) ** 0.5 * x_0.to(dtype)) + (1 - float(abar)) ** 0.5 * eps.to(dtype)

    def row_by_row(x_0, eps, abar):
        flat = [
            abar**0.5 * a + (1 - abar) ** 0.5 * b
            for a, b in zip(x_0.flatten(), eps.flatten(), strict=True)
        ]
        return torch.stack(flat).view_as(x_0)

    assert checks.noised(noised) == checks.CORRECT
    assert checks.noised(row_by_row) == checks.CORRECT
    wrong = checks.noised(
        lambda x_0, eps, abar: float(abar) * x_0.to(dtype) + (1 - float(abar)) * eps.to(dtype)
    )
    assert wrong.startswith("Both roots are missing")


def test_elsewhere_than_in_the_main_thread(hurry):
    said = []
    answers = (endless, boom, lambda x_0, eps, abar: abar**0.5 * x_0 + (1 - abar) ** 0.5 * eps)
    thread = threading.Thread(
        target=lambda: said.extend(checks.noised(answer) for answer in (boom, answers[2]))
    )
    thread.start()
    thread.join(20)
    assert "boom" in said[0]
    assert said[1] == checks.CORRECT


def test_a_loop_in_another_thread_is_left_behind(hurry):
    said, stop = [], threading.Event()

    def waits(*_):
        stop.wait(5)

    thread = threading.Thread(target=lambda: said.append(checks.noised(waits)))
    thread.start()
    thread.join(20)
    stop.set()
    assert "stopped after" in said[0]
