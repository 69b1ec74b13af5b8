"""Texts of a micro-batch on their way to compiled code: their bytes, and where each ends."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from streamproc.eventtime import parse_times_ms

_MANY = 16
"""From so many times on it pays to call compiled code."""

Integers = NDArray[np.int64]
Bytes = NDArray[np.uint8]


def joined(texts: Sequence[str]) -> tuple[Bytes, Integers]:
    """Return the bytes of texts, one behind the other with a byte between, and where each ends.

    Where no text has a line's end in it, the ends are left to be found: the first is -1.

    >>> text, ends = joined(["a", "bc"])
    >>> text.tobytes(), int(ends[0])
    (b'a\\nbc', -1)
    >>> joined(["a", "b\\nc"])[1].tolist()
    [1, 5]
    """
    blob = "\n".join(texts).encode("utf-8", "surrogatepass")
    ends = np.empty(len(texts), np.int64)
    ends[0] = -1
    if blob.count(b"\n") != len(texts) - 1:
        sizes = [len(text.encode("utf-8", "surrogatepass")) for text in texts]
        ends[:] = np.cumsum(sizes) + np.arange(len(texts))
    return np.frombuffer(blob, np.uint8), ends


class Ids:
    """The ids of a micro-batch, in the form in which compiled code compares them.

    The id None comes after all others.
    """

    def __init__(self, ids: Sequence[str | None]) -> None:
        from streamproc.features.entries import id_codes

        self.texts = ids
        none = None in ids
        self.text, self.ends = joined([each or "" for each in ids] if none else ids)  # type: ignore[arg-type]
        self.codes: NDArray[np.uint64] = np.empty((len(ids), 2), np.uint64)
        self.long_bytes: int = id_codes(self.text, self.ends, self.codes)
        if none:
            self.codes[[each is None for each in ids]] = np.uint64((1 << 64) - 1)


def read_times_ms(values: Sequence[Any]) -> list[int]:
    """Read times, each as ``eventtime.parse_time_ms`` does; raises where that does.

    >>> read_times_ms(["1970-01-01T00:00:01Z"] * 20)[-1], read_times_ms([7, "1970-01-01T00:00:00Z"])
    (1000, [7, 0])
    """
    if len(values) >= _MANY and set(map(type, values)) == {str}:
        from streamproc.features.entries import times_ms

        found = np.empty(len(values), np.int64)
        if times_ms(*joined(values), found):
            return list(found.tolist())
    return parse_times_ms(values)


def decoded(blob: Any) -> str:
    """Return the text that some bytes of :func:`joined` were."""
    return bytes(blob).decode("utf-8", "surrogatepass")
