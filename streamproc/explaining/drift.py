"""A drift: its evidence by bucket, both distributions, its slices; of all features, what moved."""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from math import isfinite, log
from typing import Any

import numpy as np
import orjson

from streamproc.explaining.explanation import MOST_ROWS, Explanation, Point, Table, slice_words
from streamproc.explaining.log import BucketReader, Buckets, Parts
from streamproc.messages import Alert
from streamproc.monitors.budget import shares
from streamproc.monitors.comparing import Bar, categories_compared, numbers_compared
from streamproc.monitors.crossed import table_of
from streamproc.monitors.drift import DriftMonitor
from streamproc.monitors.drift_fold import (
    DECISION,
    IN_SLICE,
    SAMPLE,
    SCORE,
    combined,
    of_slice,
    of_texts,
    read,
)
from streamproc.monitors.health_spec import Health
from streamproc.monitors.sample import Sample, unpacked
from streamproc.monitors.sketch import Floats, Sketch, added
from streamproc.monitors.slices import slice_of
from streamproc.monitors.spec import Drift, Series, Watched, drift_plan
from streamproc.monitors.together import SUBJECT

_TOGETHER = 32
_MOST_SAMPLED = 20_000
_LEAST_BOTH = 20


class DriftReader(BucketReader):
    """Tests the series in question again, by itself, and adds up what it was before and since."""

    def __init__(self, pipeline: Watched, alert: Alert) -> None:
        self.name = series_of(alert)
        self._first_ms = alert["first_seen_ms"]
        plan = [each for each in drift_plan(pipeline) if _has(each[2], self.name)]
        if not plan:
            return
        number, monitor, series = plan[0]
        self._slices = f"{self.name}{IN_SLICE}" if monitor.slices else None
        self._log = Buckets("drift", number, monitor.bucket_ms, self._wanted)
        tested = {i: m for i, m in enumerate(pipeline.monitors) if not isinstance(m, Health)}
        share = shares({i: each.weight for i, each in tested.items()})[number]
        self._alarm_ms = pipeline.budget.alarm_ms(share)
        self._test = DriftMonitor(monitor, series, pipeline, self._alarm_ms)
        self._least = log(monitor.bucket_ms)
        self._evidence: list[Point] = []
        self._means: list[Point] = []
        self._compared = Compared(self._first_ms)
        self._by_slice: dict[str, Compared] = {}
        self._together = _Together(self._first_ms, series)

    @property
    def bars(self) -> list[Bar]:
        """What was before and since, side by side."""
        return [] if self._log is None else self._compared.bars()

    def _tell(self, found: Explanation, log: Buckets) -> None:
        found.bucket_ms, found.known_from_ms = log.bucket_ms, log.first_ms
        found.points = self._evidence
        if not self._evidence:  # a detector of one's own has none
            found.unit = "mean"
            found.usual_then(self._means)
        else:
            found.beside = "an alarm"
        found.bars = self.bars
        if self.name == SAMPLE:
            found.tables += self._together.tables()
            found.notes.append("no slices: features together are watched over all events")
            return
        rows = [
            (slice_words(slice_of(slice_)), *each.means())
            for slice_, each in sorted(self._by_slice.items())
        ]
        if rows:
            rows.sort(key=lambda row: -row[3])
            head = ("slice", "n before", "mean before", "n since", "mean since")
            found.tables.append(Table(head, tuple(rows[:MOST_ROWS])))
        elif not found.alert["slice"]:
            found.notes.append("no slices: name some in Drift(slices=...) to have them")

    def _wanted(self, name: str, at_ms: int) -> bool:
        return name == self.name or (self._slices is not None and name.startswith(self._slices))

    def _add(self, start_ms: int, parts: Parts) -> None:
        assert self._log is not None
        rows = {name: combined(some) for name, some in parts.items()}
        own = {self.name: rows.pop(self.name)} if self.name in rows else {}
        self._test.share_out(self._alarm_ms * self._log.series)
        self._test.update(start_ms, own)
        evidence = self._test.evidence(self.name)
        if evidence is not None and isfinite(evidence[0]):
            part = (evidence[0] - self._least) / max(evidence[1] - self._least, 1e-9)
            self._evidence.append(Point(start_ms, max(part, 0.0), beside=1.0))
        for name, row in rows.items():
            slice_ = name.partition(IN_SLICE)[2]
            self._by_slice.setdefault(slice_, Compared(self._first_ms)).add(start_ms, row)
        if self.name == SAMPLE:
            for row in own.values():
                self._together.add(start_ms, unpacked(row))
        elif own:
            self._compared.add(start_ms, own[self.name])
            sketch, _ = read(own[self.name])
            if sketch.n and not of_texts(own[self.name]):
                self._means.append(Point(start_ms, sketch.moments()[1], sketch.n))


class Compared:
    """Adds up the distribution before the alert's first time, and that since."""

    def __init__(self, first_ms: int) -> None:
        self._first_ms = first_ms
        self._sides: tuple[list[Sketch], list[Sketch]] = ([], [])
        self._names: dict[int, str] = {}
        self._texts = False

    def add(self, start_ms: int, row: Any) -> None:
        """Take in a bucket's row of a drift monitor."""
        sketch, names = read(row)
        texts = of_texts(row)
        self.add_sketch(start_ms, sketch, names if texts else None)

    def add_sketch(self, start_ms: int, sketch: Sketch, names: Mapping[int, str] | None) -> None:
        """Take in a bucket: ``names`` are of categories, None where it is of numbers."""
        self._texts = self._texts or names is not None
        self._names |= names or {}
        side = self._sides[start_ms >= self._first_ms]
        side.append(sketch)
        if len(side) == _TOGETHER:
            side[:] = [added(side)]

    def bars(self) -> list[Bar]:
        """Return both side by side; none where there is but one."""
        if not all(self._sides):
            return []
        then, now = map(added, self._sides)
        if self._texts:
            return categories_compared(then, now, self._names)
        return numbers_compared(then, now)

    def means(self) -> tuple[int, float | None, int, float | None]:
        """Return n and mean before, n and mean since; categories have no mean."""
        (n, mean), (n_now, mean_now) = (
            added(side).moments()[:2] if side else (0, 0.0) for side in self._sides
        )
        there = not self._texts
        return n, mean if there and n else None, n_now, mean_now if there and n_now else None


class _Together:
    """Sampled rows before and since: which features moved, and which go together otherwise."""

    def __init__(self, first_ms: int, series: Series) -> None:
        self._first_ms = first_ms
        self._names = (*series.numbers, *series.texts)
        self._texts = series.texts
        self._then: deque[tuple[Any, ...]] = deque(maxlen=_MOST_SAMPLED)
        self._now: deque[tuple[Any, ...]] = deque(maxlen=_MOST_SAMPLED)

    def add(self, start_ms: int, sample: Sample) -> None:
        """Take in a bucket's sample; one of a definition that was different is left out."""
        if sample.names == self._names:
            side = self._now if start_ms >= self._first_ms else self._then
            side.extend(row.values for row in sample.rows)

    def tables(self) -> list[Table]:
        """Return correlations of ranks, and medians: those that moved most first."""
        if min(len(self._then), len(self._now)) < _LEAST_BOTH:
            return []
        texts = np.array([name in self._texts for name in self._names], bool)
        then, now = (
            table_of([list(column) for column in zip(*rows, strict=True)], texts)
            for rows in (self._then, self._now)
        )
        numbers = np.flatnonzero(~texts).tolist()
        pairs: list[tuple[str, float | None, float | None]] = []
        for at, a in enumerate(numbers):
            for b in numbers[at + 1 :]:
                name = f"{self._names[a]} and {self._names[b]}"
                before, since = (_correlation(x[:, a], x[:, b]) for x in (then, now))
                pairs.append((name, before, since))
        pairs.sort(key=lambda row: -abs((row[2] or 0.0) - (row[1] or 0.0)))
        medians = [
            (self._names[i], _median(then[:, i]), _median(now[:, i]), _moved(then, now, i))
            for i in numbers
        ]
        medians.sort(key=lambda row: -abs(row[3] or 0.0))
        found = []
        if pairs:
            names = ("correlation of ranks", "before", "since")
            found.append(Table(names, tuple(pairs[:MOST_ROWS])))
        if medians:
            head = ("median of", "before", "since", "rank moved")
            found.append(Table(head, tuple(medians[:MOST_ROWS])))
        return found


def _ranks(values: Floats) -> Floats:
    """Return ranks, of equal values the mean of theirs.

    >>> _ranks(np.array([3.0, 1.0, 3.0])).tolist()
    [1.5, 0.0, 1.5]
    """
    _, at, counts = np.unique(values, return_inverse=True, return_counts=True)
    ends = np.cumsum(counts)
    ranks: Floats = (ends - (counts + 1) / 2)[at]
    return ranks


def _correlation(a: Floats, b: Floats) -> float | None:
    there = np.isfinite(a) & np.isfinite(b)
    if int(there.sum()) < _LEAST_BOTH:
        return None
    x, y = _ranks(a[there]), _ranks(b[there])
    if not x.std() or not y.std():
        return None
    return float(np.corrcoef(x, y)[0, 1])


def _median(values: Floats) -> float | None:
    there = values[np.isfinite(values)]
    return float(np.median(there)) if len(there) else None


def _moved(then: Floats, now: Floats, column: int) -> float | None:
    """Return by how much the mean rank moved, as a part of all ranks: 0 is none, 0.5 the most."""
    sides = [side[:, column][np.isfinite(side[:, column])] for side in (then, now)]
    if not all(len(side) for side in sides):
        return None
    ranks = _ranks(np.concatenate(sides)) / sum(map(len, sides))
    return float(ranks[len(sides[0]) :].mean() - ranks[: len(sides[0])].mean())


def series_of(alert: Alert) -> str:
    """Return the name of a drift alert's series in the log of sums.

    >>> series_of({"kind": "prior_drift", "subject": "score", "slice": {"class": "a"}})
    '=score/a'
    >>> series_of({"kind": "covariate_drift", "subject": "amount", "slice": {"country": "NL"}})
    'amount|{"country":"NL"}'
    """
    if alert["kind"] == "prior_drift":
        of_class = (alert["slice"] or {}).get("class")
        if alert["subject"] == "decision":
            return DECISION
        return f"{SCORE}/{of_class}" if of_class else SCORE
    if alert["slice"]:
        return of_slice(alert["subject"], orjson.dumps(alert["slice"]).decode())
    together = (alert["subject"] + " ").startswith(SUBJECT + " ")
    return SAMPLE if together else alert["subject"]


def sampling(pipeline: Watched) -> tuple[int, Drift] | None:
    """Return the drift monitor, and its number, whose samples hold the most features."""
    plan = [each for each in drift_plan(pipeline) if each[2].numbers or each[2].texts]
    if not plan:
        return None
    number, monitor, _ = max(
        plan, key=lambda each: (len(each[2].numbers + each[2].texts), -each[0])
    )
    return number, monitor


def _has(series: Series, name: str) -> bool:
    if name == SAMPLE:
        return len(series.numbers) + len(series.texts) > 1
    if name.startswith("="):
        return series.score
    return name.partition(IN_SLICE)[0] in series.numbers + series.texts
