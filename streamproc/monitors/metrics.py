"""Metrics from sketches: pure functions of `streamproc.monitors.scores`.

A metric that isn't defined for what was seen (precision where nothing was said to be positive, an
AUC where all labels are of one class) is None. Scores are known to within a bin, so that two of one
bin count as a tie: the AUC is at most ``roc_auc_error`` from the exact one, half the share of the
pairs of a positive and a negative that share a bin. All else of two and of more classes is exact;
of a regression all but ``mdae`` and what zero-rule says is.
"""

from __future__ import annotations

from collections.abc import Mapping
from fractions import Fraction
from math import isfinite
from typing import Any

import numpy as np

from streamproc.metrics import Report, auc_of_counts, average_precision_of_counts
from streamproc.monitors.classes import auc_of_classes
from streamproc.monitors.reliability import calibration
from streamproc.monitors.scores import LOSS_STEPS, PROBABILITY_STEPS, SEPARATOR, middle_of
from streamproc.monitors.sums import Floats, Row

_NO_SKETCH: dict[str, Any] = {}


def metrics_of(
    kind: str, sketch: Mapping[str, Any], beta: float = 1.0, ranking: str | None = None
) -> Report:
    """Return the metrics of a kind of model: binary, multiclass, regression or anomaly.

    ``beta`` weighs recall against precision; ``ranking`` is the name of the metric of rankings.

    >>> metrics_of("binary", {"n": 3, "confusion": [1, 1, 0, 1]})["precision"]
    0.5
    """
    if kind == "regression":
        report = of_numbers(sketch)
    elif kind == "multiclass":
        report = of_classes(sketch, beta)
    else:
        report = of_two_classes(sketch, beta, kind == "binary")
    if ranking is not None:
        groups, total = sketch.get("ranking", (0, 0))
        report[ranking] = _ratio(total / PROBABILITY_STEPS, groups)
    return finite(report)


def finite(report: Report) -> Report:
    """Return a report in which what is no finite number is None."""
    return {
        name: value if value is not None and isfinite(value) else None
        for name, value in report.items()
    }


def guess_of(kind: str, sketch: Mapping[str, Any], beta: float = 1.0) -> Report:
    """Return the metrics that are to be expected if the scores are right: no label is needed.

    It is assumed that the scores are calibrated and that what they mean has not changed: of those
    with a score of 0.3, three in ten are yes (confidence-based estimation; Guillory et al. 2021,
    "Predicting with confidence on unseen distributions"). So it sees covariate drift and does not
    see concept drift. Ratios are those of the expected counts. Empty where a score is no
    probability.

    >>> guess_of("binary", {"n": 4, "said": [2, 2], "said_sum": [0, 3 << 29]})["precision"]
    0.75
    """
    if kind not in ("binary", "multiclass") or "said_sum" not in sketch:
        return {}
    no, yes = (total / PROBABILITY_STEPS for total in sketch["said_sum"])
    said_no, said_yes = sketch["said"]
    if kind == "multiclass":
        return {
            "accuracy": _ratio(yes, said_yes),
            "log_loss": mean_loss(sketch, "guessed_log_loss", LOSS_STEPS),
            "brier": mean_loss(sketch, "guessed_brier", PROBABILITY_STEPS),
        }
    report = of_confusion([said_no - no, said_yes - yes, no, yes], beta)
    n, _, total = _table(sketch)
    p = np.clip(total / n, 1e-15, 1 - 1e-15)
    report["roc_auc"] = auc_of_counts(total, n - total)
    report["average_precision"] = average_precision_of_counts(total, n - total)
    surprise = -p * np.log(p) - (1 - p) * np.log1p(-p)
    report["log_loss"] = _ratio(float((n * surprise).sum()), float(n.sum()))
    report["brier"] = _ratio(float((n * p * (1 - p)).sum()), float(n.sum()))
    return finite(report)


def of_two_classes(sketch: Mapping[str, Any], beta: float, probability: bool) -> Report:
    """Return what is said of two classes; of scores that are no probability, how they rank."""
    report = of_confusion(sketch.get("confusion", (0, 0, 0, 0)), beta)
    n, yes, total = _table(sketch)
    report["roc_auc"] = auc_of_counts(yes, n - yes)
    report["roc_auc_error"] = _ratio(float((yes * (n - yes)).sum()) / 2, _pairs(n, yes))
    report["average_precision"] = average_precision_of_counts(yes, n - yes)
    if probability:
        report["log_loss"] = mean_loss(sketch, "log_loss", LOSS_STEPS)
        report["brier"] = mean_loss(sketch, "brier", PROBABILITY_STEPS)
        report |= calibration(n, yes, total)
    return report


def of_confusion(confusion: Any, beta: float) -> Report:
    """Return the metrics of ``[true no, false yes, false no, true yes]``.

    F-beta is as van Rijsbergen's (1979), where recall counts ``beta`` times as much; kappa is
    Cohen's (1960).

    >>> of_confusion([50, 10, 5, 35], 1.0)["accuracy"]
    0.85
    """
    right_no, false_yes, false_no, right_yes = confusion
    n = right_no + false_yes + false_no + right_yes
    said, is_ = false_yes + right_yes, false_no + right_yes
    weight = beta * beta
    chance = _ratio(said * is_ + (n - said) * (n - is_), n * n)
    accuracy = _ratio(right_no + right_yes, n)
    return {
        "accuracy": accuracy,
        "precision": _ratio(right_yes, said),
        "recall": _ratio(right_yes, is_),
        "specificity": _ratio(right_no, n - is_),
        "f_beta": _ratio((1 + weight) * right_yes, weight * is_ + said),
        "kappa": _kappa(accuracy, chance),
    }


def of_classes(sketch: Mapping[str, Any], beta: float) -> Report:
    """Return what is said of several classes; that of each one is averaged, all weighing the same.

    ``roc_auc`` is of each class against the rest (`streamproc.monitors.classes`).
    ``accuracy/CLASS`` is the share of a class's outcomes that were decided for rightly; the
    calibration is that of the class decided for.
    """
    pairs = {
        tuple(cell.split(SEPARATOR)): n for cell, n in sorted(sketch.get("confusion", {}).items())
    }
    names = sorted({name for pair in pairs for name in pair})
    said, true = dict.fromkeys(names, 0), dict.fromkeys(names, 0)
    for (label, decision), n in pairs.items():
        true[label] += n
        said[decision] += n
    size = sum(true.values())
    right = {name: pairs.get((name, name), 0) for name in names}
    accuracy = _ratio(sum(right.values()), size)
    chance = _ratio(sum(said[name] * true[name] for name in names), size * size)
    weight = beta * beta
    recall = {name: _ratio(right[name], true[name]) for name in names}
    n, yes, total = _table(sketch)
    return {
        "accuracy": accuracy,
        "kappa": _kappa(accuracy, chance),
        "precision": _mean(_ratio(right[name], said[name]) for name in names),
        "recall": _mean(recall.values()),
        "f_beta": _mean(
            _ratio((1 + weight) * right[name], weight * true[name] + said[name]) for name in names
        ),
        **auc_of_classes(sketch),
        "log_loss": mean_loss(sketch, "log_loss", LOSS_STEPS),
        "brier": mean_loss(sketch, "brier", PROBABILITY_STEPS),
        **calibration(n, yes, total),
        **{f"accuracy/{name}": share for name, share in recall.items() if true[name]},
    }


def of_numbers(sketch: Mapping[str, Any]) -> Report:
    """Return what is said of a regression.

    ``acper`` is the share of predictions within the tolerance, a part of the true value (the
    almost correct predictions error rate of Burkov 2020); ``mdae`` is known to within 1.6 %.
    """
    row: Row = sketch.get("sums", [0] + [0.0] * 14)
    y, yy, p, _, _, squares, off = _values(row)
    n = int(row[0])
    spread = yy - y * y / n if n else Fraction(0)
    return {
        "mse": _share(squares, n),
        "mae": _share(off, n),
        "mdae": median_of(sketch.get("errors", _NO_SKETCH)),
        "acper": _ratio(sketch.get("within", 0), n),
        "r2": float(1 - squares / spread) if spread > 0 else None,
        "bias": _share(y - p, n),
        "calibration_slope": _slope(row),
    }


def median_of(histogram: Mapping[str, int]) -> float | None:
    """Return the median of what is in the cells: the middle of the cell that it is in.

    >>> median_of({str(cell): 1 for cell in (32736, 32737, 40000)})
    1.046875
    """
    cells = sorted((int(cell), n) for cell, n in histogram.items())
    half, seen = sum(n for _, n in cells) / 2, 0
    for cell, n in cells:
        seen += n
        if seen >= half:
            return float(middle_of(np.array([cell]))[0])
    return None


def mean_loss(sketch: Mapping[str, Any], name: str, steps: float) -> float | None:
    """Return a mean loss from its sum in steps."""
    return _ratio(sketch.get(name, 0) / steps, sketch.get("n", 0))


def _slope(row: Row) -> float | None:
    """Return the slope of the least-squares line of what came true on what was predicted."""
    y, _, p, pp, yp, _, _ = _values(row)
    n = int(row[0])
    spread = n * pp - p * p
    return float((n * yp - y * p) / spread) if spread > 0 else None


def _values(row: Row) -> list[Fraction]:
    return [Fraction(a) + Fraction(b) for a, b in zip(row[1::2], row[2::2], strict=True)]


def _table(sketch: Mapping[str, Any]) -> tuple[Floats, Floats, Floats]:
    """Return by bin, from the lowest score, n, how many were yes, and the sum of scores."""
    rows = sorted((int(name), row) for name, row in sketch.get("bins", _NO_SKETCH).items())
    table = np.array([row for _, row in rows], np.float64).reshape(-1, 3).T
    return table[0], table[1], table[2] / PROBABILITY_STEPS


def _pairs(n: Floats, yes: Floats) -> float:
    return float(yes.sum() * (n - yes).sum())


def _kappa(accuracy: float | None, chance: float | None) -> float | None:
    if accuracy is None or chance is None or chance == 1:
        return None
    return (accuracy - chance) / (1 - chance)


def _mean(values: Any) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _share(total: Fraction, n: int) -> float | None:
    return float(total / n) if n else None


def _ratio(part: float, whole: float) -> float | None:
    return part / whole if whole else None
