"""Windows of terminals, where payments are keyed by customer: on 1, 4 and 16 partitions."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from confluent_kafka import Message

from streamproc.files import rows
from streamproc.kafka.producing import produce
from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline
from streamproc.timeline import LabelColumns, timeline
from tests.kafka import terminals_oracle as oracle
from tests.kafka.processes import Worker
from tests.kafka.topic_reader import TopicReader, as_json, read_all
from tests.kafka_server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.data, pytest.mark.timeout(600)]

EVENTS = 80_000
LABEL_DELAY_S = 7 * oracle.DAY_S
_SILENT_S = 60.0
_FILE = """
from river import linear_model, preprocessing

from streamproc import Calendar, Events, Field, Labels, LabelWindow, Pipeline, Window

spans, kinds = ("1d", "7d", "30d"), ("count", "mean")
pipeline = Pipeline(
    name="{name}",
    events=Events("{name}.events", id="transaction_id", key="customer_id", time="event_time"),
    labels=Labels("{name}.labels", id="transaction_id", value="fraud", time="known", horizon="14d"),
    features=[
        Field("amount"),
        Calendar("event_time", ("is_weekend", "is_night")),
        Window("amount", by="customer_id", over=spans, aggregates=kinds),
        Window("amount", by="terminal_id", over=spans, aggregates=kinds),
        LabelWindow(by="terminal_id", over=spans, aggregates=kinds),
    ],
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
)
"""


@dataclass(frozen=True)
class Run:
    """What was in the log, and what was predicted: features and headers by id."""

    log: list[oracle.Payment]
    predictions: dict[int, dict[str, Any]]
    headers: Counter[str]
    repeated: int


def _payments(file: Path, disorder: bool) -> Iterator[dict[str, Any]]:
    """Yield the first payments; where asked, 5 % up to an hour late and 1 % twice."""
    chance = random.Random(7)
    placed = []
    for i, row in enumerate(rows(file)):
        if i == EVENTS:
            break
        at_s = _seconds(row["event_time"])
        late_s = chance.uniform(0, 3_500) if disorder and chance.random() < 0.05 else 0.0
        placed.append((at_s + late_s, i, row))
        if disorder and chance.random() < 0.01:
            placed.append((at_s + chance.uniform(1, 9_000), i, row))
    for _, _, row in sorted(placed, key=lambda each: each[:2]):
        yield {name: value for name, value in row.items() if name != "fraud_scenario"}


def _seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def _run(kafka: KafkaServer, data: Path, folder: Path, partitions: int, disorder: bool) -> Run:
    name = f"terminals-{partitions}{'-disorder' if disorder else ''}"
    file = folder / f"{name}.py"
    file.write_text(_FILE.format(name=name))
    pipeline, config = Pipeline.load(file), {"bootstrap.servers": kafka.address}
    create(config, pipeline, partitions)
    july = data / "payments/transactions-2018-07.csv.gz"
    entries = timeline(
        _payments(july, disorder),
        id="transaction_id",
        key="customer_id",
        time="event_time",
        labels=LabelColumns("transaction_id", "fraud", "known"),
        label_delay_ms=LABEL_DELAY_S * 1000,
    )
    topics = {"event": f"{name}.events", "label": f"{name}.labels"}
    produce(entries, config, topics)  # type: ignore[arg-type]
    frauds = {row["transaction_id"]: row["fraud"] for row in rows(july)}
    log: list[oracle.Payment] = read_all(
        kafka.address, topics["event"], lambda message: _logged(message, frauds)
    )
    wanted = {each.id for each in log}
    with (
        Worker(file, kafka.address, folder) as worker,
        TopicReader(kafka.address, f"{name}.predictions", _predicted) as predictions,
    ):
        predictions.until(
            lambda: len(predictions.records) >= len(wanted), "all", _SILENT_S, worker.check
        )
        worker.stop()
        found = predictions.until_end()
    headers = Counter(header for _, _, names in found for header in names)
    return Run(log, {i: f for i, f, _ in found}, headers, len(found) - len({i for i, *_ in found}))


def _logged(message: Message, frauds: dict[int, int]) -> oracle.Payment:
    row = as_json(message)
    at_s, event_id = _seconds(row["event_time"]), row["transaction_id"]
    terminal, amount = row["terminal_id"], row["amount"]
    where = (message.partition() or 0, message.offset() or 0)
    return oracle.Payment(
        *where, event_id, at_s, terminal, amount, frauds[event_id], at_s + LABEL_DELAY_S
    )


def _predicted(message: Message) -> tuple[int, dict[str, Any], list[str]]:
    said = as_json(message)
    return int(said["id"]), said["features"], [str(header[0]) for header in message.headers() or ()]


@pytest.fixture(scope="module")
def on(kafka: KafkaServer, data: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[int, Run]:
    """Run the same payments on 1, 4 and 16 partitions."""
    folder = tmp_path_factory.mktemp("terminals")
    return {n: _run(kafka, data, folder, n, disorder=False) for n in (1, 4, 16)}


def _wrong(run: Run) -> list[tuple[int, list[float], list[float]]]:
    """Return what is not as the oracle has it: id, features, and what they should be."""
    expected = oracle.features_of(run.log)
    wrong = []
    for event_id, features in run.predictions.items():
        actual = oracle.as_row(features)
        if not np.allclose(actual, expected[event_id], rtol=0, atol=1e-9, equal_nan=True):
            wrong.append((event_id, actual, expected[event_id]))
    return wrong


@pytest.mark.parametrize("partitions", [1, 4, 16])
def test_windows_of_terminals_are_exact(on: dict[int, Run], partitions: int) -> None:
    """Counts, means and fraud rates are those of a plain calculation; no wait expired."""
    run = on[partitions]
    assert run.repeated == 0
    assert run.predictions.keys() == {each.id for each in run.log}
    wrong = _wrong(run)
    print(f"\n{partitions} partitions: {len(run.predictions):,} events, {len(wrong)} wrong")
    assert not wrong, wrong[:3]
    assert not run.headers


def test_features_are_the_same_to_the_bit_on_any_number_of_partitions(on: dict[int, Run]) -> None:
    """Those of customers and those of terminals, of all events."""
    for partitions in (4, 16):
        differ = [
            i for i, each in on[1].predictions.items() if on[partitions].predictions[i] != each
        ]
        assert not differ, (partitions, differ[0])


def test_disorder_and_repeated_ids_leave_windows_exact(
    kafka: KafkaServer, data: Path, tmp_path: Path
) -> None:
    """With payments up to an hour late, and some twice, on four partitions."""
    run = _run(kafka, data, tmp_path, 4, disorder=True)
    assert run.repeated == 0
    assert run.predictions.keys() == {each.id for each in run.log}
    assert len(run.log) > len(run.predictions)
    wrong = _wrong(run)
    assert not wrong, wrong[:3]
    assert not run.headers
