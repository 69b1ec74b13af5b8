"""Performance beside its baseline, and what people do with predictions, over time."""

from __future__ import annotations

from collections.abc import Mapping

from streamproc.explaining.drift import Compared
from streamproc.explaining.explanation import (
    MOST_ROWS,
    Cell,
    Explanation,
    Point,
    Table,
    slice_words,
)
from streamproc.explaining.log import BucketReader, Buckets, Parts
from streamproc.messages import Alert, PerformanceReport
from streamproc.monitors.labelled import event_ms
from streamproc.monitors.oneclass import SUBJECT as ONE_CLASS
from streamproc.monitors.oneclass import labels_of
from streamproc.monitors.performance import PerformanceMonitor
from streamproc.monitors.reactions import (
    PREDICTIONS,
    VALUES,
    ReactionMonitor,
    reactions_plan,
)
from streamproc.monitors.sketch import Sketch, unpacked
from streamproc.monitors.spec import Watched, performance_plan

_LEFT_OUT = ("roc_auc_error", "ece_low", "ece_high")


class PerformanceReader(BucketReader):
    """The metrics of the sliding window, bucket by bucket, made again from the sums."""

    def __init__(self, pipeline: Watched, alert: Alert) -> None:
        self._kind = pipeline.kind
        self._first_ms = alert["first_seen_ms"]
        self._of_labels = alert["subject"] == ONE_CLASS
        self._baseline = alert["subject"]
        self._loss = "mse" if pipeline.kind == "regression" else "brier"
        self._points: list[Point] = []
        self._counts: list[dict[str, int]] = [{}, {}]
        self._then: PerformanceReport | None = None
        self._now: PerformanceReport | None = None
        for number, monitor in performance_plan(pipeline):
            self._log = Buckets("bias", number, monitor.bucket_ms, lambda name, at: True)
            self._monitor = PerformanceMonitor(monitor, pipeline.kind, float("inf"))

    def _tell(self, found: Explanation, log: Buckets) -> None:
        found.bucket_ms, found.known_from_ms = log.bucket_ms, log.first_ms
        if self._of_labels:
            found.unit = "share of the most frequent label"
            found.usual_then(self._points)
            found.tables.append(self._labels())
            return
        found.unit = "mean squared error" if self._loss == "mse" else "Brier score"
        found.beside = "zero-rule" if self._baseline == "zero_rule" else "your own baseline"
        found.points = self._points
        found.tables += self._tables()

    def _add(self, start_ms: int, parts: Parts) -> None:
        rows = {name: self._monitor.combined(some) for name, some in parts.items()}
        overall = rows.get("")
        if overall is None:
            return
        n, delay_ms = overall["delay"]
        at_ms = event_ms(start_ms, {"n": n, "delay_ms": delay_ms})
        self._count(at_ms, labels_of(self._kind, overall.get("model", {})))
        self._monitor.update(start_ms, rows)
        for report in self._monitor.take():
            if report["slice"] is not None:
                continue
            if at_ms < self._first_ms:
                self._then = report
            else:
                self._now = report
            value = _metric(report, "model", self._loss)
            if value is not None and not self._of_labels:
                beside = _metric(report, self._baseline, self._loss)
                self._points.append(Point(at_ms, value, beside=beside))

    def _count(self, at_ms: int, labels: Mapping[str, int]) -> None:
        side = self._counts[at_ms >= self._first_ms]
        for name, n in labels.items():
            side[name] = side.get(name, 0) + n
        n = sum(labels.values()) if labels else 0
        if self._of_labels and n:
            self._points.append(Point(at_ms, max(labels.values()) / n, n))

    def _labels(self) -> Table:
        then, now = self._counts
        names = sorted({*then, *now}, key=lambda name: (-now.get(name, 0), name))[:MOST_ROWS]
        rows = tuple((name, then.get(name, 0), now.get(name, 0)) for name in names)
        return Table(("labels", "before", "since"), rows)

    def _tables(self) -> list[Table]:
        """Return all metrics of the last window before and of the newest, and slices."""
        of_now = self._now["metrics"]["model"] if self._now else {}
        rows: list[tuple[Cell, ...]] = [
            (
                name,
                *(_metric(self._then, who, name) for who in ("model", self._baseline)),
                *(_metric(self._now, who, name) for who in ("model", self._baseline)),
            )
            for name in of_now
            if name not in _LEFT_OUT and "/" not in name
        ]
        found = []
        if rows:
            names = ("window of", "before", "baseline", "newest", "baseline")
            found.append(Table(names, tuple(rows)))
        slices: list[tuple[Cell, ...]] = [
            (slice_words(report["slice"]), report["n"], _metric(report, "model", self._loss),
             _metric(report, "zero_rule", self._loss))
            for report in self._monitor.latest.values()
            if report["slice"] is not None
        ]  # fmt: skip
        if slices:
            slices.sort(key=lambda row: -float(row[1] or 0.0))
            head = ("slice, newest window", "outcomes", self._loss, "zero-rule")
            found.append(Table(head, tuple(slices[:MOST_ROWS])))
        return found


class ReactionReader(BucketReader):
    """How many reactions predictions get, or what these are, by the time of the reaction."""

    def __init__(self, pipeline: Watched, alert: Alert) -> None:
        self._first_ms = alert["first_seen_ms"]
        self._many = alert["subject"].endswith(", how many")
        self._compared = Compared(self._first_ms)
        self._totals = [[0.0, 0.0], [0.0, 0.0]]
        self._points: list[Point] = []
        for number, spec in reactions_plan(pipeline):
            if alert["subject"] in (f"{spec.topic}, how many", f"{spec.topic}, {spec.value}"):
                self._spec = spec
                self._monitor = ReactionMonitor(spec, float("inf"))
                self._log = Buckets("drift", number, spec.bucket_ms, lambda name, at: True)

    def _tell(self, found: Explanation, log: Buckets) -> None:
        found.bucket_ms, found.known_from_ms = log.bucket_ms, log.first_ms
        found.unit = "reactions by prediction" if self._many else f"mean of {self._spec.value}"
        found.usual_then(self._points)
        found.bars = self._compared.bars()
        rows = tuple(
            (name, predictions, reactions, reactions / predictions if predictions else None)
            for name, (predictions, reactions) in zip(
                ("before", "since"), self._totals, strict=True
            )
        )
        found.tables.append(Table(("when", "predictions", "reactions", "share"), rows))
        found.notes.append(
            "no slices, and no examples: reactions are counted, none is kept with its event"
        )

    def _add(self, start_ms: int, parts: Parts) -> None:
        rows = {name: self._monitor.combined(some) for name, some in parts.items()}
        sketch: Sketch | None = unpacked(rows[VALUES]) if VALUES in rows else None
        predictions = rows.get(PREDICTIONS, [0])[0]
        reactions = sketch.n if sketch else 0
        side = self._totals[start_ms >= self._first_ms]
        side[0] += predictions
        side[1] += reactions
        if self._many and predictions:
            self._points.append(Point(start_ms, reactions / predictions, predictions))
        if sketch is not None:
            self._compared.add_sketch(start_ms, sketch, None)
            if not self._many and sketch.n:
                self._points.append(Point(start_ms, sketch.moments()[1], sketch.n))


def _metric(report: PerformanceReport | None, who: str, name: str) -> float | None:
    return report["metrics"].get(who, {}).get(name) if report else None
