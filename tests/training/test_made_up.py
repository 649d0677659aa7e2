"""The recipe whose labels nobody gave: clusters are its labels, and it draws them as often as they come."""

from dataclasses import replace

import pytest
import torch

from minidiff.digits.clusters import clusters
from minidiff.digits.mnist import Digits, load_digits
from minidiff.nets.conditioning import ClusterCondition
from minidiff.training.checkpoints import load, save
from minidiff.training.loop import train
from minidiff.training.recipes import CLUSTERS, LIVE, RECIPES
from minidiff.training.runs import begin

RECIPE = replace(LIVE["clusters"], steps=2, batch=8)


@pytest.fixture(scope="module")
def digits() -> Digits:
    test = load_digits("test")
    return test._replace(images=test.images[:400], labels=test.labels[:400])


def test_clusters_are_trained_on_and_no_label_is_looked_at(digits):
    run = begin(RECIPE, digits._replace(labels=(digits.labels + 1) % 10))
    z = clusters(digits.x_0(), CLUSTERS)
    assert torch.equal(run.digits.labels, z)
    assert torch.equal(run.digits.images, digits.images)
    torch.testing.assert_close(run.net["classes"].shares, torch.bincount(z, minlength=CLUSTERS) / 400)
    assert run.net["classes"].null == CLUSTERS


def test_clusters_are_drawn_as_often_as_they_come():
    condition = ClusterCondition(3, 4)
    condition.count(torch.tensor([2] * 30 + [0] * 10))
    y = condition.draw(4_000, torch.Generator().manual_seed(0))
    assert torch.equal(y, condition.draw(4_000, torch.Generator().manual_seed(0)))
    counts = torch.bincount(y, minlength=3)
    assert counts[1] == 0
    assert abs(int(counts[2]) - 3_000) < 4 * (4_000 * 0.75 * 0.25) ** 0.5


def test_a_trained_one_comes_back_with_its_shares(digits, tmp_path):
    trained = train(RECIPE, digits, progress=False)
    save(tmp_path / "c.safetensors", trained)
    loaded = load("clusters", tmp_path / "c.safetensors")
    torch.testing.assert_close(loaded.net["classes"].shares, trained.net["classes"].shares, rtol=1e-3, atol=0)
    assert len(loaded.net["classes"].shares.unique()) > 3


def test_it_is_unet_but_for_where_the_labels_come_from():
    facts, plain = RECIPES["clusters"].facts(), RECIPES["unet"].facts()
    assert {key for key in facts if facts[key] != plain.get(key)} == {"name", "build", "digits", "prepare"}
