"""Slices that are found: a bounded search over the features' values (error analysis).

Candidates are fixed by what comes first: each number's ranges between quantiles, each category, and
pairs of coarser ones, `MOST` in all. They are tested like declared slices, on a sample of each
bucket's outcomes, and share out their part of the false alarms; one is open at a time, that with
the most evidence.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import combinations, pairwise
from operator import itemgetter
from typing import Any

import numpy as np

from streamproc.monitors.bias import TOLERANCE, BiasTests, Step
from streamproc.monitors.columns import Column, listed, plain
from streamproc.monitors.growing import Span
from streamproc.monitors.odds import Table
from streamproc.monitors.outcome_sample import Outcomes, merged
from streamproc.monitors.scores import bins_of
from streamproc.monitors.sketch import Floats, Ints

MOST = 500
"""How many candidates there are at most."""

LEAST_ROWS = 2_000
"""Outcomes by which the candidates are fixed."""

FINE = (0.1, 0.25, 0.5, 0.75, 0.9, 0.97)
COARSE = (0.25, 0.75)
_FEW, _FEW_COARSE = 12, 4
_MISSING = "missing"


@dataclass
class Cells:
    """One feature's cells: between ``edges``, or ``values`` met often; the last is of missing ones.

    >>> amount = Cells.of("amount", np.arange(8.0), (0.5,), 4)
    >>> amount.words
    ['below 4', '4 and above', 'missing']
    >>> amount.codes([1.0, 400.0, None, "x"]).tolist(), amount.codes(np.array([np.nan])).tolist()
    ([0, 1, 2, 2], [2])
    >>> Cells.of("country", ["NL", "DE", "NL"], (0.5,), 4).words
    ['NL', 'DE', 'other', 'missing']
    """

    name: str
    words: list[str]
    edges: Floats | None = None
    values: dict[Any, int] = field(default_factory=dict)

    @classmethod
    def of(cls, name: str, seen: Column, quantiles: Sequence[float], few: int) -> Cells:
        """Return the cells that some values suggest."""
        there = listed(seen)
        times: dict[Any, int] = {}
        for value in there:
            if value is not None:
                times[value] = times.get(value, 0) + 1
        numbers = np.array([v for v in there if isinstance(v, float)])
        if len(numbers) * 2 > sum(times.values()) and len(times) > few:
            edges = np.unique(np.quantile(numbers, quantiles, method="higher"))
            edges = edges[edges > numbers.min()]
            return cls(name, [*_ranges(edges), _MISSING], edges)
        common = sorted(times, key=lambda value: (-times[value], str(value)))[:few]
        words = [f"{value:.6g}" if isinstance(value, float) else value for value in common]
        known = {value: code for code, value in enumerate(common)}
        return cls(name, [*words, "other", _MISSING], None, known)

    def codes(self, values: Column) -> Ints:
        """Return the number of each value's cell."""
        last = len(self.words) - 1
        if self.edges is None:
            if isinstance(values, list):
                of = (last if v is None else self.values.get(v, last - 1) for v in values)
                return np.fromiter(of, np.int64, len(values))
            different, which = np.unique(values, return_inverse=True)
            return self.codes(listed(different))[which]
        numbers = values
        if isinstance(values, list):
            numbers = np.array([v if isinstance(v, float) else np.nan for v in values])
        codes = np.searchsorted(self.edges, numbers, side="right")
        return np.where(np.isnan(numbers), last, codes)


class FoundSlices:
    """Looks for slices that are off; see the module.

    ``alarm_ms`` is the mean time between false alarms of all candidates together, ``warmup_ms`` how
    long the features' windows take to fill: what is earlier is left out. ``declared`` are the
    fields of the slices that are tested by name: what is declared is not looked for, too.
    """

    def __init__(
        self,
        bucket_ms: int,
        alarm_ms: float,
        tolerance: float = TOLERANCE,
        span: Span | None = None,
        warmup_ms: int = 0,
        declared: Iterable[tuple[str, ...]] = (),
    ) -> None:
        self._warmup_ms = warmup_ms
        self._declared = {frozenset(fields) for fields in declared}
        self._first_ms: int | None = None
        self._tests = BiasTests(bucket_ms, alarm_ms, tolerance, span=span)
        self._early: list[Outcomes] = []
        self._fine: list[Cells] = []
        self._coarse: list[Cells] = []
        self._alone: list[int] = []
        self._pairs: list[tuple[int, int]] = []
        self._named: list[dict[str, str]] = []
        self._starts: list[int] = []

    def __len__(self) -> int:
        return len(self.candidates)

    @property
    def candidates(self) -> list[dict[str, str]]:
        """The slices that are tested, as fields and words; none before they are fixed."""
        return self._named[1:]

    def update(
        self, start_ms: int, sample: Outcomes, turned: bool, quiet: bool
    ) -> list[tuple[str, dict[str, str], Step]]:
        """Take in a bucket's sample, ``turned`` to count no; return what is found, with its name.

        While it is not ``quiet``, something that was looked for being open, nothing is found.
        """
        if self._first_ms is None:
            self._first_ms = start_ms
        if start_ms < self._first_ms + self._warmup_ms:
            return []
        if not self._named:
            self._early.append(sample)
            if sum(len(each.hashes) for each in self._early) >= LEAST_ROWS:
                self._fix()
            return []
        table = self._table(sample)
        table = table.turned() if turned else table
        return [
            (self._words(step.row), self._named[step.row], step)
            for step in self._tests.update(start_ms, table, rests=not quiet)
        ]

    def _words(self, row: int) -> str:
        return " and ".join(f"{name} is {words}" for name, words in self._named[row].items())

    def _fix(self) -> None:
        early = merged(self._early, sum(len(each.hashes) for each in self._early))
        self._named, self._starts = [{}], []
        for name, seen in sorted(zip(early.names, early.columns, strict=True), key=itemgetter(0)):
            fine = Cells.of(name, seen, FINE, _FEW)
            if len(self._named) + len(fine.words) > MOST:
                break
            self._fine.append(fine)
            self._coarse.append(Cells.of(name, seen, COARSE, _FEW_COARSE))
            if frozenset((name,)) in self._declared:
                continue
            self._alone.append(len(self._fine) - 1)
            self._starts.append(len(self._named))
            self._named += [{name: words} for words in fine.words]
        for a, b in combinations(range(len(self._fine)), 2):
            one, other = self._coarse[a], self._coarse[b]
            if frozenset((one.name, other.name)) in self._declared:
                continue
            if len(self._named) + len(one.words) * len(other.words) > MOST:
                break
            self._pairs.append((a, b))
            self._starts.append(len(self._named))
            self._named += [{one.name: x, other.name: y} for x in one.words for y in other.words]
        self._early = []

    def _table(self, sample: Outcomes) -> Table:
        n = len(sample.hashes)
        by_name = dict(zip(sample.names, sample.columns, strict=True))
        missing = np.full(n, np.nan)
        columns = [by_name.get(cells.name, missing) for cells in self._fine]
        fine = [cells.codes(column) for cells, column in zip(self._fine, columns, strict=True)]
        coarse = [cells.codes(column) for cells, column in zip(self._coarse, columns, strict=True)]
        pairs = [coarse[a] * len(self._coarse[b].words) + coarse[b] for a, b in self._pairs]
        alone = [fine[at] for at in self._alone]
        of = [start + code for start, code in zip(self._starts, [*alone, *pairs], strict=True)]
        rows = np.concatenate([np.zeros(n, np.int64), *of])
        yes = np.tile(sample.yes, 1 + len(of))
        score = sample.score
        p = np.clip(score, 1e-9, 1 - 1e-9)
        keys = rows * 256 + np.tile(bins_of(score), 1 + len(of))
        cells, groups = np.unique(keys, return_inverse=True)
        counts = np.bincount(groups, minlength=len(cells)).astype(np.float64)
        mean = np.bincount(groups, np.tile(p, 1 + len(of)), minlength=len(cells)) / counts
        size = len(self._named)
        by_slice = np.bincount(rows, yes, minlength=size).astype(np.float64)
        return Table(cells // 256, cells % 256, counts, mean, by_slice, np.zeros(size))


def holds(words: str, value: Any) -> bool:
    """Whether a value is in the cell that ``words`` name, as far as they tell: edges are rounded.

    >>> [holds("4 to 7", value) for value in (4.0, 7, None, "x")], holds("missing", None)
    ([True, False, False, False], True)
    >>> holds("below 4", 3.9), holds("7 and above", 8), holds("NL", "NL")
    (True, True, True)
    """
    kept = plain(value)
    if kept is None:
        return words == _MISSING
    if isinstance(kept, str):
        return kept == words
    low, _, high = words.partition(" to ")
    if words.startswith("below "):
        low, high = "-inf", words.removeprefix("below ")
    elif words.endswith(" and above"):
        low, high = words.removesuffix(" and above"), "inf"
    try:
        return float(low) <= kept < float(high) if high else f"{kept:.6g}" == words
    except ValueError:
        return words == "any"


def _ranges(edges: Floats) -> list[str]:
    told = [f"{edge:.4g}" for edge in edges.tolist()]
    if not told:
        return ["any"]
    between = [f"{low} to {high}" for low, high in pairwise(told)]
    return [f"below {told[0]}", *between, f"{told[-1]} and above"]
