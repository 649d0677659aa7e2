"""Digits that nobody asked for: python -m minidiff.measure.unconditional FILE [test] [full] [live] [memory] [clusters]

test: real digits. full: the shipped network; live: a lesson's run of the same recipe; memory: the same with a memory of every
second training image, trained on the others. These three are kept away from a weaker self, eps_good + w (eps_good - eps_weak)
[Karras 2024, 2406.02507]: for full the same recipe after 400 steps, for the others the same run's own average as it stood after
some of its steps, which costs no training. clusters: a lesson's run of the network that is told clusters, made without labels
and drawn as often as they come; kept away, by M6, from itself when told nothing. n = 1,000, DDIM with 50 steps, eta = 0 and 1
(fresh noise), seed 0. nearest_remembered: the share of samples whose nearest training image is one that memory remembers. Rows
in the file are kept when the command is interrupted, and are not made again. Beside FILE, clusters.npz gets the first digits
that clusters draws, at w = 0 and 1, and their clusters.
"""

import copy
import io
import sys
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minidiff.diffusion.variants import autoguided
from minidiff.digits.clusters import nearest
from minidiff.digits.mnist import load_digits, to_bytes
from minidiff.measure.metrics import features_of, manifold, precision_recall
from minidiff.measure.quality import STEPS, N, of_unasked, told_clusters, unasked
from minidiff.measure.reference import Reference, reference
from minidiff.measure.rows import kept, write
from minidiff.nets.conditioning import bind
from minidiff.symbols import Denoiser, Images
from minidiff.training.checkpoints import Trained, load, write_atomically
from minidiff.training.device import device
from minidiff.training.later import weakened
from minidiff.training.loop import train, training_steps
from minidiff.training.recipes import LIVE, RECIPES


class Setting(NamedTuple):
    """What the network is kept away from (itself after so many steps; 0: itself, told nothing), how much (w), fresh noise."""

    weak_steps: int
    w: float
    eta: float


WEAK_OF_FULL, SHOWN = 400, 12
RECIPE = {"full": "ddpm", "live": "ddpm", "memory": "memory"}
PAIRS = ((300, 0.0), (300, 1.0), (300, 2.0), (300, 3.0), (150, 2.0))
SETTINGS = {  # w = 0 is the network alone
    "test": (Setting(0, 0.0, 0.0),),
    "full": tuple(Setting(WEAK_OF_FULL, w, eta) for eta in (0.0, 1.0) for w in (0.0, 1.0, 2.0, 3.0)),
    "live": tuple(Setting(*pair, eta) for eta in (0.0, 1.0) for pair in PAIRS),
    "memory": (Setting(300, 0.0, 0.0), *(Setting(300, w, 1.0) for w in (0.0, 1.0, 2.0))),
    "clusters": tuple(Setting(0, w, eta) for eta, ws in ((0.0, (0.0, 0.5, 1.0, 2.0)), (1.0, (0.0, 0.5))) for w in ws),
}
PLACES = [(network, setting) for network, settings in SETTINGS.items() for setting in settings]
FOUND = ("judge_sure", "judge_sure_error", "frechet", "precision", "recall", "grain_percent", "nearest_remembered")
FIELDS = ("network", *Setting._fields, *FOUND)
Drawing = Callable[[Setting], Images]


def drawing(network: str, by: Reference, path: Path) -> Drawing:
    """N images in a setting. Trains what is not shipped; what clusters draws is shown beside the file of this path."""
    if network == "test":
        return lambda setting: by.test.x_0(slice(N)).to(device())
    if network == "clusters":
        trained = train(LIVE["clusters"], load_digits("train"), progress=False)
        write_atomically(path.with_name("clusters.npz"), first_ones(trained))
        return lambda setting: told_clusters(trained, setting.w, N, setting.eta)[1]
    of = stages(network)

    def draw(setting: Setting) -> Images:
        eps = autoguided(of[0], of[setting.weak_steps], setting.w) if setting.w else of[0]
        return unasked(eps, RECIPES[RECIPE[network]].schedule(), N, setting.eta)

    return draw


def stages(network: str) -> dict[int, Denoiser]:
    """The network as eps(x_t, t), under 0, and its weaker ones under their numbers of steps. Trains what is not shipped."""
    if network == "full":
        nets = {0: load("ddpm").net, WEAK_OF_FULL: weakened(WEAK_OF_FULL, "ddpm").net}
    else:
        recipe, wanted, nets = LIVE[RECIPE[network]], {setting.weak_steps for setting in SETTINGS[network]}, {}
        for state in training_steps(recipe, load_digits("train")):
            if state.step in wanted or state.step == recipe.steps:
                nets[state.step] = copy.deepcopy(state.average)
        nets[0] = nets.pop(recipe.steps)
    return {steps: bind(net.eval().requires_grad_(False).to(device())["unet"]) for steps, net in nets.items()}


def first_ones(clusters: Trained) -> bytes:
    """An .npz file: y, the first SHOWN clusters that are drawn; w0 and w1, what the network draws when it is told them."""
    drawn = {f"w{w:g}": told_clusters(clusters, w, SHOWN) for w in (0.0, 1.0)}
    file = io.BytesIO()
    np.savez_compressed(file, y=drawn["w0"][0].numpy(), **{w: to_bytes(x_0).cpu().numpy() for w, (_, x_0) in drawn.items()})
    return file.getvalue()


def measured(x_0: Images, network: str, setting: Setting, by: Reference) -> dict:
    """One row: what these images are worth."""
    found = of_unasked(x_0, by)
    found["precision"], found["recall"] = precision_recall(by.manifold, manifold(features_of(by.judge, x_0)))
    if network == "memory":
        found["nearest_remembered"] = float((nearest(x_0, load_digits("train").x_0().to(x_0.device)) % 2 == 0).double().mean())
    return {"network": network, **setting._asdict()} | {key: round(value, 4) for key, value in found.items()}


def as_table(rows: list[dict]) -> str:
    """The rows of the file as a markdown table."""
    heads = ("network", "away from", "w", "eta", "judge sure (%)", "Frechet / real", "recall", "grain (%)")
    lines = [f"| {' | '.join(heads)} |", "|---" * len(heads) + "|"]
    for row in rows:
        sure = f"{100 * float(row['judge_sure']):.1f} ± {100 * float(row['judge_sure_error']):.1f}"
        away = {"0": "told nothing"}.get(row["weak_steps"], f"{row['weak_steps']} steps") if float(row["w"]) else ""
        recall = f"{float(row['recall']):.2f}" if row["recall"] else ""
        found = f"{sure} | {float(row['frechet']):.2f} | {recall} | {float(row['grain_percent']):.1f}"
        lines.append(f"| {row['network']} | {away} | {float(row['w']):g} | {float(row['eta']):g} | {found} |")
    return "\n".join(lines)


def main(path: Path, *chosen: str) -> None:
    """Make every row of the chosen networks that is not yet in the file; print it; write the file after every row."""
    rows, by = kept(path), reference(load("judge"))
    for network in chosen or SETTINGS:
        missing = [setting for setting in SETTINGS[network] if (network, setting) not in map(_place, rows)]
        draw = drawing(network, by, path) if missing else None
        for setting in missing:
            rows.append(measured(draw(setting), network, setting, by))
            print(rows[-1], flush=True)
            rows.sort(key=lambda row: PLACES.index(_place(row)))
            how = f"n = {N}; DDIM {STEPS} steps; seed 0; frechet in floors"
            write(path, f"python -m minidiff.measure.unconditional {path.name}: {how}", FIELDS, rows)


def _place(row: dict) -> tuple[str, Setting]:
    return row["network"], Setting(int(row["weak_steps"]), float(row["w"]), float(row["eta"]))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
