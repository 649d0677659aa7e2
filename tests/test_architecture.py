"""The house: imports along the arrows of the design, sizes, a test file for every module."""

import ast
import inspect
import re
from pathlib import Path

import pytest

import minidiff

ROOT = Path(minidiff.__file__).parent
TESTS = ROOT.parent / "tests"
FILES = sorted(ROOT.rglob("*.py"))
# test files in a folder of modules that belong to no single one of them
TOPICS = {
    "evaluation/test_cross_check.py",
    "evaluation/test_pages.py",
    "teaching/checks/test_matrix.py",
}

# who may import whom, besides itself; an arrow only ever points this way
MAY_IMPORT = {
    "symbols": set(),
    "settings": {"symbols"},
    "diffusion": {"symbols"},
    "nets": {"symbols"},
    "datasets": {"symbols"},
    "analytic": {"symbols", "diffusion"},
    "verify": {"symbols", "diffusion", "analytic"},
    "training": {"symbols", "settings", "diffusion", "nets", "datasets"},
}
MAY_IMPORT["sampling"] = MAY_IMPORT["training"] | {"training"}
MAY_IMPORT["evaluation"] = MAY_IMPORT["sampling"] | {"sampling"}
MAY_IMPORT["teaching"] = MAY_IMPORT["evaluation"] | {"evaluation", "analytic", "verify"}
MAY_IMPORT["commands"] = MAY_IMPORT["teaching"]
MAY_IMPORT["__main__"] = {"commands"}
MAY_IMPORT["__init__"] = MAY_IMPORT["teaching"] | {"teaching"}
MAY_IMPORT["experiments"] = MAY_IMPORT["__init__"] | {"commands"}  # nobody imports them


def part(path: Path) -> str:
    return path.relative_to(ROOT).parts[0].removesuffix(".py")


def imports(path: Path) -> list[str]:
    """The first part of every minidiff import in a file."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        names = []
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, f"{path}: relative import"
            whole = node.module == "minidiff"
            names = [f"minidiff.{a.name}" for a in node.names] if whole else [node.module]
        found += [f"{n}.__init__".split(".")[1] for n in names if n.split(".")[0] == "minidiff"]
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_arrows_hold(path):
    used = set(imports(path)) - {part(path)}
    if part(path) == "teaching":
        used.discard("__init__")  # lessons speak through the public names
    assert used - MAY_IMPORT[part(path)] == set(), f"{part(path)} must not import these"


def test_the_two_halves_never_meet():
    for path in FILES:
        if part(path) in ("diffusion", "analytic", "verify"):
            assert "nets" not in imports(path)
            assert "torch.nn" not in path.read_text()
        if part(path) == "nets":
            assert "diffusion" not in imports(path)


def test_sizes():
    for path in [*FILES, *TESTS.rglob("*.py")]:
        assert len(path.read_text().splitlines()) <= 300, path
    core = {ROOT / "symbols.py", *(ROOT / "diffusion").glob("*.py")}
    core -= {ROOT / "diffusion" / "variants.py"}  # read later
    assert sum(len(path.read_text().splitlines()) for path in core) < 470
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                assert node.end_lineno - node.lineno < 40, f"{path}: {node.name}"
                named = {argument.arg for argument in node.args.args + node.args.kwonlyargs}
                assert len(named - {"self", "cls"}) <= 6, f"{path}: {node.name}"


def test_every_module_has_its_test_file():
    """And no test file of a folder is left behind when its module goes, but those of TOPICS."""
    whole = [path.relative_to(ROOT) for path in FILES if part(path) != "experiments"]
    modules = [path for path in whole if not path.stem.startswith("__")]
    wanted = {str(path.with_name(f"test_{path.name}")) for path in modules}
    folders = {str(path.parent) for path in modules} - {"."}
    found = {str(path.relative_to(TESTS)) for path in TESTS.rglob("test_*.py")}
    assert wanted - found == set()
    inside = {path for path in found if str(Path(path).parent) in folders}
    assert inside - wanted == TOPICS


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_every_public_thing_says_what_it_is(path):
    tree = ast.parse(path.read_text())
    assert ast.get_docstring(tree) or not path.read_text(), f"{path}: no docstring"
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            assert ast.get_docstring(node), f"{path}: {node.name}"


def test_formulas_name_their_source():
    formulas = (
        "classifier_guided classifier_free q_sample posterior_mean ancestral_path ddim_path "
        "simple_loss v_loss frechet_distance"
    )
    for name in formulas.split():
        assert re.search(r"\[.*(M\d|20\d\d)", inspect.getdoc(getattr(minidiff, name))), name


def test_public_names_exist_once():
    names = [
        alias.name
        for node in ast.parse((ROOT / "__init__.py").read_text()).body
        for alias in getattr(node, "names", [])
    ]
    assert all(hasattr(minidiff, name) for name in names)
    assert len(set(names)) == len(names)


def test_nothing_is_pickled_and_nothing_is_starred():
    for path in FILES:
        source = path.read_text()
        assert "import *" not in source
        assert not re.search(r"\btorch\.(load|save)\b|\bpickle\b", source), path


def test_a_public_name_is_defined_once():
    """Commands, experiments and checks of answers each name their own."""
    where: dict[str, set[str]] = {}
    for path in FILES:
        if part(path) in ("experiments", "teaching", "commands"):
            continue
        for node in ast.parse(path.read_text()).body:
            targets = [*getattr(node, "targets", []), getattr(node, "target", None)]
            names = {getattr(node, "name", ""), *(getattr(target, "id", "") for target in targets)}
            for name in {name for name in names if name and not name.startswith("_")}:
                where.setdefault(name, set()).add(str(path.relative_to(ROOT)))
    assert len(where) > 200
    assert not {name: files for name, files in where.items() if len(files) > 1}
