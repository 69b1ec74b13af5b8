"""The gauges say what the tasks hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from river import linear_model

from agents.metrics import Metrics
from agents.observe import Observer
from streamproc.codec import JsonCodec
from streamproc.events import Events
from streamproc.features import Hashed, LabelWindow, Lookup, Window
from streamproc.features.lookup_tables import LatestRows, LatestTables
from streamproc.pipeline import Pipeline
from streamproc.tasks.score import ScoreTask
from tests.alert_steps import step
from tests.unit.tasks.kit import EVENTS, LABELS, Scoring, event, label
from tests.unit.tasks.kit import pipeline as shop

NO_TABLES: Any = SimpleNamespace(tables=LatestTables(()))


def test_hashed_categories_are_those_of_the_fullest_partition() -> None:
    """By whether they share a column: with one column and more than one category, all do."""
    pipeline = Pipeline(
        name="shop",
        events=Events("orders", id="id", key="card", time="at"),
        features=[Hashed("shop", buckets=1), Hashed("city", buckets=4096)],
        model=linear_model.LogisticRegression(),
    )
    tasks = [ScoreTask(pipeline, partition, JsonCodec()) for partition in range(2)]
    for number in range(20):
        fields = {"shop": f"shop {number}", "city": "Gent"}
        tasks[number % 2 or number < 5].features.compute(fields, str(number), "k", 0)
    named = {("score", partition): task for partition, task in enumerate(tasks)}
    runner: Any = SimpleNamespace(tasks=named, queued=0, keepers={}, end_of=lambda *_: None)
    metrics = Metrics("w")
    Observer(runner, NO_TABLES, None, metrics).refresh()
    told = {
        tuple(sample.labels.values()): sample.value
        for family in metrics.hashed.collect()
        for sample in family.samples
    }
    expected = {("shop_hash", "no"): 0, ("shop_hash", "yes"): 13}
    expected |= {("city_hash", "no"): 1, ("city_hash", "yes"): 0}
    assert told == pytest.approx(expected, abs=1.5)  # an estimate


def value_of(metrics: Metrics, name: str) -> float:
    """Return what /metrics says."""
    (line,) = [each for each in metrics.text().decode().splitlines() if each.startswith(f"{name} ")]
    return float(line.split()[1])


def observer(metrics: Metrics, *scoring: Scoring) -> tuple[Observer, dict[Any, ScoreTask]]:
    """Return what looks at some tasks, and the tasks by where they are."""
    tasks: dict[Any, ScoreTask] = {("score", n): each.task for n, each in enumerate(scoring)}
    runner: Any = SimpleNamespace(tasks=tasks, queued=0, keepers={}, end_of=lambda *_: None)
    return Observer(runner, NO_TABLES, None, metrics), tasks


def test_expired_entities_are_counted_whatever_becomes_of_their_task() -> None:
    """Each once, however often is looked, also where the task then goes to another worker."""
    window = Window("amount", by="card", over=("50ms",), aggregates=("count",))
    one, two = (Scoring(shop(features=[window], lateness="20ms")) for _ in range(2))
    metrics = Metrics("w")
    looking, tasks = observer(metrics, one, two)
    for number, scoring in ((5, one), (3, two)):
        idle = [event(n, 1, card=f"idle {n}") for n in range(number)]
        scoring.put(EVENTS, *idle, *(event(100 + n, 500 + n) for n in range(20))).run()
        assert scoring.task.features.expired_entities == number
    looking.refresh()
    looking.refresh()
    assert value_of(metrics, "streamproc_expired_entities_total") == 8
    del tasks["score", 0]
    two.put(EVENTS, event(200, 600, card="idle"), *(event(n, 2000) for n in range(300, 320))).run()
    looking.refresh()
    assert value_of(metrics, "streamproc_expired_entities_total") == 9


def test_labels_that_an_event_overtook_are_counted() -> None:
    """Known at 12 or 20, when an event of 20 was scored already; one known at 21 is in time.

    events  1(10)  2(20)                                3(22)
    labels                1 at 12   2 at 20   9 at 12           3 at 23
                          counted   counted   of no event       in time
    """
    window = LabelWindow(by="card", over=("50ms",))
    scoring = Scoring(shop(features=[window])).put(EVENTS, event(1, 10), event(2, 20)).run()
    scoring.put(LABELS, label(1, 12), label(2, 20), label(9, 12)).run()
    scoring.put(EVENTS, event(3, 22)).run()
    scoring.put(LABELS, label(3, 23)).run()
    metrics = Metrics("w")
    looking, _ = observer(metrics, scoring)
    looking.refresh()
    assert value_of(metrics, "streamproc_overtaken_labels_total") == 2
    counts = [each["features"]["label_count_50ms_by_card"] for each in scoring.said("predictions")]
    assert counts == [0, 0, 2]


def test_without_windows_over_labels_nothing_is_overtaken() -> None:
    """A label that comes late, by its own time, is then as good as any."""
    scoring = Scoring().put(EVENTS, event(1, 10), event(2, 20)).run()
    scoring.put(LABELS, label(1, 12)).run()
    assert scoring.task.overtaken_labels == 0


def test_tables_that_are_looked_up_in_are_told_by_topic() -> None:
    """How many rows, and how much memory they take."""
    tables = LatestTables([Lookup("profiles", "card", ("age",))])
    rows: LatestRows = tables.by_topic["profiles"]
    rows.put("7", (0, 0, 30))
    metrics = Metrics("w")
    looking, _ = observer(metrics)
    looking.score = SimpleNamespace(tables=tables)  # type: ignore[assignment]
    looking.refresh()
    assert value_of(metrics, 'streamproc_lookup_rows{topic="profiles"}') == 1
    assert value_of(metrics, 'streamproc_lookup_bytes{topic="profiles"}') == rows.size_bytes


def test_each_open_alert_is_told_by_the_worker_that_judges() -> None:
    """With what it is about, for as long as the judge is here."""
    alerts = [step("covariate_drift/amount"), step("k/a", slice={"b": "2", "a": "1"})]
    judging: Any = SimpleNamespace(
        judge=SimpleNamespace(open_alerts=lambda: alerts, latest_reports=list), positions=dict
    )
    metrics = Metrics("w")
    looking, tasks = observer(metrics)
    looking.judge = SimpleNamespace(task=judging)  # type: ignore[assignment]

    def told() -> dict[tuple[str, ...], float]:
        looking.refresh()
        (family,) = metrics.alert_open.collect()
        return {tuple(each.labels.values()): each.value for each in family.samples}

    assert told() == {}
    tasks["alerts", 0] = judging
    assert told() == {
        ("covariate_drift", "amount", "", "warning", "id-covariate_drift/amount"): 1,
        ("covariate_drift", "a", "a=1, b=2", "warning", "id-k/a"): 1,
    }
    assert value_of(metrics, 'streamproc_alerts_open{kind="covariate_drift"}') == 2
    del alerts[0]
    assert len(told()) == 1
    del tasks["alerts", 0]
    assert told() == {}


def test_performance_is_told_of_the_last_windows() -> None:
    """All of the whole, of slices a few of the model's; what isn't defined is left out."""
    found = {"brier": 0.1, "recall": 0.5, "precision": None}
    told = {"model": found, "zero_rule": {"brier": 0.2}}
    reports = [
        {"about": "outcomes", "slice": None, "metrics": told},
        {"about": "outcomes", "slice": {"country": "NL"}, "metrics": told},
        {"about": "predictions", "slice": None, "metrics": {"guessed": {"recall": 0.4}}},
    ]
    metrics = Metrics("w")
    looking, tasks = observer(metrics)
    judge = SimpleNamespace(open_alerts=list, latest_reports=lambda: reports)
    judging: Any = SimpleNamespace(judge=judge, positions=dict)
    looking.judge = SimpleNamespace(task=judging)  # type: ignore[assignment]
    tasks["alerts", 0] = judging
    looking.refresh()
    shown = {
        tuple(sample.labels.values()): sample.value
        for family in metrics.performance.collect()
        for sample in family.samples
    }
    assert shown == {
        ("brier", "model", "outcomes", ""): 0.1,
        ("recall", "model", "outcomes", ""): 0.5,
        ("brier", "zero_rule", "outcomes", ""): 0.2,
        ("recall", "model", "outcomes", "country=NL"): 0.5,
        ("recall", "guessed", "predictions", ""): 0.4,
    }
    reports.clear()
    looking.refresh()
    assert b"streamproc_performance{" not in metrics.text()
