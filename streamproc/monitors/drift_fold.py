"""The fold of predictions, per bucket: sketches of features, score and decision, and a sample."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamproc.monitors.fold import NEVER, Messages, columns, groups, slices_by_code, texts
from streamproc.monitors.sample import Sampler, merged
from streamproc.monitors.sample import unpacked as unpacked_sample
from streamproc.monitors.sketch import (
    Floats,
    Sketch,
    added,
    categories,
    hashed,
    sketches,
    unpacked,
)
from streamproc.monitors.spec import MAX_SLICES, Drift, Series, Watched, drift_plan

SCORE, DECISION = "=score", "=decision"
"""The names of their series; a class's probability is ``=score/<class>``."""

SAMPLE = "=sample"
"""Where the series of a bucket has its sample of whole events."""

IN_SLICE = "|"
"""Between a series' name and the slice's, where it is of a slice."""

_MAX_CLASSES = 200
_NAMED = 256
_PACKED = 4
_PARTS = 16
Bools = NDArray[np.bool_]
Row = Any
"""A packed sketch; of categories, with the names of those that are there at the end. Or a packed
sample, which is a map."""

Part = tuple[Sketch, dict[int, str] | None]
"""A sketch, and of categories the names by their hash."""


class DriftFold:
    """Folds predictions into sketches of every series watched for drift.

    ``bucket_ms`` is the shortest bucket, ``watermark_ms`` the newest event time folded.

    >>> from types import SimpleNamespace
    >>> fold = drift_fold(SimpleNamespace(
    ...     monitors=[Drift()], kind="binary", learns=False, numeric_features=("amount",),
    ...     categorical_features=()))
    >>> fold.update([{"id": "a", "event_time_ms": 5, "features": {"amount": 2}, "score": 0.5,
    ...               "model": "m@0", "decision": True}])
    >>> rows = fold.take()[0]["series"]
    >>> sorted(rows), read(rows["amount"])[0].values.tolist()
    (['=decision', '=sample', '=score', 'amount'], [2.0])
    """

    def __init__(self, plan: Sequence[tuple[int, Drift, Series]], kind: str, learns: bool) -> None:
        self.bucket_ms = min((monitor.bucket_ms for _, monitor, _ in plan), default=3_600_000)
        self.watermark_ms = NEVER
        self.overflowed = 0
        self._plan = plan
        self._multiclass = kind == "multiclass"
        self._decides = kind != "regression"
        self._learns = learns
        self._numbers = tuple(name for _, _, series in plan for name in series.numbers)
        self._sums: dict[tuple[int, int], dict[str, list[Part]]] = {}
        self._samplers = {
            number: Sampler((*series.numbers, *series.texts)) for number, _, series in plan
        }

    def update(self, predictions: Sequence[dict[str, Any]]) -> None:
        """Fold predictions in."""
        if predictions:
            self._fold(Messages.of(predictions))

    def take(self) -> list[dict[str, Any]]:
        """Return the sketches of what was folded since they were last taken."""
        sums, self._sums = self._sums, {}
        rows = {
            here: {name: _row(_whole(parts)) for name, parts in series.items()}
            for here, series in sums.items()
        }
        for number, sampler in self._samplers.items():
            for bucket_ms, sample in sampler.take().items():
                rows.setdefault((number, bucket_ms), {})[SAMPLE] = sample.packed()
        return [
            {"stage": "drift", "monitor": monitor, "bucket_ms": bucket_ms, "series": series}
            for (monitor, bucket_ms), series in sorted(rows.items())
        ]

    def _fold(self, held: Messages) -> None:
        times, features = held.times_ms, held.features
        self.watermark_ms = max(self.watermark_ms, int(times.max()))
        numbers = held.numbers(self._numbers)
        names, scores = self._scores(held)
        learnt = held.learnt if self._learns else None
        at = 0
        for number, monitor, series in self._plan:
            starts = times - times % monitor.bucket_ms
            buckets, of = groups(times // monitor.bucket_ms)
            table = numbers[at : at + len(series.numbers)]
            at += len(series.numbers)
            told = {name: texts([one.get(name) for one in features]) for name in series.texts}
            self._samplers[number].update(starts, held, [*table, *told.values()])
            if series.score and self._decides:
                told[DECISION] = texts(held.decisions)
            for i, bucket in enumerate(buckets.tolist()):
                here = (number, bucket * monitor.bucket_ms)
                inside = slice(None) if len(buckets) == 1 else of == i
                self._add(here, series.numbers, table[:, inside])
                for name, values in told.items():
                    own = inside if name != DECISION else _both(of == i, learnt)
                    self._add_texts(here, name, values, own)
                if series.score:
                    self._add(here, names, scores[:, _both(of == i, learnt)])
                for fields in monitor.fields:
                    self._slice(here, fields, held, of == i, (series.numbers, table), told)

    def _slice(
        self,
        here: tuple[int, int],
        fields: tuple[str, ...],
        held: Messages,
        inside: Bools,
        numbers: tuple[tuple[str, ...], Floats],
        told: dict[str, list[Any]],
    ) -> None:
        """Fold what is in each slice; the names of its series end with it."""
        slices, codes = slices_by_code(fields, held)
        for code, name in enumerate(slices):
            chosen = inside & (codes == code)
            if not chosen.any():
                continue
            self._add(here, [of_slice(each, name) for each in numbers[0]], numbers[1][:, chosen])
            for text, values in told.items():
                if text != DECISION:
                    self._add_texts(here, of_slice(text, name), values, chosen)

    def _add(self, here: tuple[int, int], names: Sequence[str], table: Floats) -> None:
        if not table.size:
            return
        for name, sketch in zip(names, sketches(table), strict=True):
            self._append(here, name, (sketch, None))

    def _add_texts(self, here: tuple[int, int], name: str, values: list[Any], inside: Any) -> None:
        chosen = values if isinstance(inside, slice) else np.array(values, object)[inside].tolist()
        if chosen:
            self._append(here, name, categories(chosen))

    def _append(self, here: tuple[int, int], name: str, part: Part) -> None:
        rows = self._sums.setdefault(here, {})
        if IN_SLICE in name and name not in rows and len(rows) >= 10 * MAX_SLICES:
            self.overflowed += 1
            return
        parts = rows.setdefault(name, [])
        parts.append(part)
        if len(parts) == _PARTS:
            parts[:] = [_whole(parts)]

    def _scores(self, held: Messages) -> tuple[list[str], Floats]:
        """Return the score's series: one, and for a multiclass model one a class.

        A class that no version has seen yet has probability 0.
        """
        if not self._multiclass:
            return [SCORE], held.score[None]
        maps = [score if isinstance(score, dict) else {} for score in held.scores]
        classes = sorted(set(chain.from_iterable(maps)))[:_MAX_CLASSES]
        table = np.nan_to_num(columns(maps, tuple(classes)))
        return [f"{SCORE}/{name}" for name in classes], table


def drift_fold(pipeline: Watched) -> DriftFold:
    """Return an empty fold for one partition of a pipeline's predictions."""
    return DriftFold(drift_plan(pipeline), pipeline.kind, pipeline.learns)


def combined(parts: Sequence[Row]) -> Row:
    """Return one row for several, whatever their order.

    >>> combined([Sketch.of(np.array([1.0])).packed(), Sketch.of(np.array([1.0])).packed()])
    [0, 0, 'AAAAAAAA8D8=', 'Ag==']
    """
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], dict):
        return merged([unpacked_sample(part) for part in parts]).packed()
    told = [read(part) for part in parts]
    named = of_texts(parts[0])
    return _row(_whole([(sketch, names if named else None) for sketch, names in told]))


def of_texts(row: Row) -> bool:
    """Return whether a row is of categories.

    >>> of_texts(Sketch.of(np.array([1.0])).packed())
    False
    """
    return len(row) > _PACKED


def read(row: Row) -> tuple[Sketch, dict[int, str]]:
    """Return the sketch of a row, and the names of its categories by their hash."""
    sketch = unpacked(row[:_PACKED])
    names = row[_PACKED] if len(row) > _PACKED else None
    return sketch, {hashed(name): name for name in names or () if name is not None}


def of_slice(series: str, slice_name: str) -> str:
    """Return the name of a feature's series in a slice.

    >>> of_slice("amount", '{"country":"NL"}')
    'amount|{"country":"NL"}'
    """
    return f"{series}{IN_SLICE}{slice_name}"


def _whole(parts: Sequence[Part]) -> Part:
    if len(parts) == 1:
        return parts[0]
    sketch = added([each for each, _ in parts])
    if parts[0][1] is None:
        return sketch, None
    names: dict[int, str] = {}
    for _, some in parts:
        names |= some or {}
    return sketch, names


def _row(part: Part) -> Row:
    """Return a part as it is sent: with the names of the first categories it has."""
    sketch, names = part
    if names is None:
        return sketch.packed()
    named = [names.get(key) for key in sketch.cells[:_NAMED].tolist()]
    return [*sketch.packed(), None if sketch.shift else named]


def _both(one: Bools, other: Bools | None) -> Bools:
    return one if other is None else one & other
