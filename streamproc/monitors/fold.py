"""Folds: one partition's predictions, in; sums per series and bucket, out.

A fold keeps nothing but sums that add up across partitions, and hands out what is new since it
was last asked. It works on columns, some thousand records at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from streamproc.monitors.columns import column, columns
from streamproc.monitors.spec import Drift, Watched, drift_plan
from streamproc.monitors.sums import Floats, Ints, Row, add_rows, exact_sums

SCORE = "=score"
"""The name of the score's series; a class's probability is ``=score/<class>``."""

NEVER = -(1 << 62)
_HELD = 2_048
_MAX_CLASSES = 200
_TIME, _FEATURES, _SCORE, _MODEL = map(itemgetter, ("event_time_ms", "features", "score", "model"))


class _Sums:
    """Rows by monitor, bucket and series, until they are taken."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._buckets: dict[tuple[int, int], dict[str, Row]] = {}

    def add(self, monitor: int, bucket_ms: int, series: str, row: Row) -> None:
        rows = self._buckets.setdefault((monitor, bucket_ms), {})
        known = rows.get(series)
        rows[series] = row if known is None else add_rows((known, row))

    def names(self, monitor: int, bucket_ms: int) -> dict[str, Row]:
        return self._buckets.get((monitor, bucket_ms), {})

    def take(self) -> list[dict[str, Any]]:
        buckets, self._buckets = self._buckets, {}
        return [
            {"stage": self.stage, "monitor": monitor, "bucket_ms": bucket_ms, "series": rows}
            for (monitor, bucket_ms), rows in sorted(buckets.items())
        ]


class DriftFold:
    """Folds predictions into n, sum and sum of squares of every series watched for drift.

    ``bucket_ms`` is the shortest bucket, ``watermark_ms`` the newest event time folded.

    >>> from types import SimpleNamespace
    >>> fold = drift_fold(SimpleNamespace(
    ...     monitors=[Drift()], kind="binary", learns=False, numeric_features=("amount",)))
    >>> fold.update([{"event_time_ms": 5, "features": {"amount": 2}, "score": 0.5, "model": "m@0"}])
    >>> fold.take()[0]["series"]
    {'amount': [1, 2.0, 0.0, 4.0, 0.0], '=score': [1, 0.5, 0.0, 0.25, 0.0]}
    """

    def __init__(
        self, plan: Sequence[tuple[int, Drift, tuple[str, ...], bool]], kind: str, learns: bool
    ) -> None:
        self.bucket_ms = min((monitor.bucket_ms for _, monitor, _, _ in plan), default=3_600_000)
        self.watermark_ms = NEVER
        self._plan = plan
        self._multiclass = kind == "multiclass"
        self._learns = learns
        self._features = tuple(name for _, _, names, _ in plan for name in names)
        self._held: list[dict[str, Any]] = []
        self._sums = _Sums("drift")

    def update(self, predictions: Sequence[dict[str, Any]]) -> None:
        """Fold predictions in."""
        if not predictions:
            return
        self.watermark_ms = max(self.watermark_ms, max(map(_TIME, predictions)))
        self._held.extend(predictions)
        if len(self._held) >= _HELD:
            self._fold()

    def take(self) -> list[dict[str, Any]]:
        """Return the sums of what was folded since they were last taken."""
        self._fold()
        return self._sums.take()

    def _fold(self) -> None:
        held, self._held = self._held, []
        if not held:
            return
        times = np.fromiter(map(_TIME, held), np.int64, len(held))
        features = columns(list(map(_FEATURES, held)), self._features)
        names, scores = self._scores(held)
        at = 0
        for number, monitor, watched, has_score in self._plan:
            table, series = features[at : at + len(watched)], list(watched)
            at += len(watched)
            if has_score:
                table, series = np.concatenate((table, scores)), series + names
            buckets, groups = _groups(times // monitor.bucket_ms)
            for bucket, rows in zip(buckets.tolist(), _moments(table, groups), strict=True):
                for name, row in zip(series, rows, strict=True):
                    if row[0]:
                        self._sums.add(number, bucket * monitor.bucket_ms, name, row)

    def _scores(self, held: list[dict[str, Any]]) -> tuple[list[str], Floats]:
        """Return the score's series: one, and for a multiclass model one a class.

        There the first only counts, since a class no partition has seen yet has probability 0.
        """
        scores = list(map(_SCORE, held))
        if self._learns and any(model.endswith("@0") for model in set(map(_MODEL, held))):
            scores = [None if p["model"].endswith("@0") else p["score"] for p in held]
        if not self._multiclass:
            return [SCORE], column(scores)[None]
        maps = [score if isinstance(score, dict) else {} for score in scores]
        classes = sorted(set(chain.from_iterable(maps)))[:_MAX_CLASSES]
        count = np.array([[0.0 if score else np.nan for score in maps]])
        table = np.concatenate((count, np.nan_to_num(columns(maps, tuple(classes)))))
        return [SCORE, *(f"{SCORE}/{name}" for name in classes)], table


def drift_fold(pipeline: Watched) -> DriftFold:
    """Return an empty fold for one partition of a pipeline's predictions."""
    return DriftFold(drift_plan(pipeline), pipeline.kind, pipeline.learns)


def _groups(keys: Ints) -> tuple[Ints, Ints]:
    """Return the keys there are and the number of each one's; most often there is one key."""
    if keys[0] == keys[-1] and keys.min() == keys.max():
        return keys[:1], np.zeros(len(keys), np.int64)
    return np.unique(keys, return_inverse=True)


def _moments(table: Floats, groups: Ints) -> list[list[Row]]:
    """Return n, sum and sum of squares of each row by group; NaN is left out."""
    width, size = len(table), int(groups.max()) + 1
    there = ~np.isnan(table)
    if there.all():
        values, counts = table, [np.bincount(groups)] * width
    else:
        values = np.where(there, table, 0.0)
        counts = [np.bincount(groups[row], minlength=size) for row in there]
    both = np.concatenate((values, values * values))
    sums = exact_sums(both, groups if size > 1 else None, size).tolist()
    return [
        [[int(counts[i][g]), *of[i], *of[width + i]] for i in range(width)]
        for g, of in enumerate(sums)
    ]
