"""What came after w (lesson 12) and plain CFG: python -m minidiff.experiments.variants FILE

Every method is searched over five settings with seed 0; its best one, and its best one at its
largest scale, by Frechet distance, are measured again with every other seed. DDIM with 20 steps,
500 images a row.
"""

import math
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import cache, partial
from pathlib import Path

import pandas as pd
import torch

from minidiff.datasets.mnist import load_digits
from minidiff.diffusion.guidance import classifier_free, clipped
from minidiff.diffusion.samplers import final_sample
from minidiff.diffusion.variants import (
    autoguided,
    limited,
    plus_plus_path,
    projected,
    rescaled,
    thresholded,
)
from minidiff.evaluation.reference import Reference, reference
from minidiff.evaluation.sweep import (
    Method,
    Methods,
    Row,
    Setting,
    as_frame,
    drawing,
    measure_into,
    missing,
    real_rows,
)
from minidiff.sampling import BATCH, cfg, predictions, start_noise
from minidiff.settings import device
from minidiff.symbols import Denoiser, Images, Labels
from minidiff.training.checkpoints import Checkpoint, load, same_origin
from minidiff.training.loop import train
from minidiff.training.recipes import RECIPES

Combine = Callable[[Denoiser, Denoiser, float], Denoiser]  # of eps_cond, eps_uncond, w
Pair = tuple[str, float]  # method, s

# Five settings (method, s) each. The best s of plain guidance lies near 1.25
# (data/results/README.md); every method gets that region, one s in the middle, and one that is far
# too large, against which most of them were proposed. cfg++ has its own scale: 0.87 is as much
# guidance as s = 4 (the mean of scale_of_plus_plus over 20 steps).
SEARCH: Mapping[str, tuple[Pair, ...]] = {
    "cfg": tuple(("cfg", s) for s in (1.25, 1.5, 2.0, 3.0, 4.0)),
    "interval": (
        ("interval 200-800", 1.5),
        ("interval 200-600", 1.5),
        ("interval 200-600", 2.0),
        ("interval 0-600", 2.0),
        ("interval 200-600", 4.0),
    ),
    "rescale": (*(("rescale 0.7", s) for s in (1.25, 1.5, 2.0, 4.0)), ("rescale 1", 4.0)),
    "rescale v": (*(("rescale v 0.7", s) for s in (1.25, 1.5, 2.0, 4.0)), ("rescale v 1", 4.0)),
    "threshold": (("threshold 0.9", 1.5), *(("threshold 0.995", s) for s in (1.25, 1.5, 2.0, 4.0))),
    "cfg++": tuple(("cfg++", scale) for scale in (0.25, 0.3, 0.4, 0.6, 0.87)),
    "apg": (("apg", 1.25), ("apg", 1.5), ("apg 2", 1.5), ("apg", 4.0), ("apg 2", 4.0)),
    "autoguidance": (
        *(("autoguidance 150", s) for s in (1.5, 2.0, 4.0)),
        *(("autoguidance 400", s) for s in (1.5, 2.0)),
    ),
}
PAIRS = tuple(pair for tried in SEARCH.values() for pair in tried)
SETTING = Setting(tuple(sorted({s for _, s in PAIRS})), seeds=3, each=50, steps=20)


def variant_methods(unet: Checkpoint) -> dict[str, Method]:
    """Plain CFG, then every variant in the settings that are searched.

    The weak networks are trained when they first draw.
    """
    schedule = unet.schedule

    def method(combine: Combine) -> Method:
        return Method(drawing(combined(unet, combine), schedule), (unet,))

    def threshold(cond: Denoiser, uncond: Denoiser, w: float, share: float) -> Denoiser:
        return thresholded(classifier_free(cond, uncond, w), schedule, share)

    def apg(cond: Denoiser, uncond: Denoiser, w: float, longest: float = math.inf) -> Denoiser:
        return projected(cond, uncond, schedule, w, longest=longest)

    def by_weaker(y: Labels, w: float, steps: int) -> Denoiser:
        return autoguidance(unet, weakened(steps), y, w)

    found = {"cfg": Method(drawing(partial(cfg, unet), schedule), (unet,))}
    for low, high in ((0, 600), (200, 600), (200, 800)):
        found[f"interval {low}-{high}"] = method(partial(limited, low=low, high=high))
    for phi in (0.7, 1.0):
        found[f"rescale {phi:g}"] = method(partial(rescaled, phi=phi))
    for phi in (0.7, 1.0):
        found[f"rescale v {phi:g}"] = method(partial(rescaled, phi=phi, schedule=schedule))
    for share in (0.9, 0.995):
        found[f"threshold {share:g}"] = method(partial(threshold, share=share))
    found["cfg++"] = Method(partial(plus_plus, unet), (unet,), s_at_zero=0.0)
    found["apg"] = method(apg)
    found["apg 2"] = method(partial(apg, longest=2.0))
    for steps in (150, 400):
        draw = drawing(partial(by_weaker, steps=steps), schedule)
        found[f"autoguidance {steps}"] = Method(draw, (unet,))
    return found


def combined(unet: Checkpoint, combine: Combine) -> Callable[[Labels, float], Denoiser]:
    """The function of y and w that returns combine(eps_cond, eps_uncond, w), x_0_hat clipped to
    [-1, 1] after it, as in cfg.
    """
    return lambda y, w: clipped(combine(*predictions(unet, y), w), unet.schedule)


def autoguidance(unet: Checkpoint, weak: Checkpoint, y: Labels, w: float) -> Denoiser:
    """Away from a weaker network with the same condition   [Karras 2024, 2406.02507].

    Raises InputError for other data.
    """
    same_origin(unet, weak)
    return clipped(autoguided(predictions(unet, y)[0], predictions(weak, y)[0], w), unet.schedule)


def plus_plus(unet: Checkpoint, y: Labels, scale: float, steps: int, seed: int) -> Images:
    """CFG++ draws: its step is its own, and its scale lies in [0, 1].

    Both predictions are clipped; x_0_hat lies between them.
    """

    def path(y: Labels, x_T: Images) -> Images:
        cond, uncond = (clipped(eps, unet.schedule) for eps in predictions(unet, y))
        return final_sample(plus_plus_path(cond, uncond, x_T, unet.schedule, scale, steps))

    pieces = zip(y.split(BATCH), start_noise(len(y), seed).to(y.device).split(BATCH), strict=True)
    return torch.cat([path(*piece) for piece in pieces])


@cache
def weakened(steps: int, name: str = "unet") -> Checkpoint:
    """The recipe of this name after so few steps, trained here and now with seed 0: a bad
    version of the pretrained network.
    """
    weak = train(replace(RECIPES[name], steps=steps), load_digits("train"), progress=False)
    weak.net.requires_grad_(False).to(memory_format=torch.channels_last)
    return weak


def search(
    methods: Methods, reference: Reference, setting: Setting, done: pd.DataFrame
) -> Iterator[Row]:
    """Every row that is not in `done`: real images, all settings with seed 0, then the chosen
    ones with every other seed.
    """
    first = [*real_rows(reference, setting), *((*pair, 0) for pair in PAIRS)]
    for row in missing(methods, reference, setting, first, done):
        done = pd.concat([done, as_frame([row])])
        yield row
    others = [(*pair, seed) for seed in range(1, setting.seeds) for pair in chosen(done)]
    yield from missing(methods, reference, setting, others, done)


def chosen(rows: pd.DataFrame) -> list[Pair]:
    """The best setting of each method, and the best at its largest scale; each pair once."""
    return list(dict.fromkeys([*best(rows).values(), *strongest(rows).values()]))


def best(rows: pd.DataFrame) -> dict[str, Pair]:
    """For each method the setting with the smallest Frechet distance in the search, seed 0."""
    return {family: _nearest(rows, tried) for family, tried in SEARCH.items()}


def strongest(rows: pd.DataFrame) -> dict[str, Pair]:
    """The same at the method's largest scale: what it rescues where there is too much guidance."""
    found = {}
    for family, tried in SEARCH.items():
        largest = max(s for _, s in tried)
        found[family] = _nearest(rows, [pair for pair in tried if pair[1] == largest])
    return found


def again(rows: pd.DataFrame) -> pd.DataFrame:
    """The rows that took no part in the search, and the real ones."""
    return rows[(rows.method == "real") | (rows.seed > 0)]


def _nearest(rows: pd.DataFrame, tried: Sequence[Pair]) -> Pair:
    distance = rows[rows.seed == 0].set_index(["method", "s"]).frechet
    return min(tried, key=distance.get)


def main(path: Path) -> None:
    """Measure what is not yet in the file."""
    unet, evaluator = load("unet"), load("evaluator")
    for model in (unet, evaluator):
        model.net.to(device())
    comment = f"python -m minidiff.experiments.variants {path.name}"
    measure_into(path, comment, variant_methods(unet), reference(evaluator), SETTING, search)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
