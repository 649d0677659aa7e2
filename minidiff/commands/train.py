"""minidiff train: one model by its recipe, resumable, on one process or many."""

import argparse
import contextlib
import math
from dataclasses import replace

import torch

from minidiff import settings
from minidiff.commands.options import add_command, positive, seed
from minidiff.datasets.mnist import load_digits
from minidiff.settings import device, precision
from minidiff.symbols import InputError
from minidiff.training.checkpoints import check_writable, only_run, save
from minidiff.training.distributed import processes
from minidiff.training.loop import train
from minidiff.training.recipes import BUDGETS, RECIPES, Recipe

DESCRIPTION = """\
Train one model on the 60,000 images and write its weights with the recipe, the noise
schedule and the data's checksum.
  ddpm        the unconditional U-Net                            [classifier guidance]
  classifier  the noise-conditioned classifier, p(y | x_t)       [classifier guidance]
  unet        the conditional U-Net; 10 % of the labels are dropped
                                                            [classifier-free guidance]
  evaluator   the evaluation classifier, of clean images; it never guides   [evaluate]
  clip        an encoder of sentences and one of images, trained to fit each other
                                                                           [text_unet]
  text_unet   the U-Net conditioned on sentences, read by the pretrained clip
                                                               [guidance by sentences]
The whole state is written to F.checkpoint now and then; after any interruption, kill -9
included, --resume goes on from there and ends with the same weights, bit for bit on a
CPU (on GPUs nobody has tried). Several processes share every batch under torchrun, with
the same result up to rounding:
  torchrun --nproc-per-node 2 -m minidiff train unet --out mine.safetensors
"""


def add_to(sub: argparse._SubParsersAction) -> None:
    """The command and its options."""
    parser = add_command(sub, run, "train", "train a model", DESCRIPTION)
    add = parser.add_argument
    add("name", choices=RECIPES, help="which model")
    add("--out", metavar="F", help="where the weights go (default: NAME.safetensors)")
    add("--data", metavar="DIR", help="four IDX files (default: MINIDIFF_DATA, else data/mnist)")
    budgets = "full: the pretrained weights'; live: a lesson's"
    add("--budget", choices=BUDGETS, default="full", help=budgets)
    limit = parser.add_mutually_exclusive_group()
    steps = "training steps (default: the budget's)"
    limit.add_argument("--steps", type=int, metavar="N", help=steps)
    seconds = "instead of steps; the learning rate fits itself"
    limit.add_argument("--seconds", type=float, metavar="S", help=seconds)
    add("--seed", type=seed, default=0, help="of everything random")
    every = "steps between two writes of F.checkpoint"
    add("--checkpoint-every", type=int, default=500, metavar="N", help=every)
    add("--resume", action="store_true", help="go on from F.checkpoint, bit for bit")
    add("--float32", action="store_true", help="write full precision; usual is half precision")
    rounding = "of training; auto: bfloat16 where it is in hardware"
    add("--precision", choices=settings.PRECISIONS, default="auto", help=rounding)
    add("--compile", action="store_true", help="with torch.compile: about a minute, then faster")


def run(options: argparse.Namespace) -> None:
    """Train one model by its recipe and save it; then its checkpoint is removed."""
    settings.TRAINING_PRECISION = options.precision
    settings.COMPILE = options.compile
    settings.CHECKPOINT_EVERY = positive("--checkpoint-every", options.checkpoint_every)
    recipe = _recipe(options)
    out = check_writable(options.out or f"{options.name}.safetensors")
    checkpoint = out.with_name(f"{out.name}.checkpoint")
    if checkpoint.exists() and not options.resume:
        raise InputError(
            f"{checkpoint}: the state of an earlier run is there. "
            "Go on with --resume, or delete it to start anew."
        )
    digits = load_digits("train", options.data)
    first = processes().rank == 0
    with only_run(out) if first else contextlib.nullcontext():
        if first:
            print(f"{recipe.name}: {_how(recipe)}", flush=True)
        try:
            trained = train(
                recipe, digits, options.seed, checkpoint=checkpoint, resume=options.resume
            )
        except KeyboardInterrupt:
            kept = f"go on with --resume, from {checkpoint}." if checkpoint.exists() else ""
            raise KeyboardInterrupt(kept) from None
        except FloatingPointError as error:
            kept = f" The last good state is in {checkpoint}." if checkpoint.exists() else ""
            raise FloatingPointError(f"{error}{kept}") from None
        if not first:
            return
        save(out, trained, torch.float32 if options.float32 else torch.float16)
        checkpoint.unlink(missing_ok=True)
    seen, minutes, loss = (trained.metadata[key] for key in ("images_seen", "minutes", "loss"))
    print(f"wrote {out}: {seen:,} images in {minutes} minutes, loss {loss[-1]:.4f} at the end")


def _recipe(options: argparse.Namespace) -> Recipe:
    recipe = BUDGETS[options.budget][options.name]
    if options.steps is not None:
        return replace(recipe, steps=positive("--steps", options.steps))
    if options.seconds is not None:
        if not 0 < options.seconds < math.inf:
            raise InputError(f"--seconds must be a positive number, got {options.seconds}.")
        return replace(recipe, seconds=options.seconds)
    return recipe


def _how(recipe: Recipe) -> str:
    where, world = device(), processes().world
    limit = f"{recipe.steps} steps" if recipe.seconds is None else f"{recipe.seconds:g} seconds"
    said = [limit, f"batches of {recipe.batch} images", where.type, precision(where)]
    if settings.TRAINING_PRECISION == "auto" and precision(where) == "float32":
        said[-1] += ": no native bfloat16 here"
    if settings.COMPILE:
        said.append("compiled")
    if world > 1:
        said.append(f"{world} processes")
    return ", ".join(said)
