"""The test suite, part by part, with the minutes of each: python tests/suite.py [PART ...]

    style        ruff over .py and .ipynb
    tests        unit tests, and every lesson under strict nbval, in one go
    plain        what other CPUs have broken before, on the plainest CPU, imitated
    mutants      every formula broken on purpose: the unit tests must turn red each time
    grading      real nbgrader runs
    extras       every extra resolves for every promised version of Python
    machines     all other machines, imitated: python tests/other_machines/run.py has more of it
    book         the book and the playground, in a real browser, where there is one

`make test` is style, tests and plain, what a user runs; `make test-all` is everything. A red part
does not stop the others. Each test has one thread, and WORKERS (2) run at once: torch's threads of
several tests would wait for one another.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
SECONDS = "30"  # of training in a tested lesson, which knows the bands that so short a run reaches
LONGEST_FIRST = ("11_words", "03_train_a_ddpm", "07_conditional_unet", "05_noisy_classifier")
QUICK = ("style", "tests", "plain")


def commands(part: str, workers: str) -> list[list[str]]:
    """What a part runs, one after the other."""
    python = sys.executable
    ruff, own = [python, "-m", "ruff"], [python, "-m", "pytest", "-rs"]
    pytest = [python, "-m", "pytest", "-n", workers, "--dist", "loadfile", "--no-loadscope-reorder"]
    lessons = sorted((ROOT / "notebooks").glob("*.ipynb"), key=_place)
    machines = [python, "tests/other_machines/run.py", "--workers", workers]
    return {
        "style": [[*ruff, "check", "."], [*ruff, "format", "--check", "."]],
        "tests": [[*pytest, "--nbval", *map(str, lessons), "tests", "--ignore", "tests/book"]],
        "plain": [[*machines, "--short", "plain"]],
        "mutants": [[*pytest, "tests/mutation", "-m", "mutation"]],
        "grading": [[*pytest, "tests/course", "-m", "grading"]],
        "extras": [[*pytest, "tests/other_machines", "-m", "network"]],
        "machines": [[*machines, "one-ulp"], [*machines, "--short"]],
        "book": [[python, "book/build.py", "build/book", "--if-possible"], [*own, "tests/book"]],
    }[part]


def _place(lesson: Path) -> tuple[int, str]:
    first = LONGEST_FIRST.index(lesson.stem) if lesson.stem in LONGEST_FIRST else len(LONGEST_FIRST)
    return first, lesson.stem


def main() -> int:
    """Run the parts. 0: all green."""
    parts = [line.split()[0] for line in __doc__.splitlines() if line.startswith("    ")]
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "parts", nargs="*", metavar="PART", help=f"{', '.join(parts)} (default: {', '.join(QUICK)})"
    )
    parser.add_argument("--all", action="store_true", help="every part")
    parser.add_argument(
        "--workers", default=os.environ.get("WORKERS", "2"), help="tests at once (default 2)"
    )
    options = parser.parse_args()
    chosen = parts if options.all else options.parts or QUICK
    for part in chosen:
        if part not in parts:
            parser.error(f"no part {part!r}; there are {', '.join(parts)}")
    environment = {"OMP_NUM_THREADS": "1", "MINIDIFF_SECONDS": SECONDS, **os.environ}
    results = {}
    for part in chosen:
        start = time.monotonic()
        print(f"\n== {part}", flush=True)
        codes = [
            subprocess.run(line, cwd=ROOT, env=environment).returncode
            for line in commands(part, options.workers)
        ]
        results[part] = not any(codes), (time.monotonic() - start) / 60
    print()
    for part, (green, minutes) in results.items():
        print(f"{part:10s} {'green' if green else 'RED':6s} {minutes:5.1f} minutes")
    print(f"{'together':17s} {sum(minutes for _, minutes in results.values()):5.1f} minutes")
    return 0 if all(green for green, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
