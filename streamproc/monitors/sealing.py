"""Sealing: the sums of all partitions put together per bucket, and each bucket handed out once.

What is sealed when depends on the records of the log in their order, and on nothing else.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from streamproc.monitors.fold import NEVER

SEAL = "seal"
"""The stage of a record that says up to when to seal, some partition being waited for no longer."""

Rows = dict[str, Any]
"""A bucket's rows by series."""

Sealed = tuple[int, int, Rows]
"""A bucket that is complete: the monitor's number, when it began, and its rows."""

Combine = Callable[[int, Sequence[Any]], Any]
"""Returns one row for several of one series and bucket, whatever their order, by the monitor."""

PARTS = 16
"""How many parts of a row are kept before they are made one."""


@dataclass(slots=True)
class Source:
    """What one partition of a stage has said."""

    watermark_ms: int = NEVER
    caught_up: bool = False


@dataclass(slots=True)
class _Stage:
    """One stage's partitions, and its buckets that are not sealed yet."""

    sources: list[Source]
    buckets: dict[tuple[int, int], dict[str, list[Any]]] = field(default_factory=dict)
    sealed_ms: int = NEVER


class Sealer:
    """Puts the sums of all partitions together and hands out the buckets that are complete.

    A bucket is sealed when every partition's watermark is past its end by ``lateness_ms``; or when
    a record of the log says so (see :meth:`seal_without`), as one does that goes on without a
    partition which is silent. Sums for a bucket that is sealed are counted in ``late`` and left
    out. Sealing twice up to the same time, or to an earlier one, does nothing.

    ``stages`` are the names of the folds' stages, ``lengths_ms`` how long the buckets of each
    monitor are, by its number.

    >>> sealer = Sealer(["drift"], {0: 10}, partitions=2, lateness_ms=5)
    >>> def take(partition, watermark_ms, start_ms):
    ...     bucket = {"monitor": 0, "bucket_ms": start_ms, "series": {"amount": 2}}
    ...     record = {"stage": "drift", "partition": partition, "watermark_ms": watermark_ms,
    ...               "caught_up": False, "buckets": [bucket]}
    ...     return sealer.take(record, lambda monitor, parts: sum(parts))
    >>> take(0, 16, 0), take(1, 14, 0), take(1, 15, 10)
    ([], [], [(0, 0, {'amount': 4})])
    """

    def __init__(
        self,
        stages: Iterable[str],
        lengths_ms: Mapping[int, int],
        partitions: int,
        lateness_ms: int,
    ) -> None:
        self.late = 0
        self._lengths_ms = dict(lengths_ms)
        self._lateness_ms = lateness_ms
        self._stages = {name: _Stage([Source() for _ in range(partitions)]) for name in stages}

    @property
    def sources(self) -> Mapping[str, Sequence[Source]]:
        """What each partition of each stage has said."""
        return {name: stage.sources for name, stage in self._stages.items()}

    @property
    def sealed_ms(self) -> dict[str, int]:
        """Up to when the buckets of each stage are sealed."""
        return {name: stage.sealed_ms for name, stage in self._stages.items()}

    def take(self, record: Mapping[str, Any], combine: Combine) -> list[Sealed]:
        """Take in a record of the log; return the buckets it completes, in the order of their end.

        ``combine`` makes one row of what partitions sent. Records of stages, partitions and
        monitors that are not, or no longer, known do nothing.
        """
        if record["stage"] == SEAL:
            stage = self._stages.get(record["of"])
            return [] if stage is None else self._seal(stage, record["until_ms"], combine)
        stage = self._stages.get(record["stage"])
        if stage is None or not 0 <= record["partition"] < len(stage.sources):
            return []
        source = stage.sources[record["partition"]]
        source.watermark_ms = max(source.watermark_ms, record["watermark_ms"])
        source.caught_up = record["caught_up"]
        for bucket in record["buckets"]:
            self._add(stage, bucket, combine)
        passed_ms = min(each.watermark_ms for each in stage.sources)
        return self._seal(stage, passed_ms - self._lateness_ms, combine)

    def seal_without(
        self, name: str, partitions: Collection[int], passed_ms: Sequence[int]
    ) -> dict[str, Any] | None:
        """Return the record that seals what is complete but for some partitions of a stage.

        ``passed_ms`` are the watermarks of all. Where they are all left out it seals up to the
        newest. None where no bucket would be sealed by it.
        """
        stage = self._stages[name]
        waited = [time_ms for n, time_ms in enumerate(passed_ms) if n not in partitions]
        until_ms = (min(waited) if waited else max(passed_ms)) - self._lateness_ms
        ends = (start + self._lengths_ms[number] for number, start in stage.buckets)
        if min(ends, default=until_ms + 1) > until_ms:
            return None
        return {"stage": SEAL, "of": name, "until_ms": until_ms, "without": sorted(partitions)}

    def _add(self, stage: _Stage, bucket: Mapping[str, Any], combine: Combine) -> None:
        number, start_ms = at = (bucket["monitor"], bucket["bucket_ms"])
        length_ms = self._lengths_ms.get(number)
        if length_ms is None:
            return
        if start_ms + length_ms <= stage.sealed_ms:
            self.late += 1
            return
        known = stage.buckets.setdefault(at, {})
        for series, row in bucket["series"].items():
            parts = known.setdefault(series, [])
            parts.append(row)
            if len(parts) == PARTS:
                parts[:] = [combine(number, parts)]

    def _seal(self, stage: _Stage, until_ms: int, combine: Combine) -> list[Sealed]:
        if until_ms <= stage.sealed_ms:
            return []
        stage.sealed_ms = until_ms
        ends = ((start + self._lengths_ms[number], number) for number, start in stage.buckets)
        sealed = []
        for end_ms, number in sorted(end for end in ends if end[0] <= until_ms):
            start_ms = end_ms - self._lengths_ms[number]
            rows = stage.buckets.pop((number, start_ms))
            whole = {series: combine(number, parts) for series, parts in sorted(rows.items())}
            sealed.append((number, start_ms, whole))
        return sealed
