"""`streamproc alerts` as people on call use it, against the embedded broker."""

from __future__ import annotations

import json
import os
import re
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition

from streamproc import cli
from streamproc.alerts import AlertBook, read_command
from streamproc.kafka.embedded import EmbeddedBroker
from streamproc.monitors.finding import Finding
from tests.commands import WIDTH, Done, run, widest
from tests.servers import free_port

PIPELINE = """
from river import linear_model
from streamproc import Drift, Events, Field, Labels, Pipeline

pipeline = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    labels=Labels("cards.labels", id="id", value="fraud"),
    features=[Field("amount"), Field("age")],
    model=linear_model.LogisticRegression(),
    monitors=[Drift()],
)
"""
HOUR_MS = 3_600_000
START_MS = 1_522_540_800_000


def drift(hour: int, subject: str, **what: Any) -> Finding:
    """Return a finding of a feature."""
    at_ms = START_MS + hour * HOUR_MS
    fields = {"effect": 1.0, "evidence": 3.0, "at_ms": at_ms, "ongoing": True, **what}
    return Finding(
        kind="covariate_drift",
        subject=subject,
        slice=None,
        severity="warning",
        statistic=9.5,
        threshold=5.0,
        expected=53.1,
        observed=80.0,
        samples=4000,
        first_seen_ms=at_ms - HOUR_MS,
        summary=f"The mean of {subject} was 80.0 where 53.1 was expected, over 4,000 events; see "
        "whether its source changed.",
        **fields,
    )


@pytest.fixture(scope="module")
def broker() -> Iterator[EmbeddedBroker]:
    """A broker for all tests here: commands are added, and none is taken away."""
    with EmbeddedBroker() as broker:
        yield broker


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, broker: EmbeddedBroker) -> Path:
    """A folder with a pipeline, where commands are called as from the command line."""
    (tmp_path / "cards.py").write_text(PIPELINE)
    env = {
        "STREAMPROC_BROKERS": broker.address,
        "STREAMPROC_PIPELINE": "cards.py",
        "LOGNAME": "ada",
        "COLUMNS": str(WIDTH),
    }
    for name, value in env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def told(broker: EmbeddedBroker) -> list[Any]:
    """Alerts on the topic: one of two features, told twice, and one that is over."""
    book = AlertBook("cards", "0123456789ab")
    steps: list[Any] = []
    for hour, findings in (
        (2, [drift(2, "old\x1b[31m")]),
        (3, [drift(2, "old\x1b[31m", ongoing=False)]),
        (50, [drift(50, "amount")]),
        (52, [drift(51, "age", evidence=1.0)]),
    ):
        now_ms = START_MS + hour * HOUR_MS
        steps += book.apply(findings, now_ms, {"": now_ms})
    producer = Producer({"bootstrap.servers": broker.address, "linger.ms": 5})
    for step in [*steps[:1], None, *steps[1:]]:
        value = json.dumps(step).encode() if step else b"oops"
        producer.produce("cards.alerts", value, partition=0)
    producer.produce("cards.operations", b"oops", partition=0)
    assert producer.flush(10) == 0
    return steps


@pytest.fixture
def call(folder: Path, capsys: pytest.CaptureFixture[str]) -> Callable[..., Done]:
    """Call `streamproc alerts` in this process."""

    def called(*arguments: str) -> Done:
        code = cli.run(["alerts", *arguments])
        out, err = capsys.readouterr()
        return Done(code, out, err)

    return called


def last_asked(broker: EmbeddedBroker) -> dict[str, Any]:
    """Return the newest record on the topic of operations, as a worker reads it."""
    consumer = Consumer({"bootstrap.servers": broker.address, "group.id": "test"})
    try:
        at = TopicPartition("cards.operations", 0)
        at.offset = consumer.get_watermark_offsets(at, timeout=10)[1] - 1
        consumer.assign([at])
        record = consumer.poll(20)
        assert record is not None
        value = record.value()
        assert value is not None
        read_command(value)
        found: dict[str, Any] = json.loads(value)
        return found
    finally:
        consumer.close()


def test_what_is_open_is_listed(call: Callable[..., Done], told: list[Any]) -> None:
    """For people within 80 columns, for programs as it is on the topic; --all has the rest."""
    newest = told[-1]
    shown = call("list", "cards.py")
    assert shown.code == 0
    assert shown.out.splitlines()[:2] == [
        f"{newest['alert_id']}  open      warning   since 2018-04-03 01:00 UTC",
        "    covariate_drift/amount and 1 more",
    ]
    assert widest(shown.out) <= WIDTH
    assert call() == shown
    assert json.loads(call("list", "--json").out) == [newest]
    all_ = json.loads(call("list", "--all", "--json").out)
    assert [it["status"] for it in all_] == ["resolved", "update"]
    assert "\x1b[31m" not in call("list", "--all").out


def test_one_is_shown_with_its_life(
    folder: Path, call: Callable[..., Done], told: list[Any]
) -> None:
    """Its figures, what it is about, its steps in order, and what was asked of it."""
    id_ = told[-1]["alert_id"]
    for verb in (["acknowledge", id_], ["silence", "--subject", "age"]):
        assert call(*verb, "--comment", "on it").code == 0
    assert call("silence", "--subject", "other").code == 0
    shown = run(folder, "alerts", "show", id_, env=dict(os.environ), tty=True)
    assert shown.code == 0, shown
    assert widest(shown.out) <= WIDTH
    for line in (
        r"  expected      53\.1",
        r"  pipeline      cards 0123456789ab",
        r"about 2, the likely cause first:",
        r"  covariate_drift amount  53\.1 -> 80",
        r"  covariate_drift age  53\.1 -> 80",
        r"  2018-04-03 02:00 UTC  open                    warning   9\.5 over 4,000",
        r"  2018-04-03 04:00 UTC  update, wider           warning   9\.5 over 4,000",
        r"  \d{4}-.* UTC  acknowledge by ada: on it",
        r"  \d{4}-.* UTC  silence until \d{4}-.* UTC by ada: on it",
    ):
        assert re.search(f"^{line}$", shown.out, re.M), (line, shown.out)
    assert call("show", id_, "--svg", "alert.svg").code == 0
    assert ElementTree.parse(folder / "alert.svg").getroot().tag.endswith("}svg")
    as_json = json.loads(call("show", id_, "--json").out)
    assert as_json["steps"] == told[2:]
    assert as_json["alert"] == told[-1]
    asked = [(it["command"], it.get("comment")) for it in as_json["commands"]]
    assert ("acknowledge", "on it") in asked
    assert ("silence", "on it") in asked
    assert not [it for it in as_json["commands"] if it.get("match") == {"subject": "other"}]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["acknowledge", "ID", "--comment", "on it"], {"alert_id": "ID", "comment": "on it"}),
        (["accept-as-normal", "ID", "cards.py"], {"command": "accept_as_normal"}),
        (["silence", "ID", "--for", "90m", "--by", "bob"], {"by": "bob", "span_ms": 5_400_000}),
        (
            ["silence", "cards.py", "--kind", "*_drift", "--slice", "country=FR"],
            {"match": {"kind": "*_drift", "slice": {"country": "FR"}}, "span_ms": 7_200_000},
        ),
        (["unsilence", "--subject", "amount"], {"match": {"subject": "amount"}}),
        (["unsilence", "cards.py", "--maintenance"], {"maintenance": True}),
        (
            ["unsilence", "--maintenance", "--kind", "*"],
            {"maintenance": True, "match": {"kind": "*"}},
        ),
        (["relearn", "ID"], {"alert_id": "ID"}),
        (
            ["maintenance", "--from", "2026-03-01T02:00:00Z", "--to", "2026-03-01T04:00:00Z"],
            {"from_ms": 1_772_330_400_000, "until_ms": 1_772_337_600_000},
        ),
    ],
)
def test_what_is_asked_is_on_the_topic(
    call: Callable[..., Done],
    told: list[Any],
    broker: EmbeddedBroker,
    arguments: list[str],
    said: dict[str, Any],
) -> None:
    """A command that a worker reads: who, when, what about."""
    id_ = told[-1]["alert_id"]
    before_ms = time.time_ns() // 1_000_000
    arguments = [id_ if each == "ID" else each for each in arguments]
    done = call(*arguments, "--json")
    assert (done.code, done.err) == (0, "")
    found = last_asked(broker)
    assert json.loads(done.out) == found
    assert found["command"] == said.pop("command", arguments[0])
    assert found["by"] == said.pop("by", "ada")
    assert before_ms <= found["at_ms"] <= time.time_ns() // 1_000_000
    if span_ms := said.pop("span_ms", None):
        assert abs(found["until_ms"] - found["at_ms"] - span_ms) < 1_000
    for name, value in said.items():
        assert found[name] == (id_ if value == "ID" else value)


@pytest.mark.parametrize(
    ("arguments", "code", "told_"),
    [
        (["acknowledge", "0" * 16], 1, "no alert '0000000000000000' is on cards.alerts; "),
        (["show", "nonsense"], 1, "no alert 'nonsense' is on cards.alerts; "),
        (["acknowledge", "OVER"], 1, "is resolved already, since 2018-04-01 03:00 UTC; "),
        (["silence"], 2, "what about? give an alert's ID, or some of --kind, "),
        (["silence", "ID", "--kind", "x"], 2, "what about? give an alert's ID, or some of"),
        (["silence", "--slice", "country"], 2, "--slice 'country': write FIELD=VALUE, such as"),
        (["silence", "ID", "--for", "soon"], 2, "--for"),
        (["silence", "ID", "--for", "0s"], 2, "until_ms is not later than it begins"),
        (["unsilence"], 2, "what about? give an alert's ID, or some of --kind, "),
        (["unsilence", "ID", "--maintenance"], 2, "alert_id is given; maintenance is about"),
        (["maintenance"], 2, "when does it end? give --to, such as"),
        (["maintenance", "--to", "noon"], 2, "--to 'noon' is no time; write such as"),
        (
            ["maintenance", "--from", "2026-03-02T00:00:00Z", "--to", "2026-03-01T00:00:00Z"],
            2,
            "until_ms is not later than it begins",
        ),
        (["acknowledge", "ID", "--comment", "x" * 2_001], 2, "comment is 'xxx"),
    ],
)
def test_a_mistake_is_one_line_with_its_remedy(
    call: Callable[..., Done], told: list[Any], arguments: list[str], code: int, told_: str
) -> None:
    """Nothing is written then."""
    ids = {"ID": told[-1]["alert_id"], "OVER": told[0]["alert_id"]}
    done = call(*(ids.get(each, each) for each in arguments))
    assert (done.code, done.out) == (code, "")
    assert told_ in done.err
    assert done.err.count("\n") == 1


def test_topics_that_are_not_there_are_told(
    folder: Path, call: Callable[..., Done], told: list[Any]
) -> None:
    """Before a worker has run."""
    (folder / "others.py").write_text(PIPELINE.replace('"cards"', '"others"'))
    done = call("list", "others.py")
    assert (done.code, done.out) == (1, "")
    assert re.fullmatch(r"streamproc: there is no topic others\.alerts at .*topics`\n", done.err)


def test_a_broker_that_is_not_there_is_told(
    call: Callable[..., Done], monkeypatch: pytest.MonkeyPatch
) -> None:
    """As by every command."""
    monkeypatch.setenv("STREAMPROC_BROKERS", f"127.0.0.1:{free_port()}")
    done = call("list")
    assert (done.code, done.out) == (1, "")
    assert done.err.startswith("streamproc: no broker answered at ")
