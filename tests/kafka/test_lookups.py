"""Rows that are looked up, on Apache Kafka: known before the first event, and named ever after."""

from __future__ import annotations

import subprocess
import urllib.request
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import ConfigResource
from confluent_kafka.cimpl import NewTopic

from streamproc.kafka.topics import create
from streamproc.pipeline import Pipeline
from tests.kafka.processes import Worker, command, environment, run
from tests.kafka.topic_reader import TopicReader, as_json
from tests.kafka_server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

CARDS = 20
ROW_PARTITIONS = 3
OTHERS = 80_000
_PIPELINE = """
from river import linear_model
from streamproc import Events, Field, Labels, Log, Lookup, Pipeline, Window

pipeline = Pipeline(
    name="{name}",
    events=Events("{name}.events", id="id", key="card", time="at"),
    labels=Labels("{name}.labels", id="id", value="fraud"),
    features=[
        Field("amount"),
        Lookup("{name}.profiles", by="card", fields=("age", Field("segment", "text"))),
        Log("age_of_card"),
        Window("amount", by="card", over=("1d",), aggregates=("count",)),
    ],
    model=linear_model.LogisticRegression(),
)
"""


class Shop:
    """A pipeline that looks cards up, and what this test has written to its topics.

    ``rows`` has each row that was written, by its place, as the prediction is to name it.
    """

    def __init__(self, kafka: KafkaServer, folder: Path, name: str) -> None:
        self.address, self.folder, self.name = kafka.address, folder, name
        self.pipeline = folder / f"{name}.py"
        self.pipeline.write_text(_PIPELINE.format(name=name))
        self.rows: dict[str, tuple[str, Any]] = {}
        self.newest: dict[str, str | None] = {}
        self.events = 0
        self.table = f"{name}.profiles by card"
        self._producer = Producer(
            {
                "bootstrap.servers": kafka.address,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
            }
        )

    def put(self, card: int, value: Any) -> None:
        """Write a row; what is not bytes or None is written as JSON."""
        data = value if value is None or isinstance(value, bytes) else orjson.dumps(value)
        told: list[Any] = []
        self._producer.produce(
            f"{self.name}.profiles", data, str(card), on_delivery=lambda e, m: told.append((e, m))
        )
        assert self._producer.flush(10) == 0
        ((error, message),) = told
        assert error is None
        version = f"{message.partition()}@{message.offset()}"
        self.rows[version] = (str(card), value)
        self.newest[str(card)] = None if value is None else version

    def put_others(self, count: int) -> None:
        """Write rows of entities that no event is of, so that reading the table takes a while."""
        for number in range(count):
            self._producer.produce(f"{self.name}.profiles", b'{"age": 1}', f"other {number}")
            if number % 10_000 == 0:
                self._producer.flush(10)
        assert self._producer.flush(30) == 0

    def send(self, cards: int = CARDS) -> None:
        """Write one event of each card."""
        for card in range(cards):
            number = self.events
            event = {"id": number, "card": card, "amount": 1.5, "at": 1_772_000_000_000 + number}
            self._producer.produce(f"{self.name}.events", orjson.dumps(event), str(card))
            self.events += 1
        assert self._producer.flush(10) == 0

    def worker(self) -> Worker:
        """Start a worker."""
        return Worker(self.pipeline, self.address, self.folder)

    def predictions(self) -> TopicReader[dict[str, Any]]:
        """Return what reads the predictions."""
        return TopicReader(self.address, f"{self.name}.predictions", as_json)

    def check(self, said: dict[str, Any]) -> None:
        """Fail where a prediction has anything else than what its row says, or another's row."""
        version = said["lookups"][self.table]
        card, value = self.rows[version] if version else (said["key"], None)
        assert card == said["key"]
        row = value if isinstance(value, dict) else {}
        assert said["features"]["age_of_card"] == row.get("age")
        assert said["features"]["segment_of_card"] == row.get("segment")

    def explain(self, event_id: str) -> str:
        """Return what is told of a prediction, to people."""
        done = subprocess.run(
            command("explain", event_id, self.pipeline),
            env=environment(self.address, self.folder / "store"),
            cwd=self.folder,
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout


def test_rows_are_known_before_the_first_event_and_after_a_crash(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    """All that was there at the start, each change after, over kill -9; and made again later."""
    shop = Shop(kafka, tmp_path, "looks")
    admin = AdminClient({"bootstrap.servers": kafka.address})
    config = {"cleanup.policy": "compact,delete", "retention.ms": "-1"}
    new = NewTopic("looks.profiles", ROW_PARTITIONS, 1, config=config)
    admin.create_topics([new])["looks.profiles"].result(20)
    create({"bootstrap.servers": kafka.address}, Pipeline.load(shop.pipeline), partitions=2)
    shop.put_others(OTHERS)
    for age in (20, 30):
        for card in range(CARDS):
            shop.put(card, {"age": age + card, "segment": f"s{card}", "unused": "x" * 100})
    shop.put(0, None)
    shop.put(1, b"{oops")
    shop.send()
    with shop.predictions() as found:
        with shop.worker() as worker:
            found.until_count(CARDS, check=worker.check)
            at_first = {said["key"]: said["lookups"][shop.table] for said in found.records}
            assert at_first == shop.newest
            (read,) = worker.logged("lookups_read")
            assert read["rows"] == {"looks.profiles": OTHERS + CARDS - 1}
            (bad,) = worker.logged("lookup_rows_bad")
            assert bad["rows"] == 1
            assert "no JSON" in bad["first"]
            text = urllib.request.urlopen(worker.wait_for("serving")["metrics"], timeout=5).read()
            rows = OTHERS + CARDS - 1
            assert f'streamproc_lookup_rows{{topic="looks.profiles"}} {rows}.0'.encode() in text
            assert b'streamproc_lookup_bad_rows_total{topic="looks.profiles"} 1.0' in text

            shop.put(0, {"age": 77, "segment": "back"})
            shop.put(2, {"age": "wrong", "segment": "kept"})
            shop.rows[str(shop.newest["2"])] = ("2", {"segment": "kept"})

            def all_are_newest() -> bool:
                last = {said["key"]: said["lookups"][shop.table] for said in found.records}
                if len(found.records) == shop.events and last != shop.newest:
                    shop.send()
                return last == shop.newest

            found.until(all_are_newest, "the new rows in predictions", check=worker.check)
            worker.process.kill()
        shop.put(3, {"age": 1, "segment": "after the crash"})
        shop.send()
        with shop.worker() as worker:
            found.until_count(shop.events, check=worker.check)
            worker.stop()
        assert len(found.until_end()) == shop.events
    last = {said["key"]: said["lookups"][shop.table] for said in found.records}
    assert last == shop.newest
    for said in found.records:
        shop.check(said)
    told = run("replay", shop.pipeline, "--verify", address=kafka.address, folder=tmp_path)
    assert told == {"compared": shop.events, "rows_gone": 0, "differences": []}
    of_three = [said for said in found.records if said["key"] == "3"]
    assert f"of row {of_three[0]['lookups'][shop.table]} of looks.profiles" in shop.explain(
        of_three[0]["id"]
    )

    # What compaction does, without waiting for it: the first rows are gone.
    ends = [TopicPartition("looks.profiles", number, -1) for number in range(ROW_PARTITIONS)]
    for each in admin.delete_records(ends).values():
        each.result(20)
    gone = shop.explain(of_three[0]["id"])
    assert "looks.profiles is not there any more: what was looked up in it is as published" in gone
    assert "equal to what was published, to the bit" in gone
    told = run("replay", shop.pipeline, "--verify", address=kafka.address, folder=tmp_path)
    assert told["differences"] == []
    assert told["rows_gone"] == sum(bool(s["lookups"][shop.table]) for s in found.records)


def test_a_topic_that_is_missing_is_made_to_be_compacted(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    """A worker makes it, as it makes the others; until rows come, nothing is found."""
    shop = Shop(kafka, tmp_path, "looks-anew")
    with shop.worker() as worker:
        worker.wait_until_scoring()
        shop.send(3)
        with shop.predictions() as found:
            found.until_count(3, check=worker.check)
            assert [said["lookups"] for said in found.records] == [{shop.table: None}] * 3
    admin = AdminClient({"bootstrap.servers": kafka.address})
    resource = ConfigResource("topic", "looks-anew.profiles")
    (told,) = admin.describe_configs([resource]).values()
    config = told.result(20)
    assert config["cleanup.policy"].value == "compact"
