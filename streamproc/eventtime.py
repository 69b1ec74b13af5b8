"""Event time: reading it, and merging inputs by it.

Event time is when a thing happened, told by the record itself. The clock of the machine plays no
part here, so a replay gives what production gave.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from streamproc.errors import BadRecord, DefinitionError

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MILLISECOND = timedelta(milliseconds=1)
_MIN_MS = -62_135_596_800_000  # 0001-01-01T00:00:00Z
_MAX_MS = 253_402_300_799_999  # 9999-12-31T23:59:59.999Z
_RFC_3339 = re.compile(
    r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(\.\d{1,9})?([Zz]|[+-]\d\d:\d\d)?", re.ASCII
)
_DURATION = re.compile(r"(\d+)(ms|s|m|h|d)")
_IN_HOUR_MS = {
    f":{minute:02}:{second:02}": minute * 60_000 + second * 1_000
    for minute in range(60)
    for second in range(60)
}
_FRACTION_MS = {"Z": 0, **{f".{fraction:03}Z": fraction for fraction in range(1_000)}}
_MOST_DIGITS, _ENDLESS = 20, 1 << 62
_UNIT_MS = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}

LONGEST_DAYS = 36_500
"""The longest duration: times end in the year 9999, and must not overflow when it is added."""

Order = tuple[int, int, str]
"""Where a record stands in the merged order; see :func:`order_of`."""


def parse_time_ms(value: object) -> int:
    """Read a time: RFC 3339 text (naive text is UTC) or integer milliseconds since the epoch.

    Fractions finer than a millisecond are cut off. Raises :class:`BadRecord` for anything else,
    a float included: whether it means seconds or milliseconds nobody can tell.

    >>> parse_time_ms("2018-07-01T00:00:31Z"), parse_time_ms(1530403231000)
    (1530403231000, 1530403231000)
    >>> parse_time_ms("2018-07-01T02:00:31.250+02:00")
    1530403231250
    """
    if type(value) is int:
        if _MIN_MS <= value <= _MAX_MS:
            return value
        raise BadRecord("time_not_valid", f"{value} ms lies outside the years 1 to 9999")
    if isinstance(value, str):
        # Most times are in UTC, to the second or millisecond, and many share an hour.
        rest_ms, fraction_ms = _IN_HOUR_MS.get(value[13:19]), _FRACTION_MS.get(value[19:])
        if rest_ms is not None and fraction_ms is not None:
            hour_ms = _hour_ms(value[:13])
            time_ms = None if hour_ms is None else hour_ms + rest_ms + fraction_ms
        else:
            time_ms = _text_ms(value)
        if time_ms is not None:
            return time_ms
    raise BadRecord(
        "time_not_valid", f"{value!r:.80} is neither RFC 3339 text nor integer milliseconds"
    )


def _text_ms(text: str) -> int | None:
    """Return the milliseconds of RFC 3339 text; None for other text and dates that don't exist."""
    if not _RFC_3339.fullmatch(text):
        return None
    try:
        moment = datetime.fromisoformat(text.upper())
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=UTC)
        return (moment - _EPOCH) // _MILLISECOND
    except (ValueError, OverflowError):
        return None


def parse_times_ms(values: Sequence[object]) -> list[int]:
    """Read many times, each as :func:`parse_time_ms` does; raises where that does.

    >>> parse_times_ms(["2018-07-01T00:00:31Z", 1530403231000])
    [1530403231000, 1530403231000]
    """
    hour_of, rest_of, fraction_of = _hour_ms, _IN_HOUR_MS, _FRACTION_MS
    try:
        return [
            hour_of(value[:13]) + rest_of[value[13:19]] + fraction_of[value[19:]]  # type: ignore
            for value in values
        ]
    except (KeyError, TypeError):  # of another form, one at least
        return [parse_time_ms(value) for value in values]


@lru_cache(maxsize=4_096)
def _hour_ms(hour: str) -> int | None:
    """Return the time of an hour in UTC, such as ``2018-07-01T00``, as ``_text_ms`` does."""
    return _text_ms(hour + ":00:00Z")


def parse_duration_ms(text: str, what: str = "duration") -> int:
    """Read a duration such as ``"90s"``, ``"15m"``, ``"1h"`` or ``"30d"`` into milliseconds.

    ``what`` names the field in the :class:`DefinitionError` that anything else raises, and what
    is longer than a hundred years.

    >>> parse_duration_ms("7d"), parse_duration_ms("250ms")
    (604800000, 250)
    """
    match = _DURATION.fullmatch(text) if isinstance(text, str) else None
    if match is None:
        raise DefinitionError(
            f"{what}: {text!r} is not a duration; write a whole number and a unit, "
            "such as '30s', '15m', '1h' or '7d'"
        )
    duration_ms = int(match[1]) * _UNIT_MS[match[2]] if len(match[1]) < _MOST_DIGITS else _ENDLESS
    if duration_ms > LONGEST_DAYS * _UNIT_MS["d"]:
        raise DefinitionError(
            f"{what}: {text:.40} is longer than a hundred years; write at most '{LONGEST_DAYS}d'"
        )
    return duration_ms


def format_time(time_ms: int) -> str:
    """Write a time for people.

    >>> format_time(1530403231000)
    '2018-07-01T00:00:31.000Z'
    """
    moment = _EPOCH + timedelta(milliseconds=time_ms)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def order_of(time_ms: int, record_id: str) -> Order:
    """Return the place of a record in the merged order: by time, then by id.

    Ids in decimal compare as integers do, since the shorter number is the smaller; so ties come
    out the same on any number of partitions.

    >>> order_of(5, "10") > order_of(5, "9")
    True
    """
    return (time_ms, len(record_id), record_id)
