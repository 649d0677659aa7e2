"""One training loop for every model: loss, backward, step, an average of the weights."""

import math
import time
from collections.abc import Iterator
from dataclasses import replace
from itertools import islice, pairwise
from pathlib import Path

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
from minidiff.training.state import TrainState, initial_state, load_state, save_state

LEAST = 200  # steps of a shortened run: fewer make no digits


def training_steps(
    recipe: Recipe, digits: Digits, seed: int = 0, state: TrainState | None = None
) -> Iterator[TrainState]:
    """The training run, a step at a time, from its beginning or from where `state` stands.

    The average after n steps is theta_ema <- b theta_ema + (1 - b) theta with
    b = (1 - 1/n)^recipe.ema_power: about the last n / ema_power steps, so it fits itself to any
    length   [Karras 2024, 2312.02696, sec. 3.1]. Same seed, machine and thread count: same weights,
    unless the recipe is limited by seconds. Raises FloatingPointError as soon as the loss is not
    finite.
    """
    with torch_as_it_starts(recipe.threads):
        state = state or initial_state(recipe, digits, seed)
        among = processes()
        share_of(recipe.batch, among)
        if settings.COMPILE:
            next(
                iter(state.net.values())
            ).compile()  # the network; a table of classes gains nothing
        module: nn.Module = WithLoss(state.net, recipe, recipe.schedule())
        if among.world > 1:
            # averages the gradients of all processes while they are computed; buffers are constants
            module = DistributedDataParallel(module, broadcast_buffers=False)
    while state.progress() < 1:
        with torch_as_it_starts(recipe.threads):
            _step(state, module, among)
        yield state


def _step(state: TrainState, module: nn.Module, among: Processes) -> None:
    start, where, recipe = time.perf_counter(), device(), state.recipe
    draws = BatchRNG(state.generator, *among)
    rows = draws.shard(state.next_rows())
    x_0 = to_pixels(state.digits.images[rows])
    y = recipe.condition(x_0, state.digits.labels[rows], draws)
    with autocast(where, precision(where)):
        loss = module(x_0.to(where), y.to(where), draws)
    state.net.zero_grad()
    loss.backward()
    value = _mean(loss.detach(), among.world)
    rate = learning_rate(state.step, state.progress(), recipe)
    if not math.isfinite(value):
        at = f"step {state.step + 1}, learning rate {rate:.2g}"
        raise FloatingPointError(f"The loss became {value} at {at}: stopped.")
    take_step(state.optimizers, rate)
    state.ema.update_parameters(state.net)
    state.losses.append(value)
    state.seconds += _mean(torch.tensor(time.perf_counter() - start, device=where), among.world)


def fit_to_time_budget(recipe: Recipe, digits: Digits) -> Recipe:
    """The recipe with the steps that take MINIDIFF_SECONDS here: whole hundreds, LEAST at least.

    A few steps of runs that are thrown away tell how long one takes: with all threads of the CPU,
    and with one, which is faster where another program keeps the cores busy. The faster number of
    threads and the number of steps are then fixed in the recipe, so that the run itself can be
    repeated exactly. MINIDIFF_SECONDS=inf measures nothing.
    """
    seconds = live_seconds()
    if math.isinf(seconds):
        return recipe
    choices = {1, torch.get_num_threads()}
    tried = {threads: _seconds_of_a_step(recipe, digits, threads) for threads in choices}
    threads = min(tried, key=tried.get)
    steps = max(LEAST, int(seconds / tried[threads]) // 100 * 100)
    return replace(recipe, steps=min(recipe.steps, steps), threads=threads)


def _seconds_of_a_step(recipe: Recipe, digits: Digits, threads: int) -> float:
    """The median of five steps, after two that do not count."""
    steps = islice(training_steps(replace(recipe, threads=threads), digits), 7)
    ends = [time.perf_counter() for _ in steps][1:]
    return sorted(after - before for before, after in pairwise(ends))[2]


def train(
    recipe: Recipe,
    digits: Digits,
    seed: int = 0,
    progress: bool = True,
    checkpoint: Path | None = None,
    resume: bool = False,
) -> Checkpoint:
    """Run the whole recipe: the averaged networks, with metadata to be saved with them.

    The first process writes the whole state to `checkpoint` every CHECKPOINT_EVERY steps. Raises
    InputError if there is nothing to resume, and FloatingPointError if the loss is not finite; the
    last checkpoint is kept.
    """
    if resume:
        state = load_state(checkpoint, recipe, digits, seed)
    else:
        state = initial_state(recipe, digits, seed)
    first = processes().rank == 0
    seen = state.step * recipe.batch  # by an earlier process: it does not count as speed
    silent = not (progress and first)
    with tqdm(desc=recipe.name, unit="img", initial=seen, disable=silent, leave=False) as bar:
        for _ in training_steps(recipe, digits, seed, state):
            _show(bar, state)
            if checkpoint and first and state.step % settings.CHECKPOINT_EVERY == 0:
                save_state(checkpoint, state)
    metadata = {
        "recipe": recipe.metadata(),
        "classes": digits.classes,
        "data_sha256": digits.sha256,
        "seed": seed,
        "images_seen": state.step * recipe.batch,
        "minutes": round(state.seconds / 60, 1),
        "loss": curve(state.losses),
        "device": device().type,
        "threads": recipe.threads or torch.get_num_threads(),
        "precision": precision(device()),
        "torch": torch.__version__,
    }
    return Checkpoint(state.average.eval(), recipe.schedule(), metadata)


class WithLoss(nn.Module):
    """The networks with their loss as forward: what DistributedDataParallel wraps."""

    def __init__(self, net: nn.ModuleDict, recipe: Recipe, schedule: NoiseSchedule):
        super().__init__()
        self.net, self.loss, self.schedule = net, recipe.loss, schedule

    def forward(self, x_0: Images, y: Conditions, draws: BatchRNG) -> Loss:
        return self.loss(self.net, x_0, y, self.schedule, draws)


def learning_rate(steps_done: int, progress: float, recipe: Recipe) -> float:
    """peak_lr min(1, step / warmup) (1 + cos(pi progress)) / 2: a linear warm-up, a cosine to 0.

    progress, from 0 to 1, is of steps or of seconds: so the schedule fits any limit.
    """
    warm_up = min(1.0, (steps_done + 1) / recipe.warmup)
    return recipe.peak_lr * warm_up * (1 + math.cos(math.pi * progress)) / 2


def curve(losses: list[float], points: int = 50) -> list[float]:
    """The loss curve as at most `points` numbers, each the mean of one stretch of steps."""
    stretch = math.ceil(len(losses) / points)
    pieces = [losses[i : i + stretch] for i in range(0, len(losses), stretch)]
    return [round(sum(piece) / len(piece), 5) for piece in pieces]


def _mean(value: Tensor, world: int) -> float:
    """The mean of a number over all processes, whose shares of a batch are equal."""
    if world > 1:
        value = value.clone()
        dist.all_reduce(value)
    return value.item() / world


def _show(bar: tqdm, state: TrainState) -> None:
    """Images so far, in all (by seconds: as it looks now) and per second; the latest losses."""
    seen = state.step * state.recipe.batch
    bar.total = round(seen / state.progress())
    bar.update(seen - bar.n)
    if state.step % 20 == 0:
        latest = state.losses[-100:]
        bar.set_postfix(loss=f"{sum(latest) / len(latest):.4f}", refresh=False)
