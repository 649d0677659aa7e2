"""Speed on this machine beside other networks: python -m minidiff.experiments.bench

Compare the ratios within a run, not the seconds. Training steps and passes in sampling in every
mode, with the spread of repeats; the arithmetic achieved beside the best that a convolution gets
here; guidance beside no guidance. Each network has a process of its own, and torch.compile starts
afresh for every mode: what it may recompile is limited, and beyond that nothing is compiled.
"""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.utils.benchmark import Timer
from torch.utils.flop_counter import FlopCounterMode

from minidiff.diffusion.guidance import classifier_free
from minidiff.diffusion.samplers import ddim_path, final_sample
from minidiff.experiments.rivals import BATCH, NETWORKS
from minidiff.nets.unet import bind
from minidiff.sampling import start_noise
from minidiff.settings import autocast, bfloat16_is_native, device
from minidiff.training.checkpoints import load

SECONDS = 2.0  # of repeats, for each number


class Mode(NamedTuple):
    """How a network computes."""

    name: str
    precision: str
    compiled: bool = False


class Speed(NamedTuple):
    """What one network does in one mode; the spread is the interquartile range over the median."""

    network: str
    mode: str
    parameters: int
    images: float  # per second of training, batches of BATCH
    images_spread: float
    passes: float  # of one image, per second of sampling
    passes_spread: float
    gflops: float  # 10^9 operations per second of training
    first_step: float  # seconds


def modes() -> list[Mode]:
    """float32 as it is comes first: it is the reference of all ratios."""
    best = "bfloat16" if bfloat16_is_native(device()) else "float32"
    plain = [Mode("float32", "float32")]
    plain += [Mode("bfloat16", "bfloat16")] if best == "bfloat16" else []
    return [*plain, Mode(f"{best} compiled", best, compiled=True)]


def measured(call: Callable[[], object], seconds: float | None = None) -> tuple[float, float]:
    """The median seconds of a call, and their interquartile range over it."""
    threads = torch.get_num_threads()
    timer = Timer("call()", globals={"call": call}, num_threads=threads)
    taken = timer.blocked_autorange(min_run_time=seconds or SECONDS)
    return taken.median, taken.iqr / taken.median


def speed(network: str, mode: Mode) -> Speed:
    """Bare training steps (AdamW, one batch again and again), and passes without gradients."""
    torch._dynamo.reset()
    net = NETWORKS[network]()
    parameters = sum(p.numel() for p in net.parameters())
    if mode.compiled:
        net.compile()
    optimizer = torch.optim.AdamW(net.parameters(), lr=1e-4)
    x_t = start_noise(BATCH, 0).to(device())
    t, noise = torch.arange(1, BATCH + 1, device=device()), torch.randn_like(x_t)

    def train_once() -> None:
        with autocast(device(), mode.precision):
            loss = (net(x_t, t) - noise).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()

    def sample_once() -> None:
        with torch.no_grad(), autocast(device(), mode.precision):
            net(x_t, t)

    start = time.perf_counter()
    train_once()
    first = time.perf_counter() - start
    step, step_spread = measured(train_once)
    sample_once()
    one_pass, pass_spread = measured(sample_once)
    gflops = operations(net, x_t, t) / step / 1e9
    train, sample = (BATCH / step, step_spread), (BATCH / one_pass, pass_spread)
    return Speed(network, mode.name, parameters, *train, *sample, gflops, first)


def operations(net: nn.Module, x_t: Tensor, t: Tensor) -> float:
    """Multiplications and additions of a training step, forward and backward, counted by torch."""
    with FlopCounterMode(display=False) as counter:
        net.forward(x_t, t).sum().backward()
    net.zero_grad()
    return counter.get_total_flops()


def speeds(network: str) -> list[Speed]:
    """Every mode of one network, in this process. Raises ImportError where it is not installed."""
    return [speed(network, mode) for mode in modes()]


def in_its_own_process(network: str) -> list[Speed] | str:
    """Its speeds, or in a sentence why there are none."""
    command = [sys.executable, "-m", "minidiff.experiments.bench", network]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        return (done.stderr.strip().splitlines() or ["it ended without a word"])[-1]
    return [Speed(*row) for row in json.loads(done.stdout.splitlines()[-1])]


def peak(precision: str) -> float:
    """10^9 operations/s of the best 3 x 3 convolution among some of the sizes in our U-Net."""
    best, dtype = 0.0, getattr(torch, precision)
    for channels in (96, 192):
        for size in (7, 14):
            for layout in (torch.contiguous_format, torch.channels_last):
                how = {"device": device(), "dtype": dtype, "memory_format": layout}
                conv = nn.Conv2d(channels, channels, 3, padding=1).to(**how)
                x = torch.randn(BATCH, channels, size, size).to(**how)
                with torch.no_grad():
                    taken, _ = measured(lambda conv=conv, x=x: conv(x), seconds=0.3)
                best = max(best, 2 * 9 * channels**2 * size**2 * BATCH / taken / 1e9)
    return best


def guidance(precision: str) -> Iterator[str]:
    """100 digits, DDIM 50: without guidance; M6 in two passes; M6 in one batch of two halves."""
    model = load("unet")
    net, classes = model.net["unet"].to(device()), model.net["classes"].to(device())
    y = torch.arange(10, device=device()).repeat_interleave(10)
    x_T = start_noise(100, 0).to(device())
    cond, uncond = classes(y), classes.unconditional(100)

    def halves(x_t: Tensor, t: Tensor) -> Tensor:
        c = torch.cat([cond, uncond])
        eps_cond, eps_uncond = net(torch.cat([x_t, x_t]), torch.cat([t, t]), c).chunk(2)
        return 2 * eps_cond - eps_uncond

    ways = {
        "conditional model alone": bind(net, cond),
        "guided (w = 1), two passes": classifier_free(bind(net, cond), bind(net, uncond), 1.0),
        "guided (w = 1), one batch of two halves": halves,
    }
    alone = None
    for name, eps in ways.items():
        with autocast(device(), precision):
            taken, _ = measured(lambda e=eps: final_sample(ddim_path(e, x_T, model.schedule, 50)))
        alone = alone or taken
        yield f"{precision:10s} {name:45s} {taken:6.2f} s   {taken / alone:.2f} x"


def as_line(found: Speed, reference: Speed) -> str:
    """One row of the table; ratios to our float32."""
    cells = [
        f"{found.parameters / 1e6:.2f} M",
        f"{found.images:.0f} ± {100 * found.images_spread:.0f} %",
        f"{found.images / reference.images:.2f}",
        f"{found.passes:.0f} ± {100 * found.passes_spread:.0f} %",
        f"{found.passes / reference.passes:.2f}",
        f"{found.gflops:.0f}",
        f"{found.first_step:.1f}",
    ]
    return f"{found.network + ', ' + found.mode:52s}" + "".join(f"{cell:>14s}" for cell in cells)


def main() -> None:
    """Print all tables."""
    threads = torch.get_num_threads()
    print(f"{device().type}, {threads} threads, torch {torch.__version__}, batches of {BATCH}\n")
    heads = ("parameters", "train img/s", "ratio", "passes/s", "ratio", "GFLOP/s", "1st step s")
    print(f"{'':52s}" + "".join(f"{head:>14s}" for head in heads), flush=True)
    speeds_of = {}
    for network in NETWORKS:
        found = in_its_own_process(network)
        if isinstance(found, str):
            print(f"{network}: not measured. {found}", flush=True)
            continue
        speeds_of[network] = found
        for row in found:
            print(as_line(row, speeds_of["minidiff"][0]), flush=True)
    print("\nours over theirs, each in its fastest mode:")
    mine = speeds_of.pop("minidiff")
    for network, found in speeds_of.items():
        train = max(row.images for row in mine) / max(row.images for row in found)
        sample = max(row.passes for row in mine) / max(row.passes for row in found)
        print(f"{network:30s} training {train:.1f} x   sampling {sample:.1f} x")
    precisions = ["float32", *["bfloat16"] * bfloat16_is_native(device())]
    best = ", ".join(f"{precision} {peak(precision):.0f}" for precision in precisions)
    print(f"\nthe best convolution here: {best} GFLOP/s\n", flush=True)
    for precision in precisions:
        for line in guidance(precision):
            print(line, flush=True)


if __name__ == "__main__":
    if sys.argv[1:]:
        print(json.dumps(speeds(sys.argv[1])))
    else:
        main()
