"""CFG with ddpm, a network of its own, as the unconditional one: python -m
minidiff.experiments.two_networks FILE

Ho & Salimans name this way and take one network because it is simpler [2022, sec. 3.2].
two_networks.csv: everywhere; interval.csv: in 200 < t <= 900, beside one network in 200 < t <= 800,
at w = 1.
"""

import sys
from functools import partial
from pathlib import Path

from minidiff.diffusion.guidance import classifier_free, clipped
from minidiff.diffusion.variants import limited
from minidiff.evaluation.reference import reference
from minidiff.evaluation.sweep import Method, Setting, drawing, measure_into
from minidiff.experiments.variants import Combine, combined
from minidiff.nets.unet import bind
from minidiff.sampling import predictions
from minidiff.settings import device
from minidiff.symbols import Denoiser, Labels
from minidiff.training.checkpoints import Checkpoint, load, same_origin

SETTINGS = {"two_networks": Setting((1.25, 2.0, 4.0, 10.0), seeds=2), "interval": Setting((2.0,))}


def two_networks(
    unet: Checkpoint, ddpm: Checkpoint, combine: Combine, y: Labels, w: float
) -> Denoiser:
    """combine(eps_cond, eps_ddpm, w).

    Raises InputError unless both were trained on the same data with the same schedule.
    """
    same_origin(unet, ddpm)
    return clipped(combine(predictions(unet, y)[0], bind(ddpm.net["unet"]), w), unet.schedule)


def methods(table: str, unet: Checkpoint, ddpm: Checkpoint) -> dict[str, Method]:
    """What a table holds, by the names that they have in its file."""
    both, schedule = (unet, ddpm), unet.schedule
    if table == "two_networks":
        return {
            "two networks": Method(
                drawing(partial(two_networks, *both, classifier_free), schedule), both
            )
        }
    one = combined(unet, partial(limited, low=200, high=800))
    two = partial(two_networks, *both, partial(limited, low=200, high=900))
    return {
        "two networks 200-900": Method(drawing(two, schedule), both),
        "interval 200-800": Method(drawing(one, schedule), (unet,)),
    }


def main(path: Path) -> None:
    """Measure what is not yet in the file; its name says which table it is."""
    models = {name: load(name) for name in ("unet", "ddpm", "evaluator")}
    for model in models.values():
        model.net.to(device())
    comment = f"python -m minidiff.experiments.two_networks {path.name}"
    chosen = methods(path.stem, models["unet"], models["ddpm"])
    measure_into(path, comment, chosen, reference(models["evaluator"]), SETTINGS[path.stem])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
