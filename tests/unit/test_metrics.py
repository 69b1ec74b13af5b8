"""Metrics against their definitions, taken literally, and against River's."""

from __future__ import annotations

import math
import random
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from river import metrics as rivers

from streamproc import metrics

labels_and_scores = st.lists(
    st.tuples(st.integers(0, 1), st.sampled_from([0.0, 0.1, 0.25, 0.5, 0.5, 0.75, 1.0])),
    max_size=30,
)
numbers = st.lists(st.tuples(st.integers(-5, 5), st.integers(-5, 5)), max_size=20)


def _auc_by_pairs(rows: list[tuple[int, float]]) -> float | None:
    """Compare every positive with every negative."""
    pairs = [(p, n) for one, p in rows for zero, n in rows if one and not zero]
    return sum((p > n) + (p == n) / 2 for p, n in pairs) / len(pairs) if pairs else None


def _average_precision_by_threshold(rows: list[tuple[int, float]]) -> float | None:
    """Take every score as a threshold, from the highest down."""
    positives = sum(label for label, _ in rows)
    if not positives:
        return None
    total = recall_before = 0.0
    for threshold in sorted({score for _, score in rows}, reverse=True):
        said = [label for label, score in rows if score >= threshold]
        recall = sum(said) / positives
        total += (recall - recall_before) * sum(said) / len(said)
        recall_before = recall
    return total


def _columns(rows: list[tuple[Any, Any]]) -> tuple[list[Any], list[Any]]:
    return [first for first, _ in rows], [second for _, second in rows]


def _same(expected: float | None, actual: float | None) -> bool:
    if expected is None or actual is None:
        return expected is actual
    return math.isclose(expected, actual, rel_tol=1e-12, abs_tol=1e-12)


@settings(deadline=None)  # a busy machine is no failure
@given(labels_and_scores)
def test_auc_counts_every_pair(rows: list[tuple[int, float]]) -> None:
    """The AUC equals brute force over all pairs, ties and missing classes included."""
    assert _same(_auc_by_pairs(rows), metrics.roc_auc(*_columns(rows)))


@settings(deadline=None)
@given(labels_and_scores)
def test_average_precision_walks_every_threshold(rows: list[tuple[int, float]]) -> None:
    """The average precision equals its definition, taken threshold by threshold."""
    expected = _average_precision_by_threshold(rows)
    assert _same(expected, metrics.average_precision(*_columns(rows)))


@settings(deadline=None)
@given(labels_and_scores, st.sampled_from([0.0, 0.3, 0.5, 0.75, 2.0]))
def test_decisions_are_counted_as_the_table_says(
    rows: list[tuple[int, float]], threshold: float
) -> None:
    """Accuracy, kappa, precision, recall and F1 equal the formulas on the four counts."""
    counts = {(t, s): 0 for t in (0, 1) for s in (0, 1)}
    for label, score in rows:
        counts[label, int(score >= threshold)] += 1
    tp, fp, fn, tn = counts[1, 1], counts[0, 1], counts[1, 0], counts[0, 0]
    n = len(rows)

    def over(part: float, whole: float) -> float | None:
        return part / whole if whole else None

    chance = ((tp + fp) * (tp + fn) + (fn + tn) * (fp + tn)) / n**2 if n else 1.0
    expected = {
        "accuracy": over(tp + tn, n),
        "kappa": None if chance == 1 else ((tp + tn) / n - chance) / (1 - chance),
        "precision": over(tp, tp + fp),
        "recall": over(tp, tp + fn),
        "f1": over(2 * tp, 2 * tp + fp + fn),
    }
    actual = metrics.at_threshold(*_columns(rows), threshold)
    assert all(_same(expected[name], actual[name]) for name in expected)


@settings(deadline=None)
@given(numbers)
def test_errors_of_a_regression_are_their_definitions(rows: list[tuple[int, int]]) -> None:
    """MAE, RMSE and R² equal the textbook, row by row."""
    n = len(rows)
    squares = sum((label - score) ** 2 for label, score in rows)
    mean = sum(label for label, _ in rows) / n if n else 0.0
    spread = sum((label - mean) ** 2 for label, _ in rows)
    columns = _columns(rows)
    assert _same(sum(abs(a - b) for a, b in rows) / n if n else None, metrics.mae(*columns))
    assert _same((squares / n) ** 0.5 if n else None, metrics.rmse(*columns))
    defined = len({label for label, _ in rows}) > 1
    assert _same(1 - squares / spread if defined else None, metrics.r2(*columns))


def _stream(n: int = 500) -> tuple[list[int], list[float]]:
    draw = random.Random(5)
    labels = [int(draw.random() < 0.3) for _ in range(n)]
    return labels, [min(max(0.3 * y + 0.2 + draw.gauss(0, 0.2), 0.0), 1.0) for y in labels]


@pytest.mark.parametrize(
    ("river", "name"),
    [
        (rivers.LogLoss, "log_loss"),
        (rivers.Accuracy, "accuracy"),
        (rivers.CohenKappa, "kappa"),
        (rivers.Precision, "precision"),
        (rivers.Recall, "recall"),
        (rivers.F1, "f1"),
    ],
)
def test_the_report_agrees_with_rivers_metrics(river: Callable[[], Any], name: str) -> None:
    """A metric of River's, fed one by one, comes to the same."""
    labels, scores = _stream()
    metric = river()
    for label, score in zip(labels, scores, strict=True):
        metric.update(bool(label), score if name == "log_loss" else score >= 0.5)
    report = metrics.prequential_report("binary", labels, scores)
    assert metric.get() == pytest.approx(report[name], rel=1e-9)


def test_the_baselines_are_what_they_say() -> None:
    """No skill is worth 0.5 and the prevalence; the log loss of the shares so far, row by row."""
    labels, scores = _stream()
    report = metrics.prequential_report("binary", labels, scores)
    share = sum(labels) / len(labels)
    losses, seen = [], [0, 0]
    for label in labels:
        losses.append(-math.log((seen[label] + 1) / (sum(seen) + 2)))
        seen[label] += 1
    assert report["baseline_roc_auc"] == 0.5
    assert report["baseline_average_precision"] == share
    assert report["baseline_accuracy"] == 1 - share
    assert report["baseline_log_loss"] == pytest.approx(sum(losses) / len(losses), rel=1e-12)


def test_the_baseline_of_a_regression_is_the_mean_so_far() -> None:
    """Each row but the first is predicted by the mean of those before it."""
    labels = [3.0, 5.0, 1.0, 7.0]
    report = metrics.prequential_report("regression", labels, [3.0, 4.0, 2.0, 7.0])
    assert report["baseline_mae"] == pytest.approx((2 + 3 + 4) / 3)
    assert report["baseline_rmse"] == pytest.approx(((4 + 9 + 16) / 3) ** 0.5)
    assert (report["mae"], report["rmse"]) == (0.5, 0.5**0.5)


def test_classes_of_text_are_told_apart() -> None:
    """The last of two classes is the positive one."""
    scores = [0.9, 0.2, 0.6]
    named = metrics.prequential_report("binary", ["y", "n", "y"], scores, classes=("n", "y"))
    assert metrics.prequential_report("binary", [1, 0, 1], scores) == named


def test_an_anomaly_detector_has_no_log_loss() -> None:
    """Its scores are no probabilities; how it ranks and decides is measured all the same."""
    report = metrics.prequential_report("anomaly", [0, 1], [3.0, 8.0], threshold=5.0)
    assert "log_loss" not in report
    assert (report["roc_auc"], report["f1"]) == (1.0, 1.0)


def test_a_multiclass_report_averages_over_classes() -> None:
    """Probabilities, decisions and what is averaged, each by hand on four rows."""
    classes = (1, 2, 3)
    scores = [
        {"1": 0.7, "2": 0.2, "3": 0.1},
        {"1": 0.1, "2": 0.6, "3": 0.3},
        {"1": 0.5, "2": 0.3, "3": 0.2},
        {"1": 0.2, "2": 0.2, "3": 0.6},
    ]
    report = metrics.prequential_report("multiclass", [1, 2, 2, 3], scores, classes=classes)
    p = [0.7, 0.6, 0.3, 0.6]
    assert report["log_loss"] == pytest.approx(-sum(map(math.log, p)) / 4)
    assert report["accuracy"] == 0.75
    assert report["precision"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert report["recall"] == pytest.approx((1 + 0.5 + 1) / 3)
    assert report["f1"] == pytest.approx((2 / 3 + 2 / 3 + 1) / 3)
    assert report["roc_auc"] == pytest.approx((1 + 1 + 1) / 3)
    assert report["baseline_accuracy"] == 0.5
    losses = [1 / 3, 1 / 4, 2 / 5, 1 / 6]
    assert report["baseline_log_loss"] == pytest.approx(-sum(map(math.log, losses)) / 4)
    made: Any = rivers.CohenKappa
    river = made()
    for label, said in zip([1, 2, 2, 3], [1, 2, 1, 3], strict=True):
        river.update(label, said)
    assert report["kappa"] == pytest.approx(river.get())


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "anomaly"])
@pytest.mark.parametrize("rows", [0, 1])
def test_few_rows_give_numbers_or_none(kind: str, rows: int) -> None:
    """No warning, no NaN: what isn't defined yet is None."""
    score: Any = {"0": 0.6, "1": 0.4} if kind == "multiclass" else 0.6
    report = metrics.prequential_report(kind, [0] * rows, [score] * rows, 0.5)
    known = [value for value in report.values() if value is not None]
    assert all(type(value) is float and math.isfinite(value) for value in known)
    assert rows or not known


def test_numbers_too_large_to_square_are_told_as_none() -> None:
    """A report goes into JSON, which has no infinity."""
    report = metrics.prequential_report("regression", [1e300, -1e300], [0.0, 1.0])
    assert report["rmse"] is None
    assert report["mae"] == 1e300


def test_a_sure_and_wrong_model_has_a_finite_log_loss() -> None:
    """Probabilities are clipped at 1e-15."""
    assert metrics.log_loss([1], [0.0]) == pytest.approx(-math.log(1e-15))
    assert metrics.log_loss([0], [1.0]) == pytest.approx(-math.log(1e-15), rel=1e-3)


def test_columns_that_differ_in_length_are_refused() -> None:
    """A mistake of the caller's is an error, not a number."""
    with pytest.raises(ValueError, match=r"differ in shape: \(2,\) and \(1,\)"):
        metrics.roc_auc([0, 1], [0.5])


@settings(deadline=None)
@given(labels_and_scores)
def test_the_running_auc_is_as_near_as_it_says(rows: list[tuple[int, float]]) -> None:
    """With few bins, and whatever the order and the batches, the error it states holds."""
    running = metrics.RunningAUC(bins=8)
    for start in range(0, len(rows), 7):
        running.update(*_columns(rows[start : start + 7]))
    expected = _auc_by_pairs(rows)
    if expected is None:
        assert (running.value, running.error) == (None, None)
    else:
        assert running.value is not None
        assert running.error is not None
        assert abs(running.value - expected) <= running.error + 1e-12


def test_the_running_auc_is_near_on_rare_positives() -> None:
    """Fraud scores crowd near 0, where bins of equal width in probability would tie them all."""
    draw = np.random.default_rng(1)
    labels = draw.random(50_000) < 0.008
    scores = 1 / (1 + np.exp(5.5 - labels - draw.normal(size=labels.size)))
    running = metrics.RunningAUC()
    running.update(labels, scores)
    exact = metrics.roc_auc(labels, scores)
    assert exact is not None
    assert running.value == pytest.approx(exact, abs=1e-4)
    assert running.error is not None
    assert running.error < 0.003
