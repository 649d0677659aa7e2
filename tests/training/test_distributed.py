"""Random numbers of a batch, and processes that share one: together they are one process."""

import json
import math
import os
import subprocess
import sys

import pytest
import torch

from minidiff.symbols import InputError
from minidiff.training import distributed
from minidiff.training.distributed import BatchRNG, Processes, share_of

MIDDLE = torch.distributions.Normal(0.5, 0.9)  # of logit(t / T)


@pytest.mark.parametrize("lowest", [0, 1])
def test_every_t_is_drawn_equally_often(lowest, draws):
    n, T = 100_000, 20
    counts, expected = draws.levels(n, lowest, T).bincount(minlength=21), n / (21 - lowest)
    assert counts[:lowest].sum() == 0
    assert ((counts[lowest:] - expected).abs() < 5 * math.sqrt(expected)).all()


@pytest.mark.parametrize("everywhere", [0.0, 0.2])
def test_middle_levels_are_logit_normal_and_a_share_is_uniform(everywhere, draws):
    """P(t <= k) = share k / T + (1 - share) P(N(mean, spread^2) <= logit(k / T))."""
    n, T = 200_000, 1000
    t = draws.middle_levels(n, T, 0.5, 0.9)
    if everywhere:
        t = draws.mixed_levels(n, T, 0.5, 0.9, everywhere)
    for k in (99, 300, 622, 900):
        middle = MIDDLE.cdf(torch.logit(torch.tensor(k / T))).item()
        expected = everywhere * k / T + (1 - everywhere) * middle
        error = math.sqrt(expected * (1 - expected) / n)
        assert abs((t <= k).double().mean().item() - expected) < 5 * error, k
    wild = draws.middle_levels(1000, T, 0.0, 100.0)
    assert (wild.min(), wild.max()) == (1, T)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_processes_draw_together_what_one_draws_alone(world):
    def drawn(rank, world):
        draws, n = BatchRNG(torch.Generator().manual_seed(0), rank, world), 8 // world
        middle = draws.middle_levels(n, 1000, 0.5, 0.9)
        mixed = draws.mixed_levels(n, 1000, 0.5, 0.9, 0.2)
        noise = draws.normal(torch.empty(n, 1, 2, 2, dtype=torch.float64))
        levels = torch.stack([draws.levels(n, 1, 1000), middle, mixed], dim=1)
        return levels, noise, draws.uniform(n, 4), draws.shard(torch.arange(8))

    parts = zip(*(drawn(rank, world) for rank in range(world)), strict=True)
    together = [torch.cat(part) for part in parts]
    assert all(torch.equal(a, b) for a, b in zip(together, drawn(0, 1), strict=True))


@pytest.mark.parametrize("world", [1, 2, 4])
def test_rows_that_meet_have_together_the_gradient_of_one_process(world, monkeypatch):
    """A loss of all pairs; DistributedDataParallel takes the mean of the processes' gradients."""
    x, weight = torch.randn(8, 3, dtype=torch.float64), torch.randn(3, 2, dtype=torch.float64)

    def all_gather(rows, own):
        rows[:] = (x @ weight).chunk(world)

    def gradient(rank, world):
        w, draws = weight.clone().requires_grad_(), BatchRNG(torch.Generator(), rank, world)
        rows = draws.gathered(draws.shard(x) @ w)
        torch.testing.assert_close(rows, x @ weight)
        (rows @ rows.T).logsumexp(dim=1).sum().backward()
        return w.grad

    monkeypatch.setattr(distributed.dist, "all_gather", all_gather)
    mean = torch.stack([gradient(rank, world) for rank in range(world)]).mean(dim=0)
    torch.testing.assert_close(mean, gradient(0, 1))


def test_a_batch_that_cannot_be_shared():
    assert share_of(64, Processes(0, 4)) == 16
    with pytest.raises(InputError, match="64 images cannot be shared equally by 3 processes"):
        share_of(64, Processes(0, 3))


CURVE = """
import json, sys
from dataclasses import replace
from minidiff import RECIPES, load_digits, settings, training_steps
from minidiff.training.distributed import processes
recipe = replace(RECIPES[sys.argv[2]], steps=int(sys.argv[3]), batch=16, warmup=10)
settings.TRAINING_PRECISION = "float32"
losses = [state.loss for state in training_steps(recipe, load_digits("train"), seed=0)]
if processes().rank == 0:
    open(sys.argv[1], "w").write(json.dumps(losses))
"""
TORCHRUN = ["-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2"]


@pytest.mark.slow
@pytest.mark.skipif(not torch.distributed.is_available(), reason="torch without distributed")
@pytest.mark.parametrize(("name", "steps", "falls"), [("unet", 50, 0.7), ("clip", 20, 0.96)])
def test_two_processes_under_torchrun_follow_the_curve_of_one(tmp_path, name, steps, falls):
    """The same global batch in float32: losses agree to 1e-5. In clip's every row meets every."""
    script, curves = tmp_path / "curve.py", []
    script.write_text(CURVE)
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "MINIDIFF_DEVICE": "cpu"}
    if sys.platform == "linux":  # whatever the host's name resolves to
        environment["GLOO_SOCKET_IFNAME"] = "lo"
    for launcher in ([], TORCHRUN):
        command = [sys.executable, *launcher, script, tmp_path / "out.json", name, str(steps)]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr[-2000:]
        curves.append(torch.tensor(json.loads((tmp_path / "out.json").read_text())))
    one, two = curves
    assert len(one) == len(two) == steps
    assert (one - two).abs().max() < 1e-5
    assert one[-1] < falls * one[0]
