"""The fold of outcomes: sums per monitor, slice and bucket of the time at which labels were known.

All sums are whole numbers, so that neither the order of records nor how they were spread over
partitions shows. What a row holds, by its keys:

    n, delay_ms    how many outcomes, and the sum of the times from event to label
    bins           by bin of the score: [n, yes, sum of scores]; see `streamproc.monitors.scores`
    values         a sketch of numbers (residuals, log losses, labels), or of categories
    yes            how many of the n are so
    columns        some whole outcomes; see `streamproc.monitors.outcome_sample`
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from operator import itemgetter
from typing import Any

import numpy as np

from streamproc.monitors.fold import LONGEST, slice_name
from streamproc.monitors.outcome_sample import merged
from streamproc.monitors.outcome_sample import unpacked as unpacked_sample
from streamproc.monitors.scores import PROBABILITY_STEPS, bins_of, merge
from streamproc.monitors.sketch import Floats, Ints, Sketch, added, categories, unpacked

OVERALL = ""
ERRORS, LOSSES = "=errors", "=losses"

MOST_NAMES = 10_000
"""How many slices one fold tells apart; those beyond are counted and left out."""

_MOST_CLASSES = 256
_DELAY = 255
_CODES, _BINS = 1 << 14, 1 << 8
_HELD = 1 << 16
_SMALLEST = 1e-15

Row = dict[str, Any]


@dataclass(frozen=True)
class Batch:
    """Outcomes in columns: ``yes`` and ``score`` are numbers, NaN where there is none."""

    outcomes: Sequence[Mapping[str, Any]]
    yes: Floats
    score: Floats
    known_ms: Ints
    delay_ms: Ints

    def of(self, there: np.ndarray) -> Batch:
        """Return those that are there."""
        if there.all():
            return self
        some = [one for one, kept in zip(self.outcomes, there.tolist(), strict=True) if kept]
        arrays = (self.yes, self.score, self.known_ms, self.delay_ms)
        return Batch(some, *(each[there] for each in arrays))


class Binned:
    """Counts by slice, bucket and bin of the score, until they are taken."""

    def __init__(self, bucket_ms: int) -> None:
        self.overflowed = 0
        self._bucket_ms = bucket_ms
        self._codes: dict[str, int] = {}
        self._held: list[Ints] = []
        self._size = 0

    def add(self, batch: Batch, fields: tuple[str, ...]) -> None:
        """Take in the slices of some fields; none for overall."""
        numbers = np.array(self._numbers(batch, fields), np.int64)
        there = numbers >= 0
        if not there.any():
            return
        at = (batch.known_ms // self._bucket_ms * _CODES + numbers) * _BINS
        score, yes, delay = batch.score, batch.yes, batch.delay_ms
        if not there.all():
            at, score, yes, delay = at[there], score[there], yes[there], delay[there]
        ones = np.ones(len(at), np.int64)
        steps = np.rint(score * PROBABILITY_STEPS).astype(np.int64)
        cells = np.stack((at + bins_of(score), ones, yes.astype(np.int64), steps))
        delays = np.stack((at + _DELAY, ones, np.zeros_like(ones), delay))
        self._held += (_summed(cells), _summed(delays))
        self._size += sum(part.shape[1] for part in self._held[-2:])
        if self._size > _HELD:
            self._compact()

    def take(self) -> dict[int, dict[str, Row]]:
        """Return the rows by bucket and name."""
        names, self._codes = list(self._codes), {}
        if not self._held:
            return {}
        self._compact()
        (table,), self._held, self._size = self._held, [], 0
        rows: dict[int, dict[str, Row]] = {}
        for key, n, yes, steps in zip(*table.tolist(), strict=True):
            slot, cell = divmod(key, _BINS)
            bucket, code = divmod(slot, _CODES)
            row = rows.setdefault(bucket * self._bucket_ms, {}).setdefault(
                names[code], {"bins": {}}
            )
            if cell == _DELAY:
                row["n"], row["delay_ms"] = n, steps
            else:
                row["bins"][str(cell)] = [n, yes, steps]
        return rows

    def _numbers(self, batch: Batch, fields: tuple[str, ...]) -> list[int]:
        """Return the number of each outcome's slice, or -1."""
        codes = self._codes
        if not fields:
            return [codes.setdefault(OVERALL, len(codes))] * len(batch.outcomes)
        known: dict[Any, int] = {}
        get, found = itemgetter(*fields), []
        for outcome in batch.outcomes:
            try:
                values = get(outcome.get("slices") or {})
            except KeyError:
                found.append(-1)
                continue
            number = known.get(values)
            if number is None:
                number = known[values] = self._number(fields, values)
            found.append(number)
        return found

    def names(self, batch: Batch, fields: tuple[str, ...]) -> list[str | None]:
        """Return the name of each outcome's slice, or None."""
        numbers, names = self._numbers(batch, fields), list(self._codes)
        return [names[number] if number >= 0 else None for number in numbers]

    def _number(self, fields: tuple[str, ...], values: Any) -> int:
        name = slice_name(fields, values if len(fields) > 1 else (values,))
        if name not in self._codes and len(self._codes) >= MOST_NAMES:
            self.overflowed += 1
            return -1
        return self._codes.setdefault(name, len(self._codes))

    def _compact(self) -> None:
        self._held = [_summed(np.concatenate(self._held, axis=1))]
        self._size = self._held[0].shape[1]


class Valued:
    """Sketches of a number (or category) by bucket and series, until they are taken."""

    def __init__(self, bucket_ms: int) -> None:
        self._bucket_ms = bucket_ms
        self._held: dict[tuple[int, str], list[Any]] = {}

    def add(self, series: str, known_ms: Ints, delay_ms: Ints, values: Any) -> None:
        """Take in values of one series."""
        buckets = known_ms // self._bucket_ms
        for bucket in np.unique(buckets).tolist():
            at = buckets == bucket
            of = self._held.setdefault((bucket * self._bucket_ms, series), [0, []])
            of[0] += int(delay_ms[at].sum())
            if isinstance(values, np.ndarray):
                of[1].append(values[at])
            else:
                of[1].append([v for v, kept in zip(values, at.tolist(), strict=True) if kept])
            if len(of[1]) > 32 and isinstance(values, np.ndarray):
                of[1] = [np.concatenate(of[1])]

    def take(self) -> dict[int, dict[str, Row]]:
        """Return the rows by bucket and name."""
        held, self._held = self._held, {}
        rows: dict[int, dict[str, Row]] = {}
        for (start_ms, series), (delay_ms, parts) in sorted(held.items()):
            row: Row = {"n": sum(map(len, parts)), "delay_ms": delay_ms}
            if isinstance(parts[0], np.ndarray):
                row["values"] = Sketch.of(np.concatenate(parts)).packed()
            else:
                sketch, names = categories(list(chain.from_iterable(parts)))
                row["values"] = sketch.packed()
                row["names"] = {str(k): names[k][:LONGEST] for k in sorted(names)[:_MOST_CLASSES]}
            rows.setdefault(start_ms, {})[series] = row
        return rows


class Counted:
    """Yes and no by bucket and series, until they are taken."""

    def __init__(self, bucket_ms: int) -> None:
        self._bucket_ms = bucket_ms
        self._rows: dict[int, dict[str, Row]] = {}

    def add(self, series: str, known_ms: Ints, delay_ms: Ints, yes: Floats) -> None:
        """Take in yes (1) and no (0) of one series."""
        found, groups = np.unique(known_ms // self._bucket_ms, return_inverse=True)
        counts = np.bincount(groups).tolist()
        table = [np.bincount(groups, each).astype(np.int64).tolist() for each in (yes, delay_ms)]
        for bucket, n, so, delay in zip(found.tolist(), counts, *table, strict=True):
            rows = self._rows.setdefault(bucket * self._bucket_ms, {})
            rows[series] = merge(rows.get(series, {}), {"n": n, "yes": so, "delay_ms": delay})

    def take(self) -> dict[int, dict[str, Row]]:
        """Return the rows by bucket and name."""
        rows, self._rows = self._rows, {}
        return rows


def combined(parts: Sequence[Row]) -> Row:
    """Return one row for several of one series and bucket, whatever their order.

    >>> combined([{"n": 2, "yes": 1, "delay_ms": 4}, {"n": 1, "yes": 1, "delay_ms": 1}])
    {'n': 3, 'yes': 2, 'delay_ms': 5}
    >>> one = {"n": 1, "delay_ms": 0, "values": Sketch.of(np.array([2.0])).packed()}
    >>> unpacked(combined([one, one])["values"]).counts.tolist()
    [2]
    """
    if len(parts) == 1:
        return parts[0]
    if "columns" in parts[0]:
        return merged([unpacked_sample(part) for part in parts]).packed()
    if "values" in parts[0]:
        row: Row = {name: sum(part[name] for part in parts) for name in ("n", "delay_ms")}
        row["values"] = added([unpacked(part["values"]) for part in parts]).packed()
        if "names" in parts[0]:
            names = {key: name for part in parts for key, name in part["names"].items()}
            row["names"] = {key: names[key] for key in sorted(names)[:_MOST_CLASSES]}
        return row
    whole = parts[0]
    for part in parts[1:]:
        whole = merge(whole, part)
    return whole


def log_losses(yes: Floats, score: Floats) -> Floats:
    """Return the log loss of each outcome, in nats.

    >>> log_losses(np.array([1.0, 0.0]), np.array([0.5, 0.0])).round(3).tolist()
    [0.693, 0.0]
    """
    given = np.where(yes > 0.5, score, 1 - score)
    losses: Floats = 0.0 - np.log(np.clip(given, _SMALLEST, 1.0))
    return losses


def _summed(table: Ints) -> Ints:
    """Sum the columns that have the same first row, its key; ascending by key."""
    order = np.argsort(table[0], kind="stable")
    table = table[:, order]
    keys = table[0]
    starts = np.flatnonzero(np.concatenate(([True], keys[1:] != keys[:-1])))
    return np.concatenate((keys[starts][None], np.add.reduceat(table[1:], starts, axis=1)))
