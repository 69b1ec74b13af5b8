"""Sketches of how good predictions were: what a slice's outcomes in a bucket add up to.

A sketch is plain data that goes through JSON: counts, sums and histograms by name. Two are merged
by adding what has the same name, so that a window's metrics come from the sketches of its buckets
and those of all partitions, in whatever order. Sums are integers (probabilities in steps of 2^-30,
log losses of 2^-24 nats) or exact ones, so that the order of records doesn't show either.

    n            outcomes with a score and a label
    unusable     those without
    confusion    of two classes: [true no, false yes, false no, true yes]; of more: by
                 "label\\x1fdecision"
    bins         by bin of the score: [n, yes, sum of scores]; of a model of several classes the
                 score is that of the class decided for, and yes that it was right
    brier, log_loss    sums of losses, where the score is a probability
    said, said_sum     by decision, [no, yes]: how many, and their sums of scores
    guessed_brier, guessed_log_loss    of several classes: the losses to be expected by the scores
    sums         of a regression: [n, y, y^2, p, p^2, y p, (y - p)^2, |y - p|], each but n as a pair
    within       of a regression: how often |y - p| <= tolerance |y|
    errors, labels     of a regression: histograms of |y - p| and of y

A probability falls in a bin of its logit, 1/8 wide from -12 to 12, with one at each end. Any other
number falls in a cell that holds those of the same sign, exponent and first five bits: it is known
to within 3.1 % of itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import exp, log
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamproc.metrics import SMALLEST_PROBABILITY
from streamproc.monitors.sums import Floats, Ints, add_rows, exact_sums

Sketch = dict[str, Any]

BINS = 194
"""Bins of a probability: 192 of equal width in logit and one at each end."""

PROBABILITY_STEPS = float(1 << 30)
LOSS_STEPS = float(1 << 24)
SEPARATOR = "\x1f"

_LOGITS = (np.arange(BINS - 1) - 96) / 8
_EDGES = np.array([1 / (1 + exp(-logit)) for logit in _LOGITS.tolist()])
_CELL_BITS = 47  # leaves a float's exponent and the first five bits of its fraction
_EXACT = ("sums",)


def merge(a: Mapping[str, Any], b: Mapping[str, Any], sign: int = 1) -> Sketch:
    """Return the sum of two sketches, or with ``sign`` -1 what is left of ``a`` without ``b``.

    >>> merge({"n": 2, "bins": {"7": [2, 0, 5]}}, {"n": 1, "bins": {"7": [1, 1, 3]}})
    {'n': 3, 'bins': {'7': [3, 1, 8]}}
    """
    total = dict(a)
    for name, more in b.items():
        known = total.get(name)
        if isinstance(more, dict):
            new: Any = merge(known or {}, more, sign)
        elif isinstance(more, list):
            more = more if sign > 0 else [-each for each in more]
            if known is None:
                new = more
            elif name in _EXACT:
                new = add_rows((known, more))
            else:
                new = [x + y for x, y in zip(known, more, strict=True)]
        else:
            new = (known or 0) + sign * more
        if sign < 0 and not (any(new) if isinstance(new, list) else new):
            total.pop(name, None)  # what a window has left behind takes no memory
        else:
            total[name] = new
    return total


def bins_of(p: Floats) -> Ints:
    """Return the bin of each probability.

    >>> bins_of(np.array([0.0, 0.5, 1.0])).tolist()
    [0, 97, 193]
    """
    return np.searchsorted(_EDGES, p, side="right")


def edges_of(cell: int) -> tuple[float, float]:
    """Return between which probabilities a bin is.

    >>> edges_of(97), edges_of(0)[0], edges_of(BINS - 1)[1]
    ((0.5, 0.5312093733737563), 0.0, 1.0)
    """
    edges = [0.0, *_EDGES.tolist(), 1.0]
    return edges[cell], edges[cell + 1]


def cells_of(values: Floats) -> Ints:
    """Return the cell of each finite number; cells are in the order of their numbers.

    >>> cells_of(np.array([-1.0, 0.0, 1.0, 1.03, 1.04])).tolist()
    [-32737, 0, 32736, 32736, 32737]
    """
    cells: Ints = np.abs(values).view(np.int64) >> _CELL_BITS
    return np.where(np.signbit(values) & (values != 0), -1 - cells, cells)


def middle_of(cells: Ints) -> Floats:
    """Return the middle of each cell, which is at most 1.6 % from what it holds; that of 0 is 0.

    >>> middle_of(np.array([-32737, 0, 32736])).tolist()
    [-1.015625, 0.0, 1.015625]
    """
    size = np.where(cells < 0, -1 - cells, cells)
    edges = np.stack((size, size + 1)) << _CELL_BITS
    middle = np.where(size == 0, 0.0, edges.view(np.float64).mean(axis=0))
    return np.where(cells < 0, -middle, middle)


def two_classes(
    positive: Floats, score: Floats, decided: Floats, groups: Ints, size: int, probability: bool
) -> list[Sketch]:
    """Return the sketches of ``size`` groups of outcomes with two classes.

    ``positive`` and ``decided`` are 0 or 1, ``score`` is a probability or with ``probability``
    false any number. NaN is what is missing: without a label or a usable score an outcome counts as
    unusable, without a decision it is left out of the confusion.
    """
    usable = ~(np.isnan(positive) | np.isnan(score))
    if probability:
        usable &= (score >= 0) & (score <= 1)
    unusable = np.bincount(groups[~usable], minlength=size)
    groups, positive, score = groups[usable], positive[usable], score[usable]
    sketches = _counted(groups, size, unusable)
    _confuse(sketches, positive, decided[usable], groups)
    if probability:
        brier = np.rint((score - positive) ** 2 * PROBABILITY_STEPS)
        _add_sums(sketches, "brier", brier, groups)
        given = np.where(positive == 1, score, 1 - score)
        _add_sums(sketches, "log_loss", _surprise(given), groups)
        _said(sketches, score, decided[usable], groups)
        _binned(sketches, bins_of(score), positive, score, groups)
    else:
        _binned(sketches, cells_of(score), positive, np.zeros(len(score)), groups)
    return sketches


def several_classes(
    labels: Sequence[str | None],
    decisions: Sequence[str | None],
    scores: Sequence[Any],
    groups: Ints,
    size: int,
) -> list[Sketch]:
    """Return the sketches of ``size`` groups of outcomes with several classes.

    A score maps classes to probabilities. An outcome without label, decision or score is unusable.
    """
    usable = [
        (group, label, decision, *given, *(guessed_losses(score) or (0.0, 0.0)))
        for group, label, decision, score in zip(
            groups.tolist(), labels, decisions, scores, strict=True
        )
        if (given := scored_classes(score, label, decision)) is not None
    ]
    group = np.array([row[0] for row in usable], np.int64)
    unusable = np.bincount(groups, minlength=size) - np.bincount(group, minlength=size)
    sketches = _counted(group, size, unusable)
    for row in usable:
        confusion = sketches[row[0]].setdefault("confusion", {})
        cell = f"{row[1]}{SEPARATOR}{row[2]}"
        confusion[cell] = confusion.get(cell, 0) + 1
    said, true, brier = (np.array([row[i] for row in usable], np.float64) for i in (3, 4, 5))
    right = np.array([row[1] == row[2] for row in usable], np.float64)
    _add_sums(sketches, "brier", np.rint(brier * PROBABILITY_STEPS), group)
    _add_sums(sketches, "log_loss", _surprise(true), group)
    guessed = np.array([row[6:] for row in usable], np.float64).reshape(-1, 2)
    _add_guesses(sketches, guessed, group)
    _said(sketches, said, np.ones(len(said)), group)
    _binned(sketches, bins_of(said), right, said, group)
    return sketches


def numbers(y: Floats, p: Floats, tolerance: float, groups: Ints, size: int) -> list[Sketch]:
    """Return the sketches of ``size`` groups of a regression's outcomes; NaN is unusable."""
    usable = ~(np.isnan(y) | np.isnan(p))
    unusable = np.bincount(groups[~usable], minlength=size)
    groups, y, p = groups[usable], y[usable], p[usable]
    sketches = _counted(groups, size, unusable)
    off = np.abs(y - p)
    table = np.stack((y, y * y, p, p * p, y * p, off * off, off))
    counts = np.bincount(groups, minlength=size).tolist()
    for sketch, n, sums in zip(
        sketches, counts, exact_sums(table, groups, size).tolist(), strict=True
    ):
        if n:
            sketch["sums"] = [n, *(part for pair in sums for part in pair)]
    _add_sums(sketches, "within", (off <= tolerance * np.abs(y)).astype(np.float64), groups)
    for name, cells in (("errors", cells_of(off)), ("labels", cells_of(y))):
        for group, cell, counted in _tallied(cells, groups, ()):
            sketches[group].setdefault(name, {})[str(cell)] = counted[0]
    return sketches


def predicted(
    score: Floats, decided: Floats, groups: Ints, size: int, guessed: Floats | None = None
) -> list[Sketch]:
    """Return the sketches of ``size`` groups of predictions, whose labels are not known yet.

    ``guessed`` are of several classes the losses as :func:`guessed_losses` has them, n x 2.
    """
    usable = (score >= 0) & (score <= 1)  # which NaN is not
    unusable = np.bincount(groups[~usable], minlength=size)
    groups, score = groups[usable], score[usable]
    sketches = _counted(groups, size, unusable)
    if guessed is not None:
        _add_guesses(sketches, guessed[usable], groups)
    _said(sketches, score, decided[usable], groups)
    _binned(sketches, bins_of(score), np.zeros(len(score)), score, groups)
    return sketches


def paired(mine: Floats, other: Floats, groups: Ints, size: int) -> list[Sketch]:
    """Return by group the losses of two where both are known (not NaN): n and their two sums."""
    there = ~(np.isnan(mine) | np.isnan(other))
    groups, table = groups[there], np.stack((mine[there], other[there]))
    counts = np.bincount(groups, minlength=size).tolist()
    sums = exact_sums(table, groups, size).tolist()
    return [
        {"sums": [n, *(part for pair in of for part in pair)]} if n else {}
        for n, of in zip(counts, sums, strict=True)
    ]


def _counted(groups: Ints, size: int, unusable: NDArray[Any]) -> list[Sketch]:
    counts = np.bincount(groups, minlength=size).tolist()
    return [
        {"n": n, **({"unusable": lost} if lost else {})}
        for n, lost in zip(counts, unusable.tolist(), strict=True)
    ]


def _confuse(sketches: list[Sketch], positive: Floats, decided: Floats, groups: Ints) -> None:
    known = ~np.isnan(decided)
    at = groups[known] * 4 + (positive[known] == 1) * 2 + (decided[known] == 1)
    counts = np.bincount(at, minlength=4 * len(sketches)).reshape(-1, 4).tolist()
    for sketch, confusion in zip(sketches, counts, strict=True):
        if any(confusion):
            sketch["confusion"] = confusion


def _said(sketches: list[Sketch], score: Floats, decided: Floats, groups: Ints) -> None:
    known = ~np.isnan(decided)
    at, size = groups[known] * 2 + (decided[known] == 1), 2 * len(sketches)
    n = np.bincount(at, minlength=size).reshape(-1, 2).tolist()
    sums = np.bincount(at, np.rint(score[known] * PROBABILITY_STEPS), minlength=size)
    for sketch, said, total in zip(
        sketches, n, sums.astype(np.int64).reshape(-1, 2).tolist(), strict=True
    ):
        if any(said):
            sketch["said"], sketch["said_sum"] = said, total


def _add_sums(sketches: list[Sketch], name: str, steps: Floats, groups: Ints) -> None:
    """Add the sums of whole numbers, which floats hold exactly below 2^53."""
    sums = np.bincount(groups, steps, minlength=len(sketches)).astype(np.int64).tolist()
    for sketch, total in zip(sketches, sums, strict=True):
        if sketch["n"]:
            sketch[name] = total


def _add_guesses(sketches: list[Sketch], guessed: Floats, groups: Ints) -> None:
    _add_sums(sketches, "guessed_log_loss", np.rint(guessed[:, 0] * LOSS_STEPS), groups)
    _add_sums(sketches, "guessed_brier", np.rint(guessed[:, 1] * PROBABILITY_STEPS), groups)


def _binned(
    sketches: list[Sketch], bins: Ints, positive: Floats, score: Floats, groups: Ints
) -> None:
    steps = np.rint(score * PROBABILITY_STEPS)
    for group, cell, counted in _tallied(bins, groups, (positive, steps)):
        sketches[group].setdefault("bins", {})[str(cell)] = counted


def _tallied(
    cells: Ints, groups: Ints, weights: Sequence[Floats]
) -> list[tuple[int, int, list[int]]]:
    """Return by group and cell how many there are, and the sums of the weights."""
    if not len(cells):
        return []
    low = int(cells.min())
    width = int(cells.max()) - low + 1
    keys = groups * width + (cells - low)
    if (int(groups.max()) + 1) * width <= 4 * len(keys) + 1_024:  # dense: no need to sort
        counts = np.bincount(keys)
        found = np.flatnonzero(counts)
        columns = [counts[found], *(np.bincount(keys, each)[found] for each in weights)]
    else:
        found, place = np.unique(keys, return_inverse=True)
        columns = [np.bincount(place), *(np.bincount(place, each) for each in weights)]
    table = np.stack(columns, axis=1).astype(np.int64).tolist()
    return [
        (key // width, key % width + low, row)
        for key, row in zip(found.tolist(), table, strict=True)
    ]


def _surprise(p: Floats) -> Floats:
    """Return ``-ln p`` in steps."""
    return np.rint(-np.log(np.clip(p, SMALLEST_PROBABILITY, 1.0)) * LOSS_STEPS)


def scored_classes(
    score: Any, label: str | None, decision: str | None
) -> tuple[float, float, float] | None:
    """Return what was given to the class decided for and to the true one, and the Brier score.

    None of an outcome that is unusable: without label, decision or score, or with one that is no
    map of classes to numbers, of which these two are probabilities.

    >>> scored_classes({"a": 0.75, "b": 0.25}, "a", "a"), scored_classes({"a": "x"}, "a", "a")
    ((0.75, 0.75, 0.125), None)
    """
    if label is None or decision is None or not isinstance(score, Mapping) or not score:
        return None
    try:
        said, true = float(score.get(decision, 0.0)), float(score.get(label, 0.0))
        squares = sum(float(p) ** 2 for p in score.values())
    except (TypeError, ValueError, OverflowError):
        return None
    usable = squares == squares and 0 <= said <= 1 and 0 <= true <= 1
    return (said, true, squares - 2 * true + 1) if usable else None


def guessed_losses(score: Any) -> tuple[float, float] | None:
    """Return the log loss and Brier score to be expected if a score of several classes is right.

    What is no probability in it is left out. None of what is no map of classes to numbers.

    >>> guessed_losses({"a": 0.5, "b": 0.5}), guessed_losses({"a": "x"}), guessed_losses(0.5)
    ((0.6931471805599453, 0.5), None, None)
    """
    if not isinstance(score, Mapping):
        return None
    try:
        given = [p for p in map(float, score.values()) if 0 < p <= 1]
    except (TypeError, ValueError, OverflowError):
        return None
    return -sum(p * log(p) for p in given), max(1 - sum(p * p for p in given), 0.0)


def class_labels(sketch: Mapping[str, Any]) -> dict[str, int]:
    """Return how many labels of each class a sketch of several classes has.

    >>> class_labels({"confusion": {"a" + SEPARATOR + "b": 2, "a" + SEPARATOR + "a": 1}})
    {'a': 3}
    """
    labels: dict[str, int] = {}
    for cell, n in sorted(sketch.get("confusion", {}).items()):
        name = cell.partition(SEPARATOR)[0]
        labels[name] = labels.get(name, 0) + n
    return labels
