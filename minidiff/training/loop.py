"""One training loop for every model: AdamW, warm-up and cosine, an average of the weights, a progress bar."""

import math
import time
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn
from tqdm import tqdm

from minidiff.digits.mnist import Digits, to_pixels
from minidiff.training.checkpoints import Trained
from minidiff.training.device import autocast, device
from minidiff.training.recipes import Recipe


class TrainingState(NamedTuple):
    """After one step: its number (1, 2, ...), its loss, and the averaged networks as they stand now."""

    step: int
    loss: float
    average: nn.ModuleDict


def training_steps(recipe: Recipe, digits: Digits, seed: int = 0) -> Iterator[TrainingState]:
    """The training run, a step at a time; it does nothing until it is iterated.

    The average is theta_ema <- ema theta_ema + (1 - ema) theta. Same seed, machine and thread count: same weights.
    Raises InputError as soon as the loss is not finite.
    """
    where, generator = device(), torch.Generator().manual_seed(seed)
    schedule = recipe.schedule()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        net = recipe.build(digits.classes).to(where).train()
    average = AveragedModel(net, multi_avg_fn=get_ema_multi_avg_fn(recipe.ema))
    optimizer = torch.optim.AdamW(net.parameters(), lr=0.0, weight_decay=recipe.weight_decay)
    rows = shuffled_rows(len(digits.labels), recipe.batch, generator)
    for step in range(1, recipe.steps + 1):
        chosen = next(rows)
        x_0, y = to_pixels(digits.images[chosen]).to(where), digits.labels[chosen].to(where)
        rate = learning_rate(step, recipe)
        for group in optimizer.param_groups:
            group["lr"] = rate
        with autocast(where):
            loss = recipe.loss(net, x_0, y, schedule, generator)
        optimizer.zero_grad()
        loss.backward()
        if not math.isfinite(loss.item()):
            raise FloatingPointError(f"The loss became {loss.item()} at step {step}, learning rate {rate:.2g}: stopped.")
        optimizer.step()
        average.update_parameters(net)
        yield TrainingState(step, loss.item(), average.module)


def train(recipe: Recipe, digits: Digits, seed: int = 0, progress: bool = True) -> Trained:
    """Run the whole recipe. The result holds the averaged networks and facts to be saved with them."""
    start, losses = time.monotonic(), []
    bar = tqdm(total=recipe.steps * recipe.batch, desc=recipe.name, unit="img", disable=not progress, leave=False)
    with bar:
        for state in training_steps(recipe, digits, seed):
            losses.append(state.loss)
            bar.update(recipe.batch)
            if state.step % 20 == 0:
                bar.set_postfix(loss=f"{sum(losses[-100:]) / len(losses[-100:]):.4f}", refresh=False)
    facts = {
        "recipe": recipe.facts(),
        "classes": digits.classes,
        "data_sha256": digits.sha256,
        "seed": seed,
        "images_seen": recipe.steps * recipe.batch,
        "minutes": round((time.monotonic() - start) / 60, 1),
        "loss": curve(losses),
        "device": device().type,
        "torch": torch.__version__,
    }
    return Trained(state.average.eval(), recipe.schedule(), facts)


def learning_rate(step: int, recipe: Recipe) -> float:
    """Linear warm-up to peak_lr, then peak_lr (1 + cos(pi u)) / 2 with u from 0 to 1 over the remaining steps."""
    if step <= recipe.warmup:
        return recipe.peak_lr * step / recipe.warmup
    u = (step - recipe.warmup) / max(1, recipe.steps - recipe.warmup)
    return recipe.peak_lr * (1 + math.cos(math.pi * u)) / 2


def shuffled_rows(n: int, batch: int, generator: torch.Generator) -> Iterator[Tensor]:
    """Row numbers for one batch after another: every row once, in random order, then again. Nothing is left out."""
    left = torch.empty(0, dtype=torch.int64)
    while True:
        while len(left) < batch:
            left = torch.cat([left, torch.randperm(n, generator=generator)])
        chosen, left = left.split([batch, len(left) - batch])
        yield chosen


def curve(losses: list[float], points: int = 50) -> list[float]:
    """The loss curve as at most `points` numbers, each the mean of one stretch of steps."""
    stretch = math.ceil(len(losses) / points)
    pieces = [losses[i : i + stretch] for i in range(0, len(losses), stretch)]
    return [round(sum(piece) / len(piece), 5) for piece in pieces]
