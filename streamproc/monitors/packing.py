"""Arrays as text in JSON: a number takes 11 characters there, and next to no time."""

from __future__ import annotations

from base64 import b64decode, b64encode

import numpy as np

from streamproc.monitors.sums import Floats, Ints

_COUNTS = (np.dtype("<u1"), np.dtype("<u2"), np.dtype("<u4"), np.dtype("<i8"))


def pack_ints(values: Ints) -> str:
    """Return whole numbers as text, 8 bytes each.

    >>> pack_ints(np.array([1])), unpack_ints(pack_ints(np.array([3, -1]))).tolist()
    ('AQAAAAAAAAA=', [3, -1])
    """
    return b64encode(values.astype("<i8", copy=False).tobytes()).decode()


def unpack_ints(text: str) -> Ints:
    """Return what `pack_ints` made a text of; the array is not to be written to."""
    return np.frombuffer(b64decode(text), "<i8")


def pack_floats(values: Floats) -> str:
    """Return numbers as text, 8 bytes each, row by row.

    >>> unpack_floats(pack_floats(np.array([[1.5, np.nan]]))).tolist()
    [1.5, nan]
    """
    return b64encode(values.astype("<f8", copy=False).tobytes()).decode()


def unpack_floats(text: str) -> Floats:
    """Return what `pack_floats` made a text of, as one row; the array is not to be written to."""
    return np.frombuffer(b64decode(text), "<f8")


def pack_counts(counts: Ints) -> str:
    """Return counts from 0 on as text, in as few bytes each as the largest needs; "" if all are 1.

    >>> pack_counts(np.array([1, 1])), pack_counts(np.array([1, 2])), pack_counts(np.array([256]))
    ('', 'AQI=', 'AAE=')
    """
    most = int(counts.max(initial=1))
    if most == 1 and counts.all():
        return ""
    size = next(dtype for dtype in _COUNTS if most <= np.iinfo(dtype).max)
    return b64encode(counts.astype(size).tobytes()).decode()


def unpack_counts(text: str, n: int) -> Ints:
    """Return the ``n`` counts that `pack_counts` made a text of.

    >>> [unpack_counts(text, 2).tolist() for text in ("", "AQI=", "AQACAA==")]
    [[1, 1], [1, 2], [1, 2]]
    """
    if not text or not n:
        return np.ones(n, np.int64)
    data = b64decode(text)
    return np.frombuffer(data, f"<{'i' if len(data) == 8 * n else 'u'}{len(data) // n}").astype(
        np.int64
    )
