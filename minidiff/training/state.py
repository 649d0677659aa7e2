"""The state of a training run, whole: it can be written at any step and continued, bit for bit, after any interruption."""

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors.torch import save as to_safetensors
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from minidiff import settings
from minidiff.datasets.mnist import Digits
from minidiff.settings import device, precision, torch_as_it_starts
from minidiff.symbols import InputError
from minidiff.training.checkpoints import load, read_tensors, write_atomically
from minidiff.training.distributed import processes
from minidiff.training.optimizers import Optimizers, restore, tensors_of
from minidiff.training.recipes import Recipe

STATE_FORMAT = 3


@dataclass(eq=False)
class Run:
    """A run of a recipe after len(losses) steps: weights, their average, the optimizers, everything random, rows still to see."""

    recipe: Recipe
    digits: Digits
    seed: int
    net: nn.ModuleDict
    average: AveragedModel
    optimizers: Optimizers
    generator: torch.Generator
    left: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64, device="cpu"))
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0

    def progress(self) -> float:
        """The part of the run that is done: of its steps, or of its seconds where they are the limit. 1 or more: finished."""
        if self.recipe.seconds is not None:
            return self.seconds / self.recipe.seconds
        return len(self.losses) / self.recipe.steps

    def next_rows(self) -> Tensor:
        """Row numbers of the next batch: every row once, in random order, then again. Nothing is left out."""
        while len(self.left) < self.recipe.batch:
            self.left = torch.cat([self.left, torch.randperm(len(self.digits.labels), generator=self.generator, device="cpu")])
        chosen, self.left = self.left.split([self.recipe.batch, len(self.left) - self.recipe.batch])
        return chosen

    def identity(self) -> dict:
        """What a checkpoint must agree on to be continued."""
        metadata = {"recipe": self.recipe.metadata(), "data_sha256": self.digits.sha256, "seed": self.seed}
        metadata |= {"precision": precision(device()), "compiled": settings.COMPILE}  # these change the last bits
        metadata |= {"device": device().type, "processes": processes().world}  # and so do these
        return json.loads(json.dumps({"format": STATE_FORMAT, "torch": torch.__version__, **metadata}))


@torch_as_it_starts()
def begin(recipe: Recipe, digits: Digits, seed: int = 0) -> Run:
    """A run before its first step; the global random state stays as it is. Raises InputError as `load` does for a frozen part."""
    with torch.random.fork_rng(devices=[]):  # networks are built on the CPU
        torch.default_generator.manual_seed(seed)
        net = recipe.build(digits.classes, recipe.schedule()).to(device()).train()
    if recipe.frozen:
        part = load(recipe.frozen, data_sha256=digits.sha256).net["text"]
        net["text"].requires_grad_(False).load_state_dict(part.state_dict())
    average = AveragedModel(net, multi_avg_fn=power_average(recipe.ema_power))
    optimizers = recipe.optimizers(net, recipe.weight_decay)
    return Run(recipe, recipe.digits(digits), seed, net, average, optimizers, torch.Generator().manual_seed(seed))


def power_average(power: int) -> Callable:
    """For AveragedModel: average <- b average + (1 - b) new, b = (1 - 1/n)^power after n steps   [Karras 2024, sec. 3.1]

    The weights after step k count as k^(power - 1) does: the average is as long as a fixed part of the run, however long it is.
    """

    @torch.no_grad()
    def update(average: list[Tensor], new: list[Tensor], steps_before: Tensor) -> None:
        torch._foreach_lerp_(average, new, 1 - (1 - 1 / (int(steps_before) + 1)) ** power)

    return update


def save_run(path: str | Path, run: Run) -> None:
    """Write the whole state to one safetensors file, atomically: after a kill at any moment the old or the new one is there."""
    tensors = {f"net.{key}": value for key, value in run.net.state_dict().items()}
    tensors |= {f"average.{key}": value for key, value in run.average.state_dict().items()}
    tensors |= {f"optimizer.{key}": value for key, value in tensors_of(run.optimizers).items()}
    tensors |= {"generator": run.generator.get_state(), "left": run.left}
    tensors["losses"] = torch.tensor(run.losses, dtype=torch.float64)
    metadata = json.dumps({**run.identity(), "seconds": run.seconds})
    whole = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    write_atomically(path, to_safetensors(whole, metadata={"minidiff-run": metadata}))


@torch_as_it_starts()
def continue_run(path: str | Path, recipe: Recipe, digits: Digits, seed: int = 0) -> Run:
    """The run that save_run wrote, ready for its next step.

    Raises InputError when the file is missing or broken, or belongs to another recipe, data set, seed, device, number of
    processes or version: what would come out could not be called the result of this recipe.
    """
    run = begin(recipe, digits, seed)
    tensors, metadata = read_tensors(Path(path), "minidiff-run", "there is no checkpoint to resume. Start without --resume.")
    for key, wanted in run.identity().items():
        if metadata.get(key) != wanted:
            difference = _difference(wanted, metadata.get(key))
            raise InputError(
                f"{path}: this checkpoint has another {key.replace('_', ' ')} ({difference}). Delete it to start anew."
            )
    parts = {part: _under(tensors, part) for part in ("net", "average", "optimizer")}
    try:
        run.net.load_state_dict(parts["net"])
        run.average.load_state_dict(parts["average"])
        restore(run.optimizers, parts["optimizer"])
        run.generator.set_state(tensors["generator"])
        run.left, run.losses, run.seconds = tensors["left"], tensors["losses"].tolist(), metadata["seconds"]
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        raise InputError(f"{path}: the checkpoint does not fit the recipe {recipe.name!r}. {error}") from error
    return run


def _under(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(f"{part}.")}


def _difference(wanted: object, came: object) -> str:
    """Where two values differ, shortly: dictionaries key by key."""
    if isinstance(wanted, dict) and isinstance(came, dict):
        keys = [key for key in wanted.keys() | came.keys() if wanted.get(key) != came.get(key)]
        return "; ".join(f"{key}: wanted {wanted.get(key)}, came {came.get(key)}" for key in sorted(keys))
    return f"wanted {str(wanted)[:20]}, came {str(came)[:20]}"
