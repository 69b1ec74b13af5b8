"""The gauges say what the tasks hold."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
from river import linear_model

from agents.metrics import Metrics
from agents.observe import Observer
from streamproc.codec import JsonCodec
from streamproc.features import Hashed
from streamproc.pipeline import Events, Pipeline
from streamproc.tasks.score import ScoreTask


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
    Observer(runner, None, None, metrics).refresh()  # type: ignore[arg-type]
    told = {
        tuple(sample.labels.values()): sample.value
        for family in metrics.hashed.collect()
        for sample in family.samples
    }
    expected = {("shop_hash", "no"): 0, ("shop_hash", "yes"): 13}
    expected |= {("city_hash", "no"): 1, ("city_hash", "yes"): 0}
    assert told == pytest.approx(expected, abs=1.5)  # an estimate
