"""Seconds from an untrained network to good digits: python -m minidiff.experiments.live_speed

The live recipe of the conditional U-Net, three seeds, class accuracy at w = 1 every 100 steps on
1,000 digits; seconds are of training, without these checks.
"""

import time
from collections.abc import Iterator
from statistics import median

import torch

from minidiff.datasets.mnist import load_digits
from minidiff.evaluation.metrics import class_accuracy
from minidiff.sampling import cfg, generate
from minidiff.settings import device
from minidiff.training.checkpoints import Checkpoint, load
from minidiff.training.loop import training_steps
from minidiff.training.recipes import LIVE

TARGETS, SEEDS, EACH, EVERY = (0.90, 0.95, 0.99), 3, 100, 100


def accuracies(seed: int) -> Iterator[tuple[int, float, float]]:
    """Step, seconds of training so far, class accuracy; until the last target or the end."""
    recipe, evaluator = LIVE["unet"], load("evaluator")
    evaluator.net.to(device())
    y = torch.arange(10, device=device()).repeat_interleave(EACH)
    spent, start = 0.0, time.perf_counter()
    for state in training_steps(recipe, load_digits("train"), seed):
        if state.step % EVERY:
            continue
        spent += time.perf_counter() - start
        model = Checkpoint(state.average, recipe.schedule(), {})
        x_0 = generate(lambda rows, model=model: cfg(model, rows, 1.0), y, model.schedule)
        accuracy = class_accuracy(evaluator, x_0, y).accuracy
        yield state.step, spent, accuracy
        if accuracy >= TARGETS[-1]:
            return
        start = time.perf_counter()


def main() -> None:
    """Print every check, then the median of the seeds for each target."""
    reached: dict[float, list[float]] = {target: [] for target in TARGETS}
    for seed in range(SEEDS):
        waiting = list(TARGETS)
        for step, seconds, accuracy in accuracies(seed):
            print(
                f"seed {seed}  step {step:5d}  {seconds:6.1f} s  {100 * accuracy:.1f} %", flush=True
            )
            while waiting and accuracy >= waiting[0]:
                reached[waiting.pop(0)].append(seconds)
    for target, seconds in reached.items():
        shown = f"{median(seconds):.0f} s" if len(seconds) == SEEDS else "not reached by every seed"
        print(f"{100 * target:.0f} % class accuracy: {shown} (median of {SEEDS} seeds)")


if __name__ == "__main__":
    main()
