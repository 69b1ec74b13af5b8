"""Performance: prequential metrics of a sliding window, beside what is no better than nothing.

The folds sketch each slice's outcomes by bucket (`streamproc.monitors.scores`); here the sealed
buckets of all partitions go through a window, metrics are made of its sums, and the model is tested
against its baselines (`streamproc.monitors.worth`). Buckets are of the time at which labels became
known, as a bias monitor's, since by then they are complete; each report says which event times it
is about.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Mapping, Sequence
from functools import reduce
from typing import Any

from streamproc.messages import PerformanceReport, Severity
from streamproc.metrics import Report
from streamproc.monitors.baselines import baselines_of
from streamproc.monitors.classes import RANKS, bounded
from streamproc.monitors.finding import Finding, when
from streamproc.monitors.metrics import guess_of, metrics_of
from streamproc.monitors.oneclass import OneClass, labels_of
from streamproc.monitors.performance_spec import Performance
from streamproc.monitors.rankings import merge_groups, ranking_of
from streamproc.monitors.scores import PROBABILITY_STEPS, SEPARATOR, Sketch, merge
from streamproc.monitors.slices import slice_of
from streamproc.monitors.spec import MAX_SLICES
from streamproc.monitors.worth import Losses, WorthTest

PANES = 32
"""A window is kept in so many parts, and moves by one of them."""

MOST_CLASSES = 50
"""Classes told of by name; labels and decisions beyond the most frequent are one class, (other)."""

OTHER = "(other)"

LEAST_OUTCOMES = 1_000
"""Outcomes before the model is held against its baselines: neither knows much before."""

CRITICAL = 1.1
"""From a loss of so many times the baseline's on, it is critical."""

BASELINES = {"zero_rule": "zero-rule, which always says what is usual", "own": "your own baseline"}


def of_reactions(kind: str, subject: str) -> bool:
    """Whether a finding is about reactions; others of the kind hold the model against a baseline.

    >>> of_reactions("performance", "zero_rule"), of_reactions("performance", "clicks, how many")
    (False, True)
    """
    return kind == "performance" and subject not in BASELINES


def merge_rows(a: Mapping[str, Any], b: Mapping[str, Any], k: int = 0) -> dict[str, Any]:
    """Return the sum of two rows of a fold: sketches by name, the event times they are about.

    >>> merge_rows({"event_ms": [5, 9], "model": {"n": 1}}, {"event_ms": [2, 3], "model": {"n": 2}})
    {'event_ms': [2, 9], 'model': {'n': 3}}
    """
    row: dict[str, Any] = {"event_ms": _span(a["event_ms"], b["event_ms"])}
    row |= merge(_sketches(a), _sketches(b))
    if "groups" in a or "groups" in b:
        row["groups"] = merge_groups(a.get("groups", {}), b.get("groups", {}), k)
    return row


class Window:
    """The sum of the sketches of a span of time, which moves on by panes.

    >>> window = Window(64, bucket_ms=1)
    >>> for start_ms in range(0, 100, 10):
    ...     window.add(start_ms, start_ms + 1, {"event_ms": [0, 0], "model": {"n": 1}})
    >>> window.total["model"], window.from_ms
    ({'n': 7}, 30)
    """

    def __init__(self, span_ms: int, bucket_ms: int) -> None:
        self.total: Sketch = {}
        self._span_ms = span_ms
        self.pane_ms = bucket_ms * -(-span_ms // (PANES * bucket_ms))
        self._panes: deque[tuple[int, list[int], Sketch]] = deque()

    def add(self, start_ms: int, end_ms: int, row: Mapping[str, Any]) -> None:
        """Add a bucket's row, and let go of the panes that ended before the window begins."""
        self.advance(end_ms)
        sketch = _sketches(row)
        self.total = merge(self.total, sketch)
        pane_ms = start_ms // self.pane_ms * self.pane_ms
        if self._panes and self._panes[-1][0] == pane_ms:
            _, events, known = self._panes.pop()
            self._panes.append((pane_ms, _span(events, row["event_ms"]), merge(known, sketch)))
        else:
            self._panes.append((pane_ms, row["event_ms"], sketch))

    def advance(self, end_ms: int) -> None:
        """Let go of the panes that began more than the span before a time."""
        while self._panes and self._panes[0][0] < end_ms - self._span_ms:
            self.total = merge(self.total, self._panes.popleft()[2], sign=-1)

    @property
    def from_ms(self) -> int | None:
        """Where the oldest pane begins."""
        return self._panes[0][0] if self._panes else None

    @property
    def event_ms(self) -> tuple[int, int] | None:
        """The first and the last event time in it."""
        if not self._panes:
            return None
        return min(p[1][0] for p in self._panes), max(p[1][1] for p in self._panes)


class PerformanceMonitor:
    """The slices of one monitor, bucket after bucket; overall is the slice ``""``.

    ``about`` says what it is fed: ``outcomes``, or ``predictions``, of which only a guess can be
    made. ``alarm_ms`` is the mean time between false alarms of all its tests. ``reports`` are those
    since they were last taken: overall of each bucket, and of every slice when a pane of the window
    begins. ``latest`` has the last one of each slice.
    """

    def __init__(
        self, monitor: Performance, kind: str, alarm_ms: float, about: str = "outcomes"
    ) -> None:
        self.overflowed = 0
        self.reports: list[PerformanceReport] = []
        self.latest: dict[str, PerformanceReport] = {}
        self._monitor = monitor
        self._kind = kind
        self._about = about
        self._windows: dict[str, Window] = {}
        against = ("zero_rule",) if monitor.baseline is None else ("zero_rule", "own")
        self._tests = {
            name: WorthTest(alarm_ms * len(against))
            for name in against
            if about == "outcomes" and kind != "anomaly"
        }
        self._labels = OneClass()
        self._pane: int | None = None
        self._outcomes = 0

    def take(self) -> list[PerformanceReport]:
        """Return the reports since they were last taken."""
        reports, self.reports = self.reports, []
        return reports

    def combined(self, parts: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
        """Return one row for several of one slice and bucket, whatever their order."""
        return reduce(lambda a, b: merge_rows(a, b, self._monitor.k), parts)

    def update(self, start_ms: int, rows: Mapping[str, Mapping[str, Any]]) -> list[Finding]:
        """Take in a sealed bucket: rows by slice."""
        end_ms = start_ms + self._monitor.bucket_ms
        findings: list[Finding] = []
        for name in self._bounded(rows):
            window = self._windows.setdefault(
                name, Window(self._monitor.window_ms, self._monitor.bucket_ms)
            )
            window.advance(end_ms)
            row = self._complete(rows[name], window)
            window.add(start_ms, end_ms, row)
            if not name:
                findings = self._test(row, start_ms)
        pane = start_ms // self._windows[""].pane_ms if "" in self._windows else None
        for name in sorted(self._windows) if pane != self._pane else [""] * ("" in self._windows):
            self._windows[name].advance(end_ms)
            if name and self._windows[name].from_ms is None:
                del self._windows[name], self.latest[name]  # nobody has been there for so long
            else:
                self._report(name, end_ms)
        self._pane = pane
        return findings

    def relearn(self, key: str) -> bool:
        """Take what a finding's key is about as normal; return whether it is here."""
        if key == self._labels.key and self._about == "outcomes":
            self._labels.accept()
            return True
        found = [test for name, test in self._tests.items() if key == f"performance/{name}"]
        for test in found:
            test.accept()
        return bool(found)

    def _bounded(self, rows: Mapping[str, Any]) -> list[str]:
        """Leave out slices beyond the bound: new ones, the smaller ones first."""
        new = sorted(
            (name for name in rows if name not in self._windows),
            key=lambda name: (name != "", -rows[name].get("model", {}).get("n", 0), name),
        )
        room = max(0, MAX_SLICES - len(self._windows))
        self.overflowed += len(new[room:])
        return sorted(set(rows) - set(new[room:]))

    def _complete(self, row: Mapping[str, Any], window: Window) -> dict[str, Any]:
        """Add the baselines to a bucket's row, and make one number of each group's order."""
        full = dict(row)
        model = dict(row.get("model", {}))
        full["model"] = model
        if self._kind == "multiclass":
            known = set(_classes_of(window.total.get("model", {}).get("confusion", {})))
            for who in ("model", "own"):
                if "confusion" in full.get(who, {}):
                    confusion = _lumped(full[who]["confusion"], known)
                    ranked = window.total.get(who, {}).get(RANKS, ())
                    full[who] = {**bounded(full[who], ranked), "confusion": confusion}
                    known.update(_classes_of(confusion))
            model = full["model"]
        if self._about == "predictions":
            return full
        before = window.total.get("model", {})
        full |= baselines_of(self._kind, before, model, self._monitor.tolerance)
        if "groups" in full:
            orders = ranking_of(full.pop("groups"), self._monitor.k)
            for who, (groups, total) in zip(("model", "random"), orders, strict=True):
                sketch = full.setdefault(who, {})
                full[who] = {**sketch, "ranking": [groups, round(total * PROBABILITY_STEPS)]}
        return full

    def _test(self, row: Mapping[str, Any], start_ms: int) -> list[Finding]:
        """Hold the model against its baselines, where labels of several classes say anything."""
        if self._about != "outcomes":
            return []
        n, delay_ms = row["delay"]
        known, self._outcomes = self._outcomes, self._outcomes + row["model"].get("n", 0)
        labels = labels_of(self._kind, row["model"])
        of_labels = self._labels.update(start_ms, labels, delay_ms // n)
        findings = [] if of_labels is None else [of_labels]
        for name, test in self._tests.items():
            losses = _losses(row, name, self._kind)
            if losses is None or known < LEAST_OUTCOMES or self._labels.open:
                continue
            was_accepted = test.accepted
            changed = test.update(losses, start_ms, self._monitor.bucket_ms, delay_ms // n)
            if changed and test.open and self._labels.all_one_since(test.detector.since_ms):
                test.open = False  # it takes labels of two classes to say so
                test.detector.restart()
                continue
            if (changed or test.open) and not was_accepted:
                findings.append(_finding(test, name, self._kind))
        return findings

    def _report(self, name: str, end_ms: int) -> None:
        window, monitor = self._windows[name], self._monitor
        total, events = window.total, window.event_ms
        metrics: dict[str, Report] = {}
        if self._about == "outcomes":
            ranking = f"ndcg@{monitor.k}" if monitor.ranking else None
            for who in ("model", "zero_rule", "random", "own"):
                if who in total or who == "model":
                    named = ranking if "ranking" in total.get(who, {}) or who == "model" else None
                    found = metrics_of(self._kind, total.get(who, {}), monitor.beta, named)
                    metrics[who] = _of_chance(found) if who == "random" else found
        guess = guess_of(self._kind, total.get("model", {}), monitor.beta)
        if guess:
            metrics["guessed"] = guess
        model = total.get("model", {})
        report = PerformanceReport(
            about=self._about,
            slice=slice_of(name),
            from_ms=window.from_ms if window.from_ms is not None else end_ms,
            to_ms=end_ms,
            event_from_ms=events[0] if events else None,
            event_to_ms=events[1] if events else None,
            n=model.get("n", 0),
            unusable=model.get("unusable", 0),
            metrics=metrics,
        )
        self.reports.append(report)
        self.latest[name] = report


def _losses(row: Mapping[str, Any], baseline: str, kind: str) -> Losses | None:
    """Return the losses of a bucket: Brier scores, or of a regression squared errors."""
    model = row.get("model", {})
    if baseline == "own":
        sums = row.get("paired", {}).get("sums")
        return None if not sums else Losses(int(sums[0]), sums[1] + sums[2], sums[3] + sums[4])
    if baseline not in row or not model.get("n"):
        return None
    if kind == "regression":
        mine, other = (row[who]["sums"] for who in ("model", baseline))
        return Losses(model["n"], mine[11] + mine[12], other[11] + other[12])
    mine, other = (row[who]["brier"] / PROBABILITY_STEPS for who in ("model", baseline))
    return Losses(model["n"], mine, other)


def _finding(test: WorthTest, baseline: str, kind: str) -> Finding:
    found = test.found
    model, other = found.model / found.n, found.baseline / found.n
    ratio = model / other if other > 0 else float(CRITICAL)
    severity: Severity = "critical" if ratio >= CRITICAL else "warning"
    loss = "mean squared error" if kind == "regression" else "Brier score"
    since = f"on events since {when(test.first_seen_ms)}"
    figures = f"a {loss} of {model:.4g} against {other:.4g}, over {found.n:,} outcomes"
    summary = (
        f"The model has been no better than {BASELINES[baseline]}, {since}: {figures}; see whether "
        "it is worth its upkeep, or what changed."
    )
    if not test.open:
        name = BASELINES[baseline].partition(",")[0]
        summary = f"The model is better than {name} again; {since} it was not: {figures}."
    return Finding(
        kind="performance",
        subject=baseline,
        slice=None,
        ongoing=test.open,
        severity=severity,
        effect=ratio,
        statistic=max(test.detector.evidence, 0.0),  # none where it begins anew
        threshold=test.detector.threshold,
        expected=other,
        observed=model,
        samples=found.n,
        first_seen_ms=test.first_seen_ms,
        summary=summary,
    )


def _of_chance(report: Report) -> Report:
    """Leave out what is not defined for what is said at random: there is no probability."""
    names = ("accuracy", "precision", "recall", "specificity", "f_beta", "kappa")
    ranks = ("roc_auc", "average_precision")
    numbers = ("mse", "mae", "acper", "r2", "bias")
    return {
        name: value
        for name, value in report.items()
        if name in (*names, *ranks, *numbers) or name.startswith("ndcg")
    }


def _lumped(confusion: Mapping[str, int], known: Collection[str] = ()) -> dict[str, int]:
    """Make one class of those beyond the most frequent; those ``known`` to the window go before.

    So a window has no more of them than one bucket has, whatever comes as a label.
    """
    counts, kept = _classes_of(confusion), {*known, OTHER}
    new = sorted(counts.keys() - kept, key=lambda name: (-counts[name], name))
    kept |= set(new[: max(MOST_CLASSES + 1 - len(kept), 0)])
    if counts.keys() <= kept:
        return dict(confusion)
    lumped: dict[str, int] = {}
    for cell, n in sorted(confusion.items()):
        names = (name if name in kept else OTHER for name in cell.split(SEPARATOR))
        at = SEPARATOR.join(names)
        lumped[at] = lumped.get(at, 0) + n
    return lumped


def _classes_of(confusion: Mapping[str, int]) -> dict[str, int]:
    """Return how often each class is there, as a label or as a decision."""
    counts: dict[str, int] = {}
    for cell, n in confusion.items():
        for name in cell.split(SEPARATOR):
            counts[name] = counts.get(name, 0) + n
    return counts


def _sketches(row: Mapping[str, Any]) -> dict[str, Any]:
    return {name: it for name, it in row.items() if name not in ("event_ms", "groups")}


def _span(a: list[int], b: list[int]) -> list[int]:
    return [min(a[0], b[0]), max(a[1], b[1])]
