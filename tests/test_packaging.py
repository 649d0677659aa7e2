"""What is promised about installing: versions agree wherever they stand, and the texts name no machine."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def ranges() -> dict[str, SpecifierSet]:
    every = [Requirement(line) for line in [*PROJECT["dependencies"], *(line for extra in EXTRAS.values() for line in extra)]]
    return {requirement.name: requirement.specifier for requirement in every if requirement.name != "minidiff"}


def test_constraints_lie_in_the_ranges_of_pyproject():
    lines = (ROOT / "constraints.txt").read_text().splitlines()
    for requirement in (Requirement(line) for line in lines if not line.startswith("#")):
        (pin,) = requirement.specifier
        assert pin.operator == "=="
        assert pin.version in ranges()[requirement.name], requirement.name


def test_environment_yml_agrees_with_pyproject():
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    *conda, pip = environment["dependencies"]
    assert conda == [f"python{PROJECT['requires-python']}", "pip"]  # no other version stands here
    assert pip == {"pip": ["-c constraints.txt", "-e .[dev]"]}
    assert "dev" in EXTRAS


def test_ci_runs_the_readme_s_test_command():
    *_, first, last = (ROOT / ".ci" / "run").read_text().strip().splitlines()
    assert (first, last) == ("make test", "make -k test-mutants test-grading test-book")
    assert f"    {first}" in (ROOT / "README.md").read_text()


def test_make_targets_that_readme_names_exist():
    targets = set(re.findall(r"^([a-z-]+%?):", (ROOT / "Makefile").read_text(), re.M))
    named = set(re.findall(r"(?:`|^    )make ([a-z][a-z-]*)\b", (ROOT / "README.md").read_text(), re.M))
    named = {re.sub("^test-(?!all)[a-z]+", "test-%", name) for name in named}
    assert {"lessons", "test", "lab", "train"} <= named <= targets


def test_no_path_of_a_machine_in_any_file():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout.split()
    for name in tracked:
        path = ROOT / name
        if path.suffix in {".py", ".md", ".ipynb", ".toml", ".yml", ".txt", ".csv", ".cff"} and path.exists():
            assert not re.search(r"/(wor[k]|roo[t]|hom[e]|tm[p]|User[s])/[A-Za-z]", path.read_text()), name
