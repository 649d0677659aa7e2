"""Unconditional autoguidance: the formula, the stages of one run, and the stored rows."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.testing import assert_close

from minidiff.datasets.mnist import load_digits
from minidiff.diffusion.guidance import clipped
from minidiff.diffusion.samplers import ddim_path, final_sample
from minidiff.diffusion.schedule import cosine
from minidiff.evaluation.metrics import manifold
from minidiff.evaluation.reference import Reference
from minidiff.evaluation.results import kept_rows
from minidiff.experiments import model_cards, unconditional
from minidiff.experiments.unconditional import (
    SETTINGS,
    Setting,
    as_table,
    drawing,
    measured,
    stages,
)
from minidiff.sampling import start_noise
from minidiff.training.checkpoints import load
from minidiff.training.recipes import LIVE

ROOT = Path(__file__).resolve().parents[2]
STORED = ROOT / "data" / "results" / "unconditional.csv"
NO_REFERENCE = Reference(*[None] * 5)  # nothing is measured with it


def test_a_setting_draws_from_the_good_network_moved_away_from_the_weak_one(monkeypatch):
    drawn = []
    x_t = torch.randn(2, 1, 28, 28, generator=torch.Generator().manual_seed(0))
    t = torch.tensor([3, 900])

    def samples(eps, schedule, n, eta):
        drawn.append((eps(x_t, t), n, eta))
        return x_t

    networks = {0: lambda x, t: 2 * x, 300: lambda x, t: x}
    monkeypatch.setattr(unconditional, "unconditional_samples", samples)
    monkeypatch.setattr(unconditional, "stages", lambda network: networks)
    draw = drawing("live", NO_REFERENCE)
    draw(Setting(300, 3.0, 1.0))
    draw(Setting(300, 0.0, 0.0))
    assert_close(drawn[0][0], 5 * x_t)  # 2 + 3 (2 - 1)
    assert_close(drawn[1][0], 2 * x_t)
    assert [how for _, *how in drawn] == [[1_000, 1.0], [1_000, 0.0]]


def test_a_row_says_what_the_images_are_worth(monkeypatch):
    x_0 = load_digits("test").x_0(slice(5)) + 0.01
    monkeypatch.setattr(
        unconditional,
        "of_unconditional",
        lambda images, by: {"frechet": 1.23456} if len(images) == 5 else {},
    )
    monkeypatch.setattr(
        unconditional, "features_of", lambda evaluator, images: images.flatten(1).double()
    )
    near = NO_REFERENCE._replace(
        manifold=manifold(torch.cat([x_0[:4] + 0.01, x_0[:3] + 100]).flatten(1).double())
    )
    row = measured(x_0, "live", Setting(300, 3.0, 1.0), near)
    wanted = {"network": "live", "weak_steps": 300, "w": 3.0, "eta": 1.0, "frechet": 1.2346}
    assert {key: row[key] for key in wanted} == wanted
    # three of the seven real ones are far away
    assert (row["precision"], row["recall"]) == (1.0, round(4 / 7, 4))


@pytest.mark.parametrize("eta", [0.0, 1.0])
def test_what_is_measured_is_drawn_with_this_eta(monkeypatch, eta):
    """Four images from a denoiser of one line; nothing but the drawing is real."""
    drawn, schedule, generator = [], cosine(), torch.Generator().manual_seed(model_cards.SEED)
    monkeypatch.setattr(model_cards, "confident", lambda evaluator, x_0: drawn.append(x_0) or 0.5)
    monkeypatch.setattr(Reference, "frechet", lambda by, x_0: 6.0)
    monkeypatch.setattr(Reference, "real", lambda by, n: 2.0)
    samples = model_cards.unconditional_samples(lambda x_t, t: 0.9 * x_t, schedule, n=4, eta=eta)
    found = model_cards.of_unconditional(samples, NO_REFERENCE)
    assert (found["confident"], found["confident_error"], found["frechet"]) == (0.5, 0.25, 3.0)
    x_T, eps = start_noise(4, generator), clipped(lambda x_t, t: 0.9 * x_t, schedule)
    assert_close(
        drawn[0], final_sample(ddim_path(eps, x_T, schedule, model_cards.STEPS, eta, generator))
    )


def test_the_weak_ones_of_a_live_run_are_its_own_average_on_the_way(monkeypatch):
    """Three different networks, none of which is trained any further."""
    monkeypatch.setitem(
        unconditional.SETTINGS, "live", (Setting(1, 0.0, 0.0), Setting(2, 1.0, 1.0))
    )
    monkeypatch.setitem(unconditional.LIVE, "ddpm", replace(LIVE["ddpm"], steps=3, batch=4))
    of = stages("live")
    assert set(of) == {0, 1, 2}
    x_t, t = torch.randn(2, 1, 28, 28), torch.tensor([3, 900])
    outs = [of[step](x_t, t) for step in (0, 1, 2)]
    assert not any(out.requires_grad for out in outs)
    assert min((outs[i] - outs[j]).abs().max() for i, j in ((0, 1), (0, 2), (1, 2))) > 1e-6


def test_the_stored_rows_are_whole_and_the_page_shows_them():
    rows = kept_rows(STORED)
    there = [(row["network"], row["weak_steps"], row["w"], row["eta"]) for row in rows]
    assert there == [
        (network, *setting) for network, settings in SETTINGS.items() for setting in settings
    ]
    assert as_table(rows) in STORED.with_name("README.md").read_text(encoding="utf-8")
    distance = {setting: row["frechet"] for setting, row in zip(there, rows, strict=True)}
    for network, weak in (("full", 400), ("live", 300)):
        for eta in (0.0, 1.0):  # autoguidance helps
            assert distance[network, weak, 1.0, eta] < distance[network, weak, 0.0, eta]
        # and so does stochastic sampling
        assert distance[network, weak, 0.0, 1.0] < distance[network, weak, 0.0, 0.0]


def test_the_pretrained_network_alone_is_what_its_own_file_says():
    rows = kept_rows(STORED)
    known = load("ddpm").metadata["quality"]
    (row,) = [row for row in rows if row["network"] == "full" and row["w"] == row["eta"] == 0]
    # another machine rounds otherwise
    assert row["confident"] == pytest.approx(known["confident"], abs=0.01)
    assert row["frechet"] == pytest.approx(known["frechet"], rel=0.05)
