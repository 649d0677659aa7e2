"""Later ideas under one judge: every method is searched over as many settings, then its best is measured with other noise."""

from collections.abc import Iterator, Mapping, Sequence

from minidiff.measure.evaluate import Row, Setting, missing, real_ones
from minidiff.measure.reference import Reference
from minidiff.training.checkpoints import Trained

# Five settings (method, s) each. The best s of plain guidance lies near 1.25 (data/results/README.md); every method gets that
# region, one s in the middle, and one that is far too large, against which most of them were proposed. cfg++ has its own scale:
# 0.87 is as much guidance as s = 4 (the mean of scale_of_plus_plus over 20 steps).
SEARCH: Mapping[str, tuple[tuple[str, float], ...]] = {
    "cfg": tuple(("cfg", s) for s in (1.25, 1.5, 2.0, 3.0, 4.0)),
    "interval": (
        ("interval 200-800", 1.5),
        ("interval 200-600", 1.5),
        ("interval 200-600", 2.0),
        ("interval 0-600", 2.0),
        ("interval 200-600", 4.0),
    ),
    "rescale": (*(("rescale 0.7", s) for s in (1.25, 1.5, 2.0, 4.0)), ("rescale 1", 4.0)),
    "rescale v": (*(("rescale v 0.7", s) for s in (1.25, 1.5, 2.0, 4.0)), ("rescale v 1", 4.0)),
    "threshold": (("threshold 0.9", 1.5), *(("threshold 0.995", s) for s in (1.25, 1.5, 2.0, 4.0))),
    "cfg++": tuple(("cfg++", scale) for scale in (0.25, 0.3, 0.4, 0.6, 0.87)),
    "apg": (("apg", 1.25), ("apg", 1.5), ("apg 2", 1.5), ("apg", 4.0), ("apg 2", 4.0)),
    "autoguidance": (
        *(("autoguidance 150", s) for s in (1.5, 2.0, 4.0)),
        *(("autoguidance 400", s) for s in (1.5, 2.0)),
    ),
}
PAIRS = tuple(pair for tried in SEARCH.values() for pair in tried)


class Search(Setting):
    """Seed 0 is for the search; the settings that were chosen by it are measured again with all other seeds."""

    def command(self) -> str:
        """The command that makes the file."""
        return f"python -m minidiff evaluate --variants --n {self.each} --seeds {self.seeds} --steps {self.steps}"

    def wants(self, method: str, s: float, seed: int) -> bool:
        """Whether such a row belongs into the file."""
        return (method, s) in PAIRS and seed < self.seeds

    def count(self) -> int:
        """How many rows there will be, real ones not counted, if no method's best setting is at its largest scale."""
        return len(PAIRS) + 2 * len(SEARCH) * (self.seeds - 1)


def searching(each: int, seeds: int, steps: int) -> Search:
    """The search with so many images of every class in a row, seeds, and steps."""
    return Search(tuple(dict(PAIRS)), tuple(sorted({s for _, s in PAIRS})), seeds, each, steps)


def search(models: Mapping[str, Trained], by: Reference, setting: Search, done: Sequence[Row] = ()) -> Iterator[Row]:
    """Every row that is not in `done`: real images, all settings with seed 0, then the chosen ones with every other seed."""
    rows = list(done)
    for row in missing(models, by, setting, [*real_ones(by, setting), *((*pair, 0) for pair in PAIRS)], rows):
        rows.append(row)
        yield row
    others = [(*pair, seed) for seed in range(1, setting.seeds) for pair in chosen(rows)]
    yield from missing(models, by, setting, others, rows)


def chosen(rows: Sequence[Row]) -> list[tuple[str, float]]:
    """For each method its best setting and its best one among those of its largest scale; each pair once."""
    return list(dict.fromkeys([*best(rows).values(), *strongest(rows).values()]))


def best(rows: Sequence[Row]) -> dict[str, tuple[str, float]]:
    """For each method the setting with the smallest Frechet distance in the search, seed 0."""
    return {family: _nearest(rows, tried) for family, tried in SEARCH.items()}


def strongest(rows: Sequence[Row]) -> dict[str, tuple[str, float]]:
    """The same among the settings of the method's largest scale: what it rescues where there is too much guidance."""
    largest = {family: max(s for _, s in tried) for family, tried in SEARCH.items()}
    return {family: _nearest(rows, [pair for pair in tried if pair[1] == largest[family]]) for family, tried in SEARCH.items()}


def again(rows: Sequence[Row]) -> list[Row]:
    """The rows that took no part in the search, and the real ones."""
    return [row for row in rows if row.method == "real" or row.seed > 0]


def _nearest(rows: Sequence[Row], tried: Sequence[tuple[str, float]]) -> tuple[str, float]:
    distance = {(row.method, row.s): row.frechet for row in rows if row.seed == 0}
    return min(tried, key=lambda pair: distance[pair])
