"""The command line: python -m minidiff train | sample | evaluate | verify."""

import argparse
import sys

from minidiff.commands import evaluate_methods, sample_digits, train_model, verify_claims
from minidiff.measure.evaluate import EVERY, Setting
from minidiff.symbols import InputError
from minidiff.training.generation import METHODS
from minidiff.training.recipes import BUDGETS, RECIPES

EPILOG = """\
examples
  python -m minidiff sample --digit 7 --w 3 --out seven.png            one guided 7, by classifier-free guidance
  python -m minidiff sample --digit 0-9 --n 100 --out digits.npz       100 of each digit, as arrays x and y
  python -m minidiff sample --digit 3 --method cg --w 4 --out 3.png    the same question to the other method
  python -m minidiff sample --prompt "a thick seven, slanted to the left" --w 3    asked for in words
  python -m minidiff sample --unasked --n 20 --eta 1                   any digits, with fresh noise in every step
  python -m minidiff train unet --budget live --out my_unet.safetensors  train the conditional U-Net yourself ...
  python -m minidiff sample --digit 7 --weights my_unet.safetensors    ... and draw with it
  python -m minidiff evaluate --seeds 1                                what the digits are worth, for every w
  python -m minidiff verify                                            every formula against worlds with a known truth
"""

SAMPLE = """\
Draw digits. The guidance weight w has another zero point in each method:
  cfg   w = -1 ignores the digit, w = 0 is the plain conditional model, w > 0 is guided    [scale s = 1 + w]
  cg    w = 0 ignores the digit, w = 1 is Bayes' rule, w > 1 is sharper than Bayes         [scale s = w]
  cg_cond    cg on top of the conditional model: w = 0 is that model, w > 0 is guided     [scale s = 1 + w]
--prompt asks in words: a digit, thin or thick, narrow or wide, slanted to the left, upright or slanted to the right; what is not
said is left open. There w = -1 draws what --negative says (nothing, unless given).
--unasked asks for nothing: by the shipped ddpm, or --weights of another (lesson 14). --away F, weights of a weaker ddpm (train
ddpm --steps 400), adds w times the difference of the two guesses of the noise.
The same command gives the same digits. Noise is drawn on the CPU, also where a GPU computes (MINIDIFF_DEVICE=cpu|cuda|auto).
MINIDIFF_SAMPLING=auto draws in bfloat16 where the hardware has it: faster, and nearly the same digits.
"""

TRAIN = """\
Train one model on the 60,000 images and write its weights with the recipe, the noise schedule and the data's checksum.
  ddpm        an unconditional U-Net: draws digits, cannot be asked for one          [for classifier guidance]
  classifier  says which digit is in a noised image, at every noise level            [for classifier guidance]
  unet        a U-Net that is told the digit, and 10 % of the time is not            [for classifier-free guidance]
  judge       a classifier of clean images, which counts and never guides            [for evaluate]
  text        an encoder of sentences and one of images, trained to fit each other   [for words]
  words       a U-Net that is told a sentence, read by the shipped text encoder      [for guidance by sentences]
The whole state is written to F.checkpoint now and then; after any interruption, kill -9 included, --resume goes on from there and
ends with the same weights, bit for bit on a CPU (on GPUs nobody has tried). Several processes share every batch under torchrun,
with the same result up to rounding:
  torchrun --nproc-per-node 2 -m minidiff train unet --out mine.safetensors
MINIDIFF_PRECISION=float32 trains without bfloat16, MINIDIFF_COMPILE=1 with torch.compile (about a minute, then faster).
"""

EVALUATE = """\
Sample with every method at every guidance scale s, with several seeds, and measure each set of images. A row for each:
  as_asked    share that the judge reads as the digit that was asked for
  sure        share of which the judge is over 0.9 sure
  frechet     Frechet distance to the 60,000 training images in the judge's features (falls with n; compare with "real")
  precision, recall    by k = 3 nearest neighbours: do the images look real; do they cover what is real
  diversity   mean distance of two images of one digit
"real" rows are test images, the same number: the floor and the ceiling. An interrupted run goes on when the same command is given
again, and the file is the same as that of a run in one piece. A file of other weights or settings is refused and left alone.

The method "exact" has no network: M6 with the exact denoiser of the training images, which is M4 just as well (lesson 10).
"two networks" is cfg with ddpm as the network that is told nothing.

With --variants: guidance in an interval, rescale, dynamic threshold, CFG++, APG and autoguidance (lesson 12) beside plain cfg.
Each is tried in five settings with seed 0; the best one, and the best one at its largest scale, by frechet, are measured again
with every other seed, and only these rows are in the table at the end.
"""

VERIFY = """\
Execute the claims in Gaussian mixtures (1, 2 and 64 dimensions, two schedules, every t), where the true answer is known: two
independent routes to each number, and wrong versions that must be rejected. About 12 seconds, float64, no data, no weights.

With --module F, functions of the Python file F are judged in the place of the package's:
  classifier_guided(eps, log_prob, schedule, w) -> eps_bar          used by M4, M4=M6, P1
  classifier_free(eps_cond, eps_null, w) -> eps_bar                 used by M6, M7, M4=M6
eps, eps_cond, eps_null and eps_bar are functions of (x_t, t) that return noise of the shape and dtype of x_t; log_prob(x_t, t)
returns log p(y|x_t) for each row; schedule.abar is a table over t. They are called without autograd, as in the samplers. F runs
with your rights: judge only files that you would run. A file can cheat; this finds mistakes, not cheats.

--json prints for each claim: worst, where, tolerance, wrong_versions (how many), accepted (those that were not rejected),
looks_like (the wrong version that your function equals), yours (which of your functions were used), trouble (why not judged).
Exit status: 0 all claims hold, 1 one fails, 2 the file could not be judged.
"""


def parser() -> argparse.ArgumentParser:
    """All commands with their options and help."""
    raw = argparse.RawDescriptionHelpFormatter
    top = argparse.ArgumentParser(
        prog="python -m minidiff", description="Guided diffusion on MNIST.", epilog=EPILOG, formatter_class=raw
    )
    sub = top.add_subparsers(dest="command", required=True, metavar="train | sample | evaluate | verify")

    _add_train(sub, raw)

    sample = sub.add_parser("sample", help="draw digits", description=SAMPLE, formatter_class=raw)
    what = sample.add_mutually_exclusive_group()
    what.add_argument("--digit", default="0-9", metavar="D", help="7, or 0-9, or 1,3,5-7 (default 0-9)")
    what.add_argument("--prompt", nargs="+", metavar="P", help="sentences instead of digits, in English or Chinese (cfg only)")
    what.add_argument("--unasked", action="store_true", help="any digits, as they come")
    sample.add_argument("--away", metavar="F", help="with --unasked: weights of a weaker network to move away from")
    sample.add_argument("--negative", default="", metavar="P", help="with --prompt: a sentence to move away from (default: none)")
    sample.add_argument("--n", type=int, default=1, metavar="N", help="images of each digit or sentence, or of any (default 1)")
    sample.add_argument("--w", type=float, help="guidance weight (default 1)")
    sample.add_argument("--method", choices=METHODS, default="cfg", help="cfg (default), cg, or cg_cond")
    sample.add_argument("--steps", type=int, default=50, help="DDIM steps, 1..T (default 50)")
    sample.add_argument("--eta", type=float, default=0.0, help="fresh noise in every step, 0..1 (default 0: DDIM; 1: as in DDPM)")
    sample.add_argument("--seed", type=seed, default=0, help="of the noise (default 0)")
    sample.add_argument("--weights", nargs="+", default=[], metavar="F", help="other weights than the shipped ones")
    sample.add_argument(
        "--out",
        default="digits.png",
        metavar="F",
        help=".png: a picture, a row for each digit or sentence (unasked: ten in a row); .npz: x, y",
    )
    sample.set_defaults(run=sample_digits)

    _add_evaluate(sub, raw)
    _add_verify(sub, raw)
    return top


def _add_train(sub: argparse._SubParsersAction, raw: type) -> None:
    train = sub.add_parser("train", help="train a model", description=TRAIN, formatter_class=raw)
    train.add_argument("name", choices=RECIPES, help="which model")
    train.add_argument("--out", metavar="F", help="where the weights go (default NAME.safetensors)")
    train.add_argument("--data", metavar="DIR", help="a folder of four IDX files (default MINIDIFF_DATA, else data/mnist)")
    train.add_argument("--budget", choices=BUDGETS, default="full", help="full: the shipped weights' (default); live: a lesson's")
    limit = train.add_mutually_exclusive_group()
    limit.add_argument("--steps", type=int, metavar="N", help="training steps (default: the budget's)")
    limit.add_argument("--seconds", type=float, metavar="S", help="seconds instead of steps; the learning rate fits itself")
    train.add_argument("--seed", type=seed, default=0, help="of everything random (default 0)")
    train.add_argument("--checkpoint-every", type=int, default=500, metavar="N", help="steps (default 500); F.checkpoint")
    train.add_argument("--resume", action="store_true", help="go on from F.checkpoint, bit for bit")
    train.add_argument("--float32", action="store_true", help="write full precision; half precision is the default")
    train.set_defaults(run=train_model)


def _add_evaluate(sub: argparse._SubParsersAction, raw: type) -> None:
    usual = Setting()
    scales = " ".join(f"{s:g}" for s in usual.scales)
    evaluate = sub.add_parser("evaluate", help="measure every method over w", description=EVALUATE, formatter_class=raw)
    what = evaluate.add_mutually_exclusive_group()
    what.add_argument("--variants", action="store_true", help="the later ideas, each searched over five settings of its own")
    known = f"{', '.join(EVERY)} (default: {', '.join(usual.methods)})"
    what.add_argument("--methods", nargs="+", choices=EVERY, default=usual.methods, metavar="NAME", help=known)
    evaluate.add_argument("--scales", nargs="+", type=float, default=usual.scales, metavar="S", help=f"default {scales}")
    evaluate.add_argument("--n", type=int, default=usual.each, metavar="N", help=f"images of each digit (default {usual.each})")
    evaluate.add_argument("--seeds", type=int, default=usual.seeds, metavar="K", help=f"seeds 0..K-1 (default {usual.seeds})")
    evaluate.add_argument("--steps", type=int, default=usual.steps, help=f"DDIM steps (default {usual.steps})")
    evaluate.add_argument("--weights", nargs="+", default=[], metavar="F", help="other weights than the shipped ones")
    evaluate.add_argument("--out", metavar="F", help="write the rows as CSV, after each row; go on from what is there")
    evaluate.set_defaults(run=evaluate_methods)


def _add_verify(sub: argparse._SubParsersAction, raw: type) -> None:
    verify = sub.add_parser("verify", help="execute every formula", description=VERIFY, formatter_class=raw)
    verify.add_argument("--claim", metavar="M4", help="this claim only: M1 to M7, M4=M6, or P1")
    verify.add_argument("--module", metavar="F", help="a Python file with classifier_guided or classifier_free, or both")
    verify.add_argument("--time-limit", type=float, default=20.0, metavar="S", help="seconds for each claim of F (default 20)")
    verify.add_argument("--json", action="store_true", help="print JSON instead of a table")
    verify.set_defaults(run=verify_claims)


def seed(text: str) -> int:
    """A seed that torch's generators take. Raises ArgumentTypeError, or ValueError for no whole number, as argparse wants it."""
    value = int(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"a seed lies between 0 and 2^63 - 1, got {text}")
    return value


def main(argv: list[str] | None = None) -> int:
    """Run one command. 0: done; 1: a claim fails; 2: the input cannot be used, the message says why; 130: Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has not
            stream.reconfigure(errors="backslashreplace")  # a terminal without Chinese shows what it can
    options = parser().parse_args(argv)
    try:
        status = options.run(options)
    except (InputError, OSError, FloatingPointError) as error:
        print(f"minidiff: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt as stop:
        print(f"\nminidiff: interrupted; {str(stop) or 'no file was changed.'}", file=sys.stderr)
        return 130
    return status or 0


if __name__ == "__main__":
    sys.exit(main())
