"""Performance: what a window holds, what stands beside it, and the alert that it is no better."""

from __future__ import annotations

import random
from collections.abc import Callable
from math import log
from typing import Any

import numpy as np
import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from streamproc.alerts import new_judge
from streamproc.errors import DefinitionError
from streamproc.metrics import prequential_report
from streamproc.monitors import Drift, PredictionBias, outcome_fold, prediction_fold
from streamproc.monitors.baselines import baselines_of
from streamproc.monitors.finding import Finding
from streamproc.monitors.metrics import metrics_of
from streamproc.monitors.performance import (
    MOST_CLASSES,
    PANES,
    PerformanceMonitor,
    merge_rows,
)
from streamproc.monitors.performance_fold import PerformanceFold, guess_number
from streamproc.monitors.performance_spec import Performance, Ranking
from streamproc.monitors.scores import SEPARATOR, merge, numbers, several_classes, two_classes
from streamproc.monitors.spec import MAX_SLICES, performance_plan
from streamproc.monitors.worth import LEAST_BUCKETS, LOG_BACK, MARGIN, Losses, WorthTest, evidence
from tests.unit.monitors.streams import DAY_MS, HOUR_MS, Facts, sent

Rows = dict[int, dict[str, Any]]


def outcome(number: int, time_ms: int, **fields: Any) -> dict[str, Any]:
    """Return an outcome as a fold is given them."""
    return {
        "id": str(number),
        "event_time_ms": time_ms,
        "label_time_ms": time_ms + HOUR_MS,
        "features": {},
        "score": 0.5,
        "decision": True,
        "model": "main@1",
        "label": 1,
        "slices": {},
        **fields,
    }


def folded(
    facts: Facts, outcomes: list[dict[str, Any]], partitions: int = 1, seed: int = 0
) -> Rows:
    """Return rows by bucket, of some partitions, each taken now and then, and through JSON."""
    rng = random.Random(seed)
    ((number, monitor),) = performance_plan(facts)
    folds = [PerformanceFold(facts) for _ in range(partitions)]
    rows: Rows = {}
    for each in outcomes:
        fold = folds[int(each["id"]) % partitions]
        fold.update([each])
        if rng.random() < 0.01 or each is outcomes[-1]:
            for taken in folds if each is outcomes[-1] else (fold,):
                for bucket in orjson.loads(orjson.dumps(taken.take())):
                    assert (bucket["monitor"], bucket["stage"]) == (number, "bias")
                    known = rows.setdefault(bucket["bucket_ms"], {})
                    for name, row in bucket["series"].items():
                        had = known.get(name)
                        known[name] = row if had is None else merge_rows(had, row, monitor.k)
    return dict(sorted(rows.items()))


def monitored(facts: Facts, rows: Rows, alarm_ms: float = 60 * DAY_MS) -> tuple[Any, list[Any]]:
    """Return the monitor after all buckets, and what it found."""
    ((_, monitor),) = performance_plan(facts)
    watch = PerformanceMonitor(monitor, facts.kind, alarm_ms)
    found = [finding for start_ms, of in rows.items() for finding in watch.update(start_ms, of)]
    return watch, found


def scored(seed: int, days: int, a_day: int = 500, skill: float = 1.0) -> list[dict[str, Any]]:
    """Return outcomes of a model that knows some part of the logit, and no more than it says."""
    rng = np.random.default_rng(seed)
    made = []
    times = np.sort(rng.integers(0, days * DAY_MS, days * a_day)).tolist()
    for number, time_ms in enumerate(times):
        logit = rng.normal(0, 1.5)
        p = float(1 / (1 + np.exp(2.5 - logit)))
        said = p if rng.random() < skill else 0.13
        country = "NL" if rng.random() < 0.7 else "DE"
        made.append(
            outcome(
                number,
                time_ms,
                score=said,
                decision=said >= 0.5,
                label=int(rng.random() < p),
                slices={"country": country, "session": f"s{number // 10}"},
                features={"rule": logit > 1.0, "amount": logit},
            )
        )
    return made


FACTS = Facts(monitors=[Performance(window="2d", slices=("country",), bucket="6h")])


def test_a_window_holds_what_became_known_in_it() -> None:
    """Its metrics are those of its outcomes, overall and by slice, and it says what it is about."""
    outcomes = scored(1, 8)
    watch, _ = monitored(FACTS, folded(FACTS, outcomes))
    for name, wanted in (("", None), ('{"country":"DE"}', {"country": "DE"})):
        report = watch.latest[name]
        there = [
            each
            for each in outcomes
            if report["from_ms"] <= each["label_time_ms"] < report["to_ms"]
            and (wanted is None or each["slices"]["country"] == "DE")
        ]
        assert report["n"] == len(there)
        assert report["slice"] == wanted
        assert report["to_ms"] - report["from_ms"] <= 2 * DAY_MS
        assert report["event_from_ms"] == min(each["event_time_ms"] for each in there)
        assert report["event_to_ms"] == max(each["event_time_ms"] for each in there)
        exact = prequential_report(
            "binary", [e["label"] for e in there], [e["score"] for e in there], 0.5, (0, 1)
        )
        told = report["metrics"]["model"]
        for metric in ("log_loss", "accuracy", "precision", "recall", "kappa"):
            assert told[metric] == pytest.approx(exact[metric], abs=1e-6), metric
        assert told["roc_auc"] == pytest.approx(exact["roc_auc"], abs=told["roc_auc_error"])


@pytest.mark.parametrize("partitions", [4, 16])
def test_partitions_do_not_show(partitions: int) -> None:
    """Reports and findings are equal to the bit on any number of partitions."""
    facts = Facts(
        monitors=[
            Performance(
                window="1d",
                slices=("country",),
                bucket="2h",
                baseline="rule",
                ranking=Ranking("session", k=3),
            )
        ]
    )
    outcomes = scored(2, 9, 400, skill=0.0)
    one, found = monitored(facts, folded(facts, outcomes), HOUR_MS)
    many, found_too = monitored(facts, folded(facts, outcomes, partitions, seed=5), HOUR_MS)
    assert found
    assert found == found_too
    assert orjson.dumps(one.take()) == orjson.dumps(many.take())


def test_baselines_stand_beside() -> None:
    """Of the same outcomes: zero-rule, chance, the user's own, and the guess."""
    facts = Facts(
        monitors=[
            Performance(window="3d", baseline="rule", bucket="6h", ranking=Ranking("session"))
        ]
    )
    watch, _ = monitored(facts, folded(facts, scored(3, 6)))
    metrics = watch.latest[""]["metrics"]
    model, zero, chance, own, guess = (
        metrics[who] for who in ("model", "zero_rule", "random", "own", "guessed")
    )
    share = 0.155
    assert zero["accuracy"] == pytest.approx(1 - share, abs=0.04)
    assert zero["precision"] is None
    assert zero["recall"] == 0.0
    assert zero["brier"] == pytest.approx(share * (1 - share), abs=0.02)
    assert abs(zero["ece"]) < 0.05
    assert chance["roc_auc"] == 0.5
    assert chance["precision"] == pytest.approx(share, abs=0.03)
    assert chance["accuracy"] == pytest.approx(share**2 + (1 - share) ** 2, abs=0.04)
    assert set(chance) == {
        "accuracy",
        "precision",
        "recall",
        "specificity",
        "f_beta",
        "kappa",
        "roc_auc",
        "average_precision",
        "ndcg@10",
    }
    assert model["brier"] < zero["brier"]
    assert 0.5 < own["roc_auc"] < model["roc_auc"]
    assert own["accuracy"] == pytest.approx(0.78, abs=0.05)
    assert guess["brier"] == pytest.approx(model["brier"], abs=0.02)
    assert chance["ndcg@10"] < model["ndcg@10"] <= 1.0


def of_classes(seed: int, n: int, names: str) -> list[dict[str, Any]]:
    """Return outcomes of several classes; now and then a score doesn't name one."""
    rng = random.Random(seed)
    made = []
    for number in range(n):
        weights = [rng.random() ** 3 + 0.02 for _ in names]
        score = {name: w / sum(weights) for name, w in zip(names, weights, strict=True)}
        label = rng.choices(names, weights)[0]
        if rng.random() < 0.2:
            del score[rng.choice(names)]
        made.append(
            outcome(
                number,
                number * HOUR_MS // 20,
                label=label,
                score=score,
                decision=max(sorted(score), key=lambda name: score[name]),
                features={"rule": label if rng.random() < 0.6 else "a"},
                slices={"country": "NL" if rng.random() < 0.6 else "DE"},
            )
        )
    return made


def test_several_classes_are_ranked_each_against_the_rest() -> None:
    """As from the outcomes themselves, overall and by slice, on any number of partitions."""
    monitor = Performance(window="2d", slices=("country",), baseline="rule", bucket="6h")
    facts = Facts(kind="multiclass", classes=None, monitors=[monitor])
    outcomes = of_classes(5, 3_000, "abcd")
    watch, _ = monitored(facts, folded(facts, outcomes))
    many, _ = monitored(facts, folded(facts, outcomes, 4, seed=2))
    assert orjson.dumps(watch.take()) == orjson.dumps(many.take())
    for name in ("", '{"country":"DE"}'):
        report = watch.latest[name]
        there = [
            each
            for each in outcomes
            if report["from_ms"] <= each["label_time_ms"] < report["to_ms"]
            and (not name or each["slices"]["country"] == "DE")
        ]
        assert report["n"] == len(there) > 300
        exact = prequential_report(
            "multiclass", [e["label"] for e in there], [e["score"] for e in there], 0.5, None
        )
        told = report["metrics"]["model"]
        auc, error = told["roc_auc"] or 0.0, told["roc_auc_error"] or 0.0
        assert 0.6 < auc < 0.95
        assert auc == pytest.approx(exact["roc_auc"], abs=error)
        assert 0 < error < 0.01
    metrics = watch.latest[""]["metrics"]
    assert metrics["zero_rule"]["roc_auc"] == metrics["random"]["roc_auc"] == 0.5
    assert metrics["own"]["roc_auc"] > 0.6


def test_too_many_classes_are_not_ranked_and_take_no_memory() -> None:
    """Neither many in one score nor ever new ones; what else is told goes on."""
    crowd = {f"c{n:02}": 0.5 if n == 7 else 0.01 for n in range(50)}
    for score in ({}, crowd):
        facts = Facts(kind="multiclass", classes=None, monitors=[Performance(window="2d")])
        made = [
            outcome(n, n * HOUR_MS // 20, label="c07", decision="c07",
                    score=score or {"c07": 0.6, f"new {n}": 0.4})
            for n in range(1_200)
        ]  # fmt: skip
        watch, _ = monitored(facts, folded(facts, made))
        told = watch.latest[""]["metrics"]["model"]
        assert (told["roc_auc"], told["accuracy"]) == (None, 1.0)
        assert "ranks" not in watch._windows[""].total["model"]


def test_rankings_are_told_of_each_slice() -> None:
    """A slice's sessions by themselves, against the definition."""
    monitor = Performance(window="30d", slices=("country",), ranking=Ranking("session", k=3))
    facts = Facts(monitors=[monitor])
    outcomes = scored(4, 3, 200)
    for each in outcomes:  # of one session all labels come in one bucket, from one country
        number = int(each["id"]) // 10
        each["label_time_ms"] = 4 * DAY_MS + number * HOUR_MS
        each["slices"]["country"] = "NL" if number % 3 else "DE"
    watch, _ = monitored(facts, folded(facts, outcomes))
    for name, countries in (("", ("NL", "DE")), ('{"country":"DE"}', ("DE",))):
        found, report = [], watch.latest[name]
        told = [
            each
            for each in outcomes
            if report["from_ms"] <= each["label_time_ms"] < report["to_ms"]
        ]
        for session in {each["slices"]["session"] for each in told}:
            items = [e for e in told if e["slices"]["session"] == session]
            if items[0]["slices"]["country"] in countries and any(e["label"] for e in items):
                said = sorted(items, key=lambda e: (-e["score"], e["label"]))
                best = sorted(items, key=lambda e: -e["label"])
                gained, most = (
                    sum(e["label"] / np.log2(place) for place, e in enumerate(order[:3], 2))
                    for order in (said, best)
                )
                found.append(gained / most)
        metrics = report["metrics"]
        assert len(found) >= 10
        assert metrics["model"]["ndcg@3"] == pytest.approx(np.mean(found), abs=1e-6)
        assert metrics["random"]["ndcg@3"] < metrics["model"]["ndcg@3"]


def test_zero_rule_knows_nothing_of_its_bucket() -> None:
    """What a bucket holds changes nothing of what zero-rule says in it."""
    zeros = np.zeros(4, np.int64)
    p = np.full(4, 0.5)
    before = two_classes(np.array([0.0, 0, 0, 1]), p, p * 0, zeros, 1, True)[0]
    for labels in ([1.0, 1, 1, 1], [0.0, 0, 0, 0]):
        bucket = two_classes(np.array(labels), p, p * 0, zeros, 1, True)[0]
        zero = baselines_of("binary", before, bucket, 0.1)["zero_rule"]
        said = 2 / 6
        wrong = (labels[0] - said) ** 2
        assert metrics_of("binary", zero)["brier"] == pytest.approx(wrong)
        assert metrics_of("binary", zero)["accuracy"] == 1 - labels[0]


def test_nothing_of_a_bucket_is_known_before_it() -> None:
    """The first bucket's zero-rule says a half, whatever the labels are; the second's knows it."""
    for label in (0, 1):
        outcomes = [outcome(i, i, label=label) for i in range(8)]
        later = [outcome(8 + i, DAY_MS + i, label=label) for i in range(8)]
        told = []
        for some in (outcomes, outcomes + later):
            watch, _ = monitored(FACTS, folded(FACTS, some))
            told.append(watch.latest[""]["metrics"]["zero_rule"]["brier"])
        assert told == pytest.approx([0.25, (0.25 + 0.01) / 2])


def test_zero_rule_of_classes_and_numbers() -> None:
    """The most frequent class with each one's share, and the mean."""
    zeros = np.zeros(4, np.int64)
    score = [{"a": 0.5, "b": 0.5}] * 4
    before = several_classes(list("aaab"), list("aaaa"), score, zeros, 1)[0]
    bucket = several_classes(list("aabc"), list("bbbb"), score, zeros, 1)[0]
    told = baselines_of("multiclass", before, bucket, 0.1)
    zero = metrics_of("multiclass", told["zero_rule"])
    assert zero["accuracy"] == 0.5
    assert zero["log_loss"] == pytest.approx(-(2 * log(4 / 7) + log(2 / 7) + log(1 / 7)) / 4)
    assert metrics_of("multiclass", told["random"])["accuracy"] == pytest.approx(0.33, abs=0.1)
    first = baselines_of("multiclass", {}, bucket, 0.1)["zero_rule"]
    assert metrics_of("multiclass", first)["accuracy"] == 0.5

    rng = np.random.default_rng(1)
    y = rng.normal(5, 2, 400)
    was, now = (
        numbers(part, part, 0.1, np.zeros(200, np.int64), 1)[0] for part in (y[:200], y[200:])
    )
    assert baselines_of("regression", {}, now, 0.1) == {}
    zero = metrics_of("regression", baselines_of("regression", was, now, 0.1)["zero_rule"])
    mean, y = y[:200].mean(), y[200:]
    assert zero["mse"] == pytest.approx(((y - mean) ** 2).mean())
    assert zero["r2"] == pytest.approx(1 - ((y - mean) ** 2).mean() / y.var())
    assert zero["mae"] == pytest.approx(np.abs(y - mean).mean(), rel=0.05)
    assert zero["mdae"] == pytest.approx(np.median(np.abs(y - mean)), abs=0.1)
    assert zero["acper"] == pytest.approx((np.abs(y - mean) <= 0.1 * np.abs(y)).mean(), abs=0.05)


@given(
    st.lists(st.sampled_from([-4.0, -1.0, 0.0, 0.5, 1.0, 2.0, 2.25, 8.0]), min_size=1),
    st.lists(st.sampled_from([-2.0, 0.0, 1.0, 1.125, 8.0, 9.0]), min_size=1),
    st.sampled_from([0.1, 0.5, 1.0]),
)
def test_chance_draws_from_the_numbers_before(
    was: list[float], now: list[float], tolerance: float
) -> None:
    """What all pairs of a label before and one of the bucket come to; labels to within 1.6 %."""
    before, bucket = (
        numbers(np.array(part), np.array(part), 0.1, np.zeros(len(part), np.int64), 1)[0]
        for part in (was, now)
    )
    y, said = np.meshgrid(now, was)
    off = np.abs(y - said)
    sketch = baselines_of("regression", before, bucket, tolerance)["random"]

    told = metrics_of("regression", sketch)

    size = np.abs(now).max() + np.abs(was).max()
    assert told["mse"] == pytest.approx((off**2).mean())
    assert told["bias"] == pytest.approx((y - said).mean(), abs=1e-9)
    assert told["mae"] == pytest.approx(off.mean(), abs=0.02 * size + 1e-9)
    slack = 0.04 * (np.abs(y) + np.abs(said)) + 1e-9
    least, most = ((off + sign * slack <= tolerance * np.abs(y)).mean() for sign in (1, -1))
    assert least - 1e-6 <= (told["acper"] or 0.0) <= most + 1e-6
    assert told["mdae"] is None
    there = {"random": sketch}
    assert merge(merge(merge(there, there), there, -1), there, -1) == {}  # to the bit


def test_of_numbers_chance_is_worse_than_the_mean() -> None:
    """Twice the squared error; of normal labels a mean difference of 2 / sqrt(pi) deviations."""
    rng = np.random.default_rng(1)
    was, now = (
        numbers(part, part, 0.1, np.zeros(5_000, np.int64), 1)[0]
        for part in rng.normal(5, 2, (2, 5_000))
    )
    told = baselines_of("regression", was, now, 0.1)
    zero, chance = (metrics_of("regression", told[who]) for who in ("zero_rule", "random"))

    assert chance["mse"] == pytest.approx(2 * (zero["mse"] or 0.0), rel=0.05)
    assert chance["mae"] == pytest.approx(2 * 2 / np.pi**0.5, rel=0.03)
    assert chance["r2"] == pytest.approx(-1, abs=0.05)


@given(st.floats(-50, 50), st.floats(0.01, 1.0))
def test_evidence_is_bounded_by_what_makes_it_a_test(z: float, bet: float) -> None:
    """The factor is below 1 + l z + l^2 (z^2 - 1) / 3, whose mean is 1 at most; one adds 1.5."""
    bound = (1 + bet * z + bet * bet * z * z / 3) * np.exp(-bet * bet / 3)
    assert np.exp(evidence(z, bet)) <= bound * (1 + 1e-12)
    assert evidence(z, bet) <= 1.5


def worth(
    excess: Callable[[int, np.random.Generator], float],
    buckets: int,
    seed: int,
    alarm_ms: float = 5_000.0,
) -> list[tuple[int, bool]]:
    """Return when a test opened and ended; ``excess`` is what the model loses over the margin."""
    rng = np.random.default_rng(seed)
    test = WorthTest(alarm_ms)
    changes = []
    for bucket in range(buckets):
        baseline = 1_000.0
        model = (1 - MARGIN) * baseline + excess(bucket, rng)
        if test.update(Losses(100, model, baseline), bucket, 1):
            changes.append((bucket, test.open))
    return changes


@pytest.mark.parametrize("how", ["normal", "rare gains", "rare losses", "t3"])
def test_models_that_are_worth_it_are_let_be(how: str) -> None:
    """At the very margin, whatever the losses look like: alarms are rarer than A says."""
    make: dict[str, Callable[[int, np.random.Generator], float]] = {
        "normal": lambda _, rng: rng.normal(0, 10),
        "rare gains": lambda _, rng: 100 - 100 * rng.poisson(1),
        "rare losses": lambda _, rng: 100 * rng.poisson(1) - 100,
        "t3": lambda _, rng: rng.standard_t(3) * 10,
    }
    opened = sum(len(worth(make[how], 400, seed)) for seed in range(12))
    assert opened <= 3  # 1 is expected at most in so many buckets; each opens once


def test_a_model_that_is_not_worth_it_is_told_and_comes_back() -> None:
    """It opens after it began, resolves after it ended, and not for one wild bucket."""

    def excess(bucket: int, rng: np.random.Generator) -> float:
        return float(rng.normal(15 if 200 <= bucket < 300 else -10, 10))

    for seed in range(5):
        (opened, is_open), (ended, still) = worth(excess, 500, seed)
        assert (is_open, still) == (True, False)
        assert 200 < opened < 240
        assert 300 < ended < 340

    wild = worth(lambda bucket, rng: rng.normal(-3, 10) + 1e6 * (bucket == 100), 300, 1)
    assert wild == []
    assert LOG_BACK > 3 * 1.5  # three buckets at least
    assert worth(lambda bucket, rng: 100 + rng.normal(), LEAST_BUCKETS, 1, 1.0) == []
    assert worth(lambda bucket, rng: 0.0, 100, 1, 1.0) == []


def test_the_worse_a_model_gets_the_sooner_it_is_told() -> None:
    """However much of it a bucket shows: of many outcomes a few buckets are enough."""

    def far_off(far: float) -> Callable[[int, np.random.Generator], float]:
        return lambda at, rng: float(rng.normal(far if at >= 200 else -10, 10))

    opened = [worth(far_off(far), 250, 1)[0][0] for far in (20, 60, 200, 600, 6_000)]
    assert opened == sorted(opened, reverse=True)
    assert opened[-1] < 207


def test_one_judge_has_them_all() -> None:
    """Beside the other monitors, through the folds of the stages, on any number of partitions."""
    facts = Facts(
        monitors=[
            Drift(bucket="6h"),
            Performance(window="2d", bucket="6h", slices=("country",)),
            PredictionBias(slices=("country",), bucket="6h"),
        ]
    )
    outcomes = scored(9, 6)
    told = []
    for partitions in (1, 4):
        judge = new_judge(facts, partitions)
        folds: dict[str, list[Any]] = {
            "drift": [prediction_fold(facts) for _ in range(partitions)],
            "bias": [outcome_fold(facts) for _ in range(partitions)],
        }
        for at in range(0, len(outcomes), 100):
            for stage, each in folds.items():
                for partition, fold in enumerate(each):
                    fold.update(outcomes[at : at + 100][partition::partitions])
                    judge.update([orjson.loads(orjson.dumps(sent(stage, partition, fold)))], at)
        told.append(judge.take_reports())
        assert judge.late == judge.overflowed == 0
        assert judge.take_reports() == []
        latest = {(each["about"], str(each["slice"])) for each in judge.latest_reports()}
        assert ("outcomes", "{'country': 'NL'}") in latest
        assert ("predictions", "None") in latest
    assert told[0] == told[1]
    assert [each["to_ms"] for each in told[0]] == sorted(each["to_ms"] for each in told[0])


def test_a_model_without_skill_is_an_alert() -> None:
    """Against zero-rule and against the user's own; one that has skill is none."""
    facts = Facts(monitors=[Performance(bucket="1h", baseline=lambda f: 0.5 if f["rule"] else 0.1)])
    assert monitored(facts, folded(facts, scored(4, 4, 1_000)))[1] == []
    _, found = monitored(facts, folded(facts, scored(5, 9, 1_000, skill=0.0)))
    assert {finding.subject for finding in found} == {"own", "zero_rule"}
    first = next(finding for finding in found if finding.subject == "own")
    assert first.key == "performance/own"
    assert first.ongoing
    assert first.observed > (1 - MARGIN) * first.expected
    assert first.first_seen_ms < 6 * DAY_MS
    assert "no better than your own baseline" in first.summary
    assert first.statistic >= first.threshold


def test_a_baseline_that_fails_is_missing() -> None:
    """What a user's function raises, or what is no score, is counted and never stops a fold."""
    for baseline in (lambda f: 1 / 0, lambda f: "?", lambda f: 7.0, lambda f: None, "nothing"):
        facts = Facts(monitors=[Performance(bucket="1h", baseline=baseline)])
        rows = folded(facts, scored(6, 1, 50))
        own: dict[str, Any] = {}
        for of in rows.values():
            own = merge(own, of[""]["own"])
            assert "paired" not in of[""]
        assert (own["n"], own["unusable"]) == (0, 50)


@pytest.mark.parametrize("kind", ["binary", "multiclass", "regression", "anomaly"])
def test_bad_outcomes_stop_nothing(kind: str) -> None:
    """Scores and labels of any sort are folded, judged and reported as JSON."""
    nan, inf = float("nan"), float("inf")
    odd: list[Any] = [
        None,
        nan,
        inf,
        -inf,
        0,
        1,
        True,
        "x",
        {},
        {"a": nan},
        {"a": 1.0},
        1e308,
        [],
        -3.5,
    ]
    outcomes = [
        outcome(i, i * HOUR_MS, score=score, label=label, decision=decision)
        for i, (score, label, decision) in enumerate(
            (score, label, decision)
            for score in odd
            for label in (None, 0, 1, "a", 1e308)
            for decision in (None, True, "a")
        )
    ]
    facts = Facts(
        kind=kind,
        monitors=[
            Performance(
                baseline=lambda f: odd[len(f)],
                window="1d",
                ranking=None if kind == "multiclass" else Ranking("session"),
            )
        ],
    )
    watch, _ = monitored(facts, folded(facts, outcomes))
    for report in watch.take():
        assert orjson.loads(orjson.dumps(report)) == report
        for of in report["metrics"].values():
            assert all(value is None or np.isfinite(value) for value in of.values())


def test_no_labels_at_all_is_no_report_and_a_guess_is_made() -> None:
    """Predictions are guessed about by event time, overall."""
    outcomes = scored(7, 2)
    fold = PerformanceFold(FACTS, "predictions")
    fold.update(outcomes)
    monitor = FACTS.monitors[0]
    assert isinstance(monitor, Performance)
    watch = PerformanceMonitor(monitor, "binary", 1.0, "predictions")
    for bucket in fold.take():
        assert (bucket["stage"], bucket["monitor"]) == ("drift", guess_number(0))
        assert watch.update(bucket["bucket_ms"], bucket["series"]) == []
    report = watch.latest[""]
    assert report["about"] == "predictions"
    assert set(report["metrics"]) == {"guessed"}
    assert report["metrics"]["guessed"]["accuracy"] == pytest.approx(0.86, abs=0.03)
    assert report["n"] == len(outcomes)
    assert PerformanceFold(FACTS).take() == []


def test_losses_of_several_classes_are_guessed_of_predictions() -> None:
    """The same as of their outcomes; a score that is no map of numbers is none."""
    monitor = Performance(window="30d")
    facts = Facts(kind="multiclass", classes=None, monitors=[monitor])
    outcomes = of_classes(5, 500, "abc")
    broken = [outcome(500, 0, label="a", decision="a", score={"a": 0.5, "b": "x"})]
    found = []
    for about, made in (("predictions", outcomes + broken), ("outcomes", outcomes + broken)):
        fold, watch = (
            PerformanceFold(facts, about),
            PerformanceMonitor(monitor, "multiclass", 1.0, about),
        )
        fold.update(made)
        for bucket in fold.take():
            watch.update(bucket["bucket_ms"], bucket["series"])
        report = watch.latest[""]
        assert (report["n"], report["unusable"]) == (500, 1)
        found.append(report["metrics"]["guessed"])

    assert set(found[0]) == {"accuracy", "log_loss", "brier"}
    assert found[0] == found[1]


def test_what_has_learnt_nothing_is_left_out() -> None:
    """The first version's predictions are no measure of the model."""
    outcomes = [outcome(i, i, model="main@0" if i % 2 else "main@3") for i in range(10)]
    assert folded(FACTS, outcomes)[0][""]["model"]["n"] == 5


def test_a_window_lets_go() -> None:
    """Its size is bounded, and a slice that nobody is in any more is forgotten."""
    outcomes = scored(8, 3, 200)
    for each in outcomes[:100]:
        each["slices"] = {"country": "FR"}
    facts = Facts(monitors=[Performance(window="1d", slices=("country",), bucket="10m")])
    watch, _ = monitored(facts, folded(facts, outcomes))
    assert set(watch.latest) == {"", '{"country":"NL"}', '{"country":"DE"}'}
    assert all(len(window._panes) <= PANES + 1 for window in watch._windows.values())


def test_slices_and_classes_are_bounded() -> None:
    """The first, the larger ones, have their place; classes beyond the most frequent are one."""
    facts = Facts(monitors=[Performance(slices=("country",))])
    rows = [outcome(i, 5, slices={"country": f"c{i}"}) for i in range(MAX_SLICES + 40)]
    watch, _ = monitored(facts, folded(facts, rows + rows[-1:]))
    assert len(watch.latest) == MAX_SLICES
    assert watch.overflowed == 41
    assert f'{{"country":"c{MAX_SLICES + 39}"}}' in watch.latest

    facts = Facts(kind="multiclass", monitors=[Performance()])
    many = [
        outcome(i, 5, label=f"c{i % 90}", decision="c1", score={"c1": 1.0}) for i in range(1_000)
    ]
    watch, _ = monitored(facts, folded(facts, many))
    told = watch.latest[""]["metrics"]["model"]
    assert sum(name.startswith("accuracy/") for name in told) == MOST_CLASSES + 1
    assert told["accuracy"] == pytest.approx(0.012, abs=0.001)


@pytest.mark.parametrize(
    ("how", "told"),
    [
        ({"window": "1h", "bucket": "2h"}, "shorter than a bucket"),
        ({"beta": 0}, "beta must be a number above 0"),
        ({"tolerance": float("nan")}, "tolerance must be a number"),
        ({"baseline": 3}, "neither a feature's name nor a function"),
        ({"ranking": "session"}, "must be made by Ranking"),
        ({"slices": ("a", "a")}, "declared twice"),
        ({"bucket": "0s"}, "a bucket of 0"),
    ],
)
def test_mistakes_are_told_when_written(how: dict[str, Any], told: str) -> None:
    """Each names the field and the remedy."""
    with pytest.raises(DefinitionError, match=told):
        Performance(**how)


def test_mistakes_of_rankings_and_of_two_monitors_are_told() -> None:
    """As they are for one."""
    for how in ({"group": ""}, {"group": "s", "k": 0}):
        with pytest.raises(DefinitionError, match="Ranking"):
            Ranking(**how)
    with pytest.raises(DefinitionError, match="declared twice"):
        performance_plan(Facts(monitors=[Performance(), Performance(window="1d")]))
    with pytest.raises(DefinitionError, match="no one score to rank by"):
        performance_plan(
            Facts(kind="multiclass", monitors=[Performance(ranking=Ranking("session"))])
        )


def test_a_definition_reads_the_same_in_every_process() -> None:
    """A function is told of by its name: an address would change the pipeline's fingerprint."""
    assert " at 0x" not in repr(Performance(baseline=test_a_window_lets_go))
    assert "test_a_window_lets_go" in repr(Performance(baseline=test_a_window_lets_go))


@settings(deadline=None, max_examples=20)
@given(st.lists(st.integers(0, 400), min_size=1, max_size=60))
def test_a_window_is_the_sum_of_its_outcomes(hours: list[int]) -> None:
    """Wherever there are gaps: what is left is what the panes that are there hold."""
    outcomes = [outcome(i, hour * HOUR_MS) for i, hour in enumerate(sorted(hours))]
    facts = Facts(monitors=[Performance(window="2d")])
    watch, _ = monitored(facts, folded(facts, outcomes))
    report = watch.latest[""]
    known = [each["label_time_ms"] for each in outcomes]
    assert report["n"] == sum(report["from_ms"] <= at < report["to_ms"] for at in known)
    assert report["to_ms"] == known[-1] + HOUR_MS
    assert report["from_ms"] >= report["to_ms"] - 2 * DAY_MS


def test_labels_that_are_always_new_are_one_class_beyond_the_first_ones() -> None:
    """Free text in place of classes: a window's confusion stays as small as a bucket's."""
    monitor = PerformanceMonitor(Performance(window="7d"), "multiclass", 1e12)
    for hour in range(100):
        confusion = {f"new{hour}-{i}{SEPARATOR}usual": 1 for i in range(30)}
        model = {"n": 90, "confusion": {**confusion, f"usual{SEPARATOR}usual": 60}, "brier": 0}
        row = {"event_ms": [0, 0], "delay": [90, 0], "model": model}
        monitor.update(hour * HOUR_MS, {"": row})
    total = monitor._windows[""].total
    for who in ("model", "zero_rule", "random"):
        names = {name for cell in total[who]["confusion"] for name in cell.split(SEPARATOR)}
        assert len(names) <= MOST_CLASSES + 1
        assert {"usual", "(other)"} <= names
    assert sum(total["model"]["confusion"].values()) == 100 * 90


def judged(skills: list[tuple[int, float]], accept: bool = False) -> list[tuple[int, Finding]]:
    """Return what is found, by day, of a model with some skill for so many days each.

    A skill of 1 knows each event's chance, of 0 only the mean; below it is wrong. ``accept`` takes
    what is told first as normal.
    """
    rng = np.random.default_rng(3)
    watch = PerformanceMonitor(Performance(bucket="1h"), "binary", 60 * DAY_MS)
    told: list[tuple[int, Finding]] = []
    hours = [skill for days, skill in skills for _ in range(days * 24)]
    groups = np.zeros(100, np.int64)
    for hour, skill in enumerate(hours):
        p = rng.beta(1, 5, 100)
        said = np.clip(1 / 6 + skill * (p - 1 / 6), 0, 1)
        yes = (rng.random(100) < p).astype(float)
        row = {"event_ms": [0, 0], "delay": [100, 0]}
        sketch = two_classes(yes, said, np.round(said), groups, 1, True)[0]
        for found in watch.update(hour * HOUR_MS, {"": {**row, "model": sketch}}):
            told.append((hour // 24, found))
            if accept and len(told) == 1:
                assert watch.relearn(found.key)
    return told


def test_what_is_accepted_is_told_once_it_was_over_and_comes_again() -> None:
    """There is nothing usual to learn of a baseline: neither that it lasts nor its end is told."""
    told = judged([(10, 0.0), (10, 1.0), (10, -1.0)], accept=True)
    first, *again = [day for day, _ in told]
    assert first < 10
    assert min(again) >= 20
    assert len(again) > 2  # it lasts
    assert all(found.ongoing for _, found in told)


def test_an_end_has_a_number_and_a_sentence_that_reads() -> None:
    """Its test has begun anew, so that there is no evidence."""
    found = [each for _, each in judged([(10, 0.0), (10, 1.0)])]
    first, end = found[0], found[-1]
    assert [each.ongoing for each in found].index(False) == len(found) - 1
    assert first.statistic >= first.threshold
    assert end.statistic == 0.0
    assert end.summary.startswith("The model is better than zero-rule again; on events since 1970-")
