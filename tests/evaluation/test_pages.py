"""What README and the page of results say is what the stored tables hold."""

import re
from pathlib import Path

from minidiff.evaluation.sweep import as_table, points, read_rows

STORED = Path(__file__).resolve().parents[2] / "data" / "results" / "guidance.csv"
PAGE = STORED.with_name("README.md")
OTHERS = {
    "ideal_guidance": ("exact",),
    "stochastic_sampling": ("cfg eta 1", "cg eta 1"),
    "interval": ("two networks 200-900", "interval 200-800"),
    "two_networks": ("two networks",),
}


def test_the_tables_of_both_pages_are_the_stored_ones():
    """README has a choice of the rows, the page beside the files has all."""
    whole = as_table(points(read_rows(STORED)))
    head = (STORED.parents[2] / "README.md").read_text().splitlines()
    chosen = [line for line in head if line.startswith(("| real |", "| cfg |", "| cg |", "| cg_cond |"))]
    assert 8 <= len(chosen) == len(set(chosen) & set(whole.splitlines()))
    assert PAGE.read_text().count(whole) == 1
    lines = PAGE.read_text().splitlines()
    for name, names in OTHERS.items():
        starts = tuple(f"| {method} |" for method in names)
        stored = as_table(points(read_rows(STORED.with_name(f"{name}.csv")))).splitlines()
        assert [line for line in stored if line.startswith(starts)] == [line for line in lines if line.startswith(starts)]


def test_what_the_page_says_of_stochastic_sampling_is_in_the_two_tables():
    """Pairs of rows with the same method, s and seed, with eta 0 and 1."""
    fresh = read_rows(STORED.with_name("stochastic_sampling.csv"))
    plain = {(row.method, row.s, row.seed): row for row in read_rows(STORED)}
    pairs = [(plain[row.method.removesuffix(" eta 1"), row.s, row.seed], row) for row in fresh if row.method != "real"]
    floor = sum(row.frechet for row in fresh if row.method == "real") / 16

    def mean(which, metric, method, s):
        of = [getattr(pair[which], metric) for pair in pairs if (pair[0].method, pair[0].s) == (method, s)]
        return sum(of) / len(of)

    text = " ".join(PAGE.read_text().split())
    said = text[text.index("## Stochastic sampling") : text.index("| cfg eta 1 |")]
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
