"""Other machines, imitated: quick unit tests and the lessons that do not train, rounded otherwise.

    python tests/other_machines/run.py             every environment: about half an hour
    python tests/other_machines/run.py plain       these only
    python tests/other_machines/run.py --short     what another CPU has broken before: a minute each

Stops at nothing, prints a line for each environment, and exits with 1 if one was red.
"""

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

import torch

ROOT = Path(__file__).resolve().parents[2]
PLANTED = Path(__file__).resolve().with_name("planted")
# lessons that train
TRAINING = ("03_train_a_ddpm", "05_noisy_classifier", "07_conditional_unet", "11_words")
KINDS = "not slow and not mutation and not grading and not network"
QUICK = ["tests", "-m", KINDS, "--ignore", "tests/book", "--ignore", "tests/mutation"]
SHORT_PLACES = ["tests/diffusion", "tests/analytic", "tests/verify", "tests/commands"]
SHORT_TESTS = [*SHORT_PLACES, "tests/training/test_checkpoints.py", "-m", "not slow"]
SHORT_LESSONS = ("00_start_here", "02_predicting_the_noise", "04_bayes")
# MKL, ATen and oneDNN with the instructions that every CPU of the last twenty years has
PLAIN = {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}


def environments() -> dict[str, dict[str, str]]:
    """What differs here, by name: the plainest CPU, instruction sets, threads, one ulp of noise."""
    found = {"plain": PLAIN, "one-ulp": {"PYTHONPATH": str(PLANTED)}}
    capabilities = torch.cpu.get_capabilities()
    if capabilities.get("avx2"):
        found["avx2"] = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
        found["avx2"]["MKL_CBWR"] = "AVX2"
    if capabilities.get("avx512_f"):
        found["avx512"] = {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    for threads in (1, 2, 4):
        found[f"threads-{threads}"] = {"OMP_NUM_THREADS": str(threads)}
    return found


def pytest_runs(short: bool) -> list[list[str]]:
    """What pytest is called with: unit tests, then lessons under strict nbval."""
    lessons = sorted((ROOT / "notebooks").glob("*.ipynb"))
    chosen = [
        path
        for path in lessons
        if (path.stem in SHORT_LESSONS if short else path.stem not in TRAINING)
    ]
    return [SHORT_TESTS if short else QUICK, ["--nbval", *map(str, chosen)]]


def is_green(changes: dict[str, str], short: bool, workers: str) -> bool:
    """Run them in this environment; what pytest says of failures goes to the terminal."""
    given = os.environ.get("PYTHONPATH")
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **changes}
    if "PYTHONPATH" in changes and given:
        environment["PYTHONPATH"] = os.pathsep.join([changes["PYTHONPATH"], given])
    common = ["-q", "-p", "no:cacheprovider", "--dist", "loadfile", "--no-loadscope-reorder"]
    start = [sys.executable, "-m", "pytest", *common, "-n", workers]
    runs = [[*start, *run] for run in pytest_runs(short)]
    codes = [subprocess.run(run, cwd=ROOT, env=environment).returncode for run in runs]
    return not any(codes)


def main() -> int:
    """Run what was asked for. 0: all green."""
    known = environments()
    raw = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=raw)
    names = f"{', '.join(known)} (default: all)"
    parser.add_argument("names", nargs="*", metavar="NAME", help=names)
    parser.add_argument("--short", action="store_true", help="fewer tests and three lessons")
    parser.add_argument("--workers", default="2", help="tests at once (default 2)")
    options = parser.parse_args()
    for name in options.names:
        if name not in known:
            parser.error(f"no environment {name!r} here; there are {', '.join(known)}")
    results = {}
    for name in options.names or known:
        start = time.monotonic()
        print(f"== {name}:", *(f"{key}={value}" for key, value in known[name].items()), flush=True)
        green = is_green(known[name], options.short, options.workers)
        results[name] = green, time.monotonic() - start
    for name, (green, seconds) in results.items():
        print(f"{name:12s} {'green' if green else 'RED':6s} {seconds / 60:.1f} minutes")
    return 0 if all(green for green, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
