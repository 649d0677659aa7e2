"""What several commands share: how help is laid out, checked numbers, models by file."""

import argparse
from collections.abc import Callable, Sequence

from minidiff.settings import device
from minidiff.symbols import InputError
from minidiff.training.checkpoints import Checkpoint, kind, load, same_data


class Help(argparse.RawDescriptionHelpFormatter, argparse.ArgumentDefaultsHelpFormatter):
    """The description as it is written; behind an option's help its default, if it has one."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        without = action.default in (None, False, [], "")
        return action.help if without else super()._get_help_string(action)


def add_command(
    sub: argparse._SubParsersAction, run: Callable, name: str, what: str, description: str
) -> argparse.ArgumentParser:
    """The parser of a command: what it is in a word, its description, what runs it."""
    parser = sub.add_parser(name, help=what, description=description, formatter_class=Help)
    parser.set_defaults(run=run)
    return parser


def positive(option: str, value: int) -> int:
    """The value. Raises InputError if it is not at least 1."""
    if value < 1:
        raise InputError(f"{option} must be at least 1, got {value}.")
    return value


def seed(text: str) -> int:
    """A seed that torch's generators take.

    Raises ArgumentTypeError, or ValueError for no whole number, as argparse wants it.
    """
    value = int(text)
    if not 0 <= value < 2**63:
        raise argparse.ArgumentTypeError(f"a seed lies between 0 and 2^63 - 1, got {text}")
    return value


def load_models(names: Sequence[str], files: Sequence[str]) -> dict[str, Checkpoint]:
    """The named models on the device, from these files where there are some, else pretrained.

    Raises InputError.
    """
    named = {}
    for file in files:
        name = kind(file)
        if name not in names or name in named:
            wanted = " and ".join(names)
            raise InputError(
                f"{file}: weights of {name!r}, but {wanted} are wanted here, one file each."
            )
        named[name] = file
    models = {name: load(name, named.get(name)) for name in names}
    same_data(*models.values())
    for model in models.values():
        model.net.to(device())
    return models
