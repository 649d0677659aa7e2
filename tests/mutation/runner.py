"""Plant one mistake at a time and see which check turns red. A script: a line of JSON for each.

torch and pytest are imported once; every trial is a fork of that process, which imports minidiff
with the mistake in it. Without names all mistakes are tried; with names (Mutant.name) only those.
The first lines are the control: no mistake.
"""

import gc
import importlib.machinery
import json
import os
import signal
import sys
import tempfile
import time
import traceback
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import beartype  # noqa: F401  (imported here so that no trial waits for it)
import jaxtyping  # noqa: F401
import pytest
import torch
from catalogue import MUTANTS
from mutants import PACKAGE, Mutant, mutated

TESTS = Path(__file__).resolve().parents[1]
SLOW = [  # through all T levels, or with many samples; the quicker ones first
    *("test_q_sample_has", "test_ddim_visits", "test_ddim_with_eta_1", "test_ddim_follows"),
    *("test_no_noise_at", "test_ancestral_visits", "test_eps_is_the_cond", "test_samples_have_the"),
    *("test_ancestral_path_has", "test_algebra_holds", "test_claim_holds", "test_a_query"),
]
# other people's formulas; many samples and all T levels, so too slow here
LEFT_OUT = ("verify/test_user_module.py", "analytic/test_gaussians.py")
TYPOS = ("NameError", "AttributeError", "SyntaxError", "ImportError", "TypeError")
TYPOS += ("UnboundLocalError",)
FOLDERS = [TESTS / name for name in ("diffusion", "analytic", "verify")]
LIMIT = 120  # seconds for one trial; it ends at the first red test
CONTROL_LIMIT = 600  # the control runs every test
CONTROL = "control"


class Verdict(NamedTuple):
    """state: green, red, or what makes the trial void: broken, inactive, too slow, crashed.

    by: the test, or the reason.
    """

    state: str
    by: str


class FirstFailure:
    """A pytest plugin: tests of the `near` file first, slow ones last; remembers what fails."""

    def __init__(self, near: str):
        self.near, self.test, self.message = near, "", ""

    def pytest_collection_modifyitems(self, items):
        cases = defaultdict(int)

        def rank(item):
            cases[item.originalname] += 1  # one case of every test, then the second case of each
            slow = [place for place, name in enumerate(SLOW, 1) if item.name.startswith(name)]
            return item.path.stem != self.near, *(slow or [0]), cases[item.originalname]

        items.sort(key=rank)

    def pytest_runtest_logreport(self, report):
        if report.failed and not self.test:
            self.test = report.nodeid
            crash = getattr(report.longrepr, "reprcrash", None)
            self.message = getattr(crash, "message", "").partition("\n")[0]


def unit_tests(mutant: Mutant | None) -> Verdict:
    """The unit tests of the formulas, those of the broken file first.

    Only a failing test is red; a broken import is not.
    """
    first = FirstFailure(near=f"test_{Path(mutant.file).stem}" if mutant else "")
    options = ["-x", "-q", "--no-header", "-p", "no:cacheprovider", "-o", "addopts="]
    options += [f"--rootdir={TESTS.parent}"]
    options += [f"--ignore={TESTS / name}" for name in LEFT_OUT]
    code = pytest.main([*options, *map(str, FOLDERS)], plugins=[first])
    if code == 0:
        return Verdict("green", "")
    if not first.test or first.message.partition(":")[0] in TYPOS:
        return Verdict("broken", f"pytest ended with {int(code)}: {first.message}")
    return Verdict("red", first.test.removeprefix("tests/"))


# each must notice every mistake
CHECKS: dict[str, Callable[[Mutant | None], Verdict]] = {"unit tests": unit_tests}


def plant(mutant: Mutant) -> None:
    """From now on the broken file reads as if the mistake stood in it, for any source loader.

    Bytecode of the true file is neither read nor overwritten: without path_stats Python leaves the
    cache alone.
    """
    broken = os.path.realpath(PACKAGE / mutant.file)
    source = (mutated(mutant) + "\nMUTANT = True\n").encode()
    loader = importlib.machinery.SourceFileLoader
    true_data, true_stats = loader.get_data, loader.path_stats

    def get_data(self, path):
        return source if os.path.realpath(path) == broken else true_data(self, path)

    def path_stats(self, path):
        if os.path.realpath(path) == broken:
            raise OSError("not cached")
        return true_stats(self, path)

    loader.get_data, loader.path_stats = get_data, path_stats


def is_active(mutant: Mutant) -> bool:
    """The module that the tests imported is the one with the mistake."""
    module = "minidiff." + mutant.file.removesuffix(".py").replace("/", ".")
    return getattr(sys.modules.get(module), "MUTANT", False)


def trial(mutant: Mutant | None, check: Callable[[Mutant | None], Verdict], answer: Path) -> None:
    """The life of a fork."""
    if mutant:
        plant(mutant)
    verdict = check(mutant)
    if mutant and verdict.state in ("green", "red") and not is_active(mutant):
        verdict = Verdict("inactive", "the mistake was not imported")
    answer.write_text(json.dumps(verdict))


def fork(mutant: Mutant | None, check: Callable[[Mutant | None], Verdict], folder: Path) -> Verdict:
    """Run a trial in a child process with a time limit; what it prints goes to a file."""
    answer, log = folder / "answer", folder / "log"
    answer.unlink(missing_ok=True)
    child = os.fork()
    if child == 0:
        try:
            output = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
            os.dup2(output, 1)
            os.dup2(output, 2)
            trial(mutant, check, answer)
        except BaseException:
            os.write(2, traceback.format_exc().encode())
        finally:
            os._exit(0)
    limit = LIMIT if mutant else CONTROL_LIMIT
    deadline = time.monotonic() + limit
    while os.waitpid(child, os.WNOHANG) == (0, 0):
        if time.monotonic() > deadline:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            return Verdict("too slow", f"more than {limit} s")
        time.sleep(0.01)
    if not answer.exists():
        return Verdict("crashed", log.read_text()[-2000:])
    return Verdict(*json.loads(answer.read_text()))


def main(names: list[str]) -> None:
    # its first call imports half of torch: once, not in every fork
    torch.testing.assert_close(torch.ones(1), torch.ones(1))
    gc.freeze()  # and no fork walks through what was imported
    chosen = [mutant for mutant in MUTANTS if not names or mutant.name in names]
    with tempfile.TemporaryDirectory() as folder:
        for mutant in [None, *chosen]:
            for check, function in CHECKS.items():
                start = time.monotonic()
                verdict = fork(mutant, function, Path(folder))
                name, seconds = mutant.name if mutant else CONTROL, time.monotonic() - start
                line = {"mutant": name, "check": check, **verdict._asdict()}
                print(json.dumps({**line, "seconds": round(seconds, 2)}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
