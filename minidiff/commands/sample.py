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

from minidiff import settings
from minidiff.commands.options import add_command, load_models, positive, seed
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
  cfg      w = -1 is unconditional, w = 0 the conditional model, w > 0 is guided
           (scale s = 1 + w)
  cg       w = 0 is unconditional, w = 1 is Bayes' rule, w > 1 is sharper than Bayes
           (scale s = w)
  cg_cond  cg on top of the conditional model: w = 0 is that model, w > 0 is guided
           (scale s = 1 + w)
--prompt conditions on a sentence: a digit, thin or thick, narrow or wide, slanted to the
left, upright or slanted to the right; what is not said is left open. There w = -1 draws
what --negative says (nothing, unless given).
--unconditional has no condition: the pretrained ddpm, or another (lesson 14).
--guiding-weights F, weights of a weaker ddpm (train ddpm --steps 400), is autoguidance:
it adds w times the difference of the two predictions of the noise.
The same command gives the same digits. Noise is drawn on the CPU, also where a GPU
computes (MINIDIFF_DEVICE=cpu|cuda|auto).
"""
METHODS = {
    "cfg": (cfg, ("unet",)),
    "cg": (cg, ("ddpm", "classifier")),
    "cg_cond": (cg_conditional, ("unet", "classifier")),
}


class Question(NamedTuple):
    """What is to be drawn: make(y) is the denoiser of rows y, on this schedule."""

    make: Callable[[Conditions], Denoiser]
    schedule: NoiseSchedule
    y: Conditions
    names: np.ndarray | None  # of the rows, for a file
    columns: int  # images in a row of a picture
    said: str
    weighs: bool = True  # whether w matters


def add_to(sub: argparse._SubParsersAction) -> None:
    """The command and its options."""
    parser = add_command(sub, run, "sample", "draw digits", DESCRIPTION)
    add = parser.add_argument
    what = parser.add_mutually_exclusive_group()
    what.add_argument("--digit", metavar="D", help="7, or 0-9, or 1,3,5-7 (default: every class)")
    prompt = "sentences instead of digits, in English or Chinese (cfg only)"
    what.add_argument("--prompt", nargs="+", metavar="P", help=prompt)
    what.add_argument("--unconditional", action="store_true", help="any digits, as they come")
    guiding = "with --unconditional: weights of a weaker network, for autoguidance"
    add("--guiding-weights", metavar="F", help=guiding)
    negative = "with --prompt: a sentence to move away from (default: none)"
    add("--negative", default="", metavar="P", help=negative)
    add("--n", type=int, default=1, metavar="N", help="images of each digit or sentence, or of any")
    add("--w", type=float, help="guidance weight (default: 1)")
    add("--method", choices=METHODS, default="cfg", help="of guidance")
    add("--steps", type=int, default=50, help="DDIM steps, 1..T")
    eta = "stochastic sampling: fresh noise in every step, 0 (DDIM) to 1 (as in DDPM)"
    add("--eta", type=float, default=0.0, help=eta)
    add("--seed", type=seed, default=0, help="of the noise")
    add("--weights", nargs="+", default=[], metavar="F", help="other weights than the pretrained")
    rounding = "of the networks; auto: bfloat16 where it is in hardware"
    add("--precision", choices=settings.PRECISIONS, default="float32", help=rounding)
    picture = "a picture, a row for each digit or sentence (unconditional: ten in a row)"
    add("--out", default="digits.png", metavar="F", help=f".png: {picture}; .npz: x, y")


def run(options: argparse.Namespace) -> None:
    """Draw the digits that were requested, or any, and write a picture or arrays."""
    settings.SAMPLING_PRECISION = options.precision
    out = check_writable(options.out)
    if out.suffix not in (".png", ".npz"):
        raise InputError(f"--out must end in .png or .npz, got {options.out!r}.")
    positive("--n", options.n)
    w = 1.0 if options.w is None else options.w
    question = _question(options, w)
    y = question.y.to(device())
    x_0 = generate(question.make, y, question.schedule, options.steps, options.eta, options.seed)
    whole = _png(x_0, question.columns) if out.suffix == ".png" else _npz(x_0, question.names)
    write_atomically(out, whole)
    how = f"eta = {options.eta:g}, seed {options.seed}, {sampling_precision(device())}"
    print(f"wrote {out}: {question.said}, {f'w = {w:g}, ' * question.weighs}{how}")


def _question(options: argparse.Namespace, w: float) -> Question:
    """Raises InputError for options that do not go together, and for weights of another kind."""
    if options.guiding_weights and not options.unconditional:
        raise InputError(
            "--guiding-weights is a weaker network, for autoguidance: it wants --unconditional."
        )
    if options.negative and not options.prompt:
        raise InputError("--negative is a sentence against a sentence: it wants --prompt.")
    if options.prompt:
        if options.method != "cfg":
            raise InputError(
                "--prompt goes with classifier-free guidance only: a classifier reads no sentence; "
                f"got {options.method}."
            )
        return _by_prompt(options, w)
    if options.unconditional:
        if options.method != "cfg":
            raise InputError(f"--unconditional has no condition to guide to; got {options.method}.")
        return _without_condition(options, w)
    return _by_digit(options, w)


def _by_digit(options: argparse.Namespace, w: float) -> Question:
    method, names = METHODS[options.method]
    models = list(load_models(names, options.weights).values())
    classes = models[-1].metadata["classes"]
    wanted = options.digit or f"0-{classes - 1}"
    y = torch.tensor(parse_digits(wanted, classes)).repeat_interleave(options.n)
    said = f"{options.n} x {wanted} by {options.method}"
    make = partial(method, *models, w=w)
    return Question(make, models[0].schedule, y, y.numpy(), options.n, said)


def _by_prompt(options: argparse.Namespace, w: float) -> Question:
    tokens = to_tokens(options.prompt).repeat_interleave(options.n, dim=0)
    for prompt in filter(None, (*options.prompt, options.negative)):
        try:
            parse(prompt)
        except InputError as error:
            print(f"note: {error} It is drawn all the same, somehow.", file=sys.stderr)
    model = load_models(("text_unet",), options.weights)["text_unet"]
    make = partial(cfg_text, model, w=w, negative=options.negative)
    said = ", ".join(map(repr, options.prompt))
    if options.negative:
        said += f" away from {options.negative!r}"
    names = np.repeat(np.array(options.prompt), options.n)
    return Question(make, model.schedule, tokens, names, options.n, f"{options.n} x {said} by cfg")


def _without_condition(options: argparse.Namespace, w: float) -> Question:
    if options.w is not None and not options.guiding_weights:
        raise InputError(
            "--w is the weight of autoguidance: with --unconditional it wants --guiding-weights."
        )
    ddpm, guide = load_models(("ddpm",), options.weights)["ddpm"], None
    said = f"{options.n} unconditional, by ddpm"
    if options.guiding_weights:
        guide = load_models(("ddpm",), [options.guiding_weights])["ddpm"]
        said += f" guided by {options.guiding_weights}"
    eps = unconditional(ddpm, guide, w)
    rows, columns = torch.zeros(options.n, dtype=torch.long), min(options.n, 10)
    return Question(lambda _: eps, ddpm.schedule, rows, None, columns, said, guide is not None)


def parse_digits(text: str, classes: int = 10) -> list[int]:
    """ "7", "0-9" or "1,3,5-7" as a list. Raises InputError for what is none of 0..classes - 1."""
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
    pixels = to_bytes(x_0).cpu()
    black = torch.zeros(-len(pixels) % columns, *pixels.shape[1:], dtype=pixels.dtype)
    grid = torch.cat([pixels, black]).unflatten(0, (-1, columns))  # (rows, columns, 28, 28)
    picture = grid.movedim(1, 2).flatten(2).flatten(0, 1).numpy()
    file = io.BytesIO()
    zoomed = picture.repeat(zoom, 0).repeat(zoom, 1)
    matplotlib.image.imsave(file, zoomed, cmap="gray", vmin=0, vmax=255, format="png")
    return file.getvalue()


def _npz(x_0: Images, y: np.ndarray | None) -> bytes:
    file = io.BytesIO()
    np.savez_compressed(file, x=to_bytes(x_0).cpu().numpy(), **({} if y is None else {"y": y}))
    return file.getvalue()
