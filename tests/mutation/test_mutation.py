"""The tests of the formulas, tested: every mistake of the catalogue must turn them red.

Slow, so only with -m mutation.
"""

import ast
import json
import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from catalogue import MUTANTS
from mutants import GUIDANCE, PACKAGE, PROCESS, SAMPLERS, Mutant, mutated

CHECKS = ["unit tests"]  # the names in runner.CHECKS


def without_docstrings(source: str) -> str:
    tree = ast.parse(source)
    for node in ast.walk(tree):
        if (
            ast.get_docstring(node)
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef)
            else None
        ):
            node.body = node.body[1:]
    return ast.dump(tree)


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mistake_can_be_made(mutant):
    """The old text stands once in the function, and the code, not only a docstring, becomes
    another.
    """
    assert without_docstrings(mutated(mutant)) != without_docstrings(
        (PACKAGE / mutant.file).read_text(encoding="utf-8")
    )


def test_every_public_formula_has_three_mistakes():
    mistakes = Counter((mutant.file, mutant.function) for mutant in MUTANTS)
    for file in (GUIDANCE, PROCESS, SAMPLERS):
        for node in ast.parse((PACKAGE / file).read_text(encoding="utf-8")).body:
            if isinstance(node, ast.FunctionDef) and not node.name.startswith("_"):
                assert mistakes[file, node.name] >= 3, f"{file}: {node.name}"
    assert len({mutant.name for mutant in MUTANTS}) == len(MUTANTS)


def test_a_text_that_is_not_there_once_is_refused():
    for old in ("no such text", "x_t"):
        with pytest.raises(ValueError, match="not once"):
            mutated(Mutant(GUIDANCE, "gradient", "nothing", old, "x"))


@pytest.fixture(scope="session")
def verdicts(request) -> dict[tuple[str, str], dict]:
    """What the runner found for the mistakes that are selected; one run for all of them."""
    if not hasattr(os, "fork"):
        pytest.skip(
            "os.fork is missing on this platform, and without it every mistake would import torch "
            "again"
        )
    parameters = [
        getattr(item, "callspec", None) and item.callspec.params for item in request.session.items
    ]
    names = dict.fromkeys(
        chosen["planted"].name for chosen in parameters if chosen and "planted" in chosen
    )
    runner = Path(__file__).with_name("runner.py")
    environment = {
        **os.environ,
        "OMP_NUM_THREADS": "1",
        "PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1",
        "PYTEST_ADDOPTS": "",
    }
    done = subprocess.run(
        [sys.executable, runner, *names], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-2000:]
    lines = [json.loads(line) for line in done.stdout.splitlines()]
    return {(line["mutant"], line["check"]): line for line in lines}


@pytest.mark.mutation
@pytest.mark.parametrize("check", CHECKS)
def test_without_a_mistake_the_check_is_green(verdicts, check):
    control = verdicts["control", check]
    assert control["state"] == "green", control["by"]


@pytest.mark.mutation
@pytest.mark.parametrize("check", CHECKS)
@pytest.mark.parametrize("planted", MUTANTS, ids=lambda mutant: mutant.name)
def test_the_mistake_turns_the_check_red(verdicts, planted, check):
    assert verdicts["control", check]["state"] == "green", (
        "the control run is not green: no verdict counts"
    )
    verdict = verdicts[planted.name, check]
    assert verdict["state"] == "red", f"{verdict['state']}: {verdict['by'] or 'no test noticed'}"


def test_readme_counts_the_mistakes():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    assert f"breaks every formula on purpose, {len(MUTANTS)} times" in readme
