"""minidiff train | sample | evaluate | verify: a file for each, with options, help and body."""

import argparse
import sys

from minidiff.commands import evaluate, sample, train, verify
from minidiff.symbols import InputError

EPILOG = """\
examples
  minidiff sample --digit 7 --w 3 --out seven.png
      one guided 7, by classifier-free guidance
  minidiff sample --digit 0-9 --n 100 --out digits.npz
      100 of each digit, as arrays x and y
  minidiff sample --digit 3 --method cg --w 4 --out 3.png
      the same condition, by classifier guidance
  minidiff sample --prompt "a thick seven, slanted to the left" --w 3
      conditioned on a sentence
  minidiff sample --unconditional --n 20 --eta 1
      unconditional generation, stochastic sampling
  minidiff train unet --budget live --out my_unet.safetensors
      train the conditional U-Net yourself ...
  minidiff sample --digit 7 --weights my_unet.safetensors
      ... and sample from it
  minidiff evaluate --seeds 1
      metrics of every method over w
  minidiff verify
      every formula against worlds with a known truth
"""


def parser() -> argparse.ArgumentParser:
    """All commands with their options and help."""
    top = argparse.ArgumentParser(
        prog="python -m minidiff",
        description="Guided diffusion on MNIST.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    names = "train | sample | evaluate | verify"
    sub = top.add_subparsers(dest="command", required=True, metavar=names)
    for command in (train, sample, evaluate, verify):
        command.add_to(sub)
    return top


def main(argv: list[str] | None = None) -> int:
    """0: done; 1: a claim fails; 2: the input cannot be used, the message says why; 130: Ctrl-C."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):  # a notebook's has not
            # a terminal without Chinese shows what it can
            stream.reconfigure(errors="backslashreplace")
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
