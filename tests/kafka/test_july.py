"""A month of real payments through Apache Kafka and a worker, beside a calculation and a backtest.

Everything is produced before the worker starts, so that what it reads has one order.
"""

from __future__ import annotations

import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message
from numpy.typing import NDArray
from pyarrow import parquet

from tests.kafka import payments_oracle as oracle
from tests.kafka.processes import EXAMPLE, Worker, run
from tests.kafka.topic_reader import TopicReader, as_json, id_of, read_all
from tests.kafka_server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.data, pytest.mark.timeout(600)]

LABEL_DELAY = "7d"
LEAST_COMPARED = 0.1
PUBLISHED_AUC = 0.871
"""Logistic regression in the published table: in batch, and with features of terminals too."""

_SILENT_S = 60.0


@dataclass(frozen=True)
class Scored:
    """What was published of one event."""

    id: str
    score: float
    model: str
    features: list[float]


@dataclass(frozen=True)
class July:
    """The run: the file, how many labels were sent, and what the worker wrote."""

    file: Path
    payments: oracle.Payments
    labels_sent: int
    predictions: list[Scored]
    outcomes: list[str]
    names: list[str]

    def in_order(self) -> list[Scored]:
        """Return an event's prediction each, in the order of the file."""
        by_id = {each.id: each for each in self.predictions}
        return [by_id[event_id] for event_id in self.payments.ids]


@pytest.fixture(scope="module")
def july(kafka: KafkaServer, data: Path, tmp_path_factory: pytest.TempPathFactory) -> July:
    """Send July, run a worker until every label is joined, stop it, and read what it wrote."""
    folder = tmp_path_factory.mktemp("july")
    file = data / "payments/transactions-2018-07.csv.gz"
    sent = run(
        *("produce", file, "--pipeline", EXAMPLE, "--label-delay", LABEL_DELAY),
        address=kafka.address,
        folder=folder,
    )
    names: list[str] = []

    def scored(message: Message) -> Scored:
        value: dict[str, Any] = as_json(message)
        names[:] = names or list(value["features"])
        row = oracle.as_row(value["features"])
        return Scored(value["id"], value["score"], value["model"], row)

    began_s = time.monotonic()
    with (
        Worker(EXAMPLE, kafka.address, folder) as worker,
        TopicReader(kafka.address, "payments.outcomes", id_of) as outcomes,
    ):
        outcomes.until_count(sent["labels"], _SILENT_S, worker.check)
        took_s = time.monotonic() - began_s
        worker.stop()
        joined = outcomes.until_end()
    predictions = read_all(kafka.address, "payments.predictions", scored)
    print(
        f"\nsent {sent['events']:,} events and {sent['labels']:,} labels in {sent['seconds']} s; "
        f"the worker took {took_s:.1f} s from its start to the last outcome"
    )
    return July(file, oracle.read(file), sent["labels"], predictions, joined, names)


def test_every_event_has_one_prediction(july: July) -> None:
    """Each event is predicted once, by id, and nothing else is."""
    counts = Counter(each.id for each in july.predictions)
    assert counts.most_common(1)[0][1] == 1
    assert counts.keys() == set(july.payments.ids)


def test_features_are_what_a_plain_calculation_gives(july: July) -> None:
    """Counts and calendar are exact, amounts and means within 1e-9."""
    expected = oracle.features_of(july.payments)
    actual = np.array([each.features for each in july.in_order()])
    assert july.names == oracle.NAMES
    difference = np.abs(actual - expected).max(axis=0)
    print("\nlargest difference:", dict(zip(oracle.NAMES, difference.tolist(), strict=True)))
    assert not difference[oracle.COUNTED].any()
    assert difference.max() <= 1e-9


def test_every_label_is_joined_once(july: July) -> None:
    """All labels sent have their outcome."""
    assert len(july.payments) == july.labels_sent
    assert Counter(july.outcomes) == Counter(july.payments.ids)


def test_the_last_week_is_predicted_as_well_as_by_a_batch(july: July) -> None:
    """The AUC of the last week, as scored then, comes near that of a regression fitted in batch.

    That has the same features and the labels that were known when the week began.
    """
    payments = july.payments
    week_began = np.datetime64("2018-07-25", "s").astype(np.int64)
    week = payments.times_s >= week_began
    known = payments.times_s < week_began - 7 * 86_400
    features = oracle.features_of(payments)
    frauds = payments.frauds[week]
    scores = np.array([each.score for each in july.in_order()])[week]
    batch = oracle.regression_scores(features[known], payments.frauds[known], features[week])
    auc = oracle.area_under_curve(frauds, scores)
    batch_auc = oracle.area_under_curve(frauds, batch)
    print(
        f"\nAUC 2018-07-25..31: {auc:.4f} on {len(frauds):,} events with {frauds.sum()} frauds, "
        f"each scored when it came, with labels 7 days late; a batch regression on the same "
        f"features: {batch_auc:.4f}; published, with features of terminals and for another week: "
        f"{PUBLISHED_AUC}"
    )
    assert auc >= batch_auc - 0.03


@pytest.fixture(scope="module")
def replayed(
    july: July, kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory
) -> dict[str, Any]:
    """Backtest the same file; return the columns of what it wrote, in the order of the file."""
    folder = tmp_path_factory.mktemp("backtest")
    out = folder / "july.parquet"
    told = run(
        *("backtest", EXAMPLE, july.file, "--label-delay", LABEL_DELAY, "--out", out),
        address=kafka.address,
        folder=folder,
        timeout_s=400,
    )
    print("\nbacktest:", told)
    table = parquet.read_table(out)
    assert table["id"].to_pylist() == july.payments.ids
    columns: dict[str, Any] = {name: table[name].to_numpy() for name in table.column_names}
    return columns


def _bits(numbers: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.ascontiguousarray(numbers, dtype=np.float64).view(np.int64)


def test_a_backtest_gives_the_same_features_to_the_bit(
    july: July, replayed: dict[str, Any]
) -> None:
    """Every feature of every event has the very bits it had live."""
    live = np.array([each.features for each in july.in_order()])
    offline = np.column_stack([replayed[name] for name in oracle.NAMES])
    assert np.array_equal(_bits(live), _bits(offline))


def test_a_backtest_gives_the_same_scores_where_the_version_is_the_same(
    july: July, replayed: dict[str, Any]
) -> None:
    """Where live and backtest used one version the scores are equal, and often enough they did."""
    live = july.in_order()
    live_models = np.array([each.model for each in live])
    same = live_models == replayed["model"]
    versions = [
        np.array([int(m.split("@")[1]) for m in each]) for each in (live_models, replayed["model"])
    ]
    behind = versions[0] - versions[1]
    learnt = same & (versions[0] > 0)
    print(
        f"\ncompared {same.sum():,} scores of {len(live):,} ({same.mean():.1%}), "
        f"{learnt.sum():,} of them by a model that had learnt; "
        f"live version minus backtest version: "
        f"{dict(Counter(behind.tolist()).most_common(8))}, "
        f"from {behind.min()} to {behind.max()}; last version {versions[0].max()}"
    )
    scores = np.array([each.score for each in live])
    assert np.array_equal(_bits(scores[same]), _bits(replayed["score"][same]))
    assert learnt.sum() >= LEAST_COMPARED * len(live)
