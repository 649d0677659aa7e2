"""minidiff evaluate: the metrics of every method over the guidance scale, row by row, resumable."""

import argparse
import contextlib
import math

from minidiff.commands.options import Help, load_models, positive
from minidiff.evaluation.metrics import enough
from minidiff.evaluation.reference import reference
from minidiff.evaluation.sweep import SCALES, Setting, as_table, guidance_methods, measure_into, points
from minidiff.symbols import InputError
from minidiff.training.checkpoints import check_writable, only_run

DESCRIPTION = """\
Sample with every method at every guidance scale s, with several seeds, and measure each set of images. A row for each:
  accuracy    share that the evaluation classifier reads as the requested class
  confident   share to which it gives one class with more than 0.9
  frechet     squared Frechet distance to the 60,000 training images in its features (falls with n; compare with "real")
  precision, recall    by k = 3 nearest neighbours: do the images look real; do they cover what is real
  diversity   mean distance of two images of one digit
"real" rows are test images, the same number: the floor and the ceiling. An interrupted run goes on when the same command is given
again, and the file is the same as that of a run in one piece. A file of other weights or settings is refused and left alone.
"""
METHODS = ("cfg", "cg", "cg_cond")


def add_to(sub: argparse._SubParsersAction) -> None:
    """The command and its options."""
    usual, description = Setting(), DESCRIPTION
    add = sub.add_parser("evaluate", help="measure every method", description=description, formatter_class=Help).add_argument
    add("--methods", nargs="+", choices=METHODS, default=METHODS, metavar="NAME", help=f"of {', '.join(METHODS)}")
    add("--scales", nargs="+", type=float, default=usual.scales, metavar="S", help="guidance scales s")
    add("--n", type=int, default=usual.each, metavar="N", help="images of each digit")
    add("--seeds", type=int, default=usual.seeds, metavar="K", help="seeds 0..K-1")
    add("--steps", type=int, default=usual.steps, help="DDIM steps")
    add("--weights", nargs="+", default=[], metavar="F", help="other weights than the pretrained ones")
    add("--out", metavar="F", help="write the rows as CSV, after each row; go on from what is there")
    sub.choices["evaluate"].set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Measure every method over the guidance scale s, a row for each seed; with --out, go on where an earlier run stopped."""
    out = check_writable(options.out) if options.out else None
    scales = tuple(sorted({round(s, 5) for s in options.scales}))  # as they are written
    if not all(map(math.isfinite, scales)):
        raise InputError("--scales must be finite numbers.")
    setting = Setting(scales, positive("--seeds", options.seeds), positive("--n", options.n), options.steps)
    models = load_models(("unet", "ddpm", "classifier", "evaluator"), options.weights)
    evaluator = models["evaluator"]
    enough(setting.each * evaluator.metadata["classes"], evaluator.net["evaluator"].head.in_features)
    known = guidance_methods(models)
    methods = {name: known[name] for name in dict.fromkeys(options.methods)}
    with only_run(out) if out else contextlib.nullcontext():
        rows = measure_into(out, command(tuple(methods), setting), methods, reference(evaluator), setting)
    print(f"\n{as_table(points(rows))}")


def command(methods: tuple[str, ...], setting: Setting) -> str:
    """The command that makes these rows."""
    words = ["python -m minidiff evaluate"]
    if methods != METHODS:
        words += ["--methods", *methods]
    if setting.scales != SCALES:
        words += ["--scales", *(f"{s:g}" for s in setting.scales)]
    return " ".join([*words, f"--n {setting.each} --seeds {setting.seeds} --steps {setting.steps}"])
