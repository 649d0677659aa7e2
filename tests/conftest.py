"""Shapes and types in signatures are checked in every test; worlds in which the truth is known."""

from typing import NamedTuple

import jaxtyping

jaxtyping.install_import_hook("minidiff", "typecheck.check")  # before minidiff is imported

import pytest  # noqa: E402
import torch  # noqa: E402

from minidiff.analytic.gaussian_mixture import GaussianMixture, random_mixture  # noqa: E402
from minidiff.diffusion.schedule import NoiseSchedule, cosine, linear  # noqa: E402


class World(NamedTuple):
    """A mixture, and one point at every t with a label."""

    mixture: GaussianMixture
    schedule: NoiseSchedule
    x_t: torch.Tensor
    t: torch.Tensor
    y: torch.Tensor


@pytest.fixture(params=["linear", "cosine"])
def schedule(request) -> NoiseSchedule:
    return {"linear": linear, "cosine": cosine}[request.param]()


@pytest.fixture(params=[1, 2, 16])
def world(request, schedule) -> World:
    """Every t of the schedule, with x_t drawn from the forward process."""
    mixture = random_mixture(schedule, request.param)
    g = torch.Generator().manual_seed(1)
    t = torch.arange(1, schedule.T + 1)
    x_0, y = mixture.sample(schedule.T, g)
    abar = schedule.abar[t][:, None]
    noise = torch.randn(x_0.shape, generator=g, dtype=torch.float64)
    x_t = abar.sqrt() * x_0 + (1 - abar).sqrt() * noise
    return World(mixture, schedule, x_t, t, y)


@pytest.fixture(autouse=True)
def one_thread(request):
    """The exact worlds are small: there more threads only cost, and very much on a busy machine."""
    threads = torch.get_num_threads()
    if request.path.parent.name in ("analytic", "diffusion"):
        torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)
