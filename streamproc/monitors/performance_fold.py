"""Folds for performance: outcomes, or predictions whose labels are on their way, into sketches.

As in `streamproc.monitors.fold`, rows add up across partitions (`performance.merge_rows`), and a
fold hands out what is new since it was last asked. What a model said before it had learnt anything
is left out.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from streamproc.monitors.classes import add_ranks
from streamproc.monitors.fold import NEVER, Messages, column, slices_by_code
from streamproc.monitors.performance import merge_rows
from streamproc.monitors.performance_spec import Performance
from streamproc.monitors.rankings import groups_of
from streamproc.monitors.scores import (
    Sketch,
    guessed_losses,
    numbers,
    paired,
    predicted,
    several_classes,
    two_classes,
)
from streamproc.monitors.spec import MAX_SLICES, Watched, performance_plan
from streamproc.monitors.sums import Floats, Ints

GUESSED = ("binary", "multiclass")
"""The kinds of model of whose performance a guess can be made from scores alone."""

_LONGEST = 100


def guess_number(number: int) -> int:
    """Return the number under which a monitor's predictions go, beside its outcomes."""
    return -1 - number


class PerformanceFold:
    """Folds outcomes, or with ``about`` predictions, into sketches by slice and bucket.

    A bucket of outcomes is of the time at which labels became known, one of predictions of event
    time; ``watermark_ms`` is in that time too. ``overflowed`` counts the rows of slices that were
    left out because there were too many. Slices of predictions are overall only: they have no
    ``slices``.
    """

    def __init__(self, pipeline: Watched, about: str = "outcomes") -> None:
        plan = performance_plan(pipeline)
        self.bucket_ms = min((monitor.bucket_ms for _, monitor in plan), default=3_600_000)
        self.watermark_ms = NEVER
        self.overflowed = 0
        self._outcomes = about == "outcomes"
        self._plan = plan if self._outcomes else [(guess_number(i), m) for i, m in plan]
        self._stage = "bias" if self._outcomes else "drift"
        self._columns = Columns(pipeline.kind, pipeline.classes, pipeline.threshold)
        self._learns = pipeline.learns
        self._buckets: dict[tuple[int, int], dict[str, dict[str, Any]]] = {}

    def update(self, messages: Sequence[dict[str, Any]]) -> None:
        """Fold messages in."""
        if not messages:
            return
        held = Messages.of(messages)
        known_ms = held.known_ms if self._outcomes else held.times_ms
        self.watermark_ms = max(self.watermark_ms, int(known_ms.max()))
        if self._learns and held.learnt is not None:
            held = Messages(
                message for message, is_ in zip(held, held.learnt.tolist(), strict=True) if is_
            )
        if held:
            self._fold(held)

    def take(self) -> list[dict[str, Any]]:
        """Return the rows of what was folded since they were last taken."""
        buckets, self._buckets = self._buckets, {}
        return [
            {"stage": self._stage, "monitor": number, "bucket_ms": bucket_ms, "series": rows}
            for (number, bucket_ms), rows in sorted(buckets.items())
        ]

    def _fold(self, held: Messages) -> None:
        event_ms = held.times_ms
        known_ms = held.known_ms if self._outcomes else event_ms
        for number, monitor in self._plan:
            batch = self._columns.of(held, monitor, self._outcomes)
            bucket_ms = monitor.bucket_ms
            bucket = known_ms // bucket_ms
            first = int(bucket.min())
            for fields in monitor.fields if self._outcomes else ((),):
                names, codes = slices_by_code(fields, held)
                keys = np.where(codes >= 0, (bucket - first) * len(names) + codes, -1)
                for key, row in batch.rows(keys, event_ms, known_ms, monitor, not fields):
                    start, code = divmod(key, len(names))
                    self._add(number, (first + start) * bucket_ms, names[code], row)

    def _add(self, number: int, bucket_ms: int, name: str, row: dict[str, Any]) -> None:
        rows = self._buckets.setdefault((number, bucket_ms), {})
        known = rows.get(name)
        if known is not None:
            rows[name] = merge_rows(known, row, self._k(number))
        elif len(rows) >= 10 * MAX_SLICES:
            self.overflowed += 1
        else:
            rows[name] = row

    def _k(self, number: int) -> int:
        return next(monitor.k for i, monitor in self._plan if i == number)


class Columns:
    """What a kind of model's messages hold, as columns.

    ``classes`` are those of the labels, the positive one of two last; a score of at least
    ``threshold`` is a yes of a baseline's.
    """

    def __init__(self, kind: str, classes: tuple[Any, ...] | None, threshold: float) -> None:
        self.kind = kind
        self.threshold = threshold
        self.yes = classes[-1] if classes else True

    def of(self, held: Messages, monitor: Performance, outcomes: bool) -> Batch:
        """Return a batch of outcomes, or of predictions."""
        labels = held.labels if outcomes else None
        own = None
        if outcomes and monitor.baseline is not None:
            own = _own_scores(monitor.baseline, held.features)
        groups = None
        if outcomes and monitor.ranking is not None:
            groups = [each.get(monitor.ranking.group) for each in held.slices]
        return Batch(self, labels, held, own, groups)


class Batch:
    """Some messages' columns, and the sketches made of parts of them."""

    def __init__(
        self,
        of: Columns,
        labels: list[Any] | None,
        held: Messages,
        own: list[Any] | None,
        groups: list[str | None] | None,
    ) -> None:
        self._of = of
        self._labelled = labels is not None
        self._maps = held.scores
        self._own = own
        self._groups = groups
        self._guessed: Floats | None = None
        if of.kind == "multiclass":
            self._texts = tuple(
                [_text(one) for one in each] for each in (labels or [], held.decisions)
            )
            self._own_maps = [_certain(each) for each in own or ()]
            self._said = column(
                [
                    score.get(decision) if isinstance(score, dict) else None
                    for score, decision in zip(held.scores, self._texts[1], strict=True)
                ]
            )
            if not self._labelled:
                losses = [guessed_losses(score) or (np.nan, np.nan) for score in held.scores]
                self._guessed = np.array(losses).reshape(-1, 2)
                self._said = np.where(np.isnan(self._guessed[:, 0]), np.nan, self._said)
            self._decided = np.where(np.isnan(self._said), np.nan, 1.0)
            return
        self._score = held.score
        if of.kind != "regression" and labels is not None:
            labels = [None if label is None else label == of.yes for label in labels]
        self._label = column(labels or [None] * len(held))
        self._said = self._score
        self._decided = column(
            [each if isinstance(each, bool) else None for each in held.decisions]
        )
        self._own_score = column(own or [])

    def rows(
        self, keys: Ints, event_ms: Ints, known_ms: Ints, monitor: Performance, overall: bool
    ) -> list[tuple[int, dict[str, Any]]]:
        """Return a row for each key that is there; those below 0 are left out."""
        at = np.flatnonzero(keys >= 0)
        if not len(at):
            return []
        found, groups = np.unique(keys[at], return_inverse=True)
        size = len(found)
        sketches: dict[str, list[Sketch]] = {}
        if not self._labelled:
            if self._of.kind in GUESSED:
                guessed = None if self._guessed is None else self._guessed[at]
                said, decided = self._said[at], self._decided[at]
                sketches["model"] = predicted(said, decided, groups, size, guessed)
        else:
            sketches["model"] = self._sketches(at, groups, size, monitor, own=False)
            if overall and self._own is not None:
                sketches["own"] = self._sketches(at, groups, size, monitor, own=True)
                sketches["paired"] = paired(*self._losses(at), groups, size)
        first, last = np.full(size, np.iinfo(np.int64).max), np.full(size, NEVER)
        np.minimum.at(first, groups, event_ms[at])
        np.maximum.at(last, groups, event_ms[at])
        n = np.bincount(groups, minlength=size)
        delay_ms = np.zeros(size, np.int64)
        np.add.at(delay_ms, groups, (known_ms - event_ms)[at])
        told = np.stack((first, last, n, delay_ms), axis=1).tolist()
        rows: list[dict[str, Any]] = [
            {"event_ms": row[:2], "delay": row[2:]}
            | {who: of[i] for who, of in sketches.items() if of[i]}
            for i, row in enumerate(told)
        ]
        if self._groups is not None:
            self._add_groups(rows, at, groups, monitor.k)
        return list(zip(found.tolist(), rows, strict=True))

    def _sketches(
        self, at: Ints, groups: Ints, size: int, monitor: Performance, own: bool
    ) -> list[Sketch]:
        kind = self._of.kind
        if kind == "multiclass":
            labels, decisions = ([of[i] for i in at.tolist()] for of in self._texts)
            scores = [(self._own_maps if own else self._maps)[i] for i in at.tolist()]
            if own:
                decisions = [next(iter(score), None) for score in scores]
            sketches = several_classes(labels, decisions, scores, groups, size)
            add_ranks(sketches, labels, decisions, scores, groups)
            return sketches
        score = (self._own_score if own else self._score)[at]
        if kind == "regression":
            return numbers(self._label[at], score, monitor.tolerance, groups, size)
        decided = self._decided[at]
        if own:
            decided = np.where(np.isnan(score), np.nan, score >= self._of.threshold)
        return two_classes(self._label[at], score, decided, groups, size, kind == "binary")

    def _losses(self, at: Ints) -> tuple[Floats, Floats]:
        """Return the losses of the model and of the user's baseline; NaN where there is none."""
        if self._of.kind == "multiclass":
            labels = self._texts[0]
            mine, other = (
                np.array([_brier(scores[i], labels[i]) for i in at.tolist()])
                for scores in (self._maps, self._own_maps)
            )
            return mine, other
        label, mine, other = self._label[at], self._score[at], self._own_score[at]
        off = (mine - label) ** 2, (other - label) ** 2
        if self._of.kind == "regression":
            return off
        a, b = (
            np.where((p >= 0) & (p <= 1), loss, np.nan)
            for p, loss in zip((mine, other), off, strict=True)
        )
        return a, b

    def _add_groups(self, rows: list[dict[str, Any]], at: Ints, groups: Ints, k: int) -> None:
        items: list[list[tuple[str, float, float]]] = [[] for _ in rows]
        named = self._groups or []
        for i, group in zip(at.tolist(), groups.tolist(), strict=True):
            name = named[i]
            if name is not None:
                items[group].append((name, float(self._score[i]), float(self._label[i])))
        for row, some in zip(rows, items, strict=True):
            if some:
                row["groups"] = groups_of(some, k)


def _own_scores(
    baseline: str | Callable[[Mapping[str, Any]], Any], features: list[dict[str, Any]]
) -> list[Any]:
    """Return what the user's baseline says; what it fails on is missing."""
    if isinstance(baseline, str):
        return [values.get(baseline) for values in features]
    said = []
    for values in features:
        try:
            said.append(baseline(values))
        except Exception:  # the user's own code: a feature that is None, most often
            said.append(None)
    return said


def _certain(said: Any) -> dict[str, float]:
    """Return a class as a score that is sure of it; one that is a score already as it is."""
    if isinstance(said, dict):
        return {max(sorted(said), key=lambda name: said[name]): 1.0} if said else {}
    name = _text(said)
    return {} if name is None else {name: 1.0}


def _brier(score: Any, label: str | None) -> float:
    if not isinstance(score, dict) or not score or label is None:
        return float("nan")
    return float(sum(p * p for p in score.values()) - 2 * score.get(label, 0.0) + 1)


def _text(value: Any) -> str | None:
    return None if value is None else str(value)[:_LONGEST]
