"""Folds: one partition's predictions or outcomes, in; sums per series and bucket, out.

A fold keeps nothing but sums that add up across partitions, and hands out what is new since it
was last asked. It works on columns, some thousand records at once.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np
import orjson

from streamproc.monitors.spec import MAX_SLICES, Watched, bias_plan
from streamproc.monitors.sums import LARGEST, Floats, Ints, Row, add_rows, exact_sums

LONGEST = 100
"""How many characters of a slice's value are kept."""

NEVER = -(1 << 62)
_HELD = 2_048
_TIMES = itemgetter("event_time_ms"), itemgetter("label_time_ms")
_TIME, _FEATURES, _SCORE, _MODEL = map(itemgetter, ("event_time_ms", "features", "score", "model"))


class Sums:
    """Rows by monitor, bucket and series, until they are taken."""

    def __init__(self, stage: str) -> None:
        self.stage = stage
        self._buckets: dict[tuple[int, int], dict[str, Row]] = {}

    def add(self, monitor: int, bucket_ms: int, series: str, row: Row) -> None:
        """Add a row to that of its series."""
        rows = self._buckets.setdefault((monitor, bucket_ms), {})
        known = rows.get(series)
        rows[series] = row if known is None else add_rows((known, row))

    def names(self, monitor: int, bucket_ms: int) -> dict[str, Row]:
        """Return the rows of a bucket by series."""
        return self._buckets.get((monitor, bucket_ms), {})

    def take(self) -> list[dict[str, Any]]:
        """Return the rows, which are then kept no more."""
        buckets, self._buckets = self._buckets, {}
        return [
            {"stage": self.stage, "monitor": monitor, "bucket_ms": bucket_ms, "series": rows}
            for (monitor, bucket_ms), rows in sorted(buckets.items())
        ]


class BiasFold:
    """Folds outcomes into sums of observed less predicted, overall and per slice.

    A row holds n and the sums of y - p, of p(1 - p) (for regression: of (y - p) squared), of p
    and of the delay from event to label in milliseconds. A bucket is of the time at which labels
    became known: by that time it is complete, however long labels take. (Where yes comes sooner
    than no, a burst of traffic shows for a while.) ``watermark_ms`` is in that time too.
    """

    def __init__(self, pipeline: Watched) -> None:
        plan = bias_plan(pipeline)
        self.bucket_ms = min((monitor.bucket_ms for _, monitor in plan), default=3_600_000)
        self.watermark_ms = NEVER
        self.overflowed = 0
        self._plan = plan
        self._kind = pipeline.kind
        self._classes = pipeline.classes
        self._learns = pipeline.learns
        self._held: list[dict[str, Any]] = []
        self._sums = Sums("bias")

    def update(self, outcomes: Sequence[dict[str, Any]]) -> None:
        """Fold outcomes in; the declared slice fields are in their ``slices``."""
        if not outcomes:
            return
        self.watermark_ms = max(self.watermark_ms, *(max(map(get, outcomes)) for get in _TIMES))
        self._held.extend(outcomes)
        if len(self._held) >= _HELD:
            self._fold()

    def take(self) -> list[dict[str, Any]]:
        """Return the sums of what was folded since they were last taken."""
        self._fold()
        return self._sums.take()

    def _fold(self) -> None:
        held, self._held = self._held, []
        if self._learns and any(model.endswith("@0") for model in set(map(_MODEL, held))):
            held = [outcome for outcome in held if not outcome["model"].endswith("@0")]
        if not held:
            return
        observed, predicted = self._pairs(held)
        left = observed - predicted
        spread = left**2 if self._kind == "regression" else predicted * (1 - predicted)
        event_ms, known_ms = (np.fromiter(map(get, held), np.int64, len(held)) for get in _TIMES)
        known_ms = np.maximum(known_ms, event_ms)
        table = np.stack((left, spread, predicted, known_ms - event_ms))
        usable = np.abs(left) < LARGEST
        slices = [outcome.get("slices") or {} for outcome in held]
        for number, monitor in self._plan:
            bucket = known_ms // monitor.bucket_ms
            for fields in monitor.fields:
                names, codes = slices_by_code(fields, slices)
                there = usable & (codes >= 0)
                keys = bucket[there] * len(names) + codes[there]
                if not len(keys):
                    continue
                found, of = groups(keys)
                part = table if there.all() else table[:, there]
                sums = exact_sums(part, of if len(found) > 1 else None, len(found))
                counts = np.bincount(of, minlength=len(found)).tolist()
                for key, n, row in zip(found.tolist(), counts, sums.tolist(), strict=True):
                    start, code = divmod(key, len(names))
                    self._add(number, start * monitor.bucket_ms, names[code], [n, *chain(*row)])

    def _add(self, number: int, bucket_ms: int, name: str, row: Row) -> None:
        known = self._sums.names(number, bucket_ms)
        if name not in known and len(known) >= 10 * MAX_SLICES:
            self.overflowed += 1
        else:
            self._sums.add(number, bucket_ms, name, row)

    def _pairs(self, held: list[dict[str, Any]]) -> tuple[Floats, Floats]:
        """Return what was observed and what was predicted."""
        labels = [outcome["label"] for outcome in held]
        scores: list[Any] = list(map(_SCORE, held))
        if self._kind == "multiclass":
            decided = [str(outcome["decision"]) for outcome in held]
            scores = [score.get(one) for score, one in zip(scores, decided, strict=True)]
            labels = [str(label) == one for label, one in zip(labels, decided, strict=True)]
        elif self._kind == "binary":
            yes = self._classes[-1] if self._classes else True
            labels = [None if label is None else label == yes for label in labels]
        return column(labels), column(scores)


def bias_fold(pipeline: Watched) -> BiasFold:
    """Return an empty fold for one partition of a pipeline's outcomes."""
    return BiasFold(pipeline)


def columns(maps: Sequence[dict[str, Any]], names: tuple[str, ...]) -> Floats:
    """Return the named values as an array, names x maps; what is no usable number is NaN.

    >>> columns([{"a": 1, "b": 2.5}, {"a": None, "b": "x"}], ("a", "b")).tolist()
    [[1.0, nan], [2.5, nan]]
    """
    if len(names) < 2:
        found = [column([values.get(name) for values in maps]) for name in names]
        return np.array(found).reshape(len(names), len(maps))
    rows = map(itemgetter(*names), maps)
    size = len(maps) * len(names)
    try:
        table = np.fromiter(chain.from_iterable(rows), np.float64, size)
    except (KeyError, TypeError, ValueError, OverflowError):
        cleaned = (_number(values.get(name)) for values in maps for name in names)
        table = np.fromiter(cleaned, np.float64, size)
    table[~(np.abs(table) < LARGEST)] = np.nan
    return np.ascontiguousarray(table.reshape(len(maps), len(names)).T)


def column(values: Sequence[Any]) -> Floats:
    """Return values as an array; what is no usable number is NaN.

    >>> column([True, 2, 3.5, "4", None, 1e300]).tolist()
    [1.0, 2.0, 3.5, nan, nan, nan]
    """
    try:
        if str in set(map(type, values)):
            raise ValueError
        array = np.fromiter(values, np.float64, len(values))
    except (TypeError, ValueError, OverflowError):
        array = np.fromiter(map(_number, values), np.float64, len(values))
    array[~(np.abs(array) < LARGEST)] = np.nan
    return array


def slice_name(fields: Sequence[str], values: Sequence[str]) -> str:
    """Return the name of a slice's series: its map as JSON, empty overall.

    >>> slice_name(("country",), ("NL",)), slice_name((), ())
    ('{"country":"NL"}', '')
    """
    if not fields:
        return ""
    short = [str(value)[:LONGEST] for value in values]
    return orjson.dumps(dict(zip(fields, short, strict=True))).decode()


def _number(value: object) -> float:
    try:
        return float(value) if isinstance(value, int | float) else float("nan")
    except OverflowError:
        return float("nan")


def slices_by_code(fields: Sequence[str], told: list[dict[str, str]]) -> tuple[list[str], Ints]:
    """Return the names of the slices that are there, and the number of each record's, or -1."""
    if not fields:
        return [""], np.zeros(len(told), np.int64)
    get = itemgetter(*fields)
    numbers: dict[Any, int] = {}
    codes = []
    for values in told:
        try:
            codes.append(numbers.setdefault(get(values), len(numbers)))
        except KeyError:
            codes.append(-1)
    names = [slice_name(fields, key if len(fields) > 1 else (key,)) for key in numbers]
    return names or [""], np.array(codes, np.int64)


def groups(keys: Ints) -> tuple[Ints, Ints]:
    """Return the keys there are and the number of each one's; most often there is one key."""
    if keys[0] == keys[-1] and keys.min() == keys.max():
        return keys[:1], np.zeros(len(keys), np.int64)
    return np.unique(keys, return_inverse=True)
