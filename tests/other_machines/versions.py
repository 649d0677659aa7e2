"""The versions that pyproject.toml promises: the quick unit tests with the lowest and the newest.

    python tests/other_machines/versions.py            both: some minutes
    python tests/other_machines/versions.py lowest     lower bounds of the direct dependencies
    python tests/other_machines/versions.py newest     what an installer takes today

They leave two environments of several GB in build/versions. On a machine without a GPU set
UV_TORCH_BACKEND=cpu to get the small build of PyTorch.
"""

import os
import subprocess
import sys
from pathlib import Path

from run import QUICK

ROOT = Path(__file__).resolve().parents[2]
RESOLUTION = {"lowest": "lowest-direct", "newest": "highest"}


def is_green(name: str) -> bool:
    """Makes the environment anew and runs the tests in it."""
    place = ROOT / "build" / "versions" / name
    python = place / ("Scripts/python.exe" if os.name == "nt" else "bin/python")
    uv = [sys.executable, "-m", "uv"]
    install = ["pip", "install", "--python", python, "--resolution", RESOLUTION[name]]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    for command in (
        [*uv, "venv", "--clear", place],
        [*uv, *install, "-e", ".[test,notebooks]"],
        [python, "-m", "pytest", "-q", "-n", "2", *QUICK],
    ):
        if subprocess.run(command, cwd=ROOT, env=environment).returncode:
            return False
    return True


if __name__ == "__main__":
    wanted = sys.argv[1:] or list(RESOLUTION)
    green = {name: is_green(name) for name in wanted}
    print("\n".join(f"{name:8s} {'green' if good else 'RED'}" for name, good in green.items()))
    sys.exit(not all(green.values()))
