"""Tables as bytes: what goes in comes out, and what is damaged does not come out at all."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import StreamprocError
from streamproc.state.tables import Floor, Rows, Stack, Table, decode, encode, merge

ROW = st.tuples(st.text(max_size=3), st.integers(-5, 5), st.integers(0, 5), st.binary(max_size=4))


def table(rows: list[tuple[str, int, int, bytes]]) -> Table:
    """Return a table of rows with keys that differ."""
    made = Rows()
    for row in {row[0]: row for row in rows}.values():
        made.append(*row)
    return made.table()


def rows_of(stack: Stack) -> dict[str, tuple[int, int, bytes]]:
    """Return what a stack holds, by key."""
    return {
        key: (int(stack.times_ms[row]), int(stack.numbers[row]), bytes(stack.payload(row)))
        for key, row in stack.rows.items()
    }


@given(st.lists(st.lists(ROW, max_size=6), max_size=5), st.integers(-6, 6), st.integers(0, 6))
def test_the_newest_row_counts_unless_it_is_dead(
    stacked: list[list[tuple[str, int, int, bytes]]], time_ms: int, number: int
) -> None:
    """A plain dict says the same, through bytes and through a merge as well."""
    expected: dict[str, tuple[int, int, bytes]] = {}
    for rows in stacked:
        expected |= {key: tuple(rest) for key, *rest in rows}  # type: ignore[misc]
    alive = {key: row for key, row in expected.items() if row[0] > time_ms and row[1] >= number}
    tables = [decode(encode({"t": table(rows), "u": table([])}))["t"] for rows in stacked]
    floor = Floor(time_ms, number)
    assert rows_of(Stack(tables, floor)) == alive
    merged = merge([{"t": each} for each in tables], {"t": floor})
    assert rows_of(Stack([merged["t"]] if merged else [], Floor(number=-1))) == alive


@given(st.data())
def test_bytes_that_were_cut_are_refused(data: st.DataObject) -> None:
    """Wherever a file ends too early, it is no file of tables."""
    blob = encode({"t": table([("key", 1, 2, b"payload"), ("k", 3, 4, b"")])})
    cut = data.draw(st.integers(0, len(blob) - 1))
    with pytest.raises(StreamprocError):
        decode(blob[:cut])
