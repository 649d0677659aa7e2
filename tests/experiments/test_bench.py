"""The benchmark measures what it says: counted operations, medians, and networks of one size."""

import time

import pytest
import torch
from torch import nn

from minidiff.experiments import bench, live_speed, rivals
from minidiff.nets.unet import ClassCondition

pytestmark = pytest.mark.slow


def test_a_number_is_the_median_of_repeats(monkeypatch):
    monkeypatch.setattr(bench, "SECONDS", 0.2)
    taken, spread = bench.measured(lambda: time.sleep(0.01))
    assert 0.01 <= taken < 0.02
    assert 0 <= spread < 1


def test_operations_of_one_convolution():
    """2 x 9 x channels^2 x places x batch; backward twice, or once without input gradient."""
    conv = nn.Conv2d(8, 8, 3, padding=1)
    net = rivals.Timed(nn.Sequential(conv))
    net.net.forward = lambda x_t, t: conv(x_t)
    x_t = torch.randn(4, 8, 7, 7)
    forward = 2 * 9 * 8 * 8 * 49 * 4
    assert bench.operations(net, x_t, torch.ones(4)) == 2 * forward
    assert bench.operations(net, x_t.requires_grad_(), torch.ones(4)) == 3 * forward


def test_float32_comes_first_and_native_bfloat16_decides_the_rest(monkeypatch):
    for native, count in ((True, 3), (False, 2)):
        monkeypatch.setattr(bench, "bfloat16_is_native", lambda where, native=native: native)
        every = bench.modes()
        assert every[0] == bench.Mode("float32", "float32")
        assert len({mode.name for mode in every}) == len(every) == count
        assert {mode.precision for mode in every[1:]} == {"bfloat16" if native else "float32"}


def test_our_network_is_timed(monkeypatch):
    monkeypatch.setattr(bench, "SECONDS", 0.1)
    found = bench.speed("minidiff", bench.Mode("float32", "float32"))
    assert min(found.images, found.gflops, found.first_step) > 0
    assert found.passes > found.images
    assert bench.as_line(found, found).split().count("1.00") == 2


@pytest.mark.parametrize("name", rivals.NETWORKS)
def test_the_networks_are_about_as_large(name):
    """The parameters of each within a fifth of ours; a prediction like x_t."""
    try:
        net = rivals.NETWORKS[name]()
    except (ImportError, RuntimeError) as error:  # torchvision of another build of torch
        pytest.skip(f"{name} does not start here: {error}")
    size, ours = (sum(p.numel() for p in one.parameters()) for one in (net, rivals.ours()))
    assert 0.8 < size / ours < 1.25
    x_t = torch.randn(rivals.BATCH, 1, 28, 28)
    assert net(x_t, torch.arange(1, rivals.BATCH + 1)).shape == x_t.shape


def test_all_of_our_network_is_on_the_device_that_is_timed(monkeypatch):
    """meta stands for a GPU: what is left on the CPU shows."""
    monkeypatch.setattr(rivals, "device", lambda: torch.device("meta"))

    def null_row(self, batch):
        return self.table.weight[-1:].expand(batch, -1)

    monkeypatch.setattr(ClassCondition, "unconditional", null_row)
    net = rivals.ours()
    tensors = (*net.parameters(), *net.buffers(), *net.more)
    assert {tensor.device.type for tensor in tensors} == {"meta"}


def test_the_medians_of_three_runs_are_printed(monkeypatch, capsys):
    """Each target counts from the first check that reaches it."""
    runs = {0: [(100, 9.0, 0.96), (200, 20.0, 0.99)], 1: [(100, 5.0, 0.99)], 2: [(100, 7.0, 0.95)]}
    monkeypatch.setattr(live_speed, "accuracies", lambda seed: iter(runs[seed]))
    live_speed.main()
    *_, middle, last = capsys.readouterr().out.splitlines()
    assert middle == "95 % class accuracy: 7 s (median of 3 seeds)"
    assert last == "99 % class accuracy: not reached by every seed (median of 3 seeds)"
