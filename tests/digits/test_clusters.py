"""k-means by hand: it finds what is there, gets better each round, and is the same each time."""

import pytest
import torch

from minidiff.digits.clusters import clusters, nearest
from minidiff.digits.mnist import load_digits
from minidiff.symbols import InputError


def images(n: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(n, 1, 28, 28, generator=torch.Generator().manual_seed(seed))


def spread(x_0: torch.Tensor, z: torch.Tensor) -> float:
    """The mean squared distance of an image to the mean of its cluster, from the definition."""
    return sum(float((x_0[z == j] - x_0[z == j].mean(dim=0)).square().sum()) for j in z.unique()) / len(x_0)


def test_nearest_is_the_smallest_distance_written_out():
    x_0, others = images(37, 1), 3 * images(11, 2)  # of different lengths: |o|^2 matters
    assert torch.equal(nearest(x_0, others), (x_0[:, None] - others[None]).square().sum(dim=(2, 3, 4)).argmin(dim=1))


def test_groups_that_lie_apart_are_found():
    places, group = 5 * images(4), torch.arange(80) % 4
    z = clusters(places[group] + 0.1 * images(80, 1), 4)  # seed 0 begins with one image of each group
    assert len(z.unique()) == 4
    assert all(len(z[group == j].unique()) == 1 for j in range(4))


def test_every_round_brings_images_and_centres_closer():
    x_0 = load_digits("test").x_0(slice(500))
    spreads = [spread(x_0, clusters(x_0, 20, rounds)) for rounds in (0, 1, 2, 5, 20)]
    assert spreads == sorted(spreads, reverse=True)
    assert spreads[-1] < 0.95 * spreads[0]


def test_the_same_each_time_and_another_with_another_seed():
    x_0 = load_digits("test").x_0(slice(300))
    assert torch.equal(clusters(x_0, 10), clusters(x_0, 10))
    assert not torch.equal(clusters(x_0, 10), clusters(x_0, 10, seed=1))


def test_an_empty_cluster_keeps_its_centre():
    """Both centres begin as the same picture, so the second is empty; where it stands, it gets its images in round two."""
    greys = torch.tensor([10.0] * 8 + [6.0, 7.0])
    assert torch.randperm(10, generator=torch.Generator().manual_seed(0))[:2].max() < 8
    z = clusters(greys.view(-1, 1, 1, 1).expand(-1, 1, 28, 28), 2)
    assert len(z[:8].unique()) == len(z[8:].unique()) == 1
    assert z[0] != z[9]


@pytest.mark.parametrize("k", [0, 4])
def test_more_clusters_than_images(k):
    with pytest.raises(InputError, match=f"{k} clusters .* got 3 images"):
        clusters(images(3), k)
