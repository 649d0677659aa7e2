"""What asking for a digit costs: passes through the networks, seconds and memory, method by
method on this machine.
"""

import time
import weakref
from collections.abc import Callable, Mapping
from functools import partial
from typing import NamedTuple

import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from minidiff.diffusion.guidance import clipped
from minidiff.evaluation.sweep import Method, drawing, guidance_methods
from minidiff.sampling import predictions
from minidiff.settings import device
from minidiff.symbols import Denoiser, Labels
from minidiff.training.checkpoints import Checkpoint, load

N, STEPS, REPEATS = 100, 10, 3


class Cost(NamedTuple):
    """unet, classifier: passes per image and step (each of the classifier's is forward and back).
    seconds: per image of 50 steps.

    megabytes: the most that tensors take at one moment while N images are sampled at once, beside
    weights: see LiveTensors.
    """

    parameters: int
    unet: float
    classifier: float
    seconds: float
    megabytes: float


def alone(unet: Checkpoint, y: Labels, w: float) -> Denoiser:
    """The conditional U-Net without guidance, one pass a step: the measure of the others.

    w has no effect.
    """
    return clipped(predictions(unet, y)[0], unet.schedule)


def ways(models: Mapping[str, Checkpoint]) -> dict[str, Method]:
    """What is compared: "alone", then the three methods of guidance."""
    unet = models["unet"]
    return {
        "alone": Method(drawing(partial(alone, unet), unet.schedule), (unet,)),
        **guidance_methods(models),
    }


def costs() -> dict[str, Cost]:
    """The cost of every way, by name.

    Seconds are medians of REPEATS rounds in which all take turns.
    """
    models = {name: load(name) for name in ("unet", "ddpm", "classifier")}
    for model in models.values():
        model.net.to(device())
    known = ways(models)
    rounds = [{name: _seconds(way) for name, way in known.items()} for _ in range(REPEATS)]
    found = {}
    for name, way in known.items():
        parameters = sum(
            p.numel() for checkpoint in way.weights for p in checkpoint.net.parameters()
        )
        taken = sorted(one[name] for one in rounds)[REPEATS // 2]
        found[name] = Cost(parameters, *passes(models, name), taken, _megabytes(way))
    return found


def passes(
    models: Mapping[str, Checkpoint], name: str, n: int = 4, steps: int = 3
) -> tuple[float, float]:
    """Rows that go through the U-Net and through the classifier, per image and step, counted by
    hooks on the networks.
    """
    rows = {"unet": 0, "classifier": 0}

    def counter(part: str):
        def count(net: nn.Module, inputs: tuple, output: torch.Tensor) -> None:
            rows[part] += len(output)

        return count

    hooks = [
        model.net[part].register_forward_hook(counter(part))
        for model in models.values()
        for part in rows
        if part in model.net
    ]
    try:
        _sample(ways(models)[name], n, steps)
    finally:
        for hook in hooks:
            hook.remove()
    return rows["unet"] / (n * steps), rows["classifier"] / (n * steps)


def timed(call: Callable[[], object]) -> float:
    """Seconds until the call is done, on a GPU too, where it would return before its work is."""
    start = time.perf_counter()
    call()
    if device().type == "cuda":
        torch.cuda.synchronize()
    return time.perf_counter() - start


class LiveTensors(TorchDispatchMode):
    """While it is on: the bytes of the tensors made since then that are still alive, and the most
    there ever were.

    Working memory inside an operation is not seen, and neither is what was there before (the
    weights, for one).
    """

    def __init__(self):
        super().__init__()
        self.alive, self.most, self._known = 0, 0, set()

    def __torch_dispatch__(
        self, func: Callable, types: object, args: tuple = (), kwargs: dict | None = None
    ) -> object:
        """Do as told, then look at what came out."""
        out = func(*args, **(kwargs or {}))
        there = {storage.data_ptr() for storage in _storages((args, kwargs))}
        for storage in _storages(out):
            # else it is a view, or was written in place
            if storage.data_ptr() not in there | self._known:
                self._born(storage, storage.data_ptr(), storage.nbytes())
        return out

    def _born(self, storage: torch.UntypedStorage, place: int, size: int) -> None:
        self._known.add(place)
        self.alive += size
        self.most = max(self.most, self.alive)
        weakref.finalize(storage, self._gone, place, size)

    def _gone(self, place: int, size: int) -> None:
        self._known.discard(place)
        self.alive -= size


def _storages(tree: object) -> list[torch.UntypedStorage]:
    return [leaf.untyped_storage() for leaf in tree_leaves(tree) if isinstance(leaf, torch.Tensor)]


def _sample(way: Method, n: int, steps: int) -> None:
    way.draw(torch.arange(n, device=device()) % way.weights[0].metadata["classes"], 1.0, steps, 0)


def _seconds(way: Method) -> float:
    return timed(lambda: _sample(way, N, STEPS)) / N * 50 / STEPS


def _megabytes(way: Method) -> float:
    with LiveTensors() as tensors:
        _sample(way, N, 2)
    return tensors.most / 2**20
