"""CFG and CG with fresh noise in every DDIM step, eta = 1: python -m
minidiff.experiments.stochastic_sampling FILE
"""

import sys
from pathlib import Path

from minidiff.evaluation.reference import reference
from minidiff.evaluation.sweep import Method, Setting, guidance_methods, measure_into
from minidiff.settings import device
from minidiff.training.checkpoints import Checkpoint, load

SETTING = Setting((1.0, 1.25, 2.0, 3.0, 4.0), seeds=2)


def methods(models: dict[str, Checkpoint]) -> dict[str, Method]:
    """Both with eta = 1, by the names that they have in the file."""
    found = guidance_methods(models, eta=1.0)
    return {f"{name} eta 1": found[name] for name in ("cfg", "cg")}


def main(path: Path) -> None:
    """Measure what is not yet in the file."""
    models = {name: load(name) for name in ("unet", "ddpm", "classifier", "evaluator")}
    for model in models.values():
        model.net.to(device())
    comment = f"python -m minidiff.experiments.stochastic_sampling {path.name}"
    measure_into(path, comment, methods(models), reference(models["evaluator"]), SETTING)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
