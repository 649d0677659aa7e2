"""minidiff evaluate: the metrics of every method over the guidance scale, row by row, resumable."""

import argparse
import contextlib
import math

from minidiff.commands.options import add_command, load_models, positive
from minidiff.evaluation.metrics import enough
from minidiff.evaluation.reference import reference
from minidiff.evaluation.results import as_table, over_seeds
from minidiff.evaluation.sweep import SCALES, Setting, guidance_methods, measure_into
from minidiff.symbols import InputError
from minidiff.training.checkpoints import check_writable, only_run

DESCRIPTION = """\
Sample with every method at every guidance scale s, with several seeds, and measure each
set of images. A row for each:
  accuracy    share that the evaluation classifier reads as the requested class
  confident   share to which it gives one class with more than 0.9
  frechet     squared Frechet distance to the 60,000 training images in its features
              (falls with n; compare with "real")
  precision, recall    by k = 3 nearest neighbours: do the images look real; do they
              cover what is real
  diversity   mean distance of two images of one digit
"real" rows are test images, the same number: the reference. An interrupted
run goes on when the same command is given again, and the file is the same as that of a
run in one piece. A file of other weights or settings is refused and left alone.
"""
METHODS = ("cfg", "cg", "cg_cond")


def add_to(sub: argparse._SubParsersAction) -> None:
    """The command and its options."""
    add = add_command(sub, run, "evaluate", "measure every method", DESCRIPTION).add_argument
    usual, names = Setting(), ", ".join(METHODS)
    several = {"nargs": "+", "metavar": "NAME", "choices": METHODS, "default": METHODS}
    add("--methods", **several, help=f"of {names}")
    scales = {"nargs": "+", "metavar": "S", "type": float, "default": usual.scales}
    add("--scales", **scales, help="guidance scales s")
    add("--n", type=int, default=usual.each, metavar="N", help="images of each digit")
    add("--seeds", type=int, default=usual.seeds, metavar="K", help="seeds 0..K-1")
    add("--steps", type=int, default=usual.steps, help="DDIM steps")
    add("--weights", nargs="+", default=[], metavar="F", help="other weights than the pretrained")
    add("--out", metavar="F", help="write CSV, after each row; go on from what is there")


def run(options: argparse.Namespace) -> None:
    """Measure every method over the guidance scale s, a row for each seed."""
    out = check_writable(options.out) if options.out else None
    scales = tuple(sorted({round(s, 5) for s in options.scales}))  # as they are written
    if not all(map(math.isfinite, scales)):
        raise InputError("--scales must be finite numbers.")
    seeds, each = positive("--seeds", options.seeds), positive("--n", options.n)
    setting = Setting(scales, seeds, each, options.steps)
    models = load_models(("unet", "ddpm", "classifier", "evaluator"), options.weights)
    evaluator = models["evaluator"]
    enough(each * evaluator.metadata["classes"], evaluator.net["evaluator"].head.in_features)
    known = guidance_methods(models)
    methods = {name: known[name] for name in dict.fromkeys(options.methods)}
    how = command(tuple(methods), setting)
    with only_run(out) if out else contextlib.nullcontext():
        rows = measure_into(out, how, methods, reference(evaluator), setting)
    print(f"\n{as_table(over_seeds(rows))}")


def command(methods: tuple[str, ...], setting: Setting) -> str:
    """The command that makes these rows."""
    words = ["python -m minidiff evaluate"]
    if methods != METHODS:
        words += ["--methods", *methods]
    if setting.scales != SCALES:
        words += ["--scales", *(f"{s:g}" for s in setting.scales)]
    return " ".join([*words, f"--n {setting.each} --seeds {setting.seeds} --steps {setting.steps}"])
