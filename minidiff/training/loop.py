"""One training loop for every model: a loss, a step, warm-up and cosine, an average of the weights, one process or many."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path
from typing import NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn.parallel import DistributedDataParallel
from tqdm import tqdm

from minidiff import settings
from minidiff.datasets.mnist import Digits, to_pixels
from minidiff.diffusion.schedule import NoiseSchedule
from minidiff.settings import autocast, device, live_seconds, precision, torch_as_it_starts
from minidiff.symbols import Conditions, Images
from minidiff.training.checkpoints import Checkpoint
from minidiff.training.distributed import BatchRNG, Processes, processes, share_of
from minidiff.training.losses import Loss
from minidiff.training.optimizers import take_step
from minidiff.training.recipes import Recipe
from minidiff.training.state import Run, begin, continue_run, save_run

LEAST = 200  # steps of a shortened run: fewer make no digits


class TrainingState(NamedTuple):
    """After one step: its number (1, 2, ...), its loss, and the averaged networks as they stand now."""

    step: int
    loss: float
    average: nn.ModuleDict


class Saving(NamedTuple):
    """Where and how often (in steps) the whole state is written; whether to go on from there."""

    path: Path
    every: int
    resume: bool = False


def training_steps(recipe: Recipe, digits: Digits, seed: int = 0, run: Run | None = None) -> Iterator[TrainingState]:
    """The training run, a step at a time, from its beginning or from where `run` stands; it does nothing until iterated.

    The average after n steps is theta_ema <- b theta_ema + (1 - b) theta with b = (1 - 1/n)^recipe.ema_power: about the last
    n / ema_power steps, so it fits itself to any length   [Karras 2024, 2312.02696, sec. 3.1]. Same seed, machine and thread
    count: same weights, unless the recipe is limited by seconds. Raises FloatingPointError as soon as the loss is not finite.
    """
    with torch_as_it_starts(recipe.threads):
        run = run or begin(recipe, digits, seed)
        among = processes()
        share_of(recipe.batch, among)
        if settings.COMPILE:
            next(iter(run.net.values())).compile()  # the network; a table of classes gains nothing
        module: nn.Module = WithLoss(run.net, recipe, recipe.schedule())
        if among.world > 1:
            # averages the gradients of all processes while they are computed; buffers are constants
            module = DistributedDataParallel(module, broadcast_buffers=False)
    while run.progress() < 1:
        with torch_as_it_starts(recipe.threads):
            state = _step(run, module, among)
        yield state


def _step(run: Run, module: nn.Module, among: Processes) -> TrainingState:
    start, where, draws = time.perf_counter(), device(), BatchRNG(run.generator, *among)
    rate = learning_rate(len(run.losses), run.progress(), run.recipe)
    chosen = draws.shard(run.next_rows())
    x_0 = to_pixels(run.digits.images[chosen])
    y = run.recipe.asked(x_0, run.digits.labels[chosen], draws)
    with autocast(where, precision(where)):
        loss = module(x_0.to(where), y.to(where), draws)
    run.net.zero_grad()
    loss.backward()
    value, step = _mean(loss.detach(), among.world), len(run.losses) + 1
    if not math.isfinite(value):
        raise FloatingPointError(f"The loss became {value} at step {step}, learning rate {rate:.2g}: stopped.")
    take_step(run.optimizers, rate)
    run.average.update_parameters(run.net)
    run.losses.append(value)
    run.seconds += _mean(torch.tensor(time.perf_counter() - start, device=where), among.world)
    return TrainingState(step, value, run.average.module)


def fit_to_time_budget(recipe: Recipe, digits: Digits) -> Recipe:
    """The recipe, with no more steps than this machine takes in about MINIDIFF_SECONDS: in whole hundreds, LEAST at least.

    A few steps of runs that are thrown away tell how long one takes: with all threads of the CPU, and with one, which is faster
    where another program keeps the cores busy. The faster number of threads and the number of steps are then fixed in the
    recipe, so that the run itself can be repeated exactly. MINIDIFF_SECONDS=inf measures nothing.
    """
    seconds = live_seconds()
    if math.isinf(seconds):
        return recipe
    tried = {threads: _seconds_of_a_step(recipe, digits, threads) for threads in {1, torch.get_num_threads()}}
    threads = min(tried, key=tried.get)
    return replace(recipe, steps=min(recipe.steps, max(LEAST, int(seconds / tried[threads]) // 100 * 100)), threads=threads)


def _seconds_of_a_step(recipe: Recipe, digits: Digits, threads: int) -> float:
    """The median of five steps, after two that do not count."""
    ends = [time.perf_counter() for _ in islice(training_steps(replace(recipe, threads=threads), digits), 7)][1:]
    return sorted(after - before for before, after in pairwise(ends))[2]


def train(recipe: Recipe, digits: Digits, seed: int = 0, progress: bool = True, saving: Saving | None = None) -> Checkpoint:
    """Run the whole recipe. The result holds the averaged networks and metadata to be saved with them.

    With `saving` the state is written every so many steps, by the first process. Raises InputError if there is nothing to
    resume, and FloatingPointError if the loss is not finite; the last checkpoint is kept.
    """
    first = processes().rank == 0
    run = continue_run(saving.path, recipe, digits, seed) if saving and saving.resume else begin(recipe, digits, seed)
    seen = len(run.losses) * recipe.batch  # by an earlier process: it does not count as speed
    with tqdm(desc=recipe.name, unit="img", initial=seen, disable=not (progress and first), leave=False) as bar:
        for state in training_steps(recipe, digits, seed, run):
            _show(bar, run)
            if saving and first and state.step % saving.every == 0:
                save_run(saving.path, run)
    metadata = {
        "recipe": recipe.metadata(),
        "classes": digits.classes,
        "data_sha256": digits.sha256,
        "seed": seed,
        "images_seen": len(run.losses) * recipe.batch,
        "minutes": round(run.seconds / 60, 1),
        "loss": curve(run.losses),
        "device": device().type,
        "threads": recipe.threads or torch.get_num_threads(),
        "precision": precision(device()),
        "torch": torch.__version__,
    }
    return Checkpoint(run.average.module.eval(), recipe.schedule(), metadata)


class WithLoss(nn.Module):
    """The networks with their loss as forward: what DistributedDataParallel wraps."""

    def __init__(self, net: nn.ModuleDict, recipe: Recipe, schedule: NoiseSchedule):
        super().__init__()
        self.net, self.loss, self.schedule = net, recipe.loss, schedule

    def forward(self, x_0: Images, y: Conditions, draws: BatchRNG) -> Loss:
        return self.loss(self.net, x_0, y, self.schedule, draws)


def learning_rate(steps_done: int, progress: float, recipe: Recipe) -> float:
    """peak_lr min(1, step / warmup) (1 + cos(pi progress)) / 2: a linear warm-up, then a cosine from peak_lr down to 0.

    progress, from 0 to 1, is the part of the run that is done, in steps or in seconds: so the schedule fits any limit.
    """
    return recipe.peak_lr * min(1.0, (steps_done + 1) / recipe.warmup) * (1 + math.cos(math.pi * progress)) / 2


def curve(losses: list[float], points: int = 50) -> list[float]:
    """The loss curve as at most `points` numbers, each the mean of one stretch of steps."""
    stretch = math.ceil(len(losses) / points)
    pieces = [losses[i : i + stretch] for i in range(0, len(losses), stretch)]
    return [round(sum(piece) / len(piece), 5) for piece in pieces]


def _mean(value: Tensor, world: int) -> float:
    """The mean of a number over all processes (their shares of a batch are equal); every process gets the same."""
    if world > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value.item() / world


def _show(bar: tqdm, run: Run) -> None:
    """Images so far and in all (with seconds as the limit: as it looks now), images/s, time left, loss of the last 100 steps."""
    seen = len(run.losses) * run.recipe.batch
    bar.total = round(seen / run.progress())
    bar.update(seen - bar.n)
    if len(run.losses) % 20 == 0:
        bar.set_postfix(loss=f"{sum(run.losses[-100:]) / len(run.losses[-100:]):.4f}", refresh=False)
