"""Everything random in a training step, from one generator, shared by processes."""

import atexit
import os
from typing import NamedTuple

import torch
import torch.distributed as dist
from jaxtyping import Float
from torch import Tensor

from minidiff.symbols import InputError, Points, Steps


class BatchRNG(NamedTuple):
    """Random numbers for the rows of this process, one of `world` that share a batch.

    Every process draws for the whole batch from the same generator, on the CPU, and keeps its own
    rows. So N processes see together what one process would see alone, and the device does not
    matter.
    """

    generator: torch.Generator
    rank: int = 0
    world: int = 1

    def normal(self, like: Points) -> Points:
        """N(0, I) of the shape, dtype and device of `like`."""
        shape = (self.world * len(like), *like.shape[1:])
        noise = torch.randn(shape, generator=self.generator, dtype=like.dtype, device="cpu")
        return self.shard(noise).to(like.device)

    def levels(self, rows: int, lowest: int, T: int) -> Steps:
        """t uniform in lowest..T, one for each row   [Ho 2020, Alg. 1]"""
        shape = (self.world * rows,)
        t = torch.randint(lowest, T + 1, shape, generator=self.generator, device="cpu")
        return self.shard(t)

    def middle_levels(self, rows: int, T: int, mean: float, spread: float) -> Steps:
        """t = ceil(T sigmoid(z)), z from N(mean, spread^2)   [Esser 2024, 2403.03206, sec. 3.1]"""
        how = {"generator": self.generator, "dtype": torch.float32, "device": "cpu"}
        z = mean + spread * torch.randn(self.world * rows, **how)
        return self.shard((T * torch.sigmoid(z)).ceil().long().clamp(1, T))

    def mixed_levels(
        self, rows: int, T: int, mean: float, spread: float, everywhere: float
    ) -> Steps:
        """A share `everywhere` of the rows uniform in 1..T, the others middle_levels."""
        chosen = self.uniform(rows)[:, 0] < everywhere
        uniform, middle = self.levels(rows, 1, T), self.middle_levels(rows, T, mean, spread)
        return torch.where(chosen, uniform, middle)

    def uniform(self, rows: int, columns: int = 1) -> Float[Tensor, "rows columns"]:
        """Numbers in [0, 1)."""
        how = {"generator": self.generator, "dtype": torch.float32, "device": "cpu"}
        return self.shard(torch.rand(columns, self.world * rows, **how).T)

    def gathered(self, own: Tensor) -> Tensor:
        """The rows of all processes, in their order, for a loss in which rows meet.

        Gradients reach the own rows, times `world`: each process then has its part of the whole
        gradient, and DistributedDataParallel takes the mean over processes.
        """
        if self.world == 1:
            return own
        rows = [torch.empty_like(own) for _ in range(self.world)]
        dist.all_gather(rows, own.detach().contiguous())
        rows[self.rank] = self.world * own - (self.world - 1) * own.detach()
        return torch.cat(rows)

    def shard(self, batch: Tensor) -> Tensor:
        """The rows of a batch that belong to this process."""
        share = len(batch) // self.world
        return batch[self.rank * share : (self.rank + 1) * share]


class Processes(NamedTuple):
    """This process among those that torchrun started: rank 0..world - 1; alone 0 of 1."""

    rank: int
    world: int


def processes() -> Processes:
    """Joins, once, the group that torchrun describes in the environment; else one process alone."""
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return Processes(0, 1)
    if not dist.is_initialized():
        on_gpu = torch.cuda.is_available() and os.environ.get("MINIDIFF_DEVICE", "auto") != "cpu"
        if on_gpu:
            torch.cuda.set_device(int(os.environ["LOCAL_RANK"]))
        dist.init_process_group("nccl" if on_gpu else "gloo")
        # gloo's threads, still running at the end, can abort the exit
        atexit.register(dist.destroy_process_group)
    return Processes(dist.get_rank(), dist.get_world_size())


def share_of(batch: int, among: Processes) -> int:
    """Images of a batch for each process. Raises InputError if they cannot be shared equally."""
    if batch % among.world:
        many = f"{among.world} processes"
        raise InputError(f"A batch of {batch} images cannot be shared equally by {many}.")
    return batch // among.world
