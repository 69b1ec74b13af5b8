"""What is no better than nothing, of the same outcomes: zero-rule, and chance.

Zero-rule says what was usual before: the share of yes (or of each class), and so always the most
frequent class, or the mean. Chance decides as often for each class as was usual, at random; of a
regression it says one of the labels before, drawn at random. What that comes to on average is
worked out, so that nothing has to be drawn. Both know what the window held before the bucket and
nothing of the bucket itself, so that they are prequential as the model is. They are given as
sketches, from the sketch of the outcomes.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import log
from typing import Any

import numpy as np

from streamproc.monitors.classes import RANKS
from streamproc.monitors.scores import (
    LOSS_STEPS,
    PROBABILITY_STEPS,
    SEPARATOR,
    Sketch,
    bins_of,
    cells_of,
    class_labels,
    middle_of,
)
from streamproc.monitors.sums import Floats, Ints

_PARTS = 1 << 20
"""An expected count is kept in so many parts, as a whole number."""


def baselines_of(
    kind: str, before: Mapping[str, Any], bucket: Mapping[str, Any], tolerance: float
) -> dict[str, Sketch]:
    """Return the sketches of zero-rule and chance on a bucket, from what was ``before`` it.

    There is none for a regression's first bucket.

    >>> before = {"n": 98, "bins": {"97": [98, 9, 0]}}
    >>> bucket = {"n": 2, "bins": {"97": [2, 1, 0]}}
    >>> baselines_of("binary", before, bucket, 0.1)["zero_rule"]["confusion"]
    [1, 0, 1, 0]
    """
    if not bucket.get("n"):
        return {}
    if kind == "regression":
        return _of_numbers(before, bucket, tolerance)
    if kind == "multiclass":
        return _of_classes(before, bucket)
    return _of_two(before, bucket, kind == "binary")


def _of_two(
    before: Mapping[str, Any], bucket: Mapping[str, Any], probability: bool
) -> dict[str, Sketch]:
    n, yes = _yes(bucket)
    n_before, yes_before = _yes(before)
    p = (yes_before + 1) / (n_before + 2)
    no = n - yes
    decided = int(p >= 0.5)
    steps = round(p * PROBABILITY_STEPS)
    zero: Sketch = {
        "n": n,
        "confusion": [0, no, 0, yes] if decided else [no, 0, yes, 0],
        "bins": {str(int(bins_of(np.array([p]))[0])): [n, yes, n * steps]},
    }
    if probability:
        zero["brier"] = yes * _steps((1 - p) ** 2) + no * _steps(p * p)
        zero["log_loss"] = round(-(yes * log(p) + no * log(1 - p)) * LOSS_STEPS)
    parts = round(p * _PARTS)
    chance: Sketch = {
        "n": n,
        "confusion": [no * (_PARTS - parts), no * parts, yes * (_PARTS - parts), yes * parts],
        "bins": {"0": [n, yes, 0]},
    }
    return {"zero_rule": zero, "random": chance}


def _of_classes(before: Mapping[str, Any], bucket: Mapping[str, Any]) -> dict[str, Sketch]:
    n = bucket["n"]
    labels, usual = class_labels(bucket), class_labels(before)
    size = sum(usual.values()) + len(usual) + 1  # one more of each, and of one not seen yet
    shares = {name: (usual[name] + 1) / size for name in sorted(usual)}
    first = min(shares, key=lambda name: (-shares[name], name)) if shares else min(labels)
    given = {name: shares.get(name, 1 / size) for name in sorted(labels)}
    squares = sum(share * share for share in shares.values())
    steps = round(shares.get(first, 1.0 / size) * PROBABILITY_STEPS)
    where = str(int(bins_of(np.array([steps / PROBABILITY_STEPS]))[0]))
    zero: Sketch = {
        "n": n,
        "confusion": {f"{name}{SEPARATOR}{first}": count for name, count in labels.items()},
        "bins": {where: [n, labels.get(first, 0), n * steps]},
        RANKS: {},
        "brier": sum(labels[name] * _steps(squares - 2 * p + 1) for name, p in given.items()),
        "log_loss": sum(labels[name] * round(-log(p) * LOSS_STEPS) for name, p in given.items()),
    }
    chance: Sketch = {
        "n": n,
        "confusion": {
            f"{label}{SEPARATOR}{said}": count * round(share * _PARTS)
            for label, count in labels.items()
            for said, share in (shares or {first: 1.0}).items()
        },
        RANKS: {},
    }
    return {"zero_rule": zero, "random": chance}


def _of_numbers(
    before: Mapping[str, Any], bucket: Mapping[str, Any], tolerance: float
) -> dict[str, Sketch]:
    if not before.get("sums"):
        return {}
    n_before = int(before["sums"][0])
    first, second = (_exact(before["sums"], power) / n_before for power in (0, 1))
    mean = float(first)
    values, counts = _values(bucket)
    off = np.abs(values - mean)
    zero = _said(bucket, Fraction(mean), Fraction(mean) ** 2, off)
    zero["within"] = int(counts[off <= tolerance * np.abs(values)].sum())
    errors: dict[str, int] = {}
    for cell, count in zip(cells_of(off).tolist(), counts.tolist(), strict=True):
        errors[str(cell)] = errors.get(str(cell), 0) + count
    zero["errors"] = errors
    known, times = _values(before)
    chance = _said(bucket, first, second, _away(values, known, times))
    room = tolerance * np.abs(values)
    low = np.searchsorted(known, values - room, side="left")
    high = np.searchsorted(known, values + room, side="right")
    upto = np.concatenate(([0], np.cumsum(times)))
    near = float((counts * (upto[high] - upto[low]) / upto[-1]).sum())
    chance["within"] = round(near * _PARTS) / _PARTS  # so that windows can take it back exactly
    return {"zero_rule": zero, "random": chance}


def _said(bucket: Mapping[str, Any], mean: Fraction, square: Fraction, off: Floats) -> Sketch:
    """Return the sums of a bucket where numbers of a mean and a mean square are said.

    They know nothing of the labels; ``off`` is by cell of the labels how far they are from them.
    """
    n = bucket["n"]
    _, counts = _values(bucket)
    y, yy = _exact(bucket["sums"], 0), _exact(bucket["sums"], 1)
    each = zip(off.tolist(), counts.tolist(), strict=True)
    away = sum((Fraction(far) * count for far, count in each), Fraction(0))
    squares = max(yy - 2 * mean * y + n * square, Fraction(0))
    sums = (y, yy, n * mean, n * square, mean * y, squares, away)
    return {"n": n, "sums": [n, *(part for each in sums for part in _pair(each))]}


def _away(values: Floats, known: Floats, times: Ints) -> Floats:
    """Return by value how far it is on average from ``known`` ones, which ascend.

    >>> _away(np.array([2.0]), np.array([1.0, 4.0]), np.array([3, 1])).tolist()
    [1.25]
    """
    n = np.concatenate(([0], np.cumsum(times)))
    total = np.concatenate(([0.0], np.cumsum(known * times)))
    below = np.searchsorted(known, values, side="right")
    over = total[-1] - total[below] - values * (n[-1] - n[below])
    far: Floats = (values * n[below] - total[below] + over) / n[-1]
    return far


def _values(sketch: Mapping[str, Any]) -> tuple[Floats, Ints]:
    """Return the labels of a sketch, ascending, each the middle of its cell, and how many."""
    counted = sorted((int(cell), count) for cell, count in sketch["labels"].items())
    values = middle_of(np.array([cell for cell, _ in counted]))
    return values, np.array([count for _, count in counted])


def _yes(sketch: Mapping[str, Any]) -> tuple[int, int]:
    rows = sketch.get("bins", {}).values()
    return sum(row[0] for row in rows), sum(row[1] for row in rows)


def _steps(loss: float) -> int:
    return round(loss * PROBABILITY_STEPS)


def _exact(row: list[float], number: int) -> Fraction:
    return Fraction(row[1 + 2 * number]) + Fraction(row[2 + 2 * number])


def _pair(value: Fraction) -> tuple[float, float]:
    high = float(value)
    return high, float(value - Fraction(high))
