"""A command as a user types it, in a folder of its own."""

import shlex
from collections.abc import Callable
from typing import NamedTuple

import pytest

from minidiff.commands import main


class Done(NamedTuple):
    """The exit status, and what was printed and complained."""

    status: int
    out: str
    err: str


@pytest.fixture
def run(tmp_path, monkeypatch, capsys) -> Callable[..., Done]:
    """run("sample --digit 7 --out a.npz") does it in tmp_path; words after it are not split."""
    monkeypatch.chdir(tmp_path)

    def command(line: str, *words: object) -> Done:
        status = main([*shlex.split(line), *map(str, words)])
        return Done(status, *capsys.readouterr())

    return command


@pytest.fixture
def refused(run, tmp_path) -> Callable[[str], str]:
    """What is said when a command cannot be run: a sentence, status 2 and no file."""

    def command(line: str, *words: object) -> str:
        before = sorted(tmp_path.iterdir())
        done = run(line, *words)
        said = done.err.splitlines()[-1]  # a note may come first
        assert done.status == 2
        assert said.startswith("minidiff: ")
        assert sorted(tmp_path.iterdir()) == before
        return said

    return command
