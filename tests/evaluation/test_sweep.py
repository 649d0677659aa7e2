"""The harness: rows, seeds put together, files that are continued, refused, and measured again."""

import math
from pathlib import Path

import pytest
import torch

from minidiff.commands import evaluate, main
from minidiff.commands.evaluate import METHODS, command
from minidiff.datasets.mnist import load_digits
from minidiff.evaluation.metrics import share_error
from minidiff.evaluation.reference import reference
from minidiff.evaluation.sweep import (
    METRICS,
    SCALES,
    Method,
    Row,
    Setting,
    as_csv,
    as_table,
    as_text,
    continued,
    fingerprint,
    guidance_methods,
    measured,
    points,
    read_rows,
    real_row,
    sweep,
)
from minidiff.experiments import ideal_guidance, stochastic_sampling, two_networks
from minidiff.symbols import InputError
from minidiff.training.checkpoints import load

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
    """The reference, but its moments are of the first 10,000 training images: all of them take minutes."""

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


def row(method="cfg", s=2.0, seed=0, accuracy=0.98, frechet=3.0, **more):
    known = {
        "w": s - 1,
        "n": 500,
        "steps": 50,
        "confident": 0.9,
        "precision": 0.8,
        "recall": 0.7,
        "diversity": 5.0,
        "weights": "abc",
    }
    return Row(method=method, s=s, seed=seed, accuracy=accuracy, frechet=frechet, **{**known, **more})


def test_seeds_are_put_together_by_hand():
    rows = [row("real", 0.0, 0, 1.0, 2.0), row("real", 0.0, 1, 1.0, 4.0), row(seed=0, accuracy=0.97, frechet=5.0)]
    rows += [row(seed=1, accuracy=0.99, frechet=7.0), row(s=4.0)]
    real, two, one = points(rows)
    assert (two.method, two.s, two.w, two.n, two.seeds) == ("cfg", 2.0, 1.0, 1000, 2)
    assert two.mean["accuracy"] == pytest.approx(0.98)
    assert two.error["accuracy"] == share_error(980, 1000)
    assert two.mean["frechet"] == pytest.approx(6 / 3)  # in floors: the mean of the real rows is 3
    assert two.error["frechet"] == pytest.approx(1 / 3)  # std of 5/3 and 7/3 is 2/3 / sqrt(2); over sqrt(2) seeds
    assert real.mean["frechet"] == pytest.approx(1)
    assert math.isnan(one.error["recall"])
    assert one.error["accuracy"] > 0
    assert real.mean.keys() == real.error.keys() == set(METRICS)


def test_what_is_written_is_read_back_in_a_fixed_order(tmp_path):
    rows = [row(seed=1), row("cg", 1.0), row(seed=0), row("real", 0.0)]
    (tmp_path / "a.csv").write_bytes(as_csv(rows, command(METHODS, Setting(seeds=2)), dict.fromkeys(METHODS, NOBODY)))
    first = (tmp_path / "a.csv").read_text().splitlines()[0]
    assert first == "# python -m minidiff evaluate --n 50 --seeds 2 --steps 50"
    assert [(r.method, r.seed) for r in read_rows(tmp_path / "a.csv")] == [("real", 0), ("cfg", 0), ("cfg", 1), ("cg", 0)]
    assert set(read_rows(tmp_path / "a.csv")) == set(rows)
    assert "98.00 %" in as_text(rows[0])
    chosen = Setting((0.0, 1.5), 1, 20, 10)
    assert command(("cg",), chosen) == "python -m minidiff evaluate --methods cg --scales 0 1.5 --n 20 --seeds 1 --steps 10"


def test_the_table_shows_means_with_their_errors():
    rows = [row("real", 0.0, frechet=2.0), row(seed=0, accuracy=0.97, frechet=5.0), row(seed=1, accuracy=0.99, frechet=7.0)]
    head, _, real, two = as_table(points(rows)).splitlines()
    assert len(head.split("|")) == len(two.split("|"))
    assert real == "| real |  |  | 500 | 98.0 ± 0.7 | 90.0 ± 1.4 | 1.00 | 0.80 | 0.70 | 5.00 |"
    assert two == "| cfg | 2 | 1 | 1,000 | 98.0 ± 0.5 | 90.0 ± 1.0 | 3.00 ± 0.50 | 0.80 ± 0.00 | 0.70 ± 0.00 | 5.00 ± 0.00 |"


def test_an_interrupted_evaluation_continues_to_the_same_file(models, by, only_cfg, tmp_path):
    whole = list(sweep(only_cfg, by, SMALL))
    made = [("cfg", s, k) for k in (0, 1) for s in (0, 2)]
    assert [(r.method, r.s, r.seed) for r in whole] == [("real", 0, k) for k in range(16)] + made
    path = tmp_path / "t.csv"
    path.write_bytes(as_csv(whole[3:18], COMMAND, only_cfg))
    rows = continued(path, only_cfg, models["evaluator"], SMALL)
    rows += sweep(only_cfg, by, SMALL, rows)
    assert as_csv(rows, COMMAND, only_cfg) == as_csv(whole, COMMAND, only_cfg)
    assert whole[16].frechet != whole[18].frechet  # another seed is other noise
    assert all(0 <= getattr(r, name) <= 1 for r in whole for name in ("accuracy", "confident", "precision", "recall"))


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
    fits = {"n": 130, "steps": 2, "weights": fingerprint((models["unet"],), models["evaluator"])}
    path = tmp_path / "t.csv"
    path.write_bytes(as_csv([row(**{**fits, **change})], COMMAND, only_cfg))
    with pytest.raises(InputError, match=message):
        continued(path, only_cfg, models["evaluator"], SMALL)
    path.write_bytes(as_csv([row(**fits)], COMMAND, only_cfg))
    assert len(continued(path, only_cfg, models["evaluator"], SMALL)) == 1


def test_no_table_and_a_broken_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("# something\na,b\n1,2\n")
    with pytest.raises(InputError, match="not a table of minidiff evaluate"):
        read_rows(path)
    path.write_bytes(as_csv([row()], COMMAND, {"cfg": NOBODY})[:-30])
    with pytest.raises(InputError, match="broken or truncated"):
        read_rows(path)


def test_real_rows_are_disjoint_and_run_out(models, by):
    first, second = (real_row(by, 50, seed) for seed in (0, 1))
    assert (first.n, first.steps) == (500, 0)
    assert first.frechet != second.frechet
    assert min(first.accuracy, second.accuracy) > 0.97
    assert [len(by.balanced_sets(each)) for each in (50, 100, 892)] == [16, 8, 1]
    every = torch.cat(by.balanced_sets(50))
    assert len(every.unique()) == len(every) == 16 * 500
    assert (by.test.labels[by.balanced_sets(50)[3]].bincount() == 50).all()
    with pytest.raises(InputError, match="not 900 real test images of every class, only 892"):
        by.balanced_sets(900)


def test_floors_are_what_real_images_get(by):
    """Balanced sets are nearer than random ones of the same number; the floor is the mean of the real rows' distances."""
    rows = [by.frechet(by.test.x_0(chosen)) for chosen in by.balanced_sets(100)]
    assert by.balanced_floor(100) == pytest.approx(sum(rows) / 8, rel=1e-3)
    assert by.balanced_floor(100) < 0.75 * by.floor(1000)
    halves = [by.test.images[rows].float().mean().item() for rows in (slice(5000), slice(5000, 10_000))]
    assert halves[0] == pytest.approx(halves[1], rel=0.02)  # shuffled: the halves of the original file differ by 17 %


def test_scales_start_with_the_plain_models():
    assert SCALES[:2] == (0.0, 1.0)
    assert len(SCALES) >= 10
    assert (min(SCALES), max(SCALES)) == (0, 10)


def test_the_stored_table_is_whole_and_of_the_pretrained_weights(models, methods):
    """A table from other weights than those beside it would be a claim that nobody can check."""
    rows = read_rows(STORED)
    assert len(continued(STORED, methods, models["evaluator"], Setting())) == 16 + 4 * len(METHODS) * len(SCALES)
    assert STORED.read_bytes() == as_csv(rows, command(METHODS, Setting()), methods)


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_stored_tables_are_whole_and_measured_like_the_first(models, name):
    """The weights are named by their fingerprints; nothing is drawn."""
    path, (names, setting) = STORED.with_name(f"{name}.csv"), OTHERS[name]
    known = stochastic_sampling.methods(models) if name == "stochastic_sampling" else {"exact": NOBODY}
    if name in two_networks.SETTINGS:
        known = two_networks.methods(name, models["unet"], models["ddpm"])
    rows, comment = read_rows(path), path.read_text().splitlines()[0].removeprefix("# ")
    assert tuple(known) == names
    assert len(continued(path, known, models["evaluator"], setting)) == 16 + setting.seeds * len(names) * len(setting.scales)
    assert path.read_bytes() == as_csv(rows, comment, known)
    module = "two_networks" if name in two_networks.SETTINGS else name
    assert comment == f"python -m minidiff.experiments.{module} {name}.csv"
    for one, other in zip(rows[:16], read_rows(STORED)[:16], strict=True):  # real digits; another machine may round otherwise
        assert one[:6] == other[:6]
        assert one[6:12] == pytest.approx(other[6:12], abs=1e-4)


@pytest.mark.parametrize(("method", "s"), [("cfg", 2.0), ("cg", 4.0)])
def test_a_stored_row_is_measured_again(methods, by, method, s):
    """130 fresh images against the stored n: shares and precision within 5 standard errors of the difference."""
    stored = next(point for point in points(read_rows(STORED)) if (point.method, point.s) == (method, s))
    again = measured(method, methods[method], by, s, Setting(each=13), seed=99)
    for name in ("accuracy", "confident", "precision"):
        p = stored.mean[name]
        error = share_error(round(130 * p), 130) + share_error(round(stored.n * p), stored.n)
        assert abs(getattr(again, name) - p) < 5 * error, name
    assert torch.tensor(again.frechet).isfinite()


def test_the_command_prints_and_writes_every_row_and_goes_on(by, tmp_path, capsys, monkeypatch):
    """Real digits and every method at every scale; then one more scale: only its rows are new; then other steps: refused."""
    monkeypatch.setattr(evaluate, "reference", lambda evaluator: by)  # made once for all tests
    out = tmp_path / "t.csv"
    asked = f"evaluate --n 13 --steps 1 --seeds 1 --out {out} --methods cfg cg --scales".split()
    assert main([*asked, "2", "0"]) == 0
    first = out.read_text().splitlines()
    assert first[0] == "# python -m minidiff evaluate --methods cfg cg --scales 0 2 --n 13 --seeds 1 --steps 1"
    rows = read_rows(out)
    assert [(row.method, row.s, row.w) for row in rows[16:]] == [("cfg", 0, -1), ("cfg", 2, 1), ("cg", 0, 0), ("cg", 2, 2)]
    assert {row.method for row in rows[:16]} == {"real"}
    assert len(capsys.readouterr().out.splitlines()) == 20 + 1 + 2 + 5  # rows; then a table with a head
    assert main([*asked, "0", "2", "3"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + 1 + 2 + 7
    assert set(rows) < set(read_rows(out))
    before = out.read_bytes()
    assert main([*asked, "0", "2", "3", "--steps", "2"]) == 2
    assert "measured with n = 130, 1 steps" in capsys.readouterr().err
    assert out.read_bytes() == before
