"""Reading rows: every kind of file gives the same rows, and damage is told with its line."""

from __future__ import annotations

import csv
import datetime as dt
import decimal
import gzip
import io
import json
import math
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from random import Random
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from streamproc.errors import StreamprocError
from streamproc.files import RowFile, rows, typed

ROWS: list[dict[str, Any]] = [
    {"id": 1, "amount": 1.25, "place": "Gent", "note": None},
    {"id": 2, "amount": -3.0, "place": 'a "quoted", one', "note": "zwölf\nlines"},
]

PACKERS: dict[str, Callable[[bytes], bytes]] = {
    "": lambda data: data,
    ".gz": gzip.compress,
    ".zst": zstandard.ZstdCompressor().compress,
}


def as_csv(table: list[dict[str, Any]]) -> bytes:
    """Write rows by the standard library."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, list(table[0]))
    writer.writeheader()
    writer.writerows(table)
    return text.getvalue().encode()


def as_json_lines(table: list[dict[str, Any]]) -> bytes:
    """Write rows by the standard library."""
    return "".join(json.dumps(row) + "\n" for row in table).encode()


def as_parquet(table: list[dict[str, Any]]) -> bytes:
    """Write rows by pyarrow."""
    stream = io.BytesIO()
    pq.write_table(pa.Table.from_pylist(table), stream)
    return stream.getvalue()


@pytest.mark.parametrize("packing", PACKERS)
@pytest.mark.parametrize(
    ("kind", "write"),
    [
        (".csv", as_csv),
        (".jsonl", as_json_lines),
        (".ndjson", as_json_lines),
        (".parquet", as_parquet),
        (".CSV", as_csv),
    ],
)
def test_every_kind_and_packing_gives_the_same_rows(
    tmp_path: Path, kind: str, write: Callable[[list[dict[str, Any]]], bytes], packing: str
) -> None:
    """What was written is read, whatever the format, and the whole file is done at the end."""
    path = tmp_path / f"rows.v2{kind}{packing}"
    path.write_bytes(PACKERS[packing](write(ROWS)))
    source = RowFile(path)
    assert list(source) == ROWS
    assert source.done() == 1.0
    assert list(source) == ROWS, "a second pass starts from the top"


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", 0),
        ("42", 42),
        ("-42", -42),
        ("9223372036854775807", 2**63 - 1),
        ("-9223372036854775808", -(2**63)),
        ("9223372036854775808", "9223372036854775808"),
        ("-9223372036854775809", "-9223372036854775809"),
        ("4" * 5_000, "4" * 5_000),
        ("-" + "4" * 5_000, "-" + "4" * 5_000),
        ("1.50", 1.5),
        (".5", 0.5),
        ("5.", 5.0),
        ("1e3", 1000.0),
        ("-1.5E-3", -0.0015),
        ("00123", "00123"),
        ("007.5", "007.5"),
        ("-01", "-01"),
        ("+31", "+31"),
        ("1_000", "1_000"),
        ("1,5", "1,5"),
        ("nan", "nan"),
        ("inf", "inf"),
        ("-Infinity", "-Infinity"),
        ("1e999", "1e999"),
        ("0x10", "0x10"),
        ("٣", "٣"),
        ("²", "²"),
        (" 1", " 1"),
        ("true", "true"),
        ("2018-04-01", "2018-04-01"),
        ("-", "-"),
        (".", "."),
        ("", None),
    ],
)
def test_a_csv_value_has_the_type_it_is_written_as(text: str, value: object) -> None:
    """Numbers are numbers; codes, and what JSON could not carry on, stay text."""
    assert typed(text) == value
    assert type(typed(text)) is type(value)


def test_minus_zero_stays_a_number() -> None:
    """A minus zero keeps its sign, which no integer could."""
    value = typed("-0")
    assert isinstance(value, float)
    assert math.copysign(1, value) == -1


@given(
    st.one_of(st.integers(-(2**63), 2**63 - 1), st.floats(allow_nan=False, allow_infinity=False))
)
def test_numbers_survive_being_written(number: float) -> None:
    """Whatever Python writes for a number is read as that number, of its type."""
    again = typed(repr(number))
    assert again == number
    assert type(again) is type(number)


@given(st.text())
def test_a_value_is_never_changed_into_another(text: str) -> None:
    """Any text gives None, itself, or a finite number that JSON's own grammar agrees with."""
    value = typed(text)
    if isinstance(value, int | float):
        padded = text.replace("-.", "-0.").removesuffix(".")
        assert math.isfinite(value)
        assert value == json.loads("0" + padded if padded.startswith(".") else padded)
    else:
        assert value == (text or None)


@pytest.mark.data
def test_real_payments_read_as_the_standard_library_reads_them(data: Path) -> None:
    """April's payments have the numbers and texts that csv, int and float give."""
    path = data / "payments" / "transactions-2018-04.csv.gz"
    with gzip.open(path, "rt", newline="") as text:
        for expected, row in zip(csv.DictReader(text), rows(path), strict=True):
            when, amount = expected.pop("event_time"), expected.pop("amount")
            assert row == {
                "event_time": when,
                "amount": float(amount),
                **{name: int(value) for name, value in expected.items()},
            }


def test_blank_lines_and_a_byte_order_mark_are_no_rows(tmp_path: Path) -> None:
    """Files saved by editors and spreadsheets read as they look."""
    table = tmp_path / "t.csv"
    table.write_bytes(b"\xef\xbb\xbfid,x\r\n1,2\r\n\r\n3,\r\n")
    lines = tmp_path / "t.jsonl"
    lines.write_bytes(b'\xef\xbb\xbf{"id":1}\n\n  \n{"id":2}')
    assert list(rows(table)) == [{"id": 1, "x": 2}, {"id": 3, "x": None}]
    assert list(rows(lines)) == [{"id": 1}, {"id": 2}]


@pytest.mark.parametrize(
    ("name", "content", "told"),
    [
        ("t.csv", b"", r"t\.csv, line 1: no header"),
        ("t.csv", b"a,a\n1,2\n", r"line 1: a column without a name, or two of one"),
        ("t.csv", b"a,\n1,2\n", r"line 1: a column without a name"),
        ("t.csv", b'a,b\n1,2\n"x\ny",3\n4\n', r"line 5: 1 fields where the header has 2"),
        ("t.csv", b"a,b\n1,2,3\n", r"line 2: 3 fields where the header has 2"),
        ("t.csv", b'a,b\n1,"2\n', r"line 2: not CSV"),
        ("t.csv", b"a,b\n1,\xff\n", r"near here it is not UTF-8"),
        ("t.jsonl", b'{"a":1}\n{"a":\n', r"t\.jsonl, line 2: not JSON"),
        ("t.jsonl", b'{"a":NaN}\n', r"line 1: not JSON"),
        ("t.jsonl", b'{"a":1}\n[1]\n', r"line 2: JSON, but no object"),
        ("t.parquet", b"PAR1 but no more", r"t\.parquet: not Parquet, or damaged"),
        ("t.parquet", b"", r"t\.parquet: not Parquet, or damaged"),
        ("t.csv.gz", b"not gzip at all", r"t\.csv\.gz: damaged or cut short"),
        ("t.csv.zst", b"not zstd at all", r"t\.csv\.zst: damaged or cut short"),
    ],
)
def test_a_bad_file_is_told_with_its_place_and_a_remedy(
    tmp_path: Path, name: str, content: bytes, told: str
) -> None:
    """One line names the file, the line where there is one, and what is wrong."""
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(StreamprocError, match=told) as raised:
        list(rows(path))
    assert "\n" not in str(raised.value)
    assert "; " in str(raised.value)


@pytest.mark.parametrize("packing", [".gz", ".zst"])
@pytest.mark.parametrize("kind", [".csv", ".jsonl"])
def test_a_file_cut_short_is_never_read_as_a_shorter_one(
    tmp_path: Path, kind: str, packing: str
) -> None:
    """Wherever a compressed file is cut, reading it ends in an error."""
    write = {".csv": as_csv, ".jsonl": as_json_lines}[kind]
    whole = PACKERS[packing](write(ROWS * 50))
    path = tmp_path / f"t{kind}{packing}"
    for length in range(1, len(whole)):
        path.write_bytes(whole[:length])
        with pytest.raises(StreamprocError):
            list(rows(path))


def test_several_compressed_parts_are_read_on(tmp_path: Path) -> None:
    """Files made by appending one compressed file to another are one file."""
    parts = as_json_lines(ROWS[:1]), as_json_lines(ROWS[1:])
    for packing in (".gz", ".zst"):
        path = tmp_path / f"t.jsonl{packing}"
        path.write_bytes(b"".join(map(PACKERS[packing], parts)))
        assert list(rows(path)) == ROWS


@pytest.mark.parametrize("name", ["t", "t.txt", "t.gz", "t.csv.bz2", "t.parquet.csv.xz"])
def test_a_name_that_does_not_say_the_kind_is_refused(tmp_path: Path, name: str) -> None:
    """The message lists the endings that are read."""
    (tmp_path / name).write_bytes(b"a\n1\n")
    with pytest.raises(StreamprocError, match=r"\.jsonl, \.ndjson or \.parquet"):
        rows(tmp_path / name)


def test_a_file_that_is_not_there_is_told_at_the_call(tmp_path: Path) -> None:
    """A wrong path, or a folder, fails before anything is sent."""
    for path in (tmp_path / "none.csv", tmp_path):
        with pytest.raises(StreamprocError, match="no such file"):
            rows(path)


def test_parquet_columns_become_what_json_has(tmp_path: Path) -> None:
    """Times are integer milliseconds, dates text, decimals floats, and NaN is null."""
    moment = dt.datetime.fromisoformat("2018-04-01T12:00:00.250999")
    local = dt.datetime(2018, 4, 1, 14, tzinfo=dt.timezone(dt.timedelta(hours=2)))
    table = pa.table(
        {
            "naive": pa.array([moment], pa.timestamp("us")),
            "zoned": pa.array([local], pa.timestamp("ns", "Europe/Brussels")),
            "day": pa.array([dt.date(2018, 4, 1)]),
            "price": pa.array([decimal.Decimal("1.25")]),
            "missing": pa.array([float("nan")]),
            "endless": pa.array([float("inf")], pa.float32()),
            "country": pa.array(["NL"]).dictionary_encode(),
            "yes": pa.array([True]),
            "empty": pa.nulls(1),
        }
    )
    pq.write_table(table, tmp_path / "t.parquet")
    noon_ms = int(dt.datetime(2018, 4, 1, 12, tzinfo=dt.UTC).timestamp()) * 1_000
    assert list(rows(tmp_path / "t.parquet")) == [
        {
            "naive": noon_ms + 250,
            "zoned": noon_ms,
            "day": "2018-04-01",
            "price": 1.25,
            "missing": None,
            "endless": None,
            "country": "NL",
            "yes": True,
            "empty": None,
        }
    ]


def test_a_parquet_column_that_json_lacks_is_named(tmp_path: Path) -> None:
    """Bytes have no JSON; the message names the column."""
    pq.write_table(pa.table({"raw": pa.array([b"x"])}), tmp_path / "t.parquet")
    with pytest.raises(StreamprocError, match="column 'raw': binary"):
        list(rows(tmp_path / "t.parquet"))


@pytest.mark.parametrize(
    ("kind", "write"), [(".csv", as_csv), (".jsonl", as_json_lines), (".parquet", as_parquet)]
)
def test_progress_only_rises(
    tmp_path: Path, kind: str, write: Callable[[list[dict[str, Any]]], bytes]
) -> None:
    """The share read goes from little to all, never back."""
    path = tmp_path / f"t{kind}"
    path.write_bytes(write(ROWS * 20_000))
    source = RowFile(path)
    assert source.done() == 0.0
    seen = [source.done() for _ in source]
    assert seen == sorted(seen)
    assert seen[0] < 0.5
    assert source.done() == 1.0


@pytest.mark.parametrize("packing", PACKERS)
def test_a_large_file_is_not_held_in_memory(tmp_path: Path, packing: str) -> None:
    """Reading 20 MB takes a small part of that."""
    random = Random(1)
    path = tmp_path / f"t.jsonl{packing}"
    lines = (json.dumps({"id": i, "x": random.randbytes(500).hex()}) for i in range(20_000))
    path.write_bytes(PACKERS[packing]("\n".join(lines).encode()))
    tracemalloc.start()
    try:
        assert sum(1 for _ in rows(path)) == 20_000
        peak_bytes = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak_bytes < 2_000_000
