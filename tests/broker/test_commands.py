"""Every command that talks to a broker, as a user runs it, against the embedded one."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Mapping
from pathlib import Path

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient

from streamproc.kafka.embedded import PARTITIONS, EmbeddedBroker
from tests.commands import WIDTH, Running, run, widest
from tests.servers import free_port

PIPELINE = """
from river import linear_model
from streamproc import Drift, Events, Field, Labels, Pipeline, PredictionBias, Window

pipeline = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    labels=Labels("cards.labels", id="id", value="fraud"),
    features=[Field("amount"), Window("amount", by="card", over=("1d",), aggregates=("mean",))],
    model=linear_model.LogisticRegression(),
    monitors=[Drift(), PredictionBias()],
    publish_every=20,
)
"""
PREDICTION = {
    "id": "17",
    "key": "c1",
    "event_time_ms": 1_522_540_800_000,
    "score": 0.25,
    "decision": False,
    "model": "main@3",
    "features": {"amount": 12.5, "note": "x" * 100},
    "scored_at_ms": 1_522_540_800_100,
    "trace": "00-0-0-01",
}
OUTCOME = {**PREDICTION, "label": 1, "label_time_ms": 1_523_145_600_000, "labelled_at_ms": 0}
LATE = {
    "id": "17",
    "key": "c1",
    "event_time_ms": 1_522_540_800_000,
    "watermark_ms": 1_522_551_600_000,
    "late_by_ms": 7_200_000,
    "source_topic": "cards.events",
    "source_partition": 3,
    "source_offset": 41,
    "scored": False,
}
ALERT = {
    "alert_id": "a1",
    "key": "covariate_drift/amount",
    "status": "open",
    "kind": "covariate_drift",
    "subject": "amount",
    "slice": None,
    "severity": "warning",
    "statistic": 9.5,
    "threshold": 5.0,
    "expected": 53.1,
    "observed": 80.0,
    "samples": 4000,
    "first_seen_ms": 1_522_540_800_000,
    "detected_at_ms": 1_522_540_800_000,
    "summary": "The mean of amount was 80.0 where 53.1 was expected, over 4,000 events; see "
    "whether its source changed.",
}


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a pipeline and a file of forty payments."""
    (tmp_path / "cards.py").write_text(PIPELINE)
    rows = [
        f"{n},{n % 7},2018-04-0{1 + n // 20}T00:00:{n:02}Z,{n}.5,{n % 3 // 2}" for n in range(40)
    ]
    (tmp_path / "cards.csv").write_text("\n".join(["id,card,at,amount,fraud", *rows, ""]))
    return tmp_path


@pytest.fixture
def env(embedded: EmbeddedBroker) -> Mapping[str, str]:
    """The environment that names the broker and the pipeline."""
    return {"STREAMPROC_BROKERS": embedded.address, "STREAMPROC_PIPELINE": "cards.py"}


def write(broker: EmbeddedBroker, topic: str, *values: bytes | None, **more: object) -> None:
    """Write records to a topic's first partition, or to that in ``more``."""
    producer = Producer({"bootstrap.servers": broker.address, "linger.ms": 5})
    for value in values:
        producer.produce(topic, value, **{"partition": 0, **more})  # type: ignore[arg-type]
    assert producer.flush(10) == 0


def test_topics_are_listed_then_made_then_present(folder: Path, env: Mapping[str, str]) -> None:
    """A dry run makes nothing, a run makes all that is missing, another finds all there."""
    states = []
    for options in (["--dry-run"], [], [], ["--dry-run"]):
        done = run(folder, "topics", *options, "--json", env=env)
        assert (done.code, done.err) == (0, "")
        listed = json.loads(done.out)
        states.append({topic["state"] for topic in listed})
        assert [topic["name"] for topic in listed][:3] == [
            "cards.events",
            "cards.labels",
            "cards.predictions",
        ]
    assert states == [{"missing"}, {"made"}, {"present"}, {"present"}]


def test_topics_fit_the_terminal(folder: Path, env: Mapping[str, str]) -> None:
    """For people it is a line a topic and a count."""
    done = run(folder, "topics", "cards.py", env=env, tty=True)
    assert done.code == 0
    assert "12 made, of 12\n" in done.out
    assert re.search(r"^made     cards.predictions +4  a prediction an event$", done.out, re.M)
    assert widest(done.out) <= WIDTH


@pytest.mark.parametrize(
    ("what", "message", "lines"),
    [
        (
            "predictions",
            PREDICTION,
            r"2018-04-01 00:00:00  17  c1  0\.2500 no  main@3  amount=12\.5 note=x+…",
        ),
        (
            "outcomes",
            OUTCOME,
            r"2018-04-01 00:00:00  17  c1  0\.2500 no  label 1 after 7\.0 d  main@3",
        ),
        (
            "late",
            LATE,
            r"2018-04-01 00:00:00  17  c1  2\.0 h too late, not scored  cards\.events/3 at 41",
        ),
        (
            "alerts",
            ALERT,
            r"2018-04-01 00:00  open  warning  covariate_drift\n"
            r"    The mean of amount .* over 4,000 events; see\n    whether its source changed\.",
        ),
    ],
)
def test_messages_are_json_when_piped_and_lines_on_a_terminal(
    folder: Path,
    env: Mapping[str, str],
    embedded: EmbeddedBroker,
    what: str,
    message: Mapping[str, object],
    lines: str,
) -> None:
    """A program gets what was published, a person gets what fits; what is no message is told."""
    write(embedded, f"cards.{what}", b"oops", json.dumps(message).encode(), b"{}")
    piped = run(folder, "watch", what, "--from-beginning", "--limit", "2", env=env)
    assert piped.code == 0
    assert json.loads(piped.out) == message
    assert piped.err.startswith(f"streamproc: cards.{what}/0 at 0 is left out: not_json\n")
    asked = run(
        folder, "watch", what, "--from-beginning", "--limit", "2", "--json", env=env, tty=True
    )
    assert json.loads(asked.out.splitlines()[-1]) == message
    shown = run(folder, "watch", what, "--from-beginning", "--limit", "2", env=env, tty=True)
    assert re.fullmatch(lines, "\n".join(shown.out.splitlines()[-lines.count(r"\n") - 1 :]))
    assert widest(shown.out) <= WIDTH


def test_dead_letters_keep_their_bytes_and_cannot_steer_the_terminal(
    folder: Path, env: Mapping[str, str], embedded: EmbeddedBroker
) -> None:
    """Each has its reason, its source and its first bytes; bytes that are no text stay whole."""
    headers = {"reason": "not_json", "error": "it is no JSON", "stage": "score"}
    headers |= {"source_topic": "cards.events", "source_partition": "3", "source_offset": "12"}
    values = (b"\x1b[2J{oops", b"\xff\x00", None)
    write(embedded, "cards.dead-letters", *values, headers=headers, key=b"k")
    options = ("watch", "dead-letters", "--from-beginning", "--limit", "3")
    shown = run(folder, *options, env=env, tty=True)
    assert shown.out.splitlines() == [
        "not_json  cards.events/3 at 12  \ufffd[2J{oops",
        "not_json  cards.events/3 at 12  b'\\xff\\x00'",
        "not_json  cards.events/3 at 12  no value",
    ]
    piped = run(folder, *options, env=env)
    text, raw, none = map(json.loads, piped.out.splitlines())
    assert (text["value"], text["size_bytes"], text["source_offset"]) == ("\x1b[2J{oops", 9, 12)
    assert (raw["value_base64"], none["value"]) == ("/wA=", None)


def test_watching_goes_on_until_ctrl_c(
    folder: Path, env: Mapping[str, str], embedded: EmbeddedBroker
) -> None:
    """What comes later is shown, what was there before is not, and ctrl-C ends it silently."""
    write(embedded, "cards.alerts", json.dumps({**ALERT, "alert_id": "before"}).encode())
    with Running(folder, "watch", "alerts", env=env) as watching:

        def seen() -> bool:
            write(embedded, "cards.alerts", json.dumps(ALERT).encode())
            return "a1" in watching.out()

        watching.until(seen)
        done = watching.interrupt()
    assert (done.code, done.err) == (130, "")
    assert "before" not in done.out


def test_a_topic_that_is_not_there_is_told(folder: Path, env: Mapping[str, str]) -> None:
    """There is nothing to watch before the topics were made."""
    done = run(folder, "watch", "alerts", env=env)
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"streamproc: there is no topic cards.alerts at .*\n", done.err)


@pytest.mark.parametrize(
    "arguments",
    [
        ["worker"],
        ["topics"],
        ["topics", "--dry-run"],
        ["watch", "predictions"],
        ["check", "--online", "--json"],
        ["produce", "cards.csv"],
    ],
)
def test_a_broker_that_is_not_there_is_one_line(folder: Path, arguments: list[str]) -> None:
    """The line names the address and says how to start a broker."""
    address = f"127.0.0.1:{free_port()}"
    env = {"STREAMPROC_BROKERS": address, "STREAMPROC_PIPELINE": "cards.py"}
    done = run(folder, *arguments, env=env)
    assert (done.code, done.out) == (1, "")
    assert done.err == (
        f"streamproc: no broker answered at {address}; start one with `streamproc broker`, or "
        "name yours in STREAMPROC_BROKERS\n"
    )


def test_a_broker_runs_until_ctrl_c(tmp_path: Path) -> None:
    """It says where it is and what it is; a client of another process reaches it."""
    with Running(tmp_path, "broker", tty=True) as broker:
        broker.until(lambda: "ctrl-C ends it." in broker.out())
        found = re.search(r"^    export STREAMPROC_BROKERS=(127\.0\.0\.1:\d+)$", broker.out(), re.M)
        assert found, broker.out()
        assert "5 MB" in broker.out()
        assert "at least once" in broker.out()
        assert widest(broker.out()) <= WIDTH
        admin = AdminClient({"bootstrap.servers": found[1]})
        assert len(admin.list_topics(timeout=10).brokers) == 1
        told = broker.out()
        done = broker.interrupt()
    assert (done.code, done.out) == (130, told)


def test_the_address_of_a_broker_as_json(tmp_path: Path) -> None:
    """A program reads one line, and ends the broker by SIGTERM."""
    with Running(tmp_path, "broker", "--json") as broker:
        broker.until(lambda: "\n" in broker.out())
        assert re.fullmatch(r"127\.0\.0\.1:\d+", json.loads(broker.out())["address"])
        assert broker.interrupt(signal.SIGTERM).code == -signal.SIGTERM


def test_labels_that_meet_their_events_pass(
    folder: Path, env: Mapping[str, str], embedded: EmbeddedBroker
) -> None:
    """What `produce` sends passes; before there is anything, that is said."""
    assert run(folder, "topics", env=env).code == 0
    assert "no key is in both topics yet" in run(folder, "check", "--online", env=env).out
    assert run(folder, "produce", "cards.csv", env=env).code == 0
    checked = json.loads(run(folder, "check", "--online", "--json", env=env).out)
    assert checked["keys_compared"] == 7
    assert set(checked["topics_present"].values()) == {True}


def test_labels_that_miss_their_events_are_told(
    folder: Path, env: Mapping[str, str], embedded: EmbeddedBroker
) -> None:
    """A key in another partition of the labels than of the events fails the check."""
    assert run(folder, "topics", env=env).code == 0
    write(embedded, "cards.events", b"{}", key=b"c1", partition=1)
    write(embedded, "cards.labels", b"{}", key=b"c1", partition=2)
    done = run(folder, "check", "--online", "--json", env=env)
    assert (done.code, done.out) == (1, "")
    assert "1 of 1 keys are in another partition of cards.labels" in done.err
    assert done.err.count("\n") == 1


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_worker_ends_with_its_work_committed(
    folder: Path, env: Mapping[str, str], embedded: EmbeddedBroker, number: signal.Signals
) -> None:
    """A signal ends a worker within 2 s and with 0; the group's offsets are all it processed."""
    with Running(folder, "worker", "cards.py", env=env) as worker:
        worker.until(lambda: '"event":"started"' in worker.err())
        sent = run(folder, "produce", "cards.csv", "--label-delay", "1h", "--json", env=env)
        assert json.loads(sent.out)["events"] == 40
        watched = run(folder, "watch", "outcomes", "--from-beginning", "--limit", "40", env=env)
        assert {json.loads(line)["id"] for line in watched.out.splitlines()} == {
            str(n) for n in range(40)
        }
        done = worker.interrupt(number)
    assert (done.code, done.out) == (0, "")
    for line in done.err.splitlines():
        assert json.loads(line)["level"] == "info", line
    assert committed(embedded, "cards", "cards.events") == 40
    assert committed(embedded, "cards", "cards.labels") == 40


def committed(broker: EmbeddedBroker, group: str, topic: str) -> int:
    """Return how many records of a topic a group has committed."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": group})
    places = [TopicPartition(topic, number) for number in range(PARTITIONS)]
    try:
        return sum(max(0, place.offset) for place in consumer.committed(places, timeout=10))
    finally:
        consumer.close()


def test_producing_ends_with_ctrl_c(folder: Path, env: Mapping[str, str]) -> None:
    """The bar goes, what was sent is told, and the exit code is ctrl-C's."""
    with Running(folder, "produce", "cards.csv", "--rate", "10", env=env, tty=True) as producing:
        producing.until(lambda: " events, " in producing.out())
        assert widest(producing.out()) <= WIDTH
        done = producing.interrupt()
    assert done.code == 130
    assert "stopped before the end of the file; did not arrive: none" in done.out


def test_performance_is_told_of_the_newest_reports(
    folder: Path, env: Mapping[str, str], embedded: EmbeddedBroker
) -> None:
    """Of each slice the last; a pipeline that reports none is a mistake, and is told."""
    done = run(folder, "performance", env=env)
    assert (done.code, done.out) == (2, "")
    assert "add Performance() to its monitors" in done.err
    text = PIPELINE.replace("PredictionBias", "Performance")
    (folder / "cards.py").write_text(text)
    for there, told in (
        (env, "there is no topic cards.metrics at "),
        (
            {**env, "STREAMPROC_BROKERS": "127.0.0.1:9"},
            "no broker answered at 127.0.0.1:9; start one",
        ),
    ):
        done = run(folder, "performance", env=there)
        assert (done.code, done.out) == (1, "")
        assert done.err.startswith(f"streamproc: {told}")
        assert done.err.count("\n") == 1
    reports = [
        {
            "about": "outcomes", "slice": slice_, "from_ms": 0, "to_ms": n, "n": n, "unusable": 0,
            "event_from_ms": 0, "event_to_ms": 5,
            "metrics": {"model": {"roc_auc": 0.75}, "zero_rule": {"roc_auc": None}},
        }
        for n in (1, 2)
        for slice_ in (None, {"country": "NL"})
    ]  # fmt: skip
    write(embedded, "cards.metrics", b"{", *map(json.dumps, reports))  # type: ignore[arg-type]
    done = run(folder, "performance", "--json", env=env)
    assert (done.code, done.err) == (0, "")
    assert [json.loads(line) for line in done.out.splitlines()] == [reports[2]]
    done = run(folder, "performance", "--slices", env=env, tty=True)
    assert "country=NL: 2 outcomes" in done.out
    assert re.search(r"^ROC AUC +0\.7500 +-", done.out, re.M)
    assert widest(done.out) <= WIDTH
