"""Digits that nobody asked for, kept away from a weak model's: python -m minidiff.measure.unconditional FILE [full] [live]

Autoguidance [Karras 2024, 2406.02507] of the unconditional U-Net: eps_good + w (eps_good - eps_weak), with no labels anywhere.
full: the shipped network; the weak one is the same recipe after 400 steps. live: a lesson's run; the weak one is the same run's
own average as it stood after some of its steps, so it costs no training. memory: the same with a memory of every second
training image, trained on the others. n = 1,000, DDIM with 50 steps, eta = 0 and 1 (fresh noise), seed 0.
nearest_remembered: the share of samples whose nearest training image is one that memory remembers. Rows in the file are kept
when the command is interrupted, and are not made again.
"""

import copy
import sys
from pathlib import Path

from minidiff.diffusion.variants import autoguided
from minidiff.digits.mnist import load_digits
from minidiff.measure.metrics import nearest
from minidiff.measure.quality import STEPS, N, of_unasked, unasked
from minidiff.measure.reference import Reference, reference
from minidiff.measure.rows import kept, write
from minidiff.nets.conditioning import bind
from minidiff.symbols import Denoiser
from minidiff.training.checkpoints import load
from minidiff.training.device import device
from minidiff.training.later import weakened
from minidiff.training.loop import training_steps
from minidiff.training.recipes import LIVE, RECIPES

WEAK_OF_FULL = 400
SETTINGS = {  # (steps of the weak one, w, eta): w = 0 is the network alone
    "full": tuple((WEAK_OF_FULL, w, eta) for eta in (0.0, 1.0) for w in (0.0, 1.0, 2.0, 3.0)),
    "live": tuple((*pair, eta) for eta in (0.0, 1.0) for pair in ((300, 0.0), (300, 1.0), (300, 2.0), (300, 3.0), (150, 2.0))),
    "memory": ((300, 0.0, 0.0), *((300, w, 1.0) for w in (0.0, 1.0, 2.0))),
}
RECIPE = {"full": "ddpm", "live": "ddpm", "memory": "memory"}
FIELDS = ("network", "weak_steps", "w", "eta", "judge_sure", "judge_sure_error", "frechet", "grain_percent", "nearest_remembered")


def stages(network: str) -> dict[int, Denoiser]:
    """The network as eps(x_t, t), under 0, and its weaker ones under their numbers of steps. Trains what is not shipped."""
    if network == "full":
        nets = {0: load("ddpm").net, WEAK_OF_FULL: weakened(WEAK_OF_FULL, "ddpm").net}
    else:
        recipe, wanted, nets = LIVE[RECIPE[network]], {steps for steps, _, _ in SETTINGS[network]}, {}
        for state in training_steps(recipe, load_digits("train")):
            if state.step in wanted or state.step == recipe.steps:
                nets[state.step] = copy.deepcopy(state.average)
        nets[0] = nets.pop(recipe.steps)
    return {steps: bind(net.eval().requires_grad_(False).to(device())["unet"]) for steps, net in nets.items()}


def measured(of: dict[int, Denoiser], network: str, setting: tuple[int, float, float], by: Reference, n: int = N) -> dict:
    """One row: with these steps of the weak one, this w, this eta."""
    weak_steps, w, eta = setting
    eps = autoguided(of[0], of[weak_steps], w) if w else of[0]
    x_0, train = unasked(eps, RECIPES[RECIPE[network]].schedule(), n, eta), load_digits("train")
    remembered = nearest(x_0, train.x_0().to(x_0.device)) % 2 == 0
    found = of_unasked(x_0, by) | {"nearest_remembered": float(remembered.double().mean())}
    named = {"network": network, "weak_steps": weak_steps, "w": w, "eta": eta}
    return named | {key: round(value, 4) for key, value in found.items()}


def as_table(rows: list[dict]) -> str:
    """The rows of the file as a markdown table."""
    lines = ["| network | weak one, steps | w | eta | judge sure (%) | Frechet / real | grain (%) |", "|---" * 7 + "|"]
    for row in rows:
        sure = f"{100 * float(row['judge_sure']):.1f} ± {100 * float(row['judge_sure_error']):.1f}"
        weak = row["weak_steps"] if float(row["w"]) else "none"
        found = f"{sure} | {float(row['frechet']):.2f} | {float(row['grain_percent']):.1f}"
        lines.append(f"| {row['network']} | {weak} | {float(row['w']):g} | {float(row['eta']):g} | {found} |")
    return "\n".join(lines)


def main(path: Path, *chosen: str) -> None:
    """Make every row of the chosen networks that is not yet in the file; print it; write the file after every row."""
    rows, by = kept(path), reference(load("judge"))
    there = {(row["network"], int(row["weak_steps"]), float(row["w"]), float(row["eta"])) for row in rows}
    for network in chosen or SETTINGS:
        missing = [setting for setting in SETTINGS[network] if (network, *setting) not in there]
        of = stages(network) if missing else {}
        for setting in missing:
            rows.append(measured(of, network, setting, by))
            print(rows[-1], flush=True)
            how = f"n = {N}; DDIM {STEPS} steps; seed 0; frechet in floors"
            write(path, f"python -m minidiff.measure.unconditional {path.name}: {how}", FIELDS, rows)


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:])
