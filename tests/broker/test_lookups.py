"""A pipeline that looks rows up, on the embedded broker, by the commands a user runs."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Producer

from streamproc.kafka.embedded import EmbeddedBroker
from tests.commands import WIDTH, Running, run, widest

PIPELINE = """
from river import linear_model
from streamproc import Events, Field, Lookup, Pipeline

pipeline = Pipeline(
    name="cards",
    events=Events("cards.events", id="id", key="card", time="at"),
    features=[Field("amount"), Lookup("profiles", "shop", ("age", Field("segment", "text")))],
    model=linear_model.LogisticRegression(),
)
"""
EVENTS = 20


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder with a pipeline and events of five shops, which are not what they are keyed by."""
    (tmp_path / "cards.py").write_text(PIPELINE)
    rows = [f"{n},{n % 7},{n % 5},2018-04-01T00:00:{n:02}Z,{n}.5" for n in range(EVENTS)]
    (tmp_path / "cards.csv").write_text("\n".join(["id,card,shop,at,amount", *rows, ""]))
    return tmp_path


@pytest.fixture
def env(embedded: EmbeddedBroker) -> Mapping[str, str]:
    """The environment that names the broker and the pipeline."""
    return {"STREAMPROC_BROKERS": embedded.address, "STREAMPROC_PIPELINE": "cards.py"}


def test_rows_in_any_partition_are_looked_up_by_any_field(
    folder: Path, env: Mapping[str, str], embedded: EmbeddedBroker
) -> None:
    """What was there before the worker is in its first prediction, on each partition's events."""
    assert run(folder, "topics", env=env).code == 0
    producer = Producer({"bootstrap.servers": embedded.address, "linger.ms": 5})
    for age in (1, 2):
        for shop in range(4):
            row = json.dumps({"age": 10 * age + shop, "segment": f"s{shop}"})
            producer.produce("profiles", row, str(shop), partition=shop)
    producer.produce("profiles", b"{oops", b"3", partition=3)
    assert producer.flush(10) == 0
    assert run(folder, "produce", "cards.csv", env=env).code == 0
    with Running(folder, "worker", "cards.py", env=env) as worker:
        options = ("--from-beginning", "--limit", str(EVENTS))
        watched = run(folder, "watch", "predictions", *options, env=env)
        lines = [json.loads(line) for line in worker.err().splitlines()]
    assert [line["rows"] for line in lines if line["event"] == "lookups_read"] == [{"profiles": 4}]
    (bad,) = [line for line in lines if line["event"] == "lookup_rows_bad"]
    assert (bad["topic"], bad["rows"], bad["first"][:13]) == ("profiles", 1, "3 at offset 2")
    found = {}
    for line in watched.out.splitlines():
        said = json.loads(line)
        features = said["features"]
        found[int(said["id"])] = (
            features["age_of_shop"],
            features["segment_of_shop"],
            said["lookups"]["profiles by shop"],
        )
    of_shop: list[Any] = [
        (20, "s0", "0@1"),
        (21, "s1", "1@1"),
        (22, "s2", "2@1"),
        (None, None, "3@2"),
    ]
    of_shop.append((None, None, None))
    assert found == {n: of_shop[n % 5] for n in range(EVENTS)}


def test_what_is_looked_up_is_listed_and_drawn(folder: Path, env: Mapping[str, str]) -> None:
    """Among the topics, in the picture of the pipeline, and in the catalogue of features."""
    made = run(folder, "topics", env=env, tty=True)
    assert re.search(r"^made     profiles +4  rows to look up$", made.out, re.M)
    drawn = run(folder, "check", env=env, tty=True)
    assert "  lookups ───┐\n  events ──► score ──► predictions" in drawn.out
    assert re.search(r"^  lookup +profiles: age, segment by shop$", drawn.out, re.M)
    assert re.search(r"^  segment_of_shop +looked up in profiles by shop$", drawn.out, re.M)
    listed = json.loads(run(folder, "features", "--json", env=env).out)
    segment = next(each for each in listed if each["name"] == "segment_of_shop")
    assert (segment["kind"], segment["type"], segment["by"]) == ("Lookup", "text", ["shop"])
    assert segment["fields"] == ["segment in profiles"]
    assert widest(made.out + drawn.out) <= WIDTH
