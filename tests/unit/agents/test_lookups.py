"""Following the topics that are looked up in: when they are read, and what holds a row up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from confluent_kafka import KafkaError, KafkaException

from agents import lookups as under_test
from agents.lookups import LookupFollower
from agents.metrics import Metrics
from streamproc.codec import JsonCodec
from streamproc.errors import AwayError, StreamprocError
from streamproc.features import Lookup
from streamproc.features.lookup_tables import LatestTables
from streamproc.tasks.records import PlainRecord

DECODE = JsonCodec().decode_input
PROFILE, SHOP = Lookup("profiles", "card", ("age",)), Lookup("shops", "shop", ("size",))


class Message(PlainRecord):
    """A row as it comes from a consumer."""

    def error(self) -> None:
        """Nothing went wrong."""


class Told:
    """What a consumer tells of a partition that is no row."""

    def __init__(self, code: int, topic: str, partition: int) -> None:
        self._error, self._place = KafkaError(code), (topic, partition)

    def error(self) -> KafkaError:
        """Return what is told."""
        return self._error

    def topic(self) -> str:
        """Return of which topic."""
        return self._place[0]

    def partition(self) -> int:
        """Return of which partition."""
        return self._place[1]


class At:
    """As much of a deployment as reading rows takes."""

    def __init__(self, decode: Callable[[str, bytes | None], dict[str, Any]]) -> None:
        self.codec = self
        self.decode_input = decode


def follower(
    decode: Callable[[str, bytes | None], dict[str, Any]] = DECODE,
) -> tuple[LookupFollower, LatestTables, Metrics]:
    """Return one of two topics, of two partitions and of one."""
    tables, metrics = LatestTables([PROFILE, SHOP]), Metrics("w")
    made = LookupFollower(At(decode), tables, metrics, lambda error: None)  # type: ignore[arg-type]
    made._unread = {("profiles", 0), ("profiles", 1), ("shops", 0)}
    return made, tables, metrics


def row(topic: str, offset: int, value: bytes | None, key: bytes = b"7") -> Message:
    """Return a row."""
    return Message(topic, offset, 0, key, value)


def end(topic: str, partition: int) -> Told:
    """Return what is told where a partition is read to its end."""
    return Told(KafkaError._PARTITION_EOF, topic, partition)


def test_tables_are_ready_once_every_partition_was_read_to_its_end() -> None:
    """Of all topics; the end of one that was told already says nothing new."""
    made, tables, _ = follower()
    made._take([row("profiles", 0, b'{"age": 3}'), end("profiles", 0), end("shops", 0)])
    made._take([end("profiles", 0)])
    assert not made.ready.is_set()
    made._take([row("shops", 0, b'{"size": 2}'), end("profiles", 1)])
    assert made.ready.is_set()
    assert tables.find(PROFILE, "7", 0) == (0, 0, 3)
    assert tables.find(SHOP, "7", 0) == (0, 0, 2)


def test_bad_rows_are_counted_by_topic() -> None:
    """Each is, and the good one beside them is taken."""
    made, tables, metrics = follower()
    made._take([row("profiles", 0, b"{"), row("profiles", 1, b'{"age": 5}'), row("shops", 0, b"[]"),
                row("shops", 1, b'{"size": "x"}')])  # fmt: skip
    assert tables.find(PROFILE, "7", 0) == (0, 1, 5)
    text = metrics.text().decode()
    assert 'streamproc_lookup_bad_rows_total{topic="profiles"} 1.0' in text
    assert 'streamproc_lookup_bad_rows_total{topic="shops"} 2.0' in text


def test_a_row_waits_for_a_registry_that_is_away(monkeypatch: pytest.MonkeyPatch) -> None:
    """It is not left out, and not called bad: the next ask finds it."""
    monkeypatch.setattr(under_test, "_REGISTRY_AGAIN_S", 0.0)
    asked: list[str] = []

    def decode(topic: str, data: bytes | None) -> dict[str, Any]:
        asked.append(topic)
        if len(asked) < 3:
            raise AwayError("no schema registry answered")
        return {"age": 5}

    made, tables, metrics = follower(decode)
    made._take([row("profiles", 0, b"\x00")])
    assert (tables.find(PROFILE, "7", 0), len(asked)) == ((0, 0, 5), 3)
    assert "streamproc_registry_away 0.0" in metrics.text().decode()


def test_trouble_that_passes_ends_nothing_and_what_does_not_is_raised() -> None:
    """A broker that went away comes back; who may not read will not be let in by waiting."""
    made, _, _ = follower()
    made._take([Told(KafkaError._TRANSPORT, "profiles", 0)])
    with pytest.raises(KafkaException):
        made._take([Told(KafkaError.TOPIC_AUTHORIZATION_FAILED, "profiles", 0)])


def test_silence_at_the_start_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    """In one line with the topics, rather than a worker that never scores."""
    monkeypatch.setattr(under_test, "_SILENT_S", -1.0)
    made, _, _ = follower()
    with pytest.raises(StreamprocError, match="nothing came of profiles, shops for"):
        asyncio.run(made.until_ready())
    made.failure = StreamprocError("refused")
    with pytest.raises(StreamprocError, match="refused"):
        asyncio.run(made.until_ready())
