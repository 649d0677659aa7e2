"""Why the recipes are as they are, one thing changed: python -m minidiff.experiments.ablations FILE

A row: for the conditional U-Net class accuracy and Frechet distance (in units of that of real
digits) at w = 1 and w = 0, for the unconditional one the share with a confidence above 0.9, the
distance and background noise; for the one conditioned on sentences prompt adherence (the digit, and
styles in the requested third) at w = 2; n = 500, DDIM with 50 steps, seed 0. For the
noise-conditioned classifier its accuracy on the 10,000 test images at some levels.
Finished rows are kept when the command is interrupted, and are not made again.
"""

import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import pandas as pd
from torch import Tensor, nn

from minidiff.datasets.mnist import load_digits
from minidiff.diffusion.schedule import NoiseSchedule, linear
from minidiff.evaluation.reference import Reference, reference
from minidiff.evaluation.results import kept_rows, write_results
from minidiff.experiments.model_cards import LEVELS, MEASURES
from minidiff.experiments.text_guidance import MET
from minidiff.nets.text_encoder import TextEncoder, at_end
from minidiff.nets.unet import UNet, VPrediction, bind
from minidiff.symbols import Denoiser, Features, Images, Labels, Tokens
from minidiff.training.checkpoints import load
from minidiff.training.distributed import BatchRNG
from minidiff.training.loop import train
from minidiff.training.losses import (
    LEVEL_MEAN,
    LEVEL_SPREAD,
    LEVELS_EVERYWHERE,
    P_UNCOND,
    Loss,
    drop_some,
    simple_loss,
    v_loss,
)
from minidiff.training.optimizers import adamw
from minidiff.training.recipes import LIVE, WORDS_DIM, Recipe, build_ddpm, build_unet
from minidiff.training.sentences import VOCABULARY

PAIRS = ("held_out", "seen")
OF_UNET = ["accuracy_w1", "accuracy_w1_error", "frechet_w1"]
OF_UNET += ["accuracy_w0", "accuracy_w0_error", "frechet_w0"]
OF_DDPM = ["confident", "confident_error", "frechet", "background_noise_percent"]
OF_WORDS = [f"{pairs}_{what}{e}" for pairs in PAIRS for what in MET for e in ("", "_error")]
SHOWN = (0, 500, 600, 700)  # of the classifier's levels: clean, and where digits are hard
OF_CLASSIFIER = [f"accuracy_t{t}{error}" for t in LEVELS for error in ("", "_error")]
FIELDS = ["model", "changed", *OF_UNET, *OF_DDPM, *OF_WORDS, *OF_CLASSIFIER]


def v_loss_everywhere(
    net: nn.ModuleDict, x_0: Images, y: Labels, schedule: NoiseSchedule, draws: BatchRNG
) -> Loss:
    """The recipe's loss with t uniform in 1..T   [Ho 2020, Alg. 1]"""
    t = draws.levels(len(x_0), 1, schedule.T).to(x_0.device)
    return v_loss(_conditional(net, y, draws), x_0, t, draws.normal(x_0), schedule)


def v_loss_dropping_more(
    net: nn.ModuleDict, x_0: Images, y: Labels, schedule: NoiseSchedule, draws: BatchRNG
) -> Loss:
    """The recipe's loss with three labels in ten dropped."""
    t = draws.mixed_levels(len(x_0), schedule.T, LEVEL_MEAN, LEVEL_SPREAD, LEVELS_EVERYWHERE)
    eps = _conditional(net, y, draws, p_uncond=0.3)
    return v_loss(eps, x_0, t.to(x_0.device), draws.normal(x_0), schedule)


def v_loss_in_the_middle(
    net: nn.ModuleDict, x_0: Images, y: Labels, schedule: NoiseSchedule, draws: BatchRNG
) -> Loss:
    """The recipe's loss with every t from the middle, for an unconditional network."""
    t = draws.middle_levels(len(x_0), schedule.T, LEVEL_MEAN, LEVEL_SPREAD).to(x_0.device)
    return v_loss(bind(net["unet"]), x_0, t, draws.normal(x_0), schedule)


def simple_loss_everywhere(
    net: nn.ModuleDict, x_0: Images, y: Labels, schedule: NoiseSchedule, draws: BatchRNG
) -> Loss:
    """The simple loss with t uniform in 1..T   [Ho 2020, Alg. 1]"""
    t = draws.levels(len(x_0), 1, schedule.T).to(x_0.device)
    return simple_loss(_conditional(net, y, draws), x_0, t, draws.normal(x_0), schedule)


def build_eps(classes: int, schedule: NoiseSchedule) -> nn.ModuleDict:
    """The recipe's network, but its output is eps_hat itself   [Ho 2020]"""
    net = build_unet(classes, schedule)
    net["unet"] = net["unet"].net
    return net


def build_without_plan(classes: int, schedule: NoiseSchedule) -> nn.ModuleDict:
    """The recipe's network without its dense layers."""
    net = build_unet(classes, schedule)
    net["unet"].net.mixer = Skip()
    return net


def build_ddpm_without_plan(classes: int, schedule: NoiseSchedule) -> nn.ModuleDict:
    """The unconditional network without its dense layers."""
    net = build_ddpm(classes, schedule)
    net["unet"].net.mixer = Skip()
    return net


class Pooled(TextEncoder):
    """The sentence as one vector, the state of its end: for a U-Net without cross-attention."""

    def forward(self, tokens: Tokens) -> Features:
        return at_end(super().forward(tokens), tokens)


def build_pooled(classes: int, schedule: NoiseSchedule) -> nn.ModuleDict:
    """The U-Net conditioned on a sentence as one vector, beside t."""
    unet = VPrediction(UNet(c_dim=WORDS_DIM), schedule.abar)
    return nn.ModuleDict({"unet": unet, "text": Pooled(VOCABULARY, WORDS_DIM)})


class Skip(nn.Module):
    """A block that does nothing."""

    def forward(self, x: Tensor, emb: Tensor) -> Tensor:
        return x


STEPS, N = 600, 500
UNET, DDPM, WORDS, CLASSIFIER = (
    replace(LIVE[name], steps=STEPS) for name in ("unet", "ddpm", "text_unet", "classifier")
)
CHOSEN = "as chosen"
TRIALS: Mapping[tuple[str, str], Recipe] = {
    ("text_unet", CHOSEN): WORDS,
    ("text_unet", "one vector, no cross-attention"): replace(WORDS, build=build_pooled),
    ("unet", CHOSEN): UNET,
    ("unet", "AdamW, peak_lr 3e-3"): replace(UNET, optimizers=adamw, peak_lr=3e-3),
    ("unet", "t uniform in 1..T"): replace(UNET, loss=v_loss_everywhere),
    ("unet", "t uniform and simple loss and eps (Ho 2020)"): replace(
        UNET, build=build_eps, loss=simple_loss_everywhere
    ),
    ("unet", "without the dense layers"): replace(UNET, build=build_without_plan),
    ("unet", "linear schedule"): replace(UNET, schedule=linear),
    ("unet", "three labels in ten dropped, not one"): replace(UNET, loss=v_loss_dropping_more),
    ("ddpm", CHOSEN): DDPM,
    ("ddpm", "AdamW, peak_lr 3e-3"): replace(DDPM, optimizers=adamw, peak_lr=3e-3),
    ("ddpm", "no uniform levels"): replace(DDPM, loss=v_loss_in_the_middle),
    ("ddpm", "without the dense layers"): replace(DDPM, build=build_ddpm_without_plan),
    ("classifier", CHOSEN): CLASSIFIER,
    ("classifier", "AdamW, peak_lr 1e-3"): replace(CLASSIFIER, optimizers=adamw, peak_lr=1e-3),
    ("classifier", "900 steps, all of a live budget"): LIVE["classifier"],
}


def tried(model: str, changed: str, by: Reference) -> dict:
    """One row: train it, measure it."""
    trained = train(TRIALS[model, changed], load_digits("train"))
    drawn = () if model == "classifier" else (N,)
    found = MEASURES[model](trained, by, *drawn)
    rounded = {key: round(value, 4) for key, value in found.items()}
    return {"model": model, "changed": changed, **rounded}


def as_table(rows: list[dict]) -> str:
    """The rows of the file as a markdown table: what was changed, and what it gave."""
    lines = ["| network | changed | measured |", "|---|---|---|"]
    for row in rows:
        lines.append(f"| {row['model']} | {row['changed']} | {'; '.join(_found(row))} |")
    return "\n".join(lines)


def _found(row: dict) -> list[str]:
    def share(name: str) -> str:
        return f"{100 * row[name]:.1f} ± {100 * row[f'{name}_error']:.1f} %"

    match row["model"]:
        case "unet":
            names = (("1", "accuracy_w1", "frechet_w1"), ("0", "accuracy_w0", "frechet_w0"))
            return [f"w = {w}: {share(right)}, {row[apart]:.2f} x" for w, right, apart in names]
        case "ddpm":
            noise = f"background noise {row['background_noise_percent']:.2f} %"
            return [f"confident {share('confident')}, {row['frechet']:.2f} x, {noise}"]
        case "classifier":
            return [f"t = {t}: {share(f'accuracy_t{t}')}" for t in SHOWN]
    shares = {pairs: ", ".join(share(f"{pairs}_{what}") for what in MET) for pairs in PAIRS}
    return [f"{pairs.replace('_', ' ')}: {found}" for pairs, found in shares.items()]


def main(path: Path) -> None:
    """Make every row that is not yet in the file; print it; write the file after every row."""
    rows, by = kept_rows(path), reference(load("evaluator"))
    there = {(row["model"], row["changed"]) for row in rows}
    how = (
        f"{STEPS} training steps; n = {N}; DDIM 50 steps; seed 0; frechet over that of real digits"
    )
    comment = f"python -m minidiff.experiments.ablations {path.name}: {how}"
    for model, changed in TRIALS:
        if (model, changed) not in there:
            rows.append(tried(model, changed, by))
            print(rows[-1], flush=True)
            write_results(path, comment, pd.DataFrame(rows, columns=FIELDS))


def _conditional(
    net: nn.ModuleDict, y: Labels, draws: BatchRNG, p_uncond: float = P_UNCOND
) -> Denoiser:
    return bind(net["unet"], net["classes"](drop_some(net, y, draws, p_uncond)))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
