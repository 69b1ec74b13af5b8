"""Sums as records of the log that the judge reads."""

from __future__ import annotations

from typing import Any

import orjson

from streamproc.monitors.columns import halves
from streamproc.monitors.fold import NEVER

MOST_BYTES = 500_000
"""How large a record of sums becomes, about; a broker's limit is 1 MB."""

_HEAD_BYTES = 150
"""What a record, or a bucket in it, has beside its rows, at most."""


def sums_in_records(
    stage: str,
    partition: int,
    watermark_ms: int,
    caught_up: bool,
    buckets: list[dict[str, Any]],
    most_bytes: int = MOST_BYTES,
) -> list[bytes]:
    """Return sums as records for the judge: one, or several where that would be too large.

    Only the last tells how far the partition has come, since all belongs to it.

    >>> wide = [{"stage": "bias", "monitor": 0, "bucket_ms": 0, "series": {"a": [1], "b": [2]}}]
    >>> records = sums_in_records("bias", 0, 9, True, wide, most_bytes=120)
    >>> [orjson.loads(value)["caught_up"] for value in records]
    [False, True]
    """
    told = {"stage": stage, "partition": partition}
    parts = _parts(buckets, most_bytes)
    last = {**told, "watermark_ms": watermark_ms, "caught_up": caught_up, "buckets": parts.pop()}
    before = {**told, "watermark_ms": NEVER, "caught_up": False}
    return [*(orjson.dumps({**before, "buckets": part}) for part in parts), orjson.dumps(last)]


def _parts(buckets: list[dict[str, Any]], most_bytes: int) -> list[list[dict[str, Any]]]:
    """Return the buckets in parts of about so many bytes, at least one; rows are JSON by now."""
    parts: list[list[dict[str, Any]]] = [[]]
    room = most_bytes - _HEAD_BYTES
    for bucket in buckets:
        series: dict[str, orjson.Fragment] | None = None
        for name, row in bucket["series"].items():
            for value in _rows(row, most_bytes - 2 * _HEAD_BYTES):
                size = len(orjson.dumps(name)) + len(value) + 2
                full = size + (_HEAD_BYTES if series is None else 0) > room
                if parts[-1] and (full or (series is not None and name in series)):
                    parts.append([])
                    series, room = None, most_bytes - _HEAD_BYTES
                if series is None:
                    series = {}
                    parts[-1].append({**bucket, "series": series})
                    room -= _HEAD_BYTES
                series[name] = orjson.Fragment(value)
                room -= size
    return parts


def _rows(row: Any, most_bytes: int) -> list[bytes]:
    """Return a row as JSON; a sample of whole events with long texts as several, which add up."""
    value = orjson.dumps(row)
    if len(value) <= most_bytes or not isinstance(row, dict) or "columns" not in row:
        return [value]
    both = halves(row)
    return [piece for half in both for piece in _rows(half, most_bytes)] if both else [value]
