"""How scores of several classes rank: each against the rest, by counts of bins of its score.

The ROC AUC of several classes is here the mean of each one's against all others, all weighing the
same. (Hand and Till 2001 average over pairs of classes instead, which doesn't heed how frequent the
others are; it takes a table for each pair, and so grows with the square of the number of classes.)
What a score doesn't name has a probability of 0.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

import numpy as np

from streamproc.metrics import Report, auc_of_counts
from streamproc.monitors.scores import Sketch, bins_of, class_labels, scored_classes
from streamproc.monitors.sums import Ints

MOST_RANKED = 20
"""Of more classes there is no AUC: each takes a histogram."""

RANKS = "ranks"
"""By class, and by bin of its score: how many outcomes, and how many were of it."""

UNRANKED = "unranked"
"""How many outcomes have no ranks: while there are some, there is no AUC."""


def add_ranks(
    sketches: Sequence[Sketch],
    labels: Sequence[str | None],
    decisions: Sequence[str | None],
    scores: Sequence[Any],
    groups: Ints,
) -> None:
    """Add the ranks of outcomes to the sketches of their groups.

    Scores that `several_classes` finds unusable are left out; those of more classes than
    `MOST_RANKED` are counted as unranked.

    >>> sketch = {"n": 2}
    >>> score = {"a": 0.5, "b": 0.5}
    >>> add_ranks([sketch], ["a", "b"], ["a", "a"], [score, score], np.zeros(2, np.int64))
    >>> sketch["ranks"]
    {'a': {'97': [2, 1]}, 'b': {'97': [2, 1]}}
    """
    cells: list[tuple[int, str, bool]] = []
    given: list[float] = []
    for group, label, decision, score in zip(
        groups.tolist(), labels, decisions, scores, strict=True
    ):
        if scored_classes(score, label, decision) is None:
            continue
        if len(score) > MOST_RANKED:
            sketches[group][UNRANKED] = sketches[group].get(UNRANKED, 0) + 1
            continue
        cells += [(group, name, name == label) for name in score]
        given += [float(p) for p in score.values()]
    bins = bins_of(np.clip(np.array(given, np.float64), 0.0, 1.0)).tolist()
    for (group, name, is_it), cell in zip(cells, bins, strict=True):
        of_class = sketches[group].setdefault(RANKS, {}).setdefault(name, {})
        row = of_class.setdefault(str(cell), [0, 0])
        row[0] += 1
        row[1] += is_it


def bounded(sketch: Mapping[str, Any], known: Collection[str]) -> Sketch:
    """Return a sketch without ranks where there are too many classes with those a window has.

    >>> bounded({"n": 3, "ranks": {f"{n}": {} for n in range(30)}}, ())
    {'n': 3, 'unranked': 3}
    """
    if len({*known, *sketch.get(RANKS, ())}) <= MOST_RANKED:
        return dict(sketch)
    without = {name: of for name, of in sketch.items() if name != RANKS}
    return {**without, UNRANKED: sketch["n"]}


def auc_of_classes(sketch: Mapping[str, Any]) -> Report:
    """Return the ROC AUC, one against the rest, and how far it can be off by the ties of bins.

    >>> auc_of_classes({"confusion": {"a\\x1fa": 1, "b\\x1fa": 1}, "ranks": {
    ...     "a": {"97": [1, 0], "120": [1, 1]}, "b": {"97": [1, 1], "70": [1, 0]}}})
    {'roc_auc': 1.0, 'roc_auc_error': 0.0}
    """
    true = class_labels(sketch)
    report: Report = {"roc_auc": None, "roc_auc_error": None}
    if UNRANKED in sketch or RANKS not in sketch or len(true) > MOST_RANKED:
        return report
    found, size = [], sum(true.values())
    for name in sorted(true):
        rows = sorted((int(cell), row) for cell, row in sketch[RANKS].get(name, {}).items())
        table = np.array([row for _, row in rows], np.float64).reshape(-1, 2).T
        n, yes = (np.concatenate((np.zeros(1), each)) for each in table)
        n[0], yes[0] = size - n.sum(), true[name] - yes.sum()
        auc = auc_of_counts(yes, n - yes)
        if auc is not None:
            tied = float((yes * (n - yes)).sum()) / 2
            found.append((auc, tied / float(yes.sum() * (n - yes).sum())))
    if found:
        aucs, errors = zip(*found, strict=True)
        report = {"roc_auc": sum(aucs) / len(aucs), "roc_auc_error": sum(errors) / len(errors)}
    return report
