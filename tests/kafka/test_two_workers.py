"""Two workers that come and go, politely and not, while payments flow."""

from __future__ import annotations

import signal
import subprocess
from collections import Counter
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pytest

from tests.kafka import payments_oracle as oracle
from tests.kafka.processes import Worker, command, environment, payments_as
from tests.kafka.processes import run as run_command
from tests.kafka.topic_reader import TopicReader, as_json, id_of, read_all
from tests.kafka_server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.data, pytest.mark.timeout(360)]

NAME = "turns"
TURNS = (
    ("w1", signal.SIGTERM),
    ("w2", signal.SIGKILL),
    ("w1", signal.SIGKILL),
    ("w2", signal.SIGTERM),
)
_RATE = 1_000
_NEW_A_TURN = 2_000
_SILENT_S = 30.0


@dataclass(frozen=True)
class Turns:
    """What went in, and what came out, of the run in which workers came and went."""

    pipeline: Path
    address: str
    folder: Path
    payments: oracle.Payments
    labels: set[str]
    predictions: list[dict[str, Any]]
    outcomes: list[dict[str, Any]]


class _Run:
    """Two workers on one pipeline, and a view on the predictions that they write."""

    def __init__(self, stack: ExitStack, kafka: KafkaServer, folder: Path) -> None:
        self.pipeline = payments_as(NAME, folder)
        self.folder = folder
        self.address = kafka.address
        self._stack = stack
        self.workers: dict[str, Worker] = {}

    def start(self, instance: str) -> None:
        """Start a worker."""
        worker = Worker(self.pipeline, self.address, self.folder, instance)
        self.workers[instance] = self._stack.enter_context(worker)

    def check(self) -> None:
        """Fail where a worker ended that nobody stopped."""
        for worker in self.workers.values():
            worker.check()

    def take_turns(self, predictions: TopicReader[dict[str, Any]]) -> None:
        """Stop each in its turn, see the other go on, and start it again."""
        for instance, number in TURNS:
            took_s = self.workers.pop(instance).stop(number)
            count = len(predictions.records)
            predictions.until_count(count + _NEW_A_TURN, _SILENT_S, self.check)
            print(f"{instance} ended by {number.name} in {took_s:.2f} s; the other went on")
            self.start(instance)
            self.workers[instance].wait_until_scoring()
            # Both have work in hand when the next of them goes.
            count = len(predictions.until_end())
            predictions.until_count(count + _NEW_A_TURN, _SILENT_S, self.check)


def _produce(run: _Run, file: Path) -> subprocess.Popen[bytes]:
    line = command(
        *("produce", file, "--pipeline", run.pipeline, "--label-delay", "6h"),
        *("--rate", str(_RATE), "--json"),
    )
    store = run.folder / "store"
    return subprocess.Popen(
        line, env=environment(run.address, store), cwd=run.folder, stdout=subprocess.PIPE
    )


@pytest.fixture(scope="module")
def turns(
    kafka: KafkaServer, data: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Turns]:
    """Let events flow, workers take turns, and all settle."""
    file = data / "payments/transactions-2018-07.csv.gz"
    with ExitStack() as stack:
        run = _Run(stack, kafka, tmp_path_factory.mktemp(NAME))
        run.start("w1")
        run.start("w2")
        for worker in run.workers.values():
            worker.wait_until_scoring()
        producing = stack.enter_context(_produce(run, file))
        stack.callback(producing.kill)
        reader: TopicReader[dict[str, Any]] = TopicReader(
            kafka.address, f"{NAME}.predictions", as_json
        )
        predictions = stack.enter_context(reader)
        predictions.until_count(_NEW_A_TURN, _SILENT_S, run.check)
        run.take_turns(predictions)
        assert producing.poll() is None, "the flow ended before the turns did"
        producing.send_signal(signal.SIGINT)
        told = orjson.loads(producing.communicate(timeout=30)[0])
        events = set(read_all(kafka.address, f"{NAME}.transactions", _raw_id))
        labels = set(read_all(kafka.address, f"{NAME}.labels", _raw_id))
        print(f"sent {len(events):,} events and {len(labels):,} labels: {told}")
        _settle(run, predictions, events, labels)
        for worker in run.workers.values():
            worker.stop()
        outcomes = read_all(kafka.address, f"{NAME}.outcomes", as_json)
        # A ctrl-C may come between the sending of an event and the counting of it.
        read = oracle.read(file, limit=told["events"] + 1).only(events)
        found = predictions.until_end()
        yield Turns(run.pipeline, run.address, run.folder, read, labels, found, outcomes)


def _settle(
    run: _Run, predictions: TopicReader[dict[str, Any]], events: set[str], labels: set[str]
) -> None:
    def all_there(reader: TopicReader[dict[str, Any]], ids: set[str]) -> bool:
        return len(reader.records) >= len(ids) and ids <= {each["id"] for each in reader.records}

    predictions.until(
        lambda: all_there(predictions, events), "a prediction of each event", _SILENT_S, run.check
    )
    reader: TopicReader[dict[str, Any]] = TopicReader(run.address, f"{NAME}.outcomes", as_json)
    with reader as outcomes:
        outcomes.until(
            lambda: all_there(outcomes, labels), "an outcome of each label", _SILENT_S, run.check
        )


def _raw_id(message: Any) -> str:
    return str(as_json(message)["transaction_id"])


def test_no_event_is_without_a_prediction(turns: Turns) -> None:
    """Every event has a prediction at least; those who died may have left some twice."""
    counts = Counter(each["id"] for each in turns.predictions)
    repeated = sum(counts.values()) - len(counts)
    print(f"\n{len(counts):,} events predicted, {repeated:,} predictions repeated")
    assert counts.keys() == set(turns.payments.ids)
    assert repeated == 0


def test_every_label_is_joined(turns: Turns) -> None:
    """Every label has an outcome at least, and each outcome holds what a prediction said."""
    counts = Counter(each["id"] for each in turns.outcomes)
    print(f"\n{len(counts):,} labels joined, {sum(counts.values()) - len(counts):,} repeated")
    assert counts.keys() == turns.labels
    assert len(turns.outcomes) == len(counts)
    said = {(each["id"], each["model"], each["score"]) for each in turns.predictions}
    assert {(each["id"], each["model"], each["score"]) for each in turns.outcomes} <= said


def test_windows_survive_their_workers(turns: Turns) -> None:
    """Every prediction, repeated or not, has the features that a plain calculation gives."""
    place = {event_id: i for i, event_id in enumerate(turns.payments.ids)}
    expected = oracle.features_of(turns.payments)
    rows = np.array([place[each["id"]] for each in turns.predictions])
    actual = np.array([oracle.as_row(each["features"]) for each in turns.predictions])
    difference = np.abs(actual - expected[rows]).max(axis=1)
    wrong = set(rows[difference > 1e-9].tolist()) - set(rows[difference <= 1e-9].tolist())
    print(f"\n{(difference > 1e-9).sum()} predictions with other features, {len(wrong)} events")
    assert not wrong


def test_every_prediction_can_be_made_again_to_the_bit(turns: Turns) -> None:
    """From the log and the published models, whoever made it and whatever became of them."""
    told = run_command(
        *("replay", turns.pipeline, "--verify"), address=turns.address, folder=turns.folder
    )
    assert told == {"compared": len(turns.payments), "rows_gone": 0, "differences": []}


def test_a_backlog_goes_on_when_a_neighbour_came_and_went(
    kafka: KafkaServer, data: Path, tmp_path: Path
) -> None:
    """Partitions that were held back when they were taken away are read on when they come back."""
    name, events = "neighbour", 250_000  # more than a worker takes in of a partition at once
    pipeline = payments_as(name, tmp_path)
    file = data / "payments/transactions-2018-07.csv.gz"
    run_command(
        *("produce", file, "--pipeline", pipeline, "--limit", str(events)),
        address=kafka.address,
        folder=tmp_path,
    )
    with (
        TopicReader(kafka.address, f"{name}.predictions", id_of) as predictions,
        Worker(pipeline, kafka.address, tmp_path, "w1") as first,
    ):
        predictions.until_count(2_000, _SILENT_S, first.check)
        with Worker(pipeline, kafka.address, tmp_path, "w2") as second:
            second.wait_for("started")
            second.stop()
        assert len(predictions.until_end()) < events / 2, "there was no backlog left"
        predictions.until(
            lambda: len(set(predictions.records)) == events, "all", _SILENT_S, first.check
        )
