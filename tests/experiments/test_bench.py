"""The benchmark measures what it says: counted operations, medians, and digits until the target."""

import time

import pytest
import torch
from torch import nn

from minidiff.experiments import bench
from minidiff.nets.unet import ClassCondition

pytestmark = pytest.mark.slow


def test_the_median_of_calls_without_the_first_two():
    """Two slow calls at the start and one slow call later do not count."""
    naps = iter([0.05, 0.05, 0.001, 0.001, 0.05, 0.001, 0.001])
    assert bench.seconds_of(lambda: time.sleep(next(naps)), repeats=5) < 0.02


def test_operations_of_one_convolution(monkeypatch):
    """Forward 2 x 9 x channels^2 x places x batch; backward twice that, or once where the input needs no gradient."""
    conv = nn.Conv2d(8, 8, 3, padding=1)
    net = bench.Timed(nn.Sequential(conv))
    net.net.forward = lambda x_t, t: conv(x_t)
    x_t = torch.randn(4, 8, 7, 7)
    forward = 2 * 9 * 8 * 8 * 49 * 4
    assert bench._operations(net, x_t, torch.ones(4)) == 2 * forward
    assert bench._operations(net, x_t.requires_grad_(), torch.ones(4)) == 3 * forward


def test_float32_comes_first_and_native_bfloat16_decides_the_rest(monkeypatch):
    for native, count in ((True, 7), (False, 3)):
        monkeypatch.setattr(bench, "bfloat16_is_native", lambda where, native=native: native)
        every = list(bench.modes())
        assert every[0] == ("float32", False, False, False)
        assert len(every) == count
        assert not any(mode[1] for mode in every) or native


def test_our_network_is_timed_and_theirs_is_about_as_large():
    """A few images, one mode: positive numbers, and the optional network within a fifth of our size."""
    train, passes, gflops, first = bench.speeds(bench.ours(), False, False, False)
    assert min(train, passes, gflops, first) > 0
    assert passes > train
    theirs = bench.theirs()
    if theirs is None:
        pytest.skip("diffusers is not installed")
    sizes = [sum(p.numel() for p in net.parameters()) for net in (bench.ours(), theirs)]
    assert 0.8 < sizes[1] / sizes[0] < 1.25


def test_all_of_our_network_is_on_the_device_that_is_timed(monkeypatch):
    """meta stands for a GPU: what is left on the CPU shows."""
    monkeypatch.setattr(bench, "device", lambda: torch.device("meta"))
    monkeypatch.setattr(ClassCondition, "unconditional", lambda self, batch: self.table.weight[-1:].expand(batch, -1))
    net = bench.ours()
    assert {tensor.device.type for tensor in (*net.parameters(), *net.buffers(), *net.more)} == {"meta"}
