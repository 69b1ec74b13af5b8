"""Sums as records of the log that the judge reads, and what any record of it is to have."""

from __future__ import annotations

from typing import Any

import orjson

from streamproc.alerts.commands import command_of
from streamproc.errors import BadRecord
from streamproc.monitors.columns import halves
from streamproc.monitors.fold import NEVER
from streamproc.monitors.judge import OPERATION
from streamproc.monitors.sealing import SEAL

MOST_BYTES = 500_000
"""How large a record of sums becomes, about; a broker's limit is 1 MB."""

_HEAD_BYTES = 150
"""What a record, or a bucket in it, has beside its rows, at most."""

_SUMS = {"partition": int, "watermark_ms": int, "caught_up": bool, "buckets": list}
_BUCKET = {"monitor": int, "bucket_ms": int, "series": dict}
_OTHERS: dict[str, dict[str, type]] = {
    SEAL: {"of": str, "until_ms": int},
    OPERATION: {"operation": dict},
    "health": {"instance": str, "at_ms": int, "values": dict},
    "model": {"held_back": object, "at_ms": int, "version": int},
}


def read_log_record(value: bytes | None) -> dict[str, Any]:
    """Return what a record of the judge's log says.

    Raises :class:`BadRecord`, ``not_an_object`` or ``not_ours``, for what no worker writes. What is
    in the rows of sums, and how a model was held back, is not looked at.

    >>> read_log_record(b'{"stage": "drift", "partition": 0}')
    Traceback (most recent call last):
    streamproc.errors.BadRecord: not_ours: this record of 'drift' has no 'watermark_ms'
    """
    try:
        said = orjson.loads(value or b"")
    except orjson.JSONDecodeError:
        said = None
    if not isinstance(said, dict):
        raise BadRecord("not_an_object", "nothing of ours writes such a record")
    stage = said.get("stage")
    if not isinstance(stage, str):
        raise BadRecord("not_ours", "this record names no stage")
    _check(said, _OTHERS.get(stage, _SUMS), f"this record of {stage!r}")
    if stage == OPERATION:
        command_of(said["operation"])
    if stage == "health" and not {int, float}.issuperset(map(type, said["values"].values())):
        raise BadRecord("not_ours", "a value of this record of 'health' is no number")
    for bucket in said["buckets"] if stage not in _OTHERS else ():
        if not isinstance(bucket, dict):
            raise BadRecord("not_ours", f"a bucket of {stage!r} is no object")
        _check(bucket, _BUCKET, f"a bucket of {stage!r}")
    return said


def _check(said: dict[str, Any], wanted: dict[str, type], what: str) -> None:
    for name, type_ in wanted.items():
        if name not in said:
            raise BadRecord("not_ours", f"{what} has no {name!r}")
        if type_ is not object and type(said[name]) is not type_:
            found = type(said[name]).__name__
            raise BadRecord("not_ours", f"{name!r} in {what} is of type {found}")


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
