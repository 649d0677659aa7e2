"""A pytest plugin: the mistake that MINIDIFF_MISTAKE names takes the place of the right piece.

-p planted, with this folder on PYTHONPATH. Without the variable nothing is planted: the control.
"""

import os
import sys
from collections.abc import Callable

import torch

# pieces that are functions of the package
FUNCTIONS = ("schedule", "noised", "by_classifier", "free", "dropped", "log_prob")


def pytest_collection_finish(session):
    """After all test modules are imported, so that their names are replaced too."""
    name = os.environ.get("MINIDIFF_MISTAKE")
    if name:
        plant(name)


def plant(name: str) -> None:
    """Put the one wrong piece of this mistake where the package keeps the right one."""
    from minidiff.teaching.mistakes import MISTAKES, RIGHT, replaced

    wrong, field = MISTAKES[name].pieces, replaced(name)
    if field in FUNCTIONS:
        replace_everywhere(getattr(RIGHT, field), getattr(wrong, field))
    else:
        others = {"weight": plant_weight, "null": plant_null}
        others |= {"ready": plant_ready, "sigma": plant_sigma}
        others[field](getattr(wrong, field))


def replace_everywhere(right: Callable, wrong: Callable) -> None:
    """Every name in package and tests that means the right function now means the wrong one.

    The catalogue itself keeps the right one: its mistakes are made from it.
    """
    for module in list(sys.modules.values()):
        name = getattr(module, "__name__", "")
        if name.split(".")[0] == "minidiff" or name.startswith(("test_", "conftest")):
            for attribute, value in list(vars(module).items()):
                if value is right and name != "minidiff.teaching.mistakes":
                    setattr(module, attribute, wrong)


def plant_weight(weight: Callable[[float], float]) -> None:
    """w = weight(s) for classifier-free guidance: the harness computes w = s - s_at_zero."""
    from minidiff.evaluation import sweep

    right = sweep.guidance_methods

    def guidance_methods(*given, **named):
        found = right(*given, **named)
        return found | {"cfg": found["cfg"]._replace(s_at_zero=1.0 - weight(1.0))}

    replace_everywhere(right, guidance_methods)


def plant_null(null: Callable[[int], int]) -> None:
    """The null label."""
    from minidiff.nets.unet import ClassCondition

    ClassCondition.null = property(lambda self: null(self.table.num_embeddings - 1))


def plant_ready(ready: Callable) -> None:
    """Pretrained U-Nets as they are used for sampling."""
    from minidiff.training import checkpoints

    right = checkpoints.load

    def load(*given, **named):
        trained = right(*given, **named)
        if "unet" in trained.net:
            trained.net["unet"] = ready(trained.net["unet"])
        return trained

    replace_everywhere(right, load)


def plant_sigma(sigma: Callable) -> None:
    """The noise of a DDIM step with eta = 1."""
    from minidiff.diffusion import samplers
    from minidiff.teaching.mistakes import RIGHT

    right = samplers.ddim_step

    def ddim_step(x_t, stops, eps, schedule, *rest):
        sample = right(x_t, stops, eps, schedule, *rest)
        extra = sigma(schedule, *stops) - RIGHT.sigma(schedule, *stops)
        return sample._replace(x_t=sample.x_t + extra * torch.ones_like(x_t))

    replace_everywhere(right, ddim_step)
