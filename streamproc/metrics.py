"""How good predictions were: metrics on arrays of labels and scores, exact, and their baselines.

Prequential: each score was given before its label was known, so the whole stream is a test set
(Dawid 1984; Gama, Sebastião and Rodrigues 2013). Labels of two classes are 0 and 1 or bool; scores
are finite. A metric that isn't defined for the data (precision where nothing was said to be
positive) is None. Rows are in the order in which their labels came, which only the running
baselines mind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import isfinite
from typing import Any

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Report = dict[str, float | None]

SMALLEST_PROBABILITY = 1e-15
"""Probabilities are clipped to this and to 1 minus this, so that a log loss stays finite."""


def log_loss(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float | None:
    """Return the mean of ``-ln p``, p being the probability given to what came true, in nats.

    >>> round(log_loss([1, 0], [0.8, 0.4]), 4)
    0.367
    """
    positive, p = _pair(labels, scores)
    return _mean(-np.log(_clipped(np.where(positive == 1, p, 1 - p))))


def roc_auc(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float | None:
    """Return the chance that a positive scores above a negative, a tie being half a win.

    This is the Mann-Whitney statistic, computed from average ranks (Fawcett 2006; Hand and Till
    2001); None where one of the classes is missing.

    >>> roc_auc([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.4])
    0.875
    """
    positive, score = _pair(labels, scores)
    return auc_of_counts(*_by_score(positive, score))


def _by_score(positive: Floats, score: Floats) -> tuple[Floats, Floats]:
    """Return how many positives and negatives have each distinct score, smallest score first."""
    _, place = np.unique(score, return_inverse=True)
    positives = np.bincount(place, weights=positive)
    negatives = np.bincount(place, weights=1 - positive)
    return positives.astype(float), negatives.astype(float)


def auc_of_counts(positives: Floats, negatives: Floats) -> float | None:
    """Return the AUC from how many of both there are at each score, smallest first.

    >>> auc_of_counts(np.array([0.0, 1.0, 1.0]), np.array([1.0, 1.0, 0.0]))
    0.875
    """
    pairs = positives.sum() * negatives.sum()
    if not pairs:
        return None
    below = np.cumsum(negatives) - negatives
    return float((positives * (below + negatives / 2)).sum() / pairs)


def average_precision(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float | None:
    """Return the precision at each score used as a threshold, weighted by the recall it gains.

    There is no interpolation (Davis and Goadrich 2006); equal scores are one threshold. None
    where there is no positive.

    >>> round(average_precision([1, 0, 1], [0.9, 0.5, 0.4]), 4)
    0.8333
    """
    positive, score = _pair(labels, scores)
    return average_precision_of_counts(*_by_score(positive, score))


def average_precision_of_counts(positives: Floats, negatives: Floats) -> float | None:
    """Return the average precision from how many of both there are at each score, smallest first.

    >>> round(average_precision_of_counts(np.array([1.0, 0.0, 1.0]), np.array([0.0, 1.0, 0.0])), 4)
    0.8333
    """
    positives, negatives = positives[::-1], negatives[::-1]
    if not positives.sum():
        return None
    true, false = np.cumsum(positives), np.cumsum(negatives)
    return float((true / (true + false) * positives).sum() / positives.sum())


def at_threshold(labels: npt.ArrayLike, scores: npt.ArrayLike, threshold: float) -> Report:
    """Return accuracy, Cohen's kappa, precision, recall and F1; positive is ``>= threshold``.

    >>> at_threshold([1, 0, 1, 0], [0.9, 0.6, 0.4, 0.1], 0.5)["precision"]
    0.5
    """
    positive, score = _pair(labels, scores)
    said = (score >= threshold).astype(float)
    true = float((positive * said).sum())
    report: Report = {
        "accuracy": _mean((positive == said).astype(float)),
        "kappa": kappa(positive, said),
        "precision": _ratio(true, said.sum()),
        "recall": _ratio(true, positive.sum()),
        "f1": _ratio(2 * true, said.sum() + positive.sum()),
    }
    return report


def kappa(labels: npt.ArrayLike, decisions: npt.ArrayLike) -> float | None:
    """Return Cohen's kappa: the agreement beyond chance, over the most there can be (Cohen 1960).

    None where chance alone would agree always.

    >>> kappa(["a", "b", "b", "a"], ["a", "b", "a", "a"])
    0.5
    """
    true, said = np.asarray(labels), np.asarray(decisions)
    if not true.size:
        return None
    classes, place = np.unique(np.concatenate([true, said]), return_inverse=True)
    first, second = place[: true.size], place[true.size :]
    counts = [np.bincount(each, minlength=classes.size) / true.size for each in (first, second)]
    chance = float((counts[0] * counts[1]).sum())
    return _ratio(float((first == second).mean()) - chance, 1 - chance)


def mae(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float | None:
    """Return the mean absolute error, in the label's unit.

    >>> mae([1.0, 3.0], [2.0, 3.0])
    0.5
    """
    label, score = _pair(labels, scores)
    return _mean(np.abs(label - score))


def rmse(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float | None:
    """Return the root of the mean squared error, in the label's unit.

    >>> rmse([1.0, 3.0], [2.0, 2.0])
    1.0
    """
    label, score = _pair(labels, scores)
    mean = _mean((label - score) ** 2)
    return None if mean is None else mean**0.5


def r2(labels: npt.ArrayLike, scores: npt.ArrayLike) -> float | None:
    """Return 1 minus the squared error over that of the labels' mean; None if they don't vary.

    >>> r2([1.0, 3.0], [1.0, 3.0])
    1.0
    """
    label, score = _pair(labels, scores)
    if label.size < 2:
        return None
    rest = _ratio(float(((label - score) ** 2).sum()), float(((label - label.mean()) ** 2).sum()))
    return None if rest is None else 1 - rest


def prequential_report(
    kind: str,
    labels: Sequence[Any],
    scores: Sequence[Any],
    threshold: float = 0.5,
    classes: Sequence[Any] | None = None,
) -> Report:
    """Return every metric of a kind of model, by name, and the baselines it has to beat.

    ``kind`` is ``binary``, ``multiclass``, ``regression`` or ``anomaly``; ``classes`` are those of
    the labels, the positive one of two last, 0 and 1 where None. The scores of a multiclass model
    map ``str(class)`` to a probability. Baselines begin with ``baseline_``: the log loss of the
    share of each class so far, the AUC and average precision of scores without skill, the accuracy
    of always saying the most frequent class (known in hindsight), the errors of the mean so far.

    >>> report = prequential_report("binary", [0, 1, 0, 1], [0.2, 0.9, 0.4, 0.3])
    >>> report["roc_auc"], report["baseline_roc_auc"], report["accuracy"]
    (0.75, 0.5, 0.75)
    """
    with np.errstate(over="ignore", invalid="ignore"):
        if kind == "regression":
            report = _regression(labels, scores)
        elif kind == "multiclass":
            report = _multiclass(labels, scores, classes)
        else:
            report = _two_classes(kind, labels, scores, threshold, classes)
    finite = {
        name: value for name, value in report.items() if value is not None and isfinite(value)
    }
    return {name: finite.get(name) for name in report}


def _two_classes(
    kind: str,
    labels: Sequence[Any],
    scores: Sequence[Any],
    threshold: float,
    classes: Sequence[Any] | None,
) -> Report:
    last = (classes or (0, 1))[-1]
    positive = np.array([label == last for label in labels], dtype=float)
    score = np.array(scores, dtype=float)
    share = _mean(positive)
    report: Report = {}
    if kind == "binary":
        report["log_loss"] = log_loss(positive, score)
        report["baseline_log_loss"] = _mean(_running_surprise(positive, 2))
    report["roc_auc"] = roc_auc(positive, score)
    report["baseline_roc_auc"] = None if share in (None, 0.0, 1.0) else 0.5
    report["average_precision"] = average_precision(positive, score)
    report["baseline_average_precision"] = share or None
    report |= at_threshold(positive, score, threshold)
    report["baseline_accuracy"] = None if share is None else max(share, 1 - share)
    return report


def _regression(labels: Sequence[Any], scores: Sequence[Any]) -> Report:
    label = np.array(labels, dtype=float)
    mean_before = np.cumsum(label)[:-1] / np.arange(1, max(label.size, 1))
    return {
        "mae": mae(labels, scores),
        "baseline_mae": mae(label[1:], mean_before),
        "rmse": rmse(labels, scores),
        "baseline_rmse": rmse(label[1:], mean_before),
        "r2": r2(labels, scores),
        "baseline_r2": r2(label[1:], mean_before),
    }


def _multiclass(
    labels: Sequence[Any], scores: Sequence[Mapping[str, float]], classes: Sequence[Any] | None
) -> Report:
    named = [str(each) for each in labels]
    names = [str(each) for each in classes or ()] or sorted(
        {*named, *(n for s in scores for n in s)}
    )
    number = {name: i for i, name in enumerate(names)}
    true = np.array([number[name] for name in named], dtype=int)
    table = np.array([[score.get(name, 0.0) for name in names] for score in scores], dtype=float)
    table = table.reshape(len(scores), len(names))
    said = table.argmax(axis=1) if names else true
    shares = np.bincount(true, minlength=len(names)) / max(true.size, 1)
    parts = [at_threshold(true == i, said == i, 0.5) for i in range(len(names))]
    given = table[np.arange(true.size), true] if true.size else np.zeros(0)
    return {
        "log_loss": _mean(-np.log(_clipped(given))),
        "baseline_log_loss": _mean(_running_surprise(true, len(names))),
        "roc_auc": _mean_of([roc_auc(true == i, table[:, i]) for i in range(len(names))]),
        "baseline_roc_auc": 0.5 if np.count_nonzero(shares) > 1 else None,
        "average_precision": _mean_of(
            [average_precision(true == i, table[:, i]) for i in range(len(names))]
        ),
        "baseline_average_precision": _mean_of([share or None for share in shares.tolist()]),
        "accuracy": _mean((true == said).astype(float)),
        "kappa": kappa(true, said),
        **{
            name: _mean_of([part[name] for part in parts]) for name in ("precision", "recall", "f1")
        },
        "baseline_accuracy": float(shares.max()) if true.size else None,
    }


def _running_surprise(labels: npt.NDArray[Any], classes: int) -> Floats:
    """Return ``-ln p`` of each label, p being its share so far with one more of every class."""
    seen = np.zeros(labels.size)
    for each in np.unique(labels):
        here = labels == each
        seen[here] = np.arange(np.count_nonzero(here))
    surprise: Floats = -np.log((seen + 1) / (np.arange(labels.size) + classes))
    return surprise


class RunningAUC:
    """The ROC AUC of all so far in bounded memory: scores fall into bins of equal width in logit.

    Scores are probabilities. Two of one bin count as a tie, so that the AUC is at most ``error``
    from the exact one; that is half the share of the pairs of a positive and a negative that
    share a bin, and mostly below 0.001 with the default bins, 0.015 wide.

    >>> auc = RunningAUC()
    >>> auc.update([0, 1, 1, 0], [0.1, 0.9, 0.4, 0.3])
    >>> auc.value, auc.error
    (1.0, 0.0)
    """

    LARGEST_LOGIT = 30.0

    def __init__(self, bins: int = 4096) -> None:
        self._positives = np.zeros(bins)
        self._negatives = np.zeros(bins)

    def update(self, labels: npt.ArrayLike, scores: npt.ArrayLike) -> None:
        """Take in labels (0, 1 or bool) and the probabilities they were given."""
        positive, p = _pair(labels, scores)
        logit = np.log(np.maximum(p, 1e-300)) - np.log(np.maximum(1 - p, 1e-300))
        bins = self._positives.size
        place = (logit / self.LARGEST_LOGIT + 1) / 2 * bins
        place = np.clip(place, 0, bins - 1).astype(int)
        self._positives += np.bincount(place, weights=positive, minlength=bins)
        self._negatives += np.bincount(place, weights=1 - positive, minlength=bins)

    @property
    def value(self) -> float | None:
        """The AUC; None until both classes were seen."""
        return auc_of_counts(self._positives, self._negatives)

    @property
    def error(self) -> float | None:
        """How far the value is from the exact one at most; None until both classes were seen."""
        pairs = self._positives.sum() * self._negatives.sum()
        return _ratio(float((self._positives * self._negatives).sum()) / 2, pairs)


def _pair(labels: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Floats, Floats]:
    first, second = np.asarray(labels, dtype=float), np.asarray(scores, dtype=float)
    if first.shape != second.shape or first.ndim != 1:
        raise ValueError(f"labels and scores differ in shape: {first.shape} and {second.shape}")
    return first, second


def _clipped(p: Floats) -> Floats:
    return np.clip(p, SMALLEST_PROBABILITY, 1 - SMALLEST_PROBABILITY)


def _mean(values: Floats) -> float | None:
    return float(values.mean()) if values.size else None


def _mean_of(values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _ratio(part: float, whole: float) -> float | None:
    return float(part / whole) if whole else None
