"""The life of one worker on Apache Kafka: how it begins, ends, tells of itself, and sits out."""

from __future__ import annotations

import json
import signal
import subprocess
import urllib.error
import urllib.request
from collections import Counter
from collections.abc import Iterator
from operator import itemgetter
from pathlib import Path

import pytest
from confluent_kafka import Message

from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline
from tests.kafka.processes import (
    EXAMPLE,
    STOP_WITHIN_S,
    Worker,
    command,
    environment,
    eventually,
    payments_as,
    run,
)
from tests.kafka.topic_reader import TopicReader, as_json, id_of
from tests.kafka_server import KafkaServer
from tests.servers import free_port

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

_FILE = "payments/transactions-2018-07.csv.gz"


def _send(name: str, data: Path, address: str, folder: Path, events: int) -> Path:
    """Send the first events of July, and the labels of a day before; return the pipeline."""
    pipeline = payments_as(name, folder)
    run(
        *("produce", data / _FILE, "--pipeline", pipeline, "--label-delay", "1d"),
        *("--limit", str(events)),
        address=address,
        folder=folder,
    )
    return pipeline


@pytest.mark.data
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_its_work_committed(
    number: signal.Signals, kafka: KafkaServer, data: Path, tmp_path: Path
) -> None:
    """Amid a backlog it ends within 2 s, and the next worker repeats nothing and omits nothing."""
    name, events = f"ends-{number.name.lower()}", 30_000
    pipeline = _send(name, data, kafka.address, tmp_path, events)
    with TopicReader(kafka.address, f"{name}.predictions", id_of) as predictions:
        with Worker(pipeline, kafka.address, tmp_path) as first:
            predictions.until_count(3_000, check=first.check)
            took_s = first.stop(number)
            assert first.process.returncode == 0, first.tail()
            assert took_s < 2
        before = len(predictions.until_end())
        assert before < events, "it had done all before the signal came"
        with (
            Worker(pipeline, kafka.address, tmp_path) as second,
            TopicReader(kafka.address, f"{name}.outcomes", id_of) as outcomes,
        ):
            outcomes.until_count(events, check=second.check)
            second.stop()
            joined = Counter(outcomes.until_end())
        counts = Counter(predictions.until_end())
    print(f"\n{number.name}: ended in {took_s:.2f} s after {before:,} of {events:,} predictions")
    assert len(counts) == events
    assert counts.total() == events
    assert len(joined) == events
    assert joined.total() == events


def test_a_signal_ends_it_while_it_starts(kafka: KafkaServer, tmp_path: Path) -> None:
    """Ctrl-C as soon as it has said anything ends it within 2 s."""
    pipeline = payments_as("ends-early", tmp_path)
    with Worker(pipeline, kafka.address, tmp_path) as worker:
        worker.wait_for("serving")
        assert worker.stop(signal.SIGINT) < 2
        assert worker.process.returncode == 0, worker.tail()


def test_no_broker_is_told_in_one_line(tmp_path: Path) -> None:
    """Where no broker answers it says at which address, and how to start one, and fails."""
    address = f"127.0.0.1:{free_port()}"
    done = subprocess.run(
        command("worker", EXAMPLE),
        env=environment(address, tmp_path / "store"),
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert f"no broker answered at {address}" in line
    assert "streamproc broker" in line


def _get(url: str) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(url, timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


@pytest.mark.data
def test_it_tells_how_it_is(kafka: KafkaServer, data: Path, tmp_path: Path) -> None:
    """/healthz and /readyz answer 200 once it has tasks, and /metrics counts what it did."""
    events = 3_000
    pipeline = _send("tells", data, kafka.address, tmp_path, events)
    with Worker(pipeline, kafka.address, tmp_path) as worker:
        url = worker.wait_for("serving")["metrics"]
        base = url.removesuffix("/metrics")
        worker.wait_until_scoring(partitions=4)
        eventually(lambda: _get(f"{base}/readyz") == (200, "ok\n"), "/readyz to say ok")
        assert _get(f"{base}/healthz") == (200, "ok\n")
        assert _get(f"{base}/else")[0] == 404

        def told(name: str) -> float:
            lines = _get(url)[1].splitlines()
            values = [each.split() for each in lines if each.startswith((f"{name} ", f"{name}{{"))]
            return sum(float(value) for *_, value in values)

        eventually(lambda: told("streamproc_outcomes_total") == events, "all outcomes in /metrics")
        assert told("streamproc_predictions_total") == events
        assert told("streamproc_dead_letters_total") == 0
        eventually(lambda: told("streamproc_model_version") >= 1, "the first model version")
        assert told("streamproc_pending_labels") == 0
        assert told("streamproc_window_entries") > 0
        eventually(lambda: told("streamproc_lag_records") == 0, "no lag")
        with TopicReader(kafka.address, "tells.predictions", as_json) as predictions:
            predictions.until_count(events, check=worker.check)
        newest = max(predictions.records, key=itemgetter("event_time_ms"))
        status, answer = _get(f"{base}/features/{newest['key']}")
        held = json.loads(answer)["features"]
        assert (status, len(held)) == (200, 6)
        assert held == {name: newest["features"][name] for name in held}
        assert _get(f"{base}/features/nobody")[0] == 404


@pytest.fixture
def own_kafka(tmp_path: Path) -> Iterator[KafkaServer]:
    """Return a Kafka that a test may stop."""
    folder = tmp_path / "kafka"
    folder.mkdir()
    server = KafkaServer(folder)
    yield server
    server.stop()


@pytest.mark.data
def test_it_sits_out_a_broker_that_goes_away(
    own_kafka: KafkaServer, data: Path, tmp_path: Path
) -> None:
    """When the broker is stopped amid a backlog and started again, nothing is missing."""
    events = 30_000
    pipeline = _send("away", data, own_kafka.address, tmp_path, events)
    address = own_kafka.address
    with (
        Worker(pipeline, address, tmp_path) as worker,
        TopicReader(address, "away.predictions", id_of) as predictions,
    ):
        predictions.until_count(3_000, check=worker.check)
        own_kafka.stop()
        worker.check()
        own_kafka.start()
        with TopicReader(address, "away.outcomes", id_of) as outcomes:
            outcomes.until(
                lambda: len(set(outcomes.records)) == events,
                "an outcome of each event",
                check=worker.check,
            )
        assert worker.stop() < STOP_WITHIN_S
        counts = Counter(predictions.until_end())
    print(f"\n{counts.total() - len(counts)} predictions repeated")
    assert len(counts) == events


def test_a_worker_in_standby_is_there(kafka: KafkaServer, tmp_path: Path) -> None:
    """With one partition one of two has nothing to do: it says that it is there, and ends."""
    name = "standby"
    pipeline = payments_as(name, tmp_path)
    create({"bootstrap.servers": kafka.address}, Pipeline.load(pipeline), partitions=1)

    def of_health(message: Message) -> tuple[str, str]:
        said = json.loads(message.value() or b"{}")
        busy = "waiting" in said.get("values", {})
        return said.get("instance", ""), "leaves" if said.get("leaves") else f"busy: {busy}"

    with (
        Worker(pipeline, kafka.address, tmp_path, "one") as one,
        Worker(pipeline, kafka.address, tmp_path, "two") as two,
        TopicReader(kafka.address, f"{name}.buckets", of_health) as told,
    ):
        workers = {"one": one, "two": two}

        def latest() -> dict[str, str]:
            return {who: said for who, said in told.records if who}

        def check() -> None:
            one.check()
            two.check()

        told.until(lambda: len(set(latest().values())) == 2, "reports of both", check=check)
        (standby,) = (who for who, said in latest().items() if said == "busy: False")
        workers[standby].stop()
        assert workers[standby].process.returncode == 0, workers[standby].tail()
        told.until_end()
        assert latest()[standby] == "leaves", workers[standby].tail()


def test_a_crash_in_a_library_tells_where(kafka: KafkaServer, tmp_path: Path) -> None:
    """Of a segmentation fault the log has what each thread was at: nothing else would tell."""
    pipeline = payments_as("crashes", tmp_path)
    with Worker(pipeline, kafka.address, tmp_path) as worker:
        worker.wait_until_scoring()
        worker.process.send_signal(signal.SIGSEGV)
        worker.process.wait(STOP_WITHIN_S)
        said = worker.log.read_text(errors="replace")
    assert "Segmentation fault" in said
    assert "poller.py" in said
