"""What is promised about installing: versions agree, and the texts name no machine."""

import itertools
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
    lines = [*PROJECT["dependencies"], *itertools.chain(*EXTRAS.values())]
    every = {found.name: found.specifier for found in map(Requirement, lines)}
    return {name: specifier for name, specifier in every.items() if name != "minidiff"}


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
    makefile, readme = ((ROOT / name).read_text() for name in ("Makefile", "README.md"))
    targets = set(re.findall(r"^([a-z-]+%?):", makefile, re.M))
    named = set(re.findall(r"(?:`|^    )make ([a-z][a-z-]*)\b", readme, re.M))
    named = {re.sub("^test-(?!all)[a-z]+", "test-%", name) for name in named}
    assert {"lessons", "test", "lab", "train"} <= named <= targets


def test_no_path_of_a_machine_in_any_file():
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    tracked = subprocess.check_output(["git", "ls-files"], cwd=ROOT, text=True).split()
    suffixes = {".py", ".md", ".ipynb", ".toml", ".yml", ".txt", ".csv", ".cff"}
    folders = re.compile(r"/(wor[k]|roo[t]|hom[e]|tm[p]|User[s])/[A-Za-z]")
    for path in [ROOT / name for name in tracked]:
        if path.suffix in suffixes and path.exists():
            assert not folders.search(path.read_text()), path
