"""What README and the page of results say is what the stored tables hold."""

import re
from pathlib import Path

from minidiff.evaluation.results import as_table, over_seeds, read_results

STORED = Path(__file__).resolve().parents[2] / "data" / "results" / "guidance.csv"
PAGE = STORED.with_name("README.md")
METRICS = ["accuracy", "frechet", "recall"]
OTHERS = {
    "ideal_guidance": ("exact",),
    "stochastic_sampling": ("cfg eta 1", "cg eta 1"),
    "interval": ("two networks 200-900", "interval 200-800"),
    "two_networks": ("two networks",),
}


def test_the_tables_of_both_pages_are_the_stored_ones():
    """README has a choice of the rows, the page beside the files has all."""
    whole = as_table(over_seeds(read_results(STORED)))
    head = (STORED.parents[2] / "README.md").read_text().splitlines()
    chosen = [
        line for line in head if line.startswith(("| real |", "| cfg |", "| cg |", "| cg_cond |"))
    ]
    assert 8 <= len(chosen) == len(set(chosen) & set(whole.splitlines()))
    assert PAGE.read_text().count(whole) == 1
    lines = PAGE.read_text().splitlines()
    for name, names in OTHERS.items():
        starts = tuple(f"| {method} |" for method in names)
        stored = as_table(over_seeds(read_results(STORED.with_name(f"{name}.csv")))).splitlines()
        assert [line for line in stored if line.startswith(starts)] == [
            line for line in lines if line.startswith(starts)
        ]


def test_what_the_page_says_of_stochastic_sampling_is_in_the_two_tables():
    """The same methods, scales and seeds with eta = 0 and 1."""
    found, key = {}, ["method", "s", "seed"]
    for eta, name in ((0, "guidance.csv"), (1, "stochastic_sampling.csv")):
        rows = read_results(STORED.with_name(name))
        found[eta] = rows.replace({"method": r" eta 1$"}, "", regex=True).set_index(key)
    pairs = [pair for pair in found[1].index if pair[0] != "real"]
    without, with_it = found[0].loc[pairs], found[1].loc[pairs]
    real = found[1].loc["real"].frechet.mean()
    means = {0: without.groupby(["method", "s"])[METRICS].mean()}
    means[1] = with_it.groupby(["method", "s"])[METRICS].mean()
    distance = {eta: mean.frechet / real for eta, mean in means.items()}
    text = " ".join(PAGE.read_text().split())
    said = text[text.index("## Stochastic sampling") : text.index("| cfg eta 1 |")]
    for pair in (("cg", 1.0), ("cfg", 1.0), ("cfg", 1.25)):
        one, other = (f"{distance[eta][pair]:.2f}" for eta in (1, 0))
        assert re.search(rf"{one}[^:;]* instead of {other}", said), pair
    shares = [f"{100 * means[eta].accuracy['cg', 1.0]:.0f}" for eta in (1, 0)]
    assert "{} instead of {} % accuracy".format(*shares) in said
    falls = (with_it.recall < without.recall).sum()
    assert f"Recall falls in {falls} of the {len(pairs)} pairs" in said
    best = [(distance[eta]["cg"].min(), distance[eta]["cg"].idxmin()) for eta in (1, 0)]
    (one, s_one), (other, s_other) = best
    assert f"{one:.2f}, now at s = {s_one:g}; without" in said
    assert f"without, on these seeds, {other:.2f} at s = {s_other:g}" in said


def test_what_both_pages_say_of_two_networks_is_in_the_tables():
    """The same scales and seeds by two networks and by one."""
    two, one = (
        read_results(STORED.with_name(name)) for name in ("two_networks.csv", "guidance.csv")
    )
    real = two[two.method == "real"].frechet.mean()
    both = {
        name: rows[(rows.method == name) & (rows.seed < 2)].groupby("s")[METRICS].mean()
        for rows, name in ((two, "two networks"), (one, "cfg"))
    }
    page, readme = (
        " ".join(path.read_text().split()) for path in (PAGE, STORED.parents[2] / "README.md")
    )

    def pair(metric: str, s: float) -> str:
        unit = real if metric == "frechet" else 1
        return " instead of ".join(f"{mean.loc[s, metric] / unit:.2f}" for mean in both.values())

    assert all(pair("frechet", s) in page for s in (1.25, 2.0, 4.0, 10.0))
    assert all(pair("frechet", s) in readme for s in (2.0, 4.0, 10.0))
    assert all(pair("recall", s) in page for s in (2.0, 4.0))
