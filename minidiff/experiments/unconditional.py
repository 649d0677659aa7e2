"""Unconditional generation: python -m minidiff.experiments.unconditional FILE [test] [full] [live]

test: real digits. full: the pretrained network; live: a lesson's run of the same recipe. Both are
guided by a weaker one, eps_good + w (eps_good - eps_weak) [autoguidance, Karras 2024, 2406.02507]:
for full the same recipe after 400 steps, for live the same run's own average as it stood after some
of its steps, which costs no training. n = 1,000, DDIM with 50 steps, eta = 0 and 1 (stochastic
sampling), seed 0. Rows in the file are kept when the command is interrupted, and are not made
again.
"""

import copy
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from minidiff.datasets.mnist import load_digits
from minidiff.diffusion.variants import autoguided
from minidiff.evaluation.metrics import features_of, manifold, precision_recall
from minidiff.evaluation.reference import Reference, reference
from minidiff.evaluation.results import kept_rows, write_results
from minidiff.experiments.model_cards import STEPS, N, of_unconditional, unconditional_samples
from minidiff.experiments.variants import weakened
from minidiff.nets.unet import bind
from minidiff.settings import device
from minidiff.symbols import Denoiser, Images
from minidiff.training.checkpoints import load
from minidiff.training.loop import training_steps
from minidiff.training.recipes import LIVE, RECIPES


class Setting(NamedTuple):
    """How it is sampled."""

    weak_steps: int  # of training of the weaker network
    w: float  # of autoguidance; 0 is the network alone
    eta: float  # of the DDIM steps


WEAK_OF_FULL = 400
PAIRS = ((300, 0.0), (300, 1.0), (300, 2.0), (300, 3.0), (150, 2.0))
SETTINGS = {
    "test": (Setting(0, 0.0, 0.0),),
    "full": tuple(
        Setting(WEAK_OF_FULL, w, eta) for eta in (0.0, 1.0) for w in (0.0, 1.0, 2.0, 3.0)
    ),
    "live": tuple(Setting(*pair, eta) for eta in (0.0, 1.0) for pair in PAIRS),
}
PLACES = [(network, setting) for network, settings in SETTINGS.items() for setting in settings]
FOUND = [
    "confident",
    "confident_error",
    "frechet",
    "precision",
    "recall",
    "background_noise_percent",
]
FIELDS = ["network", *Setting._fields, *FOUND]
Drawing = Callable[[Setting], Images]


def drawing(network: str, by: Reference) -> Drawing:
    """N images in a setting. Trains what is not there."""
    if network == "test":
        return lambda setting: by.test.x_0(slice(N)).to(device())
    of = stages(network)

    def draw(setting: Setting) -> Images:
        eps = autoguided(of[0], of[setting.weak_steps], setting.w) if setting.w else of[0]
        return unconditional_samples(eps, RECIPES["ddpm"].schedule(), N, setting.eta)

    return draw


def stages(network: str) -> dict[int, Denoiser]:
    """The network as eps(x_t, t), under 0, and its weaker ones under their numbers of steps.

    Trains what is not there.
    """
    if network == "full":
        nets = {0: load("ddpm").net, WEAK_OF_FULL: weakened(WEAK_OF_FULL, "ddpm").net}
    else:
        recipe = LIVE["ddpm"]
        wanted = {setting.weak_steps for setting in SETTINGS[network]}
        nets = {}
        for state in training_steps(recipe, load_digits("train")):
            if state.step in wanted or state.step == recipe.steps:
                nets[state.step] = copy.deepcopy(state.average)
        nets[0] = nets.pop(recipe.steps)
    return {
        steps: bind(net.eval().requires_grad_(False).to(device())["unet"])
        for steps, net in nets.items()
    }


def measured(x_0: Images, network: str, setting: Setting, by: Reference) -> dict:
    """One row: what these images are worth."""
    found = of_unconditional(x_0, by)
    features = manifold(features_of(by.evaluator, x_0))
    found["precision"], found["recall"] = precision_recall(by.manifold, features)
    rounded = {key: round(value, 4) for key, value in found.items()}
    return {"network": network, **setting._asdict(), **rounded}


def as_table(rows: list[dict]) -> str:
    """The rows of the file as a markdown table."""
    heads = ("network", "away from", "w", "eta", "confident (%)", "Frechet / real", "recall")
    lines = [f"| {' | '.join(heads)} | background noise (%) |", "|---" * 8 + "|"]
    for row in rows:
        weaker = f"{row['weak_steps']} steps" if row["w"] else ""
        share = f"{100 * row['confident']:.1f} ± {100 * row['confident_error']:.1f}"
        rest = f"{row['frechet']:.2f} | {row['recall']:.2f} | {row['background_noise_percent']:.1f}"
        how = f"{row['network']} | {weaker} | {row['w']:g} | {row['eta']:g}"
        lines.append(f"| {how} | {share} | {rest} |")
    return "\n".join(lines)


def main(path: Path, *chosen: str) -> None:
    """Make the missing rows of the chosen networks; print each; then write the whole file."""
    rows, by = kept_rows(path), reference(load("evaluator"))
    how = f"n = {N}; DDIM {STEPS} steps; seed 0; frechet over that of real digits"
    comment = f"python -m minidiff.experiments.unconditional {path.name}: {how}"
    for network in chosen or SETTINGS:
        there = [_place(row) for row in rows]
        missing = [setting for setting in SETTINGS[network] if (network, setting) not in there]
        draw = drawing(network, by) if missing else None
        for setting in missing:
            rows.append(measured(draw(setting), network, setting, by))
            print(rows[-1], flush=True)
            rows.sort(key=lambda row: PLACES.index(_place(row)))
            write_results(path, comment, pd.DataFrame(rows, columns=FIELDS))


def _place(row: dict) -> tuple[str, Setting]:
    return row["network"], Setting(int(row["weak_steps"]), row["w"], row["eta"])


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
