"""Frechet distance against closed forms; the page about the weights against the weights."""

import re
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from minidiff.datasets.mnist import Digits, load_digits
from minidiff.evaluation.metrics import Moments, class_accuracy, confident, features_of, frechet_distance, frechet_floor, moments
from minidiff.experiments import ablations
from minidiff.experiments.model_cards import MEASURES, accuracies, as_markdown
from minidiff.experiments.rows import kept
from minidiff.symbols import InputError
from minidiff.training.checkpoints import PRETRAINED, load
from minidiff.training.loop import training_steps
from minidiff.training.recipes import BUDGETS, LIVE, RECIPES


def law(mean, covariance) -> Moments:
    return Moments(torch.tensor(mean, dtype=torch.float64), torch.as_tensor(covariance, dtype=torch.float64))


def random_covariance(seed, dim=6):
    a = torch.randn(dim, 2 * dim, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    return a @ a.T / dim


def test_frechet_distance_of_laws_on_a_line():
    """W_2^2 of N(m, a^2) and N(n, b^2) is (m - n)^2 + (a - b)^2."""
    assert frechet_distance(law([1.0], [[4.0]]), law([-2.0], [[0.25]])) == pytest.approx(9 + 1.5**2, rel=1e-12)
    assert frechet_distance(law([1.0], [[4.0]]), law([1.0], [[4.0]])) == pytest.approx(0, abs=1e-12)


def test_frechet_distance_of_matrices_that_do_not_commute():
    """Against the eigenvalues of C_a C_b itself; it is symmetric, and does not see a rotation of the features."""
    a, b = random_covariance(0), random_covariance(1)
    assert (a @ b - b @ a).abs().max() > 0.1
    both = torch.linalg.eigvals(a @ b).real.sqrt().sum()
    expected = float(6 * 0.25 + a.trace() + b.trace() - 2 * both)
    first, second = Moments(torch.zeros(6).double(), a), Moments(torch.full((6,), 0.5).double(), b)
    assert frechet_distance(first, second) == pytest.approx(expected, rel=1e-10)
    assert frechet_distance(second, first) == pytest.approx(expected, rel=1e-10)
    turn = torch.linalg.qr(random_covariance(2)).Q
    turned = [Moments(turn @ m.mean, turn @ m.covariance @ turn.T) for m in (first, second)]
    assert frechet_distance(*turned) == pytest.approx(expected, rel=1e-10)


def test_frechet_distance_survives_a_feature_that_never_varies():
    a = torch.diag(torch.tensor([1.0, 0.0]))
    assert frechet_distance(law([0.0, 0.0], a), law([0.0, 0.0], 4 * a)) == pytest.approx(1.0)


def test_moments_are_those_of_the_features():
    evaluator, x_0 = load("evaluator"), load_digits("test").x_0(slice(0, 700))
    with torch.no_grad():
        features = evaluator.net["evaluator"].features(x_0).double()
    found = moments(features_of(evaluator, x_0))
    torch.testing.assert_close(found.mean, features.mean(0), rtol=1e-5, atol=1e-6)
    centred = features - features.mean(0)
    torch.testing.assert_close(found.covariance, centred.T @ centred / 699, rtol=1e-4, atol=1e-5)


def test_too_few_images_for_a_covariance_are_refused():
    features = torch.randn(129, 128, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found = moments(features)
    with pytest.raises(InputError, match="in 128 features wants at least 129 images, got 128"):
        moments(features[:128])
    with pytest.raises(InputError, match="at least one set of n = 1000"):
        frechet_floor(found, features, 1000)


def test_real_digits_are_nearer_than_noise_and_the_judge_is_surer_of_them():
    evaluator, test = load("evaluator"), load_digits("test")
    train, real = moments(features_of(evaluator, load_digits("train").x_0(slice(0, 4000)))), test.x_0(slice(0, 500))
    noise = torch.randn(real.shape, generator=torch.Generator().manual_seed(0))
    of_real, of_noise = (frechet_distance(moments(features_of(evaluator, x_0)), train) for x_0 in (real, noise))
    assert of_real < 0.1 * of_noise
    assert confident(evaluator, real) > 0.9
    assert confident(evaluator, noise) < 0.5


def test_the_page_about_the_weights_is_made_from_them():
    metadata = {name: load(name).metadata for name in RECIPES}
    assert (PRETRAINED / "README.md").read_text() == as_markdown(metadata)
    for name, fact in metadata.items():
        assert fact["quality"], name


def test_recorded_accuracies_are_measured_again():
    """The classifier on 10,000 clean images, the judge on the first 2,000: what stands in their files, within its errors."""
    evaluator, classifier, test = load("evaluator"), load("classifier"), load_digits("test")
    ((_, share, n),) = accuracies(classifier, test, (0,))
    assert n == 10_000
    assert 100 * share == pytest.approx(100 * classifier.metadata["quality"]["accuracy_t0"], abs=0.05)
    few = class_accuracy(evaluator, test.x_0(slice(0, 2000)), test.labels[:2000])
    recorded = 100 * evaluator.metadata["quality"]["accuracy"]
    assert 100 * few.accuracy == pytest.approx(recorded, abs=500 * few.accuracy_error)


def test_every_model_has_a_measure_and_two_budgets():
    assert MEASURES.keys() == RECIPES.keys() == LIVE.keys()
    for budget in BUDGETS.values():
        assert all(recipe.name == name for name, recipe in budget.items())
    assert all(LIVE[name].steps < RECIPES[name].steps for name in RECIPES)


def test_the_page_of_results_shows_the_trials():
    results = Path(__file__).parents[2] / "data" / "results"
    rows = kept(results / "ablations.csv")
    assert {row["model"] for row in rows} >= {"unet", "text_unet"}
    assert ablations.as_table(rows) in (results / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("model", "changed"), ablations.TRIALS)
def test_a_trial_changes_what_its_name_says(model, changed):
    """Every row differs from its recipe, its networks can be built, and its loss falls for at least a few steps."""
    recipe, chosen = ablations.TRIALS[model, changed], replace(LIVE[model], steps=ablations.STEPS)
    assert (recipe == chosen) == (changed == ablations.CHOSEN)
    size = [sum(p.numel() for p in r.build(10, r.schedule()).parameters()) for r in (recipe, chosen)]
    assert (size[0] < size[1]) == bool(re.search(r"without|no cross", changed))
    for rate in re.findall(r"peak_lr ([\d.e-]+)", changed):
        assert recipe.peak_lr == float(rate)
    full = load_digits("train")
    few = Digits(full.images[:64], full.labels[:64], full.sha256)
    losses = [state.loss for state in training_steps(replace(recipe, steps=8, batch=32, warmup=2), few)]
    assert min(losses[4:]) < losses[0]
