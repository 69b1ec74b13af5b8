"""Sketches of outcomes: the metrics made of them against those made of the outcomes themselves."""

from __future__ import annotations

import random
from math import isclose, isnan, log
from statistics import median
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc import metrics as exact
from streamproc.monitors.metrics import guess_of, metrics_of
from streamproc.monitors.rankings import MOST_GROUPS, groups_of, merge_groups, ranking_of
from streamproc.monitors.reliability import ECE_GROUPS, wilson
from streamproc.monitors.scores import (
    bins_of,
    cells_of,
    guessed_losses,
    merge,
    middle_of,
    numbers,
    predicted,
    several_classes,
    two_classes,
)

PROBABILITIES = st.one_of(
    st.sampled_from([0.0, 1.0, 0.5, 1e-300, 1 - 1e-16]),
    st.floats(0.0, 1.0),
)
OUTCOMES = st.lists(st.tuples(st.booleans(), PROBABILITIES, st.booleans()), min_size=1, max_size=60)
NUMBERS = st.floats(-1e6, 1e6, allow_nan=False).filter(lambda x: x == 0 or abs(x) > 1e-6)
PAIRS = st.lists(st.tuples(NUMBERS, NUMBERS), min_size=2, max_size=60)


def sketch(outcomes: list[tuple[Any, Any, Any]], probability: bool = True) -> dict[str, Any]:
    """Return the sketch of (label, score, decision)."""
    y, p, d = (np.array(column, np.float64) for column in zip(*outcomes, strict=True))
    return two_classes(y, p, d, np.zeros(len(y), np.int64), 1, probability)[0]


def told_of(kind: str, of: dict[str, Any], **how: Any) -> dict[str, Any]:
    """Return the metrics of a sketch."""
    return dict(metrics_of(kind, of, **how))


def guessed_of(kind: str, of: dict[str, Any]) -> dict[str, Any]:
    """Return what is guessed from a sketch."""
    return dict(guess_of(kind, of))


def of_pairs(pairs: list[tuple[float, float]], tolerance: float = 0.1) -> dict[str, Any]:
    """Return the sketch of a regression's (label, score)."""
    y, p = (np.array(column, np.float64) for column in zip(*pairs, strict=True))
    return numbers(y, p, tolerance, np.zeros(len(y), np.int64), 1)[0]


def close(a: float | None, b: float | None, within: float = 1e-9) -> bool:
    """Whether two are as good as the same, or both nothing."""
    if a is None or b is None:
        return a is b
    return isclose(a, b, rel_tol=within, abs_tol=within)


@settings(deadline=None, max_examples=150)
@given(OUTCOMES)
def test_two_classes_are_told_as_from_the_outcomes(
    outcomes: list[tuple[bool, float, bool]],
) -> None:
    """All but what bins blur is exact, and an AUC is within the error it comes with."""
    told = told_of("binary", sketch(outcomes), beta=2.0)
    y, p, said = ([row[i] for row in outcomes] for i in range(3))
    table = exact.at_threshold(y, [float(each) for each in said], 0.5)
    for name in ("accuracy", "precision", "recall"):
        assert close(told[name], table[name]), name
    assert close(told["kappa"], table["kappa"]) or exact.kappa(y, said) is None
    true, both = sum(a and b for a, b in zip(y, said, strict=True)), 4 * sum(y) + sum(said)
    assert close(told["f_beta"], 5 * true / both if both else None)
    assert close(told["brier"], sum((b - a) ** 2 for a, b in zip(y, p, strict=True)) / len(y), 1e-8)
    assert close(told["log_loss"], exact.log_loss(y, p), 1e-6)
    auc: Any = exact.roc_auc(y, p)
    error = told["roc_auc_error"]
    assert close(told["roc_auc"], auc) or abs(told["roc_auc"] - auc) <= error + 1e-12


@settings(deadline=None, max_examples=60)
@given(OUTCOMES)
def test_average_precision_lies_between_the_best_and_the_worst_order_in_bins(
    outcomes: list[tuple[bool, float, bool]],
) -> None:
    """What bins blur is the order of the scores of one bin, and nothing else."""
    told = told_of("binary", sketch(outcomes))["average_precision"]
    bins = bins_of(np.array([p for _, p, _ in outcomes])).tolist()
    both: list[Any] = []
    for sign in (1, -1):
        ranked = [(b + sign * 0.5 * y, y) for b, (y, _, _) in zip(bins, outcomes, strict=True)]
        both.append(exact.average_precision([y for _, y in ranked], [score for score, _ in ranked]))
    if both[0] is None:
        assert told is None
    else:
        assert both[1] - 1e-12 <= told <= both[0] + 1e-12


@settings(deadline=None, max_examples=100)
@given(PAIRS)
def test_regressions_are_told_as_from_the_outcomes(pairs: list[tuple[float, float]]) -> None:
    """The median is within a cell, all else exact."""
    told = told_of("regression", of_pairs(pairs))
    off = [abs(y - p) for y, p in pairs]
    y = [label for label, _ in pairs]
    assert close(told["mae"], sum(off) / len(off))
    assert close(told["mse"], sum(each * each for each in off) / len(off))
    assert close(
        told["acper"], sum(e <= 0.1 * abs(t) for e, t in zip(off, y, strict=True)) / len(y)
    )
    if max(y) - min(y) > 1e-3:
        r2 = exact.r2(y, [p for _, p in pairs])
        assert close(told["r2"], r2, 1e-6)
    middle = sorted(off)[(len(off) - 1) // 2]
    assert abs(told["mdae"] - middle) <= 0.016 * middle + 1e-300
    assert len(off) % 2 == 0 or close(median(off), middle)


@settings(deadline=None, max_examples=60)
@given(OUTCOMES, st.integers(0, 2**32))
def test_parts_add_up_to_the_whole(outcomes: list[tuple[bool, float, bool]], seed: int) -> None:
    """However outcomes are shuffled and spread, the sum is the same, and leaving is coming back."""
    whole = sketch(outcomes)
    rng = random.Random(seed)
    rng.shuffle(outcomes)
    cut = rng.randrange(len(outcomes) + 1)
    parts = [sketch(part) for part in (outcomes[:cut], outcomes[cut:]) if part]
    total: dict[str, Any] = {}
    for part in parts:
        total = merge(total, part)
    assert total == whole
    assert merge(parts[0], parts[-1]) == merge(parts[-1], parts[0])
    for part in parts[1:]:
        total = merge(total, part, sign=-1)
    assert told_of("binary", total) == told_of("binary", parts[0])


@settings(deadline=None, max_examples=60)
@given(PAIRS)
def test_sums_of_numbers_do_not_depend_on_their_order(pairs: list[tuple[float, float]]) -> None:
    """Sums of floats are exact ones, and a window that comes back is what it was."""
    first, second = of_pairs(pairs), of_pairs(pairs[:1])
    assert of_pairs(pairs[::-1]) == first
    together = merge(first, second)
    assert together == merge(second, first)
    back = told_of("regression", merge(together, second, sign=-1))
    assert back == told_of("regression", first)


def test_groups_are_sketched_apart() -> None:
    """Outcomes of many groups at once give what each gives alone, in bins dense or sparse."""
    rng = np.random.default_rng(3)
    y, p = rng.integers(0, 2, 500).astype(float), rng.random(500)
    for size in (3, 400):
        groups = rng.integers(0, size, 500)
        d = (p > 0.5).astype(float)
        together = two_classes(y, p, d, groups, size, True)
        for group in range(size):
            mine = groups == group
            alone = two_classes(y[mine], p[mine], d[mine], groups[mine] * 0, 1, True)[0]
            assert together[group] == alone


def test_what_cannot_be_used_is_counted_and_left_out() -> None:
    """NaN, infinite scores, scores beyond 0 and 1, no label, no decision: nothing crashes."""
    nan, inf = float("nan"), float("inf")
    bad = [(1, nan, 1), (1, inf, 1), (0, -inf, 0), (1, 1.5, 1), (nan, 0.3, 0), (0, -0.1, 1)]
    told = sketch([*bad, (1, 0.5, nan)])
    assert told["unusable"] == len(bad)
    assert told["n"] == 1
    assert "confusion" not in told
    for name, value in told_of("binary", sketch(bad)).items():
        assert value is None, name
    assert all(value is None for value in told_of("binary", {}).values())
    assert all(value is None for value in told_of("multiclass", {}).values())
    assert all(value is None for value in told_of("regression", {}, ranking="ndcg@5").values())
    assert told_of("regression", of_pairs([(nan, 1.0), (1.0, nan)]))["mae"] is None
    one = several_classes(["a", None], ["a", "a"], [None, {"a": 1.0}], np.zeros(2, np.int64), 1)[0]
    assert (one["n"], one["unusable"]) == (0, 2)


@pytest.mark.parametrize("label", [0, 1])
def test_labels_of_one_class_give_no_ranking(label: int) -> None:
    """Nothing can be said of an order then, nor of a slope; of errors it can."""
    told = told_of("binary", sketch([(label, 0.2, 0), (label, 0.9, 1)]))
    assert told["roc_auc"] is told["calibration_slope"] is told["roc_auc_error"] is None
    assert told["accuracy"] == 0.5
    assert told["log_loss"] is not None


def test_several_classes_are_told_as_from_the_outcomes() -> None:
    """Accuracy, kappa, losses and each class's share, against the definitions."""
    rng = random.Random(4)
    names = ["a", "b", "c"]
    rows = []
    for _ in range(300):
        weights = [rng.random() + 0.05 for _ in names]
        score = {name: weight / sum(weights) for name, weight in zip(names, weights, strict=True)}
        rows.append((rng.choices(names, weights)[0], max(names, key=lambda n: score[n]), score))
    labels, decisions, scores = (list(column) for column in zip(*rows, strict=True))
    told = told_of(
        "multiclass", several_classes(labels, decisions, scores, np.zeros(300, np.int64), 1)[0]
    )
    report = exact.prequential_report("multiclass", labels, scores, 0.5, names)
    for name in ("accuracy", "kappa", "precision", "recall", "log_loss"):
        assert close(told[name], report[name], 1e-6), name
    brier = sum(
        sum((p - (name == label)) ** 2 for name, p in score.items()) for label, _, score in rows
    )
    assert close(told["brier"], brier / 300, 1e-7)
    of_a = [decision == "a" for label, decision, _ in rows if label == "a"]
    assert close(told["accuracy/a"], sum(of_a) / len(of_a))


def calibrated(n: int, slope: float, seed: int) -> list[tuple[float, float, float]]:
    """Return outcomes whose logits are off by a factor."""
    rng = np.random.default_rng(seed)
    logit = rng.normal(-1.0, 1.5, n)
    yes, p = rng.random(n) < 1 / (1 + np.exp(-logit)), 1 / (1 + np.exp(-logit / slope))
    columns = (yes.astype(float), p, (p >= 0.5).astype(float))
    return list(zip(*(column.tolist() for column in columns), strict=True))


def test_a_calibration_slope_is_found() -> None:
    """Scores twice as extreme as they should be have a slope of a half; right ones of 1."""
    for slope in (0.5, 1.0, 2.0):
        told = told_of("binary", sketch(calibrated(40_000, slope, 1)))
        assert told["calibration_slope"] == pytest.approx(slope, rel=0.05)


def test_the_calibration_error_is_within_its_interval() -> None:
    """Of calibrated scores the interval holds 0; of others it holds the true error, mostly."""
    held = 0
    for seed in range(40):
        told = told_of("binary", sketch(calibrated(2_000, 1.0, seed)))
        held += told["ece_low"] == 0.0
        assert told["ece_low"] <= told["ece"] <= told["ece_high"]
    assert held >= 38
    truth = told_of("binary", sketch(calibrated(100_000, 0.5, 99)))["ece"]
    off = [told_of("binary", sketch(calibrated(5_000, 0.5, seed))) for seed in range(20)]
    assert sum(told["ece_low"] <= truth <= told["ece_high"] for told in off) >= 19
    assert all(told["ece_low"] > 0.02 for told in off)
    assert ECE_GROUPS == 10


def test_an_interval_of_wilsons_solves_its_equation() -> None:
    """Each end is a share from which what was seen is z standard errors off."""
    for yes, n in ((0, 10), (3, 10), (10, 10), (7, 1_000)):
        for end in wilson(yes, n, 2.5):
            if 0 < end < 1:
                assert abs(yes / n - end) == pytest.approx(2.5 * (end * (1 - end) / n) ** 0.5)


def test_a_guess_is_what_comes_true_of_calibrated_scores() -> None:
    """Each metric is guessed without a label, from outcomes and from predictions alike."""
    rows = calibrated(40_000, 1.0, 5)
    _, p, d = (np.array(column) for column in zip(*rows, strict=True))
    guess = guessed_of("binary", predicted(p, d, np.zeros(len(p), np.int64), 1)[0])
    assert guess == guessed_of("binary", sketch(rows))
    told = told_of("binary", sketch(rows))
    assert set(guess) >= {"accuracy", "precision", "recall", "roc_auc", "brier", "log_loss"}
    for name, value in guess.items():
        assert told[name] == pytest.approx(value, abs=0.015), name


def test_of_several_classes_losses_are_guessed() -> None:
    """They come true where scores are right, and are the same of predictions and of outcomes."""
    rng = np.random.default_rng(1)
    weights = rng.gamma(0.7, size=(20_000, 3))
    p = weights / weights.sum(axis=1, keepdims=True)
    labels = ["abc"[at] for at in (rng.random((len(p), 1)) > p.cumsum(axis=1)).sum(axis=1)]
    scores = [dict(zip("abc", each, strict=True)) for each in p.tolist()]
    decided = ["abc"[at] for at in p.argmax(axis=1)]
    zeros, ones = np.zeros(len(p), np.int64), np.ones(len(p))
    outcomes = several_classes(labels, decided, scores, zeros, 1)[0]
    losses = np.array([guessed_losses(score) for score in scores])

    guess = guessed_of("multiclass", predicted(p.max(axis=1), ones, zeros, 1, losses)[0])

    assert guess == guessed_of("multiclass", outcomes)
    told = told_of("multiclass", outcomes)
    for name in ("accuracy", "log_loss", "brier"):
        assert told[name] == pytest.approx(guess[name], abs=0.01), name
    assert guess["log_loss"] == pytest.approx(-(p * np.log(p)).sum(axis=1).mean(), abs=1e-6)
    wrong = several_classes(["c"] * len(p), decided, scores, zeros, 1)[0]
    assert told_of("multiclass", wrong)["log_loss"] > 1.5 * guess["log_loss"]


def test_a_guess_does_not_see_labels_that_changed() -> None:
    """Its assumption is that scores are right: where they are not, it is off, as stated."""
    rows = [(1 - y, p, d) for y, p, d in calibrated(5_000, 1.0, 5)]
    assert guessed_of("binary", sketch(rows))["accuracy"] > 0.7
    assert told_of("binary", sketch(rows))["accuracy"] < 0.3
    assert guessed_of("regression", of_pairs([(1.0, 2.0)])) == {}


def test_cells_are_ordered_and_narrow() -> None:
    """A number and the middle of its cell differ by 1.6 % at most, of either sign."""
    values = np.array(sorted([*(s * 10**e for s in (-1.7, -1, 1, 1.9) for e in range(-9, 9)), 0.0]))
    cells = cells_of(values)
    assert (np.diff(cells) >= 0).all()
    assert np.abs(middle_of(cells) - values).max() <= 0.016 * np.abs(values).max()
    assert (np.abs(middle_of(cells) - values) <= 0.016 * np.abs(values)).all()


def test_bins_are_an_eighth_of_a_logit_wide() -> None:
    """Against the logit itself."""
    for p in (1e-9, 1e-4, 0.01, 0.37, 0.9, 0.99999):
        logit = log(p / (1 - p))
        expected = min(max(int((logit + 12) * 8 // 1) + 1, 0), 193)
        assert bins_of(np.array([p])).tolist() == [expected]


def ndcg(scores: list[float], gains: list[float], k: int) -> float:
    """Return nDCG@k by its definition, the worst first of equal scores."""
    order = sorted(range(len(gains)), key=lambda i: (-scores[i], gains[i]))
    dcg, best = (
        sum(g / log(2 + i, 2) for i, g in enumerate(ranked[:k]))
        for ranked in ([gains[i] for i in order], sorted(gains, reverse=True))
    )
    return dcg / best if best else float("nan")


@settings(deadline=None, max_examples=100)
@given(
    st.lists(
        st.tuples(st.integers(0, 3), st.integers(0, 4), st.integers(0, 3)), min_size=1, max_size=40
    ),
    st.integers(1, 5),
    st.integers(0, 3),
)
def test_rankings_are_told_as_from_the_items(
    items: list[tuple[int, int, int]], k: int, parts: int
) -> None:
    """However the items are spread, nDCG is what its definition says of all of them."""
    rows = [(f"s{group}", score / 4, float(gain)) for group, score, gain in items]
    merged: dict[str, Any] = {}
    for part in range(parts + 1):
        merged = merge_groups(merged, groups_of(rows[part :: parts + 1], k), k)
    assert merged == groups_of(rows, k)
    each = []
    for name in sorted({name for name, _, _ in rows}):
        mine = [row for row in rows if row[0] == name]
        each.append(ndcg([row[1] for row in mine], [row[2] for row in mine], k))
    known = [value for value in each if not isnan(value)]
    (n, total), _ = ranking_of(merged, k)
    assert n == len(known)
    assert total == pytest.approx(sum(known))


def test_a_random_order_is_what_shuffling_gives() -> None:
    """The expectation, against many shuffles."""
    gains = [3.0, 1.0, 0.0, 0.0, 2.0, 0.0]
    _, (_, expected) = ranking_of(groups_of([("s", 0.0, gain) for gain in gains], 3), 3)
    rng = random.Random(1)
    total = 0.0
    for _ in range(4_000):
        total += ndcg([rng.random() for _ in gains], gains, 3)
    assert total / 4_000 == pytest.approx(expected, abs=0.01)


def test_rankings_are_bounded() -> None:
    """A bucket keeps a sample of groups, the same however they come, and of each its top items."""
    rows = [(f"s{i % 700}", float(i % 13), float(i % 3)) for i in range(21_000)]
    groups = groups_of(rows, 5)
    assert len(groups) == MOST_GROUPS
    assert max(len(group["top"]) for group in groups.values()) <= 10
    assert merge_groups(groups_of(rows[1::2], 5), groups_of(rows[::2], 5), 5) == groups
    nan = float("nan")
    assert groups_of([("s", nan, 1.0), ("s", 1.0, nan)], 5) == {}
    assert ranking_of(groups_of([("s", 1.0, 0.0)], 5), 5)[0] == [0, 0.0]
