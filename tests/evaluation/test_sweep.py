"""The harness: rows, seeds put together, files that are continued, refused, and measured again."""

import math
from pathlib import Path

import pandas as pd
import pytest
import torch

from minidiff.commands import evaluate, main
from minidiff.commands.evaluate import METHODS, command
from minidiff.datasets.mnist import load_digits
from minidiff.evaluation.metrics import share_error
from minidiff.evaluation.reference import reference
from minidiff.evaluation.results import METRICS, over_seeds, read_results, write_results
from minidiff.evaluation.sweep import (
    DECIMALS,
    SCALES,
    Method,
    Methods,
    Row,
    Setting,
    as_frame,
    as_text,
    continued,
    fingerprint,
    guidance_methods,
    in_order,
    measured,
    real_row,
    sweep,
)
from minidiff.experiments import ideal_guidance, stochastic_sampling, two_networks
from minidiff.symbols import InputError
from minidiff.training.checkpoints import Checkpoint, load

pytestmark = pytest.mark.slow

STORED = Path(__file__).resolve().parents[2] / "data" / "results" / "guidance.csv"
PAGE = STORED.with_name("README.md")
OTHERS = {
    "ideal_guidance": (("exact",), ideal_guidance.SETTING),
    "stochastic_sampling": (("cfg eta 1", "cg eta 1"), stochastic_sampling.SETTING),
    "interval": (("two networks 200-900", "interval 200-800"), two_networks.SETTINGS["interval"]),
    "two_networks": (("two networks",), two_networks.SETTINGS["two_networks"]),
}
NOBODY = Method(None, ())  # it is never drawn with
SMALL = Setting((0.0, 2.0), seeds=2, each=13, steps=2)
COMMAND = "python -m minidiff evaluate --methods cfg --scales 0 2 --n 13 --seeds 2 --steps 2"


@pytest.fixture(scope="module")
def models():
    return {name: load(name) for name in ("unet", "ddpm", "classifier", "evaluator")}


@pytest.fixture(scope="module")
def by(models):
    """The reference, but its moments are of the first 10,000 training images: all of them take
    minutes.
    """

    def fewer(split):
        digits = load_digits(split)
        return digits._replace(images=digits.images[:10_000], labels=digits.labels[:10_000])

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minidiff.evaluation.reference.load_digits", fewer)
        return reference(models["evaluator"])


@pytest.fixture(scope="module")
def methods(models):
    return guidance_methods(models)


@pytest.fixture(scope="module")
def only_cfg(methods):
    return {"cfg": methods["cfg"]}


def row(**change) -> Row:
    """A measurement of cfg at s = 2 that fits SMALL, with a change."""
    how = {"method": "cfg", "s": 2.0, "w": 1.0, "seed": 0, "n": 130, "steps": 2}
    return {**how, **dict.fromkeys(METRICS, 0.5), "weights": "abc", **change}


def written(path: Path, rows: pd.DataFrame, methods: Methods) -> str:
    """What a run leaves in its file."""
    write_results(path, COMMAND, in_order(rows, methods).round(DECIMALS))
    return path.read_text()


def test_rows_are_kept_in_a_fixed_order():
    rows = as_frame([row(seed=1), row(method="cg"), row(), row(method="real", s=0.0)])
    ordered = in_order(rows, dict.fromkeys(METHODS, NOBODY))
    there = list(zip(ordered.method, ordered.seed, strict=True))
    assert there == [("real", 0), ("cfg", 0), ("cfg", 1), ("cg", 0)]
    assert "accuracy  50.00 %  confident  50.00 %  Frechet   0.500" in as_text(row())


def test_the_command_says_what_is_not_usual():
    usual, other = Setting(seeds=2), Setting((0.0, 1.5), 1, 20, 10)
    assert command(METHODS, usual) == "python -m minidiff evaluate --n 50 --seeds 2 --steps 50"
    chosen = command(("cg",), other).removeprefix("python -m minidiff evaluate ")
    assert chosen == "--methods cg --scales 0 1.5 --n 20 --seeds 1 --steps 10"


def test_an_interrupted_evaluation_continues_to_the_same_file(models, by, only_cfg, tmp_path):
    whole = as_frame(list(sweep(only_cfg, by, SMALL, as_frame([]))))
    made = [("cfg", s, k) for k in (0, 1) for s in (0, 2)]
    there = list(zip(whole.method, whole.s, whole.seed, strict=True))
    assert there == [("real", 0, k) for k in range(16)] + made
    path = tmp_path / "t.csv"
    expected = written(path, whole, only_cfg)
    written(path, whole[3:18], only_cfg)
    rows = continued(path, only_cfg, models["evaluator"], SMALL)
    rows = pd.concat([rows, as_frame(list(sweep(only_cfg, by, SMALL, rows)))])
    assert written(path, rows, only_cfg) == expected
    assert whole.frechet[16] != whole.frechet[18]  # another seed is other noise
    shares = whole[["accuracy", "confident", "precision", "recall"]]
    assert shares.min(axis=None) >= 0
    assert shares.max(axis=None) <= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"weights": "f" * 12}, "measured with other weights .cfg: ffffffffffff"),
        ({"n": 120}, "measured with n = 120"),
        ({"steps": 9}, "measured with n = 130, 9 steps"),
        ({"s": 7.0}, "holds more than is asked for .cfg, s = 7"),
        ({"seed": 2}, "holds more than is asked for .cfg, s = 2, seed 2"),
    ],
)
def test_a_file_of_something_else_is_refused(models, only_cfg, tmp_path, change, message):
    fits = row(weights=fingerprint((models["unet"],), models["evaluator"]))
    path = tmp_path / "t.csv"
    written(path, as_frame([{**fits, **change}]), only_cfg)
    with pytest.raises(InputError, match=message):
        continued(path, only_cfg, models["evaluator"], SMALL)
    written(path, as_frame([fits]), only_cfg)
    assert len(continued(path, only_cfg, models["evaluator"], SMALL)) == 1


def test_real_rows_are_disjoint_and_run_out(models, by):
    first, second = (real_row(by, 50, seed) for seed in (0, 1))
    assert (first["n"], first["steps"]) == (500, 0)
    assert first["frechet"] != second["frechet"]
    assert min(first["accuracy"], second["accuracy"]) > 0.97
    assert [len(by.balanced_sets(each)) for each in (50, 100, 892)] == [16, 8, 1]
    every = torch.cat(by.balanced_sets(50))
    assert len(every.unique()) == len(every) == 16 * 500
    assert (by.test.labels[by.balanced_sets(50)[3]].bincount() == 50).all()
    with pytest.raises(InputError, match="not 900 real test images of every class, only 892"):
        by.balanced_sets(900)


def test_the_reference_is_what_real_images_get(by):
    """The mean distance of the real rows; balanced sets are nearer than random ones."""
    rows = [by.frechet(by.test.x_0(chosen)) for chosen in by.balanced_sets(100)]
    assert by.balanced_real(100) == pytest.approx(sum(rows) / 8, rel=1e-3)
    assert by.balanced_real(100) < 0.75 * by.real(1000)
    halves = [
        by.test.images[rows].float().mean().item() for rows in (slice(5000), slice(5000, 10_000))
    ]
    # shuffled: the halves of the original file differ by 17 %
    assert halves[0] == pytest.approx(halves[1], rel=0.02)


def test_scales_start_with_the_plain_models():
    assert SCALES[:2] == (0.0, 1.0)
    assert len(SCALES) >= 10
    assert (min(SCALES), max(SCALES)) == (0, 10)


def check_stored(path: Path, methods: Methods, evaluator: Checkpoint, setting: Setting) -> None:
    """Every row, of the weights beside it, in order; and nothing else in the file."""
    rows = continued(path, methods, evaluator, setting)
    assert len(rows) == 16 + setting.seeds * len(methods) * len(setting.scales)
    pd.testing.assert_frame_equal(in_order(rows, methods), rows)
    text = rows.to_csv(index=False, lineterminator="\n")
    assert path.read_text().partition("\n")[2] == text


def test_the_stored_table_is_whole_and_of_the_pretrained_weights(models, methods):
    """A table from other weights than those beside it would be a claim that nobody can check."""
    check_stored(STORED, methods, models["evaluator"], Setting())
    assert STORED.read_text().startswith(f"# {command(METHODS, Setting())}\n")


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_stored_tables_are_whole_and_measured_like_the_first(models, name):
    """The weights are named by their fingerprints; nothing is drawn."""
    path, (names, setting) = STORED.with_name(f"{name}.csv"), OTHERS[name]
    if name in two_networks.SETTINGS:
        known = two_networks.methods(name, models["unet"], models["ddpm"])
    elif name == "stochastic_sampling":
        known = stochastic_sampling.methods(models)
    else:
        known = {"exact": NOBODY}
    assert tuple(known) == names
    check_stored(path, known, models["evaluator"], setting)
    module = "two_networks" if name in two_networks.SETTINGS else name
    assert path.read_text().startswith(f"# python -m minidiff.experiments.{module} {name}.csv\n")
    # real digits are the same everywhere; another machine may round otherwise
    real, first = read_results(path)[:16], read_results(STORED)[:16]
    pd.testing.assert_frame_equal(real, first, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("method", "s"), [("cfg", 2.0), ("cg", 4.0)])
def test_a_stored_row_is_measured_again(methods, by, method, s):
    """130 fresh images against the stored n: shares and precision within 5 standard errors of
    the difference.
    """
    stored = over_seeds(read_results(STORED)).set_index(["method", "s"]).loc[method, s]
    again = measured(method, methods[method], by, s, Setting(each=13), seed=99)
    for name in ("accuracy", "confident", "precision"):
        p = stored[name]
        error = share_error(round(130 * p), 130) + share_error(round(stored.n * p), int(stored.n))
        assert abs(again[name] - p) < 5 * error, name
    assert math.isfinite(again["frechet"])


def test_the_command_prints_and_writes_every_row_and_goes_on(by, tmp_path, capsys, monkeypatch):
    """Real digits and every method at every scale; then one more scale: only its rows are new;
    then other steps: refused.
    """
    monkeypatch.setattr(evaluate, "reference", lambda evaluator: by)  # made once for all tests
    out = tmp_path / "t.csv"
    asked = f"evaluate --n 13 --steps 1 --seeds 1 --out {out} --methods cfg cg --scales".split()
    assert main([*asked, "2", "0"]) == 0
    comment, *first = out.read_text().splitlines()
    chosen = "--methods cfg cg --scales 0 2 --n 13 --seeds 1 --steps 1"
    assert comment == f"# python -m minidiff evaluate {chosen}"
    rows = read_results(out)
    assert set(rows.method[:16]) == {"real"}
    made = list(zip(rows.method, rows.s, rows.w, strict=True))[16:]
    assert made == [("cfg", 0, -1), ("cfg", 2, 1), ("cg", 0, 0), ("cg", 2, 2)]
    # rows; then a table with a head
    assert len(capsys.readouterr().out.splitlines()) == 20 + 1 + 2 + 5
    assert main([*asked, "0", "2", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + 1 + 2 + 7
    assert set(first) < set(out.read_text().splitlines())
    before = out.read_bytes()
    assert main([*asked, "0", "2", "3", "--steps", "2"]) == 2
    assert "measured with n = 130, 1 steps" in capsys.readouterr().err
    assert out.read_bytes() == before
