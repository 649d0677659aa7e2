"""Speed on this machine, everything in one run: compare the ratios, not the seconds. python -m minidiff.experiments.bench

Training and sampling in every precision, beside diffusers' UNet2DModel of about the same size; the arithmetic achieved beside the
best that a convolution gets here; guidance beside no guidance; seconds of training until digits come out accuracy.
"""

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from minidiff.datasets.mnist import load_digits
from minidiff.diffusion.guidance import classifier_free
from minidiff.diffusion.samplers import ddim_path, final_sample
from minidiff.evaluation.metrics import class_accuracy
from minidiff.experiments.costs import timed
from minidiff.nets.unet import bind
from minidiff.sampling import cfg, generate, start_noise
from minidiff.settings import autocast, bfloat16_is_native, device
from minidiff.training.checkpoints import Checkpoint, load
from minidiff.training.loop import training_steps
from minidiff.training.recipes import LIVE

BATCH, REPEATS = 64, 12
TARGETS = (0.90, 0.95, 0.99)


class Timed(nn.Module):
    """A network that is called as net(x_t, t), whatever it wants besides."""

    def __init__(self, net: nn.Module, *more: Tensor):
        super().__init__()
        self.net, self.more = net, more

    def forward(self, x_t: Tensor, t: Tensor) -> Tensor:
        out = self.net(x_t, t, *self.more)
        return getattr(out, "sample", out)


def ours() -> nn.Module:
    """The conditional U-Net of the recipes, fresh."""
    net = LIVE["unet"].build(10, LIVE["unet"].schedule()).to(device())
    return Timed(net["unet"], net["classes"].unconditional(BATCH).detach())


def theirs() -> nn.Module | None:
    """diffusers' UNet2DModel for 28 x 28 with about as many parameters; None where diffusers is not installed."""
    try:
        from diffusers import UNet2DModel
    except ImportError:
        return None
    down, up = ("DownBlock2D", "DownBlock2D", "AttnDownBlock2D"), ("AttnUpBlock2D", "UpBlock2D", "UpBlock2D")
    net = UNet2DModel(
        28, 1, 1, block_out_channels=(32, 64, 80), layers_per_block=1, norm_num_groups=8, down_block_types=down, up_block_types=up
    )
    return Timed(net).to(device())


def seconds_of(call: Callable[[], object], repeats: int = REPEATS) -> float:
    """The median of `repeats` calls, after two that do not count."""
    taken = [timed(call) for _ in range(repeats + 2)]
    return sorted(taken[2:])[repeats // 2]


def modes() -> Iterator[tuple[str, bool, bool, bool]]:
    """Name, bfloat16, channels_last, compiled. float32 as it is comes first: it is the reference of all ratios."""
    yield "float32", False, False, False
    yield "float32 channels_last", False, True, False
    yield "float32 compile", False, False, True
    if bfloat16_is_native(device()):
        yield "bfloat16", True, False, False
        yield "bfloat16 channels_last", True, True, False
        yield "bfloat16 compile", True, False, True
        yield "bfloat16 compile channels_last", True, True, True


def speeds(net: nn.Module, bfloat16: bool, channels_last: bool, compiled: bool) -> tuple[float, float, float, float]:
    """Images/s in training; passes/s in sampling; 10^9 operations/s in training; seconds of the first training step."""
    layout = torch.channels_last if channels_last else torch.contiguous_format
    net = net.to(memory_format=layout)
    if compiled:
        net.compile()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    x_t = start_noise(BATCH, 0).to(device(), memory_format=layout)
    t, noise = torch.arange(1, BATCH + 1, device=device()), torch.randn_like(x_t)
    mixed = autocast(device(), "bfloat16" if bfloat16 else "float32")

    def train_once() -> None:
        with mixed:
            loss = (net(x_t, t) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def sample_once() -> None:
        with torch.no_grad(), mixed:
            net(x_t, t)

    start = time.perf_counter()
    train_once()
    first = time.perf_counter() - start
    step, one_pass = seconds_of(train_once), seconds_of(sample_once)
    return BATCH / step, BATCH / one_pass, _operations(net, x_t, t) / step / 1e9, first


def peak(bfloat16: bool) -> float:
    """10^9 operations/s of the best 3 x 3 convolution among some: channels 96, 192; 7 x 7, 14 x 14; both layouts."""
    best = 0.0
    for channels in (96, 192):
        for size in (7, 14):
            for layout in (torch.contiguous_format, torch.channels_last):
                dtype = torch.bfloat16 if bfloat16 else torch.float32
                conv = nn.Conv2d(channels, channels, 3, padding=1).to(device(), dtype, memory_format=layout)
                x = torch.randn(BATCH, channels, size, size).to(device(), dtype, memory_format=layout)
                with torch.no_grad():
                    taken = seconds_of(lambda conv=conv, x=x: conv(x))
                best = max(best, 2 * 9 * channels**2 * size**2 * BATCH / taken / 1e9)
    return best


def guidance(rounded: str) -> Iterator[str]:
    """100 digits, DDIM 50, in this precision: plain; M6 in two passes; M6 in one batch of two halves."""
    model = load("unet")
    net, classes = model.net["unet"].to(device()), model.net["classes"].to(device())
    y, x_T = torch.arange(10, device=device()).repeat_interleave(10), start_noise(100, 0).to(device())
    c, no_c = classes(y), classes.unconditional(100)

    def halves(x_t: Tensor, t: Tensor) -> Tensor:
        eps_cond, eps_uncond = net(torch.cat([x_t, x_t]), torch.cat([t, t]), torch.cat([c, no_c])).chunk(2)
        return 2 * eps_cond - eps_uncond

    ways = {
        "conditional model alone": bind(net, c),
        "guided (w = 1), two passes": classifier_free(bind(net, c), bind(net, no_c), 1.0),
        "guided (w = 1), one batch of two halves": halves,
    }
    plain = None
    for name, eps in ways.items():
        with autocast(device(), rounded):
            taken = seconds_of(lambda eps=eps: final_sample(ddim_path(eps, x_T, model.schedule, 50)), repeats=3)
        plain = plain or taken
        yield f"{rounded:10s} {name:45s} {taken:6.2f} s   {taken / plain:.2f} x"


def time_to_targets() -> Iterator[str]:
    """Seconds of live training, checks not counted, until class accuracy is 90, 95, 99 % (n = 200, w = 1, every 100 steps)."""
    recipe, evaluator, wanted = LIVE["unet"], load("evaluator"), list(TARGETS)
    evaluator.net.to(device())
    y, spent, start = torch.arange(10, device=device()).repeat_interleave(20), 0.0, time.perf_counter()
    for state in training_steps(recipe, load_digits("train")):
        if state.step % 100 and state.step != recipe.steps:
            continue
        spent += time.perf_counter() - start
        model = Checkpoint(state.average, recipe.schedule(), {})
        x_0 = generate(lambda rows, model=model: cfg(model, rows, 1.0), y, model.schedule)
        share = class_accuracy(evaluator, x_0, y).accuracy
        while wanted and share >= wanted[0]:
            yield f"{100 * wanted.pop(0):.0f} % accuracy after {spent:4.0f} s, {state.step} steps (measured {100 * share:.1f} %)"
        if not wanted:
            return
        start = time.perf_counter()
    yield f"not reached: {', '.join(f'{100 * target:.0f} %' for target in wanted)} (the last measured {100 * share:.1f} %)"


def main() -> None:
    """Print all tables."""
    print(f"{device().type}, {torch.get_num_threads()} threads, torch {torch.__version__}, batches of {BATCH}\n")
    heads = ("parameters", "train img/s", "ratio", "passes/s", "ratio", "GFLOP/s", "1st step s")
    print(f"{'':41s}" + "".join(f"{head:>12s}" for head in heads))
    reference: tuple[float, float] | None = None
    speeds(ours(), False, False, False)  # the first row would pay for waking up, and it is the measure of all others
    for whose, make in (("minidiff", ours), ("diffusers", theirs)):
        for mode, *how in modes():
            net = make()
            if net is None:
                print("diffusers is not installed: pip install -e '.[bench]'")
                break
            size = sum(p.numel() for p in net.parameters())
            train, sample, gflops, first = speeds(net, *how)
            reference = reference or (train, sample)
            numbers = [f"{train:.0f}", f"{train / reference[0]:.2f}", f"{sample:.0f}", f"{sample / reference[1]:.2f}"]
            cells = [f"{size:,}", *numbers, f"{gflops:.0f}", f"{first:.1f}"]
            print(f"{whose + ' ' + mode:41s}" + "".join(f"{cell:>12s}" for cell in cells), flush=True)
    peaks = [f"float32 {peak(False):.0f}"] + [f"bfloat16 {peak(True):.0f}"] * bfloat16_is_native(device())
    print(f"\nthe best convolution here: {', '.join(peaks)} GFLOP/s\n", flush=True)
    in_bfloat16 = [guidance("bfloat16")] * bfloat16_is_native(device())
    for lines in (guidance("float32"), *in_bfloat16, time_to_targets()):
        for line in lines:
            print(line, flush=True)
    with contextlib.suppress(ImportError):  # not on Windows
        resource = importlib.import_module("resource")
        unit = 2**30 if sys.platform == "darwin" else 2**20  # there bytes, elsewhere kilobytes
        print(f"largest memory of this process: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit:.2f} GB")


def _operations(net: nn.Module, x_t: Tensor, t: Tensor) -> float:
    """Multiplications and additions of one training step, forward and backward, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        net.forward(x_t, t).sum().backward()
    net.zero_grad()
    return counter.get_total_flops()


if __name__ == "__main__":
    main()
