"""What comes with labels: bias, calibration, label shift and concept drift, by event time.

Buckets are of the time at which labels became known; they are put where their events were, by the
mean delay of their labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import orjson

from streamproc.explaining.drift import Compared
from streamproc.explaining.explanation import MOST_ROWS, Explanation, Point, Table, slice_words
from streamproc.explaining.log import BucketReader, Buckets, Parts, buckets_of_bias
from streamproc.messages import Alert
from streamproc.monitors.comparing import Bar
from streamproc.monitors.foundslices import holds
from streamproc.monitors.labelled import event_ms
from streamproc.monitors.outcome_sample import SAMPLE, Row
from streamproc.monitors.outcome_sample import unpacked as unpacked_sample
from streamproc.monitors.outcomes import ERRORS, LOSSES, OVERALL, combined
from streamproc.monitors.outcomespec import (
    Calibration,
    ConceptDrift,
    LabelShift,
    outcome_plan,
)
from streamproc.monitors.scores import BINS, PROBABILITY_STEPS, bins_of
from streamproc.monitors.sketch import Floats, Sketch, unpacked
from streamproc.monitors.slices import slice_of
from streamproc.monitors.spec import PredictionBias, Watched

_SPECS: Mapping[str, type] = {
    "prediction_bias": PredictionBias,
    "calibration": Calibration,
    "label_shift": LabelShift,
    "concept_drift": ConceptDrift,
}
_GROUPS = 10
_LEAST_IN_GROUP = 50


class OutcomeReader(BucketReader):
    """What the monitor of an alert's kind summed, before and since."""

    def __init__(self, pipeline: Watched, alert: Alert) -> None:
        self._alert = alert
        self._kind = pipeline.kind
        self._first_ms = alert["first_seen_ms"]
        plan = [
            each for each in outcome_plan(pipeline) if isinstance(each[1], _SPECS[alert["kind"]])
        ]
        self._points: list[Point] = []
        self._cells = np.zeros((2, BINS, 3))
        self._compared = Compared(self._first_ms)
        self._shares = np.zeros((2, 2))
        self._by_cell: list[tuple[int, Sketch]] = []
        if not plan:
            return
        number, monitor = plan[0]
        self._found = isinstance(monitor, PredictionBias) and self._is_found(monitor)
        name = SAMPLE if self._found else self._series()
        self._log = Buckets("bias", number, monitor.bucket_ms, lambda each, _: each == name)

    def _is_found(self, monitor: PredictionBias) -> bool:
        """Whether it is about a slice that nobody declared."""
        fields = sorted(self._alert["slice"] or {})
        return bool(fields) and all(sorted(each) != fields for each in monitor.fields)

    def _series(self) -> str:
        alert = self._alert
        if alert["kind"] == "concept_drift":
            return LOSSES if alert["subject"] == "loss" else ERRORS
        return orjson.dumps(alert["slice"]).decode() if alert["slice"] else OVERALL

    @property
    def bars(self) -> list[Bar]:
        """What was before and since, side by side."""
        return self._compared.bars()

    def _tell(self, found: Explanation, log: Buckets) -> None:
        found.bucket_ms, found.known_from_ms = log.bucket_ms, log.first_ms
        found.bars = self.bars
        found.unit = self._unit(found.bars)
        found.usual_then(self._points)
        if self._cells.any():
            found.tables.append(_reliability(self._cells))
        if self._shares.any():
            found.tables.append(_of_shares(found.unit, self._shares))

    def _add(self, start_ms: int, parts: Parts) -> None:
        for some in parts.values():
            row = combined(some)
            if self._found:
                self._of_sample(unpacked_sample(row).rows)
                continue
            n = row["n"]
            if not n:
                continue
            at_ms = event_ms(start_ms, row)
            side = int(at_ms >= self._first_ms)
            if "bins" in row:
                cells = _cells(row["bins"])
                self._cells[side] += cells
                _, yes, p = cells.sum(axis=0).tolist()
                self._points.append(Point(at_ms, (yes - p) / n, n))
            elif "yes" in row:
                self._shares[side] += (n, row["yes"])
                self._points.append(Point(at_ms, row["yes"] / n, n))
            else:
                self._of_values(at_ms, row)

    def _of_values(self, at_ms: int, row: Mapping[str, Any]) -> None:
        sketch = unpacked(row["values"])
        names = row.get("names")
        if names is None:
            self._compared.add_sketch(at_ms, sketch, None)
            n, mean, _ = sketch.moments()
            if n:
                self._points.append(Point(at_ms, mean, n))
            return
        self._compared.add_sketch(at_ms, sketch, {int(key): name for key, name in names.items()})
        self._by_cell.append((at_ms, sketch))

    def _of_sample(self, sample: list[Row]) -> None:
        """Take in the outcomes of a bucket that are in a slice which was found."""
        slice_ = (self._alert["slice"] or {}).items()
        inside = [row for row in sample if all(holds(w, row.values.get(at)) for at, w in slice_)]
        if not inside:
            return
        at_ms = int(np.mean([row.event_ms for row in inside]))
        bins: dict[str, list[float]] = {}
        for row, cell in zip(inside, bins_of(np.array([row.score for row in inside])), strict=True):
            known = bins.setdefault(str(cell), [0.0, 0.0, 0.0])
            for i, more in enumerate((1.0, float(row.yes), row.score * PROBABILITY_STEPS)):
                known[i] += more
        cells = _cells(bins)
        self._cells[int(at_ms >= self._first_ms)] += cells
        n, yes, p = cells.sum(axis=0).tolist()
        self._points.append(Point(at_ms, (yes - p) / n, n))

    def _unit(self, bars: list[Bar]) -> str:
        kind, regression = self._alert["kind"], self._kind == "regression"
        if self._by_cell:
            return self._of_category(bars)
        if kind == "concept_drift":
            loss = "mean absolute error" if regression else "mean log loss"
            return loss if self._alert["subject"] == "loss" else "share of wrong decisions"
        if kind == "label_shift":
            return "mean label" if regression else "share of positives"
        return "observed less predicted"

    def _of_category(self, bars: list[Bar]) -> str:
        """Plot the category whose share moved most."""
        known = [bar for bar in bars if bar.of is not None]
        if not known:
            return "share of a class"
        moved = max(known, key=lambda bar: abs(bar.now_share - bar.then_share))
        for at_ms, sketch in self._by_cell:
            n = sketch.n + sketch.missing
            count = int(sketch.counts[sketch.cells == moved.of].sum())
            if n:
                self._points.append(Point(at_ms, count / n, n))
        return f"share of {moved.label}"


class SliceReader(BucketReader):
    """Outcomes by slice since an alert began: observed and predicted, of the bias monitor."""

    unwatched = "no slices: PredictionBias, which counts outcomes by slice, is off"

    def __init__(self, pipeline: Watched, alert: Alert) -> None:
        self._first_ms = alert["first_seen_ms"]
        self._since: dict[str, Any] = {}
        self._log = buckets_of_bias(pipeline, lambda name, _: name != SAMPLE)

    def _tell(self, found: Explanation, log: Buckets) -> None:
        if not self._since:
            return
        if any("values" in row for row in self._since.values()):
            means = [
                (slice_words(slice_of(name)), *unpacked(row["values"]).moments()[:2])
                for name, row in sorted(self._since.items())
            ]
            means.sort(key=lambda row: -abs(row[1] * row[2]))
            names = ("slice, since then", "outcomes", "mean residual")
            found.tables.append(Table(names, tuple(means[:MOST_ROWS])))
            return
        rows = [
            (slice_words(slice_of(name)), *_totals(row))
            for name, row in sorted(self._since.items())
        ]
        rows.sort(key=lambda each: -abs(each[2] - each[3]))
        head = ("slice, since then", "outcomes", "observed", "predicted")
        found.tables.append(Table(head, tuple(rows[:MOST_ROWS])))

    def _add(self, start_ms: int, parts: Parts) -> None:
        for name, some in parts.items():
            row = combined(some)
            if row["n"] and event_ms(start_ms, row) >= self._first_ms:
                known = [self._since[name]] if name in self._since else []
                self._since[name] = combined([*known, row])


def _totals(row: Mapping[str, Any]) -> tuple[float, float, float]:
    """Return how many outcomes a row has, how many are yes, and how many were predicted."""
    n, yes, steps = (sum(each) for each in zip(*row["bins"].values(), strict=True))
    return n, yes, steps / PROBABILITY_STEPS


def _cells(bins: Mapping[str, list[float]]) -> Floats:
    cells = np.zeros((BINS, 3))
    for cell, counts in bins.items():
        cells[int(cell)] = counts
    cells[:, 2] /= PROBABILITY_STEPS
    return cells


def _reliability(cells: Floats) -> Table:
    """Return by groups of alike many outcomes what was predicted and observed, before and since."""
    n = cells[:, :, 0].sum(axis=0)
    groups = min(_GROUPS, max(int(n.sum()) // _LEAST_IN_GROUP, 1))
    group = np.minimum((np.cumsum(n) - n / 2) / max(n.sum(), 1) * groups, groups - 1)
    rows: list[tuple[float | str | None, ...]] = []
    for at in range(groups):
        inside = group.astype(np.int64) == at
        then, now = (side[inside].sum(axis=0).tolist() for side in cells)
        if not then[0] + now[0]:
            continue
        mean = (then[2] + now[2]) / (then[0] + now[0])
        told = [
            part
            for n_, yes, p in (then, now)
            for part in (n_, p / n_ if n_ else None, yes / n_ if n_ else None)
        ]
        rows.append((f"{mean:.3g}", *told))
    head = ("score", "n before", "predicted", "observed", "n since", "predicted", "observed")
    return Table(head, tuple(rows))


def _of_shares(unit: str, shares: Floats) -> Table:
    rows = []
    for name, (n, yes) in zip(("before", "since"), shares.tolist(), strict=True):
        rows.append((name, n, yes, yes / n if n else None))
    return Table((unit, "outcomes", "count", "share"), tuple(rows))
