"""The page about the weights against the weights; what the ablations change."""

import re
from dataclasses import replace
from pathlib import Path

import pytest

from minidiff.datasets.mnist import Digits, load_digits
from minidiff.evaluation.metrics import class_accuracy
from minidiff.evaluation.results import kept_rows
from minidiff.experiments import ablations
from minidiff.experiments.model_cards import MEASURES, accuracies, as_markdown
from minidiff.training.checkpoints import PRETRAINED, load
from minidiff.training.loop import training_steps
from minidiff.training.recipes import LIVE, RECIPES


def test_the_page_about_the_weights_is_made_from_them():
    metadata = {name: load(name).metadata for name in RECIPES}
    assert (PRETRAINED / "README.md").read_text() == as_markdown(metadata)
    for name, fact in metadata.items():
        assert fact["quality"], name


def test_recorded_accuracies_are_measured_again():
    """The noisy classifier on clean images, the evaluator on 2,000: what their files say."""
    evaluator, classifier, test = load("evaluator"), load("classifier"), load_digits("test")
    ((_, share, n),) = accuracies(classifier, test, (0,))
    assert n == 10_000
    assert share == pytest.approx(classifier.metadata["quality"]["accuracy_t0"], abs=5e-4)
    few = class_accuracy(evaluator, test.x_0(slice(0, 2000)), test.labels[:2000])
    recorded = 100 * evaluator.metadata["quality"]["accuracy"]
    assert 100 * few.accuracy == pytest.approx(recorded, abs=500 * few.accuracy_error)


def test_every_model_has_a_measure():
    assert MEASURES.keys() == RECIPES.keys()


def test_the_page_of_results_shows_the_ablations():
    results = Path(__file__).parents[2] / "data" / "results"
    rows = kept_rows(results / "ablations.csv")
    assert {row["model"] for row in rows} >= {"unet", "text_unet"}
    assert ablations.as_table(rows) in (results / "README.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(("model", "changed"), ablations.TRIALS)
def test_a_trial_changes_what_its_name_says(model, changed):
    """Every trial differs from its recipe, can be built, and its loss falls at first."""
    recipe, chosen = ablations.TRIALS[model, changed], replace(LIVE[model], steps=ablations.STEPS)
    assert (recipe == chosen) == (changed == ablations.CHOSEN)
    nets = [recipe.build(10, recipe.schedule()) for recipe in (recipe, chosen)]
    size = [sum(p.numel() for p in net.parameters()) for net in nets]
    assert (size[0] < size[1]) == bool(re.search(r"without|no cross", changed))
    for rate in re.findall(r"peak_lr ([\d.e-]+)", changed):
        assert recipe.peak_lr == float(rate)
    full = load_digits("train")
    few = Digits(full.images[:64], full.labels[:64], full.sha256)
    short = replace(recipe, steps=8, batch=32, warmup=2)
    losses = [state.loss for state in training_steps(short, few)]
    assert min(losses[4:]) < losses[0]
