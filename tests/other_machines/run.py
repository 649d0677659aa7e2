"""Other machines, imitated: the quick unit tests and every lesson that does not train, on CPUs that round otherwise.

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
TRAINING = ("03_train_a_ddpm", "05_noisy_classifier", "07_conditional_unet", "11_words")  # lessons that train
QUICK = [
    "tests",
    "-m",
    "not slow and not mutation and not grading and not network",
    "--ignore",
    "tests/book",
    "--ignore",
    "tests/mutation",
]
SHORT_TESTS = [
    "tests/diffusion",
    "tests/analytic",
    "tests/verify",
    "tests/training/test_checkpoints.py",
    "tests/test_command_line.py",
    "-m",
    "not slow",
]
SHORT_LESSONS = ("00_start_here", "04_bayes", "12_beyond")
# MKL, ATen and oneDNN with the instructions that every CPU of the last twenty years has
PLAIN = {"MKL_CBWR": "COMPATIBLE", "ATEN_CPU_CAPABILITY": "default", "ONEDNN_MAX_CPU_ISA": "SSE41"}


def environments() -> dict[str, dict[str, str]]:
    """What differs from this machine, by name: the plainest CPU, its own instruction sets, threads, one ulp of noise."""
    found = {"plain": PLAIN, "one-ulp": {"PYTHONPATH": str(PLANTED)}}
    capabilities = torch.cpu.get_capabilities()
    if capabilities.get("avx2"):
        found["avx2"] = {"MKL_CBWR": "AVX2", "ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2"}
    if capabilities.get("avx512_f"):
        found["avx512"] = {"ATEN_CPU_CAPABILITY": "avx512", "ONEDNN_MAX_CPU_ISA": "AVX512_CORE"}
    for threads in (1, 2, 4):
        found[f"threads-{threads}"] = {"OMP_NUM_THREADS": str(threads)}
    return found


def pytest_runs(short: bool) -> list[list[str]]:
    """What pytest is called with: unit tests, then lessons under strict nbval."""
    lessons = sorted((ROOT / "notebooks").glob("*.ipynb"))
    chosen = [path for path in lessons if (path.stem in SHORT_LESSONS if short else path.stem not in TRAINING)]
    return [SHORT_TESTS if short else QUICK, ["--nbval", *map(str, chosen)]]


def is_green(changes: dict[str, str], short: bool, workers: str) -> bool:
    """Run them in this environment; what pytest says of failures goes to the terminal."""
    given = os.environ.get("PYTHONPATH")
    environment = {"OMP_NUM_THREADS": "1", **os.environ, **changes}
    if "PYTHONPATH" in changes and given:
        environment["PYTHONPATH"] = os.pathsep.join([changes["PYTHONPATH"], given])
    common = ["-q", "-n", workers, "--dist", "loadfile", "--no-loadscope-reorder", "-p", "no:cacheprovider"]
    codes = [
        subprocess.run([sys.executable, "-m", "pytest", *common, *run], cwd=ROOT, env=environment).returncode
        for run in pytest_runs(short)
    ]
    return not any(codes)


def main() -> int:
    """Run what was asked for. 0: all green."""
    known = environments()
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"{', '.join(known)} (default: all)")
    parser.add_argument("--short", action="store_true", help="fewer tests and three lessons")
    parser.add_argument("--workers", default="2", help="tests at once (default 2)")
    options = parser.parse_args()
    for name in options.names:
        if name not in known:
            parser.error(f"no environment {name!r} here; there are {', '.join(known)}")
    results = {}
    for name in options.names or known:
        start = time.monotonic()
        print(f"== {name}: {' '.join(f'{key}={value}' for key, value in known[name].items())}", flush=True)
        results[name] = is_green(known[name], options.short, options.workers), time.monotonic() - start
    for name, (green, seconds) in results.items():
        print(f"{name:12s} {'green' if green else 'RED':6s} {seconds / 60:.1f} minutes")
    return 0 if all(green for green, _ in results.values()) else 1


if __name__ == "__main__":
    sys.exit(main())
