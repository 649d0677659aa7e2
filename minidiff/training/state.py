"""The state of a training run, whole: after any interruption it is continued, bit for bit."""

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

STATE_FORMAT = 4
KIND = "minidiff-run"  # the key of the metadata


@dataclass(eq=False)
class TrainState:
    """A training run after `step` steps: everything that the next step depends on."""

    recipe: Recipe
    digits: Digits
    seed: int
    net: nn.ModuleDict
    ema: AveragedModel
    optimizers: Optimizers
    generator: torch.Generator  # of everything random
    # numbers of the images that are still to see in this epoch
    left: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.int64, device="cpu"))
    losses: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def step(self) -> int:
        """How many steps were taken: 0 before the first."""
        return len(self.losses)

    @property
    def loss(self) -> float:
        """The loss of the last step."""
        return self.losses[-1]

    @property
    def average(self) -> nn.ModuleDict:
        """The averaged networks as they stand now: what is sampled from."""
        return self.ema.module

    def progress(self) -> float:
        """The part that is done, of the steps or of the seconds of the recipe; 1: finished."""
        if self.recipe.seconds is not None:
            return self.seconds / self.recipe.seconds
        return self.step / self.recipe.steps

    def next_rows(self) -> Tensor:
        """Numbers of the images of the next batch: each once, in random order, then again."""
        n = len(self.digits.labels)
        while len(self.left) < self.recipe.batch:
            epoch = torch.randperm(n, generator=self.generator, device="cpu")
            self.left = torch.cat([self.left, epoch])
        chosen, self.left = self.left.split([self.recipe.batch, len(self.left) - self.recipe.batch])
        return chosen

    def identity(self) -> dict:
        """What a checkpoint must agree on to be continued."""
        metadata = {
            "format": STATE_FORMAT,
            "recipe": self.recipe.metadata(),
            "data_sha256": self.digits.sha256,
            "seed": self.seed,
            # what changes the last bits
            "torch": torch.__version__,
            "precision": precision(device()),
            "compiled": settings.COMPILE,
            "device": device().type,
            "processes": processes().world,
        }
        return json.loads(json.dumps(metadata))


@torch_as_it_starts()
def initial_state(recipe: Recipe, digits: Digits, seed: int = 0) -> TrainState:
    """A run before its first step; the global random state stays as it is.

    Raises InputError as `load` does for a frozen part.
    """
    with torch.random.fork_rng(devices=[]):  # networks are built on the CPU
        torch.default_generator.manual_seed(seed)
        net = recipe.build(digits.classes, recipe.schedule()).to(device()).train()
    if recipe.frozen:
        part = load(recipe.frozen, data_sha256=digits.sha256).net["text"]
        net["text"].requires_grad_(False).load_state_dict(part.state_dict())
    ema = AveragedModel(net, multi_avg_fn=power_average(recipe.ema_power))
    optimizers = recipe.optimizers(net, recipe.weight_decay)
    generator = torch.Generator().manual_seed(seed)
    return TrainState(recipe, recipe.digits(digits), seed, net, ema, optimizers, generator)


def power_average(power: int) -> Callable:
    """ema <- b ema + (1 - b) new with b = (1 - 1/n)^power after n steps   [Karras 2024, sec. 3.1]

    The weights after step k count as k^(power - 1) does: the average is over a fixed part of the
    run, however long it is. For AveragedModel.
    """

    @torch.no_grad()
    def update(average: list[Tensor], new: list[Tensor], steps_before: Tensor) -> None:
        torch._foreach_lerp_(average, new, 1 - (1 - 1 / (int(steps_before) + 1)) ** power)

    return update


def save_state(path: str | Path, state: TrainState) -> None:
    """All of it as one safetensors file, atomically: after a kill the old or the new is there."""
    tensors = {f"net.{key}": value for key, value in state.net.state_dict().items()}
    tensors |= {f"ema.{key}": value for key, value in state.ema.state_dict().items()}
    tensors |= {f"optimizer.{key}": value for key, value in tensors_of(state.optimizers).items()}
    tensors |= {"generator": state.generator.get_state(), "left": state.left}
    tensors["losses"] = torch.tensor(state.losses, dtype=torch.float64)
    metadata = json.dumps({**state.identity(), "seconds": state.seconds})
    whole = {key: value.detach().cpu().contiguous().clone() for key, value in tensors.items()}
    write_atomically(path, to_safetensors(whole, metadata={KIND: metadata}))


@torch_as_it_starts()
def load_state(path: str | Path, recipe: Recipe, digits: Digits, seed: int = 0) -> TrainState:
    """The run that save_state wrote, ready for its next step.

    Raises InputError when the file is missing or broken, or belongs to another recipe, data set,
    seed, device, number of processes or version: what would come out could not be called the result
    of this recipe.
    """
    state = initial_state(recipe, digits, seed)
    absent = "there is no checkpoint to resume. Start without --resume."
    tensors, metadata = read_tensors(Path(path), KIND, absent)
    for key, wanted in state.identity().items():
        if metadata.get(key) != wanted:
            what = f"{key.replace('_', ' ')} ({_difference(wanted, metadata.get(key))})"
            raise InputError(
                f"{path}: this checkpoint has another {what}. Delete it to start anew."
            )
    try:
        state.net.load_state_dict(_under(tensors, "net"))
        state.ema.load_state_dict(_under(tensors, "ema"))
        restore(state.optimizers, _under(tensors, "optimizer"))
        state.generator.set_state(tensors["generator"])
        state.left = tensors["left"]
        state.losses = tensors["losses"].tolist()
        state.seconds = metadata["seconds"]
    except (RuntimeError, KeyError, ValueError, IndexError) as error:
        raise InputError(
            f"{path}: the checkpoint does not fit the recipe {recipe.name!r}. {error}"
        ) from error
    return state


def _under(tensors: dict[str, Tensor], part: str) -> dict[str, Tensor]:
    return {
        key.partition(".")[2]: value for key, value in tensors.items() if key.startswith(f"{part}.")
    }


def _difference(wanted: object, came: object) -> str:
    """Where two values differ, shortly: dictionaries key by key."""
    if isinstance(wanted, dict) and isinstance(came, dict):
        keys = [key for key in wanted.keys() | came.keys() if wanted.get(key) != came.get(key)]
        return "; ".join(
            f"{key}: wanted {wanted.get(key)}, came {came.get(key)}" for key in sorted(keys)
        )
    return f"wanted {str(wanted)[:20]}, came {str(came)[:20]}"
