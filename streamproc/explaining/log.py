"""Reads one monitor's buckets off the log of sums, in order of time, once all partitions passed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, Protocol

from streamproc.explaining.explanation import Explanation
from streamproc.monitors.outcomespec import outcome_plan
from streamproc.monitors.spec import PredictionBias, Watched

_HELD = 48

Parts = dict[str, list[Any]]


class Reader(Protocol):
    """Takes in the log, record by record, and tells what it found."""

    def feed(self, record: Mapping[str, Any]) -> None:
        """Take in a record."""

    def tell(self, found: Explanation) -> None:
        """Say what is known, once the log is read."""


class Buckets:
    """The buckets of one monitor; ``wanted`` says which series, at which time, are kept.

    A bucket is held for a day of buckets, whatever they say, for what comes late.
    """

    def __init__(
        self, stage: str, monitor: int, bucket_ms: int, wanted: Callable[[str, int], bool]
    ) -> None:
        self.bucket_ms = bucket_ms
        self.first_ms: int | None = None
        self._names: set[str] = set()
        self._stage = stage
        self._monitor = monitor
        self._wanted = wanted
        self._held: dict[int, Parts] = {}
        self._passed: dict[int, int] = {}
        self._done_ms = self._newest_ms = -(1 << 62)

    @property
    def series(self) -> int:
        """How many series share the monitor's false alarms."""
        return max(len(self._names), 1)

    def feed(self, record: Mapping[str, Any]) -> Iterator[tuple[int, Parts]]:
        """Take in a record; yield what is complete by now."""
        if record.get("stage") != self._stage:
            return
        self._passed[record["partition"]] = record["watermark_ms"]
        for bucket in record["buckets"]:
            start_ms = bucket["bucket_ms"]
            if bucket["monitor"] != self._monitor or start_ms <= self._done_ms:
                continue
            self._newest_ms = max(self._newest_ms, start_ms)
            self._names.update(bucket["series"])
            parts = self._held.setdefault(start_ms, {})
            for name, row in bucket["series"].items():
                if self._wanted(name, start_ms):
                    parts.setdefault(name, []).append(row)
        if len(self._held) <= _HELD:
            return
        until_ms = min(self._newest_ms - _HELD * self.bucket_ms, min(self._passed.values()))
        for start_ms in sorted(start for start in self._held if start < until_ms):
            self._done_ms = start_ms
            yield self._begun(start_ms), self._held.pop(start_ms)

    def rest(self) -> Iterator[tuple[int, Parts]]:
        """Yield what is left when the log is read."""
        for start_ms in sorted(self._held):
            yield self._begun(start_ms), self._held.pop(start_ms)

    def _begun(self, start_ms: int) -> int:
        self.first_ms = start_ms if self.first_ms is None else self.first_ms
        return start_ms


class BucketReader:
    """A reader of one monitor's buckets, of which its kind says what to do with each, and with all.

    Buckets from ``until_ms`` on are left out: by then the alert had ended. ``_log`` is None where
    the pipeline has no such monitor; ``unwatched`` is said then.
    """

    unwatched: str | None = "the pipeline watches this no more"
    until_ms: int | None = None
    _log: Buckets | None = None

    def feed(self, record: Mapping[str, Any]) -> None:
        """Take in a record of the log."""
        for start_ms, parts in self._log.feed(record) if self._log else ():
            self._take(start_ms, parts)

    def tell(self, found: Explanation) -> None:
        """Say what is known."""
        if self._log is None:
            found.notes += [self.unwatched] if self.unwatched else []
            return
        for start_ms, parts in self._log.rest():
            self._take(start_ms, parts)
        self._tell(found, self._log)

    def _take(self, start_ms: int, parts: Parts) -> None:
        if self.until_ms is None or start_ms < self.until_ms:
            self._add(start_ms, parts)

    def _add(self, start_ms: int, parts: Parts) -> None:
        """Take in a bucket."""
        raise NotImplementedError

    def _tell(self, found: Explanation, log: Buckets) -> None:
        """Say what all buckets tell."""
        raise NotImplementedError


def buckets_of_bias(pipeline: Watched, wanted: Callable[[str, int], bool]) -> Buckets | None:
    """Return those of the monitor that counts outcomes by slice; None where there is none."""
    for number, monitor in outcome_plan(pipeline):
        if isinstance(monitor, PredictionBias):
            return Buckets("bias", number, monitor.bucket_ms, wanted)
    return None
