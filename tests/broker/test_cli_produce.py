"""`streamproc produce` as a user runs it, against the embedded broker."""

from __future__ import annotations

import json
import re
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import NamedTuple

import pytest
from confluent_kafka import Consumer, Message, TopicPartition

from streamproc import cli
from streamproc.kafka.embedded import PARTITIONS, EmbeddedBroker
from tests.servers import free_port

PIPELINE = """
from river import linear_model
from streamproc.features import Field
from streamproc.events import Events, Labels
from streamproc.pipeline import Pipeline

pipeline = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    labels=Labels("cards.labels", id="id", value="fraud"),
    features=[Field("amount")],
    model=linear_model.LogisticRegression(),
)
"""
ROWS = "id,card,at,amount,fraud\n1,7,2018-04-01T00:00:00Z,1.5,0\n2,8,2018-04-02T00:00:00Z,2.5,1\n"


class Result(NamedTuple):
    """How a command ended."""

    exit_code: int
    stdout: str
    stderr: str


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, embedded: EmbeddedBroker) -> Path:
    """A folder with a pipeline and a file, and a broker in the environment."""
    (tmp_path / "cards.py").write_text(PIPELINE)
    (tmp_path / "cards.csv").write_text(ROWS)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("STREAMPROC_BROKERS", embedded.address)
    return tmp_path


def run(*arguments: str) -> Result:
    """Run the command with the pipeline of the folder."""
    return produce(*arguments, "-p", "cards.py")


def produce(*arguments: str) -> Result:
    """Run the command."""
    out, err = StringIO(), StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = cli.run(["produce", *arguments])
    return Result(code, out.getvalue(), err.getvalue())


def consume(broker: EmbeddedBroker, topic: str, count: int) -> list[Message]:
    """Return so many records of a topic, by time."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "test"})
    records: list[Message] = []
    try:
        consumer.assign([TopicPartition(topic, n, 0) for n in range(PARTITIONS)])
        for _ in range(60):
            records += consumer.consume(count, timeout=0.5)
            if len(records) >= count:
                break
    finally:
        consumer.close()
    return sorted(records, key=lambda record: record.timestamp()[1])


def test_events_and_late_labels_arrive(folder: Path, embedded: EmbeddedBroker) -> None:
    """Both topics have their records; a label's timestamp is when it was due."""
    result = run("cards.csv", "--label-delay", "7d", "--json")
    assert result.exit_code == 0, result.stderr
    summary = json.loads(result.stdout)
    assert summary.pop("seconds") >= 0
    assert summary == {"events": 2, "labels": 2, "unsent": 0, "interrupted": False}
    first_ms, day_ms = 1_522_540_800_000, 86_400_000
    assert [
        (r.key(), r.timestamp()[1], json.loads(r.value() or b""))
        for topic in ("cards.events", "cards.labels")
        for r in consume(embedded, topic, 2)
    ] == [
        (b"7", first_ms, {"id": 1, "card": 7, "at": "2018-04-01T00:00:00Z", "amount": 1.5}),
        (
            b"8",
            first_ms + day_ms,
            {"id": 2, "card": 8, "at": "2018-04-02T00:00:00Z", "amount": 2.5},
        ),
        (b"7", first_ms + 7 * day_ms, {"id": 1, "fraud": 0}),
        (b"8", first_ms + 8 * day_ms, {"id": 2, "fraud": 1}),
    ]


def test_a_file_without_id_and_time_is_given_both(folder: Path, embedded: EmbeddedBroker) -> None:
    """Rows are numbered and stamped as asked, and no more than the limit are sent."""
    (folder / "bare.csv").write_text("card,amount,noise\n7,1,x\n7,2,y\n7,3,z\n")
    stamps = ["--start", "1996-05-07", "--every", "30m", "--number-rows"]
    result = run("bare.csv", *stamps, "--limit", "2", "--leave-out", "noise")
    assert result.exit_code == 0, result.stderr
    assert re.fullmatch(r"2 events and 0 labels in \d+\.\d s \([\d,]+ events/s\)\n", result.stdout)
    assert "no row has 'fraud'" in result.stderr
    assert [json.loads(r.value() or b"") for r in consume(embedded, "cards.events", 2)] == [
        {"card": 7, "amount": 1, "id": 0, "at": "1996-05-07T00:00:00.000Z"},
        {"card": 7, "amount": 2, "id": 1, "at": "1996-05-07T00:30:00.000Z"},
    ]


@pytest.mark.parametrize(
    ("arguments", "code", "told"),
    [
        (["none.csv"], 2, "none.csv: no such file"),
        (["cards.py"], 2, "does not say what it holds"),
        (["cards.csv", "--label-delay", "soon"], 2, "--label-delay: 'soon'"),
        (["cards.csv", "--start", "tomorrow", "--every", "1h"], 2, "--start: 'tomorrow'"),
        (["cards.csv", "--start", "1996-05-07"], 2, "give both"),
        (["cards.csv", "--rate", "0"], 2, "a rate of 0"),
        (["cards.csv", "--rate", "1", "--speed", "1"], 2, "give one"),
        (["short.csv"], 1, "short.csv, line 2: 1 fields"),
        (["other.csv"], 1, "row 1 has no 'card'"),
    ],
)
def test_bad_input_is_one_line_and_an_exit_code(
    folder: Path, arguments: list[str], code: int, told: str
) -> None:
    """What the command line says wrongly ends with 2, what the file says wrongly with 1."""
    (folder / "short.csv").write_text("id,card,at,amount\n1\n")
    (folder / "other.csv").write_text("id,at\n1,2018-04-01T00:00:00Z\n")
    result = run(*arguments)
    assert result.exit_code == code
    assert result.stdout == ""
    assert told in result.stderr
    assert result.stderr.count("\n") == 1


def test_no_pipeline_is_told(folder: Path) -> None:
    """Without an option or a variable the message names both."""
    result = produce("cards.csv")
    assert result.exit_code == 2
    assert "name its file, or set STREAMPROC_PIPELINE" in result.stderr


def test_no_broker_is_told(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The address that did not answer is named, with how to start one."""
    address = f"127.0.0.1:{free_port()}"
    monkeypatch.setenv("STREAMPROC_BROKERS", address)
    result = run("cards.csv")
    assert result.exit_code == 1
    assert f"no broker answered at {address}; start one" in result.stderr
    assert result.stderr.count("\n") == 1
