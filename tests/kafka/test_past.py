"""What a worker saw, made again from its topics: predictions to the bit, and training data."""

from __future__ import annotations

import hashlib
import json
import random
import signal
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson
import pytest
from confluent_kafka import Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from pyarrow import parquet

from streamproc.kafka.topics import create, probe
from streamproc.pipeline import Pipeline
from tests.commands import run as run_as_user
from tests.kafka.processes import Worker, eventually, run
from tests.kafka.topic_reader import TopicReader, as_json, read_all
from tests.kafka_server import KafkaServer

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(240)]

PIPELINE = """
from river import linear_model, preprocessing
from streamproc import Events, Field, LabelWindow, Labels, Pipeline, Window

pipeline = Pipeline(
    name="{name}",
    events=Events("{name}.events", id="id", key="card", time="at"),
    labels=Labels("{name}.labels", id="id", value="fraud", time="known", horizon="2d"),
    features=[
        Field("amount"),
        Window("amount", by="{by}", over=("2h", "1d"), aggregates=("count", "mean", "std", "max")),
        LabelWindow(by="{by}", over=("6h", "1d"), aggregates=("count", "mean")),
    ],
    model=preprocessing.StandardScaler() | linear_model.LogisticRegression(),
    publish_every=500,
)
"""
START_MS, MINUTE_MS = 1_772_000_000_000, 60_000
EVENTS, A_ROUND = 4_000, 500
LABEL_DELAY = 120  # events, each a minute


@dataclass
class Shop:
    """A pipeline on a Kafka, and what its worker said of events whose labels come late."""

    kafka: KafkaServer
    folder: Path
    name: str
    by: str
    partitions: int
    late: bool = True
    predictions: dict[str, dict[str, Any]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.pipeline = self.folder / f"{self.name}.py"
        self.pipeline.write_text(PIPELINE.format(name=self.name, by=self.by))
        made = Pipeline.load(self.pipeline)
        create({"bootstrap.servers": self.kafka.address}, made, self.partitions)
        self._draw, self._sent, self._due = random.Random(3), 0, list[tuple[int, int]]()
        self._producer = Producer(
            {
                "bootstrap.servers": self.kafka.address,
                "partitioner": "murmur2_random",
                "enable.idempotence": True,
            }
        )

    def send(self, count: int = A_ROUND) -> None:
        """Send events, a few of them late or bad, and labels, most of them a while after due."""
        draw = self._draw
        for number in range(self._sent, self._sent + count):
            back = draw.choice((0, 0, 0, 0, 20)) if number % 100 else 180  # more than the lateness
            back *= self.late
            event = {
                "id": number, "card": f"c{number % 23}", "shop": f"s{number % 7}",
                "at": START_MS + (number - back) * MINUTE_MS,
                "amount": round(draw.uniform(1, 200), 2) if number % 250 else "ten",
            }  # fmt: skip
            self._put("events", number, event)
            self._due.append((number + LABEL_DELAY + draw.randrange(40), number))
            self._due.sort()
            while self._due[0][0] <= number:
                _, of = self._due.pop(0)
                known_ms = START_MS + (of + LABEL_DELAY) * MINUTE_MS
                self._put("labels", of, {"id": of, "fraud": int(of % 5 == 0), "known": known_ms})
        self._sent += count
        assert self._producer.flush(20) == 0

    def _put(self, topic: str, number: int, value: Any) -> None:
        self._producer.produce(
            f"{self.name}.{topic}", orjson.dumps(value), f"c{number % 23}".encode()
        )

    def run_worker(self) -> None:
        """Let events flow through a worker, which is killed halfway and started again."""
        topic = f"{self.name}.predictions"
        with TopicReader(self.kafka.address, topic, as_json) as reader:
            for ends in (signal.SIGKILL, signal.SIGTERM):
                with Worker(self.pipeline, self.kafka.address, self.folder) as worker:
                    for _ in range(EVENTS // A_ROUND // 2):
                        self.send()
                        bad = self._sent // 250
                        reader.until_count(self._sent - bad, check=worker.check)
                    worker.stop(ends)
            self.predictions = {each["id"]: each for each in reader.until_end()}

    def export(self, out: str, *options: str | Path) -> tuple[dict[str, Any], list[dict[str, Any]]]:
        """Export up to a day after the end; return the manifest and the rows."""
        line = ("export", self.pipeline, "--to", "2026-03-03", "--out", out, *options)
        told = run(*line, address=self.kafka.address, folder=self.folder)
        parts = [self.folder / out / part["path"] for part in told["parts"]]
        rows = [row for part in parts for row in parquet.ParquetFile(part).read().to_pylist()]
        return told, rows


@pytest.fixture(scope="module", params=[("card", 4), ("shop", 1)], ids=["by key", "by shop"])
def shop(
    request: pytest.FixtureRequest, kafka: KafkaServer, tmp_path_factory: pytest.TempPathFactory
) -> Shop:
    """Windows by the key on four partitions, and by another field on one."""
    by, partitions = request.param
    made = Shop(kafka, tmp_path_factory.mktemp("past"), f"past-{by}", by, partitions)
    made.run_worker()
    assert len(made.predictions) == EVENTS - EVENTS // 250
    return made


def test_predictions_are_made_again_to_the_bit(shop: Shop) -> None:
    """Those with windows over labels, too; each label is where it came in when it was live."""
    told = run("replay", shop.pipeline, "--verify", address=shop.kafka.address, folder=shop.folder)
    assert told == {"compared": len(shop.predictions), "differences": [], "rows_gone": 0}
    last = shop.predictions[str(EVENTS - 1)]
    found = run(
        "explain", last["id"], shop.pipeline, address=shop.kafka.address, folder=shop.folder
    )
    assert (found["equal"], found["features"]) == (True, last["features"])
    assert last["features"][f"label_count_1d_by_{shop.by}"] > 10


def test_training_data_of_topics_is_what_production_saw(shop: Shop) -> None:
    """Every feature to the bit, but for labels that were on their way, which none has too early."""
    manifest, rows = shop.export("seen")
    assert {row["id"] for row in rows} == shop.predictions.keys()
    missed = 0
    for row in rows:
        features = shop.predictions[row["id"]]["features"]
        for name, said in features.items():
            if not name.startswith("label_"):
                assert (name, row[name]) == (name, said)
            elif "_count_" in name:
                missed += row[name] > said
                assert row[name] >= said
    assert missed > 0
    outcomes = read_all(shop.kafka.address, f"{shop.name}.outcomes", as_json)
    labelled = [row for row in rows if row["label"] is not None]
    assert {row["id"]: (row["label"], row["label_time_ms"]) for row in labelled} == {
        each["id"]: (each["label"], each["label_time_ms"]) for each in outcomes
    }
    offsets = manifest["topics"][f"{shop.name}.events"]
    assert (len(offsets), sum(end - begin for begin, end in offsets.values())) == (
        shop.partitions, EVENTS,
    )  # fmt: skip
    assert manifest["rows"] == {"data": len(rows)}
    assert manifest["dead_letters"]["field_not_number"] == EVENTS // 250


def test_a_label_is_known_from_its_time_on(shop: Shop) -> None:
    """A row has its label where that came by the end, and label windows hold those of the past."""
    _, rows = shop.export("known", "--from", "2026-02-26", "--split", "2026-02-27")
    assert rows
    for row in rows:
        known_ms = START_MS + (int(row["id"]) + LABEL_DELAY) * MINUTE_MS
        assert row["label_time_ms"] in (known_ms, None)


def test_the_same_offsets_give_the_same_bytes(shop: Shop) -> None:
    """However much more has come since."""
    first, _ = shop.export("first")
    shop.send(700)
    again, _ = shop.export("again", "--offsets", "first/manifest.json")
    assert again == first
    assert digest(shop.folder / "again") == digest(shop.folder / "first")
    later, _ = shop.export("later")
    assert later["rows"]["data"] > first["rows"]["data"]


def digest(folder: Path) -> dict[str, str]:
    """Return the hash of each file in a folder."""
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {
        str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest()
        for path in files
    }


def test_rekeyed_windows_are_exported_as_one_partition_has_them(
    kafka: KafkaServer, tmp_path: Path
) -> None:
    """To the bit, where partitions are in order: windows of values and of labels."""
    rows = {}
    for partitions in (1, 4):
        shop = Shop(kafka, tmp_path, f"past-of-{partitions}", "shop", partitions, late=False)
        shop.send(2_000)
        manifest, found = shop.export(f"out-of-{partitions}")
        assert len(manifest["topics"][f"{shop.name}.events"]) == partitions
        rows[partitions] = {row["id"]: row for row in found}
    assert rows[4].keys() == rows[1].keys()
    assert rows[4] == rows[1]
    assert max(row["label_count_1d_by_shop"] for row in found) > 100


def test_what_is_deleted_is_told_of(kafka: KafkaServer, tmp_path: Path) -> None:
    """A log that begins too late, topics that were made anew, and none: a line with the remedy."""
    shop = Shop(kafka, tmp_path, "past-gone", "card", 1)
    shop.send(6_000)
    shop.export("before")
    admin = AdminClient({"bootstrap.servers": kafka.address})
    gone = TopicPartition(f"{shop.name}.events", 0, 1_000)
    for done in admin.delete_records([gone]).values():
        done.result(20)

    def told(*options: str) -> str:
        environment = {"STREAMPROC_BROKERS": kafka.address}
        line = ("export", str(shop.pipeline), "--to", "2026-03-03", "--out", "after", *options)
        done = run_as_user(tmp_path, *line, env=environment)
        assert (done.code, done.out, done.err.count("\n")) == (1, "", 1)
        assert not (tmp_path / "after").exists()
        return done.err

    line = told("--from", "2026-02-26")
    # The longest window over labels and the horizon are three days.
    first_ms = START_MS + 820 * MINUTE_MS
    assert "past-gone.events/0 begins at offset 1000" in line
    assert "give --from 2026-02-28T" in line
    assert "begins at offset 1000 now, and is to be read from 0" in told(
        "--offsets", "before/manifest.json"
    )
    remedy = line.split("give --from ")[1].split()[0]
    manifest, rows = shop.export("rest", "--from", remedy)
    assert min(row["event_time_ms"] for row in rows) >= first_ms + 3 * 86_400_000
    assert manifest["topics"]["past-gone.events"] == {"0": [1_000, 6_000]}
    admin.delete_topics([f"{shop.name}.labels"])[f"{shop.name}.labels"].result(20)
    config = {"bootstrap.servers": kafka.address}
    eventually(lambda: "past-gone.labels" not in probe(config).partitions, "the topic to go")
    assert f"there is no topic past-gone.labels at {kafka.address}" in told("--from", remedy)
    create({"bootstrap.servers": kafka.address}, Pipeline.load(shop.pipeline), 1)
    line = told("--from", remedy, "--offsets", "rest/manifest.json")
    assert "it was read from another past-gone.labels" in line


def test_the_manifest_is_all_it_takes(shop: Shop) -> None:
    """It names offsets, ids of topics, the time of reading, and the pipeline's fingerprint."""
    manifest, _ = shop.export("said")
    assert manifest == json.loads((shop.folder / "said" / "manifest.json").read_text())
    assert manifest["fingerprint"] == Pipeline.load(shop.pipeline).fingerprint
    assert manifest["refused"] == {f"{shop.name}.events": {}, f"{shop.name}.labels": {}}
    assert manifest["topic_ids"].keys() == manifest["topics"].keys()
