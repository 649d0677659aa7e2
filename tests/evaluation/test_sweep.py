"""The harness: rows, seeds put together, files that are continued, refused, and measured again."""

import math
import re
import shlex
from pathlib import Path

import pytest
import torch

from minidiff import commands
from minidiff.__main__ import main
from minidiff.datasets.mnist import load_digits
from minidiff.evaluation.metrics import share_error
from minidiff.evaluation.reference import reference
from minidiff.evaluation.sweep import (
    METRICS,
    SCALES,
    Row,
    Setting,
    as_csv,
    as_table,
    as_text,
    continued,
    fingerprint,
    measured,
    points,
    read_rows,
    real_row,
    sweep,
)
from minidiff.sampling import METHODS
from minidiff.symbols import InputError
from minidiff.training.checkpoints import load

pytestmark = pytest.mark.slow

STORED = Path(__file__).resolve().parents[2] / "data" / "results" / "guidance.csv"
PAGE = STORED.with_name("README.md")
OTHERS = {
    "ideal_guidance": Setting(("exact",), (1.0, 1.25, 1.5, 2.0, 3.0, 4.0, 6.0, 10.0), seeds=3),
    "stochastic_sampling": Setting(("cfg eta 1", "cg eta 1"), (1.0, 1.25, 2.0, 3.0, 4.0), seeds=2),
    "interval": Setting(("interval 200-800", "two networks 200-900"), (2.0,)),
    "two_networks": Setting(("two networks",), (1.25, 2.0, 4.0, 10.0), seeds=2),
}
SMALL = Setting(("cfg",), (0.0, 2.0), seeds=2, each=13, steps=2)


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
    (tmp_path / "a.csv").write_bytes(as_csv(rows, Setting(seeds=2)))
    first = (tmp_path / "a.csv").read_text().splitlines()[0]
    assert first == "# python -m minidiff evaluate --n 50 --seeds 2 --steps 50"
    assert [(r.method, r.seed) for r in read_rows(tmp_path / "a.csv")] == [("real", 0), ("cfg", 0), ("cfg", 1), ("cg", 0)]
    assert set(read_rows(tmp_path / "a.csv")) == set(rows)
    assert "98.00 %" in as_text(rows[0])
    chosen = Setting(("cg",), (0.0, 1.5), 1, 20, 10)
    assert chosen.command() == "python -m minidiff evaluate --methods cg --scales 0 1.5 --n 20 --seeds 1 --steps 10"


def test_the_table_shows_means_with_their_errors():
    rows = [row("real", 0.0, frechet=2.0), row(seed=0, accuracy=0.97, frechet=5.0), row(seed=1, accuracy=0.99, frechet=7.0)]
    head, _, real, two = as_table(points(rows)).splitlines()
    assert len(head.split("|")) == len(two.split("|"))
    assert real == "| real |  |  | 500 | 98.0 ± 0.7 | 90.0 ± 1.4 | 1.00 | 0.80 | 0.70 | 5.00 |"
    assert two == "| cfg | 2 | 1 | 1,000 | 98.0 ± 0.5 | 90.0 ± 1.0 | 3.00 ± 0.50 | 0.80 ± 0.00 | 0.70 ± 0.00 | 5.00 ± 0.00 |"


def test_the_tables_of_both_pages_are_the_stored_ones():
    """README has a choice of the rows, the page beside the files has all."""
    whole = as_table(points(read_rows(STORED)))
    head = (STORED.parents[2] / "README.md").read_text().splitlines()
    chosen = [line for line in head if line.startswith(("| real |", "| cfg |", "| cg |", "| cg_cond |"))]
    assert 8 <= len(chosen) == len(set(chosen) & set(whole.splitlines()))
    assert PAGE.read_text().count(whole) == 1
    lines = PAGE.read_text().splitlines()
    for name, setting in OTHERS.items():
        starts = tuple(f"| {method} |" for method in setting.methods)
        stored = as_table(points(read_rows(STORED.with_name(f"{name}.csv")))).splitlines()
        assert [line for line in stored if line.startswith(starts)] == [line for line in lines if line.startswith(starts)]


def test_what_the_page_says_of_fresh_noise_is_in_the_two_tables():
    """Pairs of rows with the same method, s and seed, without fresh noise and with it."""
    fresh = read_rows(STORED.with_name("stochastic_sampling.csv"))
    plain = {(row.method, row.s, row.seed): row for row in read_rows(STORED)}
    pairs = [(plain[row.method.removesuffix(" eta 1"), row.s, row.seed], row) for row in fresh if row.method != "real"]
    floor = sum(row.frechet for row in fresh if row.method == "real") / 16

    def mean(which, metric, method, s):
        of = [getattr(pair[which], metric) for pair in pairs if (pair[0].method, pair[0].s) == (method, s)]
        return sum(of) / len(of)

    text = " ".join(PAGE.read_text().split())
    said = text[text.index("## Fresh noise") : text.index("| cfg eta 1 |")]
    for method, s in (("cg", 1.0), ("cfg", 1.0), ("cfg", 1.25)):
        without, with_it = (f"{mean(which, 'frechet', method, s) / floor:.2f}" for which in (0, 1))
        assert re.search(rf"{with_it}[^:;]* instead of {without}", said), (method, s)
    asked = [f"{100 * mean(which, 'accuracy', 'cg', 1.0):.0f}" for which in (1, 0)]
    assert "{} instead of {} % accuracy".format(*asked) in said
    assert f"Recall falls in {sum(b.recall < a.recall for a, b in pairs)} of the {len(pairs)} pairs" in said
    best = [min((mean(which, "frechet", "cg", s) / floor, s) for s in (1.0, 1.25, 2.0, 3.0, 4.0)) for which in (1, 0)]
    assert "{:.2f}, now at s = {:g}; without, on these seeds, {:.2f} at s = {:g}".format(*best[0], *best[1]) in said


def test_what_both_pages_say_of_two_networks_is_in_the_tables():
    """The same scales and seeds by two networks and by one."""
    two, one = (read_rows(STORED.with_name(name)) for name in ("two_networks.csv", "guidance.csv"))
    floor = sum(row.frechet for row in two if row.method == "real") / 16
    page, readme = (" ".join(path.read_text().split()) for path in (PAGE, STORED.parents[2] / "README.md"))

    def pair(metric, s):
        names = ((two, "two networks"), (one, "cfg"))
        of = ([getattr(r, metric) for r in rows if (r.method, r.s) == (name, s) and r.seed < 2] for rows, name in names)
        unit = floor if metric == "frechet" else 1
        return "{:.2f} instead of {:.2f}".format(*(sum(values) / len(values) / unit for values in of))

    assert all(pair("frechet", s) in page for s in (1.25, 2.0, 4.0, 10.0))
    assert all(pair("frechet", s) in readme for s in (2.0, 4.0, 10.0))
    assert all(pair("recall", s) in page for s in (2.0, 4.0))


@pytest.mark.parametrize("setting", OTHERS.values())
def test_the_command_in_a_file_asks_for_what_is_in_it(setting, monkeypatch):
    asked = []
    monkeypatch.setattr(commands, "sweep", lambda models, by, setting, rows: asked.append(setting) or [])
    monkeypatch.setattr(commands, "reference", lambda evaluator: None)
    monkeypatch.setattr(commands, "real_ones", lambda by, setting: [])
    assert main(shlex.split(setting.command())[3:]) == 0  # without python -m minidiff
    assert asked == [setting]


def test_an_interrupted_evaluation_continues_to_the_same_file(models, by, tmp_path):
    whole = list(sweep(models, by, SMALL))
    made = [("cfg", s, k) for k in (0, 1) for s in (0, 2)]
    assert [(r.method, r.s, r.seed) for r in whole] == [("real", 0, k) for k in range(16)] + made
    path = tmp_path / "t.csv"
    path.write_bytes(as_csv(whole[3:18], SMALL))
    rows = continued(path, models, SMALL)
    rows += sweep(models, by, SMALL, rows)
    assert as_csv(rows, SMALL) == as_csv(whole, SMALL)
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
def test_a_file_of_something_else_is_refused(models, tmp_path, change, message):
    fits = {"n": 130, "steps": 2, "weights": fingerprint(models, ("unet",))}
    path = tmp_path / "t.csv"
    path.write_bytes(as_csv([row(**{**fits, **change})], SMALL))
    with pytest.raises(InputError, match=message):
        continued(path, models, SMALL)
    path.write_bytes(as_csv([row(**fits)], SMALL))
    assert len(continued(path, models, SMALL)) == 1


def test_no_table_and_a_broken_one(tmp_path):
    path = tmp_path / "t.csv"
    path.write_text("# something\na,b\n1,2\n")
    with pytest.raises(InputError, match="not a table of minidiff evaluate"):
        read_rows(path)
    path.write_bytes(as_csv([row()], SMALL)[:-30])
    with pytest.raises(InputError, match="broken or truncated"):
        read_rows(path)


def test_real_rows_are_disjoint_and_run_out(models, by):
    first, second = (real_row(models, by, 50, seed) for seed in (0, 1))
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


def test_the_stored_table_is_whole_and_of_the_shipped_weights(models):
    """A table from other weights than those beside it would be a claim that nobody can check."""
    rows = read_rows(STORED)
    methods = tuple(method for method in METHODS if method in {r.method for r in rows})
    scales = tuple(s for s in SCALES if s in {r.s for r in rows if r.method != "real"})
    setting = Setting(methods, scales, seeds=max(r.seed for r in rows if r.method in methods) + 1)
    assert {"cfg", "cg"} <= set(methods)
    assert {0.0, 1.0, 2.0, 10.0} <= set(scales)
    assert len(continued(STORED, models, setting)) == 16 + setting.seeds * len(methods) * len(scales)
    assert STORED.read_bytes() == as_csv(rows, setting)


@pytest.mark.parametrize("name", OTHERS)
def test_the_other_stored_tables_are_whole_and_measured_like_the_first(models, name):
    """The exact denoiser's, and the one with fresh noise."""
    path, setting = STORED.with_name(f"{name}.csv"), OTHERS[name]
    rows = read_rows(path)
    assert len(continued(path, models, setting)) == 16 + setting.count()
    assert path.read_bytes() == as_csv(rows, setting)
    for one, other in zip(rows[:16], read_rows(STORED)[:16], strict=True):  # real digits; another machine may round otherwise
        assert one[:6] == other[:6]
        assert one[6:12] == pytest.approx(other[6:12], abs=1e-4)


@pytest.mark.parametrize(("method", "s"), [("cfg", 2.0), ("cg", 4.0)])
def test_a_stored_row_is_measured_again(models, by, method, s):
    """130 fresh images against the stored n: shares and precision within 5 standard errors of the difference."""
    stored = next(point for point in points(read_rows(STORED)) if (point.method, point.s) == (method, s))
    again = measured(models, by, method, s, Setting(each=13), seed=99)
    for name in ("accuracy", "confident", "precision"):
        p = stored.mean[name]
        error = share_error(round(130 * p), 130) + share_error(round(stored.n * p), stored.n)
        assert abs(getattr(again, name) - p) < 5 * error, name
    assert torch.tensor(again.frechet).isfinite()


def test_the_command_prints_and_writes_every_row_and_goes_on(by, tmp_path, capsys, monkeypatch):
    """Real digits and every method at every scale; then one more scale: only its rows are new; then other steps: refused."""
    monkeypatch.setattr(commands, "reference", lambda evaluator: by)  # made once for all tests
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
