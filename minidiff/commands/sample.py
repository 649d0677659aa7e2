"""minidiff sample: digits by label or by sentence, or unconditional, as a picture or as arrays."""

import argparse
import io
import re
import sys
from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import matplotlib.image
import numpy as np
import torch
from torch.nn import functional

from minidiff import settings
from minidiff.commands.options import Help, load_models, positive, seed
from minidiff.datasets.captions import parse
from minidiff.datasets.mnist import to_bytes
from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.sampling import cfg, cfg_text, cg, cg_conditional, generate, unconditional
from minidiff.settings import device, sampling_precision
from minidiff.symbols import Conditions, Denoiser, Images, InputError
from minidiff.training.checkpoints import check_writable, write_atomically
from minidiff.training.sentences import to_tokens

DESCRIPTION = """\
Draw digits. The guidance weight w has another zero point in each method:
  cfg      w = -1 is unconditional, w = 0 the conditional model, w > 0 is guided          [scale s = 1 + w]
  cg       w = 0 is unconditional, w = 1 is Bayes' rule, w > 1 is sharper than Bayes      [scale s = w]
  cg_cond  cg on top of the conditional model: w = 0 is that model, w > 0 is guided       [scale s = 1 + w]
--prompt conditions on a sentence: a digit, thin or thick, narrow or wide, slanted to the left, upright or slanted to the right;
what is not said is left open. There w = -1 draws what --negative says (nothing, unless given).
--unconditional has no condition: the pretrained ddpm, or another (lesson 14). --guiding-weights F, weights of a weaker ddpm
(train ddpm --steps 400), is autoguidance: it adds w times the difference of the two predictions of the noise.
The same command gives the same digits. Noise is drawn on the CPU, also where a GPU computes (MINIDIFF_DEVICE=cpu|cuda|auto).
"""


class Question(NamedTuple):
    """make(y) is the denoiser of rows y, on this schedule; names of the rows for a file, images in a row of a picture, and words.

    weighs: whether w matters.
    """

    make: Callable[[Conditions], Denoiser]
    schedule: NoiseSchedule
    y: Conditions
    names: np.ndarray | None
    columns: int
    said: str
    weighs: bool = True


def add_to(sub: argparse._SubParsersAction) -> None:
    """The command and its options."""
    add = sub.add_parser("sample", help="draw digits", description=DESCRIPTION, formatter_class=Help).add_argument
    parser = sub.choices["sample"]
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--digit", default="0-9", metavar="D", help="7, or 0-9, or 1,3,5-7")
    what.add_argument("--prompt", nargs="+", metavar="P", help="sentences instead of digits, in English or Chinese (cfg only)")
    what.add_argument("--unconditional", action="store_true", help="any digits, as they come")
    add("--guiding-weights", metavar="F", help="with --unconditional: weights of a weaker network, for autoguidance")
    add("--negative", default="", metavar="P", help="with --prompt: a sentence to move away from (default: none)")
    add("--n", type=int, default=1, metavar="N", help="images of each digit or sentence, or of any")
    add("--w", type=float, help="guidance weight (default: 1)")
    add("--method", choices=("cfg", "cg", "cg_cond"), default="cfg", help="of guidance")
    add("--steps", type=int, default=50, help="DDIM steps, 1..T")
    add("--eta", type=float, default=0.0, help="stochastic sampling: fresh noise in every step, 0 (DDIM) to 1 (as in DDPM)")
    add("--seed", type=seed, default=0, help="of the noise")
    add("--weights", nargs="+", default=[], metavar="F", help="other weights than the pretrained ones")
    add(
        "--precision",
        choices=settings.PRECISIONS,
        default="float32",
        help="of the networks; auto: bfloat16 where it is in hardware",
    )
    picture = "a picture, a row for each digit or sentence (unconditional: ten in a row)"
    add("--out", default="digits.png", metavar="F", help=f".png: {picture}; .npz: x, y")
    parser.set_defaults(run=run)


def run(options: argparse.Namespace) -> None:
    """Draw the digits that were asked for, or any, and write a picture or arrays."""
    settings.SAMPLING_PRECISION = options.precision
    out = check_writable(options.out)
    if out.suffix not in (".png", ".npz"):
        raise InputError(f"--out must end in .png or .npz, got {options.out!r}.")
    positive("--n", options.n)
    w = 1.0 if options.w is None else options.w
    question = _question(options, w)
    y = question.y.to(device())
    x_0 = generate(question.make, y, question.schedule, options.steps, options.eta, options.seed)
    write_atomically(out, _png(x_0, question.columns) if out.suffix == ".png" else _npz(x_0, question.names))
    how = f"w = {w:g}, " * question.weighs + f"eta = {options.eta:g}, seed {options.seed}, {sampling_precision(device())}"
    print(f"wrote {out}: {question.said}, {how}")


def _question(options: argparse.Namespace, w: float) -> Question:
    """What is to be drawn. Raises InputError for options that do not go together, and for weights of another kind."""
    if options.guiding_weights and not options.unconditional:
        raise InputError("--guiding-weights is a weaker network, for autoguidance: it wants --unconditional.")
    if options.negative and not options.prompt:
        raise InputError("--negative is a sentence against a sentence: it wants --prompt.")
    if (options.prompt or options.unconditional) and options.method != "cfg":
        what = "--prompt goes with classifier-free guidance only: a classifier reads no sentence"
        raise InputError(f"{what if options.prompt else '--unconditional has no condition to guide to'}; got {options.method}.")
    if options.prompt:
        return _by_prompt(options, w)
    return _without_condition(options, w) if options.unconditional else _by_digit(options, w)


def _by_digit(options: argparse.Namespace, w: float) -> Question:
    names = {"cfg": ("unet",), "cg": ("ddpm", "classifier"), "cg_cond": ("unet", "classifier")}[options.method]
    models = list(load_models(names, options.weights).values())
    method = {"cfg": cfg, "cg": cg, "cg_cond": cg_conditional}[options.method]
    digits = parse_digits(options.digit, models[-1].metadata["classes"])
    y = torch.tensor(digits).repeat_interleave(options.n)
    said = f"{options.n} x {options.digit} by {options.method}"
    return Question(partial(method, *models, w=w), models[0].schedule, y, y.numpy(), options.n, said)


def _by_prompt(options: argparse.Namespace, w: float) -> Question:
    tokens = to_tokens(options.prompt).repeat_interleave(options.n, dim=0)
    for prompt in filter(None, (*options.prompt, options.negative)):
        try:
            parse(prompt)
        except InputError as error:
            print(f"note: {error} It is drawn all the same, somehow.", file=sys.stderr)
    model = load_models(("text_unet",), options.weights)["text_unet"]
    make = partial(cfg_text, model, w=w, negative=options.negative)
    said = ", ".join(map(repr, options.prompt)) + (f" away from {options.negative!r}" if options.negative else "")
    names = np.repeat(np.array(options.prompt), options.n)
    return Question(make, model.schedule, tokens, names, options.n, f"{options.n} x {said} by cfg")


def _without_condition(options: argparse.Namespace, w: float) -> Question:
    """Rows of ten."""
    if options.w is not None and not options.guiding_weights:
        raise InputError("--w is the weight of autoguidance: with --unconditional it wants --guiding-weights.")
    ddpm, guide = load_models(("ddpm",), options.weights)["ddpm"], None
    said = f"{options.n} unconditional, by ddpm"
    if options.guiding_weights:
        guide = load_models(("ddpm",), [options.guiding_weights])["ddpm"]
        said += f" guided by {options.guiding_weights}"
    eps, rows = unconditional(ddpm, guide, w), torch.zeros(options.n, dtype=torch.long)
    return Question(lambda rows: eps, ddpm.schedule, rows, None, min(options.n, 10), said, guide is not None)


def parse_digits(text: str, classes: int = 10) -> list[int]:
    """ "7", "0-9" or "1,3,5-7" as a list. Raises InputError for anything else and for a digit outside 0..classes - 1."""
    digits = []
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match:
            raise InputError(f'A digit, or digits like "0-9" or "1,3,5-7", expected, got {text!r}.')
        low, high = int(match[1]), int(match[2] or match[1])
        if low > high:
            raise InputError(f"No digit in {part.strip()!r}: write the smaller one first.")
        if high >= classes:
            raise InputError(f"Unknown digit in {text!r}: this model knows 0 to {classes - 1}.")
        digits += range(low, high + 1)
    return digits


def _png(x_0: Images, columns: int, zoom: int = 4) -> bytes:
    rows = list(to_bytes(x_0).cpu().split(columns))
    rows[-1] = functional.pad(rows[-1], (0, 0, 0, 0, 0, columns - len(rows[-1])))  # the last row ends in black
    picture = torch.stack(rows).permute(0, 2, 1, 3).flatten(2).flatten(0, 1).numpy()  # from (rows, columns, 28, 28)
    file = io.BytesIO()
    matplotlib.image.imsave(file, picture.repeat(zoom, 0).repeat(zoom, 1), cmap="gray", vmin=0, vmax=255, format="png")
    return file.getvalue()


def _npz(x_0: Images, y: np.ndarray | None) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=to_bytes(x_0).cpu().numpy(), **({} if y is None else {"y": y}))
    return file.getvalue()
