"""The variants on the trained U-Net, the weak model, and the search over settings."""

from collections import Counter
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pandas as pd
import pytest
import torch
from torch.testing import assert_close

from minidiff.datasets.mnist import Digits
from minidiff.diffusion.guidance import classifier_free, clipped
from minidiff.diffusion.samplers import ddim_path, ddim_timesteps, final_sample
from minidiff.diffusion.schedule import cosine
from minidiff.diffusion.variants import (
    limited,
    plus_plus_path,
    projected,
    rescaled,
    scale_of_plus_plus,
    thresholded,
)
from minidiff.evaluation import sweep
from minidiff.evaluation.metrics import Manifold, Moments
from minidiff.evaluation.reference import Reference
from minidiff.evaluation.results import COLUMNS, over_seeds, read_results
from minidiff.evaluation.sweep import continued
from minidiff.experiments import two_networks, variants
from minidiff.experiments.variants import (
    PAIRS,
    SEARCH,
    SETTING,
    again,
    autoguidance,
    best,
    chosen,
    plus_plus,
    search,
    strongest,
    variant_methods,
    weakened,
)
from minidiff.nets.unet import bind
from minidiff.sampling import cfg, predictions, start_noise
from minidiff.symbols import InputError
from minidiff.training.checkpoints import load

Y = torch.tensor([3, 8, 0])
X_0 = torch.zeros(3, 1, 28, 28)
RESULTS = Path(__file__).resolve().parents[2] / "data" / "results"
STORED = RESULTS / "variants.csv"
COMMENT = "python -m minidiff.experiments.variants variants.csv"


@pytest.fixture(scope="module")
def unet():
    return load("unet")


@pytest.fixture
def noisy():
    return start_noise(3, 0), torch.tensor([900, 500, 100])


@pytest.fixture
def reference():
    """Nothing is measured with it."""
    zeros = torch.zeros(1, 2, dtype=torch.float64)
    test = Digits(torch.zeros(1, 28, 28, dtype=torch.uint8), torch.zeros(1, dtype=torch.int64), "")
    moments = Moments(zeros[0], torch.eye(2, dtype=torch.float64))
    return Reference(load("evaluator"), moments, Manifold(zeros, zeros[0, :1]), test, zeros)


def by_hand(name, cond, uncond, schedule, w):
    return {
        "interval 0-600": lambda: limited(cond, uncond, w, 0, 600),
        "interval 200-600": lambda: limited(cond, uncond, w, 200, 600),
        "interval 200-800": lambda: limited(cond, uncond, w, 200, 800),
        "rescale 0.7": lambda: rescaled(cond, uncond, w, 0.7),
        "rescale 1": lambda: rescaled(cond, uncond, w, 1.0),
        "rescale v 0.7": lambda: rescaled(cond, uncond, w, 0.7, schedule),
        "rescale v 1": lambda: rescaled(cond, uncond, w, 1.0, schedule),
        "threshold 0.9": lambda: thresholded(classifier_free(cond, uncond, w), schedule, 0.9),
        "threshold 0.995": lambda: thresholded(classifier_free(cond, uncond, w), schedule, 0.995),
        "apg": lambda: projected(cond, uncond, schedule, w),
        "apg 2": lambda: projected(cond, uncond, schedule, w, longest=2.0),
    }[name]()


FORMULAS = [name for name, _ in PAIRS if not name.startswith(("cfg", "autoguidance"))]


@pytest.mark.parametrize("name", dict.fromkeys(FORMULAS))
def test_a_method_is_its_formula_on_the_two_predictions_clipped(unet, noisy, monkeypatch, name):
    """What it draws with is caught on the way to `generate`."""
    made = []
    monkeypatch.setattr(sweep, "generate", lambda make, y, *_: made.append(make(y)) or X_0)
    method = variant_methods(unet)[name]
    method.draw(Y, 3.0, 5, 0)
    got = made[0](*noisy)
    expected = clipped(by_hand(name, *predictions(unet, Y), unet.schedule, 3.0), unet.schedule)(
        *noisy
    )
    assert_close(got, expected, rtol=0, atol=1e-4)
    assert (got - cfg(unet, Y, 3.0)(*noisy)).abs().max() > 1e-3  # and it is no plain guidance
    method.draw(Y, 0.0, 5, 0)
    if not name.startswith("threshold"):  # w = 0: nothing to limit, to rescale or to project
        assert_close(made[1](*noisy), cfg(unet, Y, 0.0)(*noisy), rtol=0, atol=1e-4)
    assert (method.weights, method.s_at_zero) == ((unet,), 1.0)


def test_no_formula_costs_more_passes_than_cfg(unet, noisy):
    passes = []
    handle = unet.net["unet"].register_forward_hook(lambda *_: passes.append(1))
    for name in ("interval 200-600", "rescale 0.7", "rescale v 1", "apg"):
        by_hand(name, *predictions(unet, Y), unet.schedule, 3.0)(*noisy)
    handle.remove()
    assert len(passes) == 8


def test_plus_plus_is_its_own_path_and_stays_among_pixels(unet):
    cond, uncond = (clipped(eps, unet.schedule) for eps in predictions(unet, Y))
    path = list(plus_plus_path(cond, uncond, start_noise(3, 1), unet.schedule, 0.4, 5))
    assert_close(plus_plus(unet, Y, 0.4, 5, 1), path[-1].x_t, rtol=0, atol=1e-4)
    off = final_sample(ddim_path(uncond, start_noise(3, 1), unet.schedule, 5))
    assert_close(plus_plus(unet, Y, 0.0, 5, 1), off, rtol=0, atol=1e-4)
    # at T float32 keeps three digits of x_0: the signal there is 5e-5 of x_t
    assert all(stop.x_0.abs().max() < 1.02 for stop in path)
    assert variant_methods(unet)["cfg++"].s_at_zero == 0


def test_the_weak_model_is_the_recipe_after_so_few_steps(monkeypatch):
    seen = []

    def train(recipe, digits, seed=0, progress=True):
        seen.append((recipe, len(digits.labels), seed, progress))
        return load("unet")

    monkeypatch.setattr(variants, "train", train)
    weakened.cache_clear()
    assert weakened(7) is weakened(7)
    weakened.cache_clear()
    assert seen == [(replace(variants.RECIPES["unet"], steps=7), 60_000, 0, False)]


def test_autoguidance_moves_away_from_the_weak_model_with_the_same_condition(unet, noisy):
    weak = load("unet")
    for parameter in weak.net["classes"].parameters():
        parameter.mul_(0.5)
    good_eps, weak_eps = predictions(unet, Y)[0](*noisy), predictions(weak, Y)[0](*noisy)
    assert (good_eps - weak_eps).abs().max() > 1e-2
    expected = clipped(lambda x, t: good_eps + 2 * (good_eps - weak_eps), unet.schedule)(*noisy)
    assert_close(autoguidance(unet, weak, Y, 2.0)(*noisy), expected, rtol=0, atol=1e-4)
    weak.metadata["data_sha256"] = "0" * 64
    with pytest.raises(InputError, match="different data sets"):
        autoguidance(unet, weak, Y, 2.0)


def test_two_networks_are_m6_with_ddpm_as_the_unconditional_one(unet, noisy):
    ddpm = load("ddpm")
    cond, uncond = predictions(unet, Y)[0](*noisy), bind(ddpm.net["unet"])(*noisy)
    assert (uncond - predictions(unet, Y)[1](*noisy)).abs().max() > 1e-2
    whole = two_networks.two_networks(unet, ddpm, classifier_free, Y, 2.0)
    expected = clipped(lambda x, t: 3 * cond - 2 * uncond, unet.schedule)(*noisy)
    assert_close(whole(*noisy), expected, rtol=0, atol=1e-4)
    part = two_networks.two_networks(unet, ddpm, lambda *given: limited(*given, 200, 900), Y, 2.0)
    # of t = 900, 500, 100 the last is outside
    mixed = torch.cat([(3 * cond - 2 * uncond)[:2], cond[2:]])
    expected = clipped(lambda x, t: mixed, unet.schedule)(*noisy)
    assert_close(part(*noisy), expected, rtol=0, atol=1e-4)
    ddpm.metadata["data_sha256"] = "0" * 64
    with pytest.raises(InputError, match="different data sets"):
        two_networks.two_networks(unet, ddpm, classifier_free, Y, 2.0)


def row(method, s, seed, frechet):
    values = (method, s, s - 1, seed, 500, 20, 0.99, 0.9, frechet, 0.8, 0.7, 5.0, "abc")
    return dict(zip(COLUMNS, values, strict=True))


def searched(frechet):
    """All rows of seed 0, with the distance that `frechet` gives to a pair."""
    return sweep.as_frame([row(*pair, 0, frechet(pair)) for pair in PAIRS])


def keys(rows):
    return list(zip(rows.method, rows.s, rows.seed, strict=True))


def test_every_method_gets_as_many_settings_and_one_that_is_far_too_large(unet):
    assert {family: len(set(tried)) for family, tried in SEARCH.items()} == dict.fromkeys(SEARCH, 5)
    assert {method for method, _ in PAIRS} == set(variant_methods(unet))
    for family, tried in SEARCH.items():
        assert max(s for _, s in tried) == (0.87 if family == "cfg++" else 4.0)
        assert min(s for _, s in tried) <= 1.5
        assert all(
            method.rstrip("0123456789.-").rstrip("0123456789.- ") == family for method, _ in tried
        )


def test_the_largest_scale_of_cfg_plus_plus_is_as_much_guidance_as_4():
    pairs = pairwise(ddim_timesteps(cosine(), 20))
    assert sum(scale_of_plus_plus(cosine(), pair, 0.87) for pair in pairs) / 20 == pytest.approx(
        4.0, rel=0.01
    )


def test_the_choice_is_by_the_smallest_distance_of_seed_0():
    wanted = {family: tried[2] for family, tried in SEARCH.items()}
    rows = searched(lambda pair: 1.0 if pair in wanted.values() else 2.0 + pair[1])
    others = sweep.as_frame([row(*pair, 1, 0.1) for pair in PAIRS])  # they take no part
    rows = pd.concat([rows, others])
    assert best(rows) == wanted
    assert strongest(rows)["apg"] == ("apg", 4.0)  # both of its largest are equally far: the first
    closer = searched(lambda pair: 1.0 if pair == ("apg 2", 4.0) else 2.0)
    assert strongest(closer)["apg"] == best(closer)["apg"] == ("apg 2", 4.0)
    assert strongest(closer)["cfg++"] == ("cfg++", 0.87)
    assert Counter(chosen(closer))[("apg 2", 4.0)] == 1
    assert len(chosen(rows)) <= 2 * len(SEARCH)


def test_what_was_chosen_is_measured_again_with_every_other_seed(unet, reference, monkeypatch):
    """Real, the search, the chosen ones by seed; what is there is skipped."""
    made = []

    def measured(name, method, reference, s, setting, seed):
        made.append((name, s, seed))
        return row(name, s, seed, 1.0 + abs(s - 1.5))

    monkeypatch.setattr(sweep, "measured", measured)
    monkeypatch.setattr(variants, "real_rows", lambda reference, setting: [])
    methods = variant_methods(unet)
    rows = sweep.as_frame(list(search(methods, reference, SETTING, sweep.as_frame([]))))
    assert made[:40] == [(*pair, 0) for pair in PAIRS]
    pairs = chosen(rows)
    assert made[40:] == [(*pair, seed) for seed in (1, 2) for pair in pairs]
    assert {("interval 200-800", 1.5), ("interval 200-600", 4.0)} <= set(pairs)
    made.clear()
    rest = sweep.as_frame(list(search(methods, reference, SETTING, rows[:45])))
    assert keys(rest) == made == keys(rows[45:])
    assert set(again(rows).seed) == {1, 2}


def test_the_stored_table_is_whole_and_of_the_pretrained_weights(unet):
    methods = variant_methods(unet)
    rows = continued(STORED, methods, load("evaluator"), SETTING)
    wanted = {(*pair, 0) for pair in PAIRS}
    wanted |= {(*pair, seed) for seed in (1, 2) for pair in chosen(rows)}
    assert set(keys(rows[rows.method != "real"])) == wanted
    assert keys(sweep.in_order(rows, methods)) == keys(rows)
    assert STORED.read_text().startswith(f"# {COMMENT}\n")


def test_both_tables_have_the_same_real_digits():
    both = [read_results(RESULTS / name) for name in ("variants.csv", "guidance.csv")]
    first, second = (rows[rows.method == "real"] for rows in both)
    assert len(first) == 16
    pd.testing.assert_frame_equal(first, second)


def test_the_table_of_the_page_is_the_stored_one():
    rows = read_results(STORED)
    found = over_seeds(again(rows)).set_index(["method", "s"])
    page = (RESULTS / "README.md").read_text(encoding="utf-8")
    for family in SEARCH:
        both = [found.loc[choice(rows)[family]] for choice in (best, strongest)]
        cells = [f"{point.frechet:.2f} ± {point.frechet_error:.2f}" for point in both]
        assert f" | {' | '.join(cells)} |" in page, family
