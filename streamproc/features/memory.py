"""Memory for compiled code: rows that begin on a line of the processor's cache, and can grow."""

from __future__ import annotations

import mmap

import numpy as np
from numpy.typing import NDArray

LINE_WORDS = 8
"""A line of the cache has 64 bytes."""

_HUGE_BYTES = 1 << 21
_HUGE_PAGES = getattr(mmap, "MADV_HUGEPAGE", None)


class Lines:
    """Rows of so many 64-bit integers or more, zeros at first, in memory mapped for them alone.

    It begins with a page, so a row of a line or two is in one or two, and not in one more. It is
    in huge pages where there are any. With a million entities both cost more than what is computed.

    >>> lines = Lines(2, 8)
    >>> lines.rows[1, 0] = 7
    >>> lines.grow(1_000)
    >>> lines.rows.shape, int(lines.rows[1, 0]), int(lines.rows.sum())
    ((1000, 8), 7, 7)
    """

    def __init__(self, rows: int, columns: int) -> None:
        self._columns = columns
        self._map = _mapped(self._size(rows))
        self._view()

    def grow(self, rows: int) -> None:
        """Have more rows. Raises ``BufferError`` while somebody still has what ``rows`` was.

        Nothing is copied where the system can move memory.
        """
        del self.rows
        try:
            self._map.resize(self._size(rows))
        except SystemError:  # it can't
            old, self._map = self._map, _mapped(self._size(rows))
            self._map[: len(old)] = old[:]
        self._view()

    def _size(self, rows: int) -> int:
        """Return how many bytes to map: whole huge pages, else they come apart when moved."""
        size = 8 * rows * self._columns
        return size if size < _HUGE_BYTES else -(-size // _HUGE_BYTES) * _HUGE_BYTES

    def _view(self) -> None:
        if _HUGE_PAGES is not None:
            self._map.madvise(_HUGE_PAGES)
        rows = len(self._map) // (8 * self._columns)
        words = np.frombuffer(self._map, np.int64, rows * self._columns)
        self.rows: NDArray[np.int64] = words.reshape(rows, self._columns)


def _mapped(size: int) -> mmap.mmap:
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
