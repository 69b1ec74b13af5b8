"""Rows of a file, one at a time: CSV, JSON lines and Parquet; plain, .gz or .zst.

The file's name says what it holds. A row is a flat map of a column to an integer, a finite float,
a bool, a text or None; in JSON lines, whatever the line's object holds.
"""

from __future__ import annotations

import csv
import gzip
import io
import math
import re
import shutil
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any, cast

import orjson
import pyarrow as arrow
import zstandard
from pyarrow import compute, parquet

from streamproc.errors import StreamprocError

Row = dict[str, Any]

_CHUNK_BYTES = 1 << 18
_ZSTD_BYTES = 1 << 12
_BATCH_ROWS = 4_096
_INT64 = range(-(1 << 63), 1 << 63)
# A number as JSON writes it, and ".5" and "5." too. A leading zero or plus marks a code, not a
# number: "00123" and "+31" stay text.
_NUMBER = re.compile(r"-?(?:(?:0|[1-9]\d*)(\.\d*)?|(\.\d+))([eE][+-]?\d+)?", re.ASCII)


def rows(path: str | Path) -> Iterator[Row]:
    """Yield the rows of a file in its order; see `RowFile`.

    >>> import tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     path = Path(folder, "cards.csv")
    ...     _ = path.write_text("id,amount,branch,note\\n7,1.50,007,\\n")
    ...     list(rows(path))
    [{'id': 7, 'amount': 1.5, 'branch': '007', 'note': None}]
    """
    return iter(RowFile(path))


class RowFile:
    """A file of rows, and how far it has been read, for a progress bar.

    Streams: memory stays the same whatever the size, but for a Parquet row group. Iterating
    starts from the top each time. Raises `StreamprocError`, which names the file, the line and
    the remedy, when the file is missing, of another kind, damaged, or has a row that does not fit.
    """

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)
        if not self.path.is_file():
            raise StreamprocError(f"{self.path}: no such file; check the path")
        suffixes = [suffix.lower() for suffix in self.path.suffixes]
        self._packing = suffixes.pop() if suffixes and suffixes[-1] in (".gz", ".zst") else ""
        self._read = _READERS.get(suffixes[-1] if suffixes else "")
        if self._read is None:
            raise StreamprocError(
                f"{self.path}: the name does not say what it holds; end it in .csv, .jsonl, "
                ".ndjson or .parquet, and .gz or .zst after that if it is compressed"
            )
        self.size_bytes = self.path.stat().st_size
        self._position: Callable[[], float] = lambda: 0.0

    def done(self) -> float:
        """Return the share of the file that has been read, 0 to 1."""
        return min(1.0, self._position())

    def __iter__(self) -> Iterator[Row]:
        assert self._read is not None
        try:
            with self.path.open("rb") as packed:
                self._position = lambda: (
                    1.0 if packed.closed or not self.size_bytes else packed.tell() / self.size_bytes
                )
                with _OPENERS[self._packing](packed) as plain:
                    yield from self._read(self, plain)
        except (gzip.BadGzipFile, zlib.error, zstandard.ZstdError, EOFError) as error:
            raise StreamprocError(
                f"{self.path}: damaged or cut short ({error}); fetch or compress it again"
            ) from error
        except OSError as error:
            raise StreamprocError(
                f"{self.path}: cannot be read ({error.strerror or error}); check its permissions"
            ) from error

    def _csv(self, stream: IO[bytes]) -> Iterator[Row]:
        with io.TextIOWrapper(stream, encoding="utf-8-sig", newline="") as text:
            reader = csv.reader(text, strict=True)
            try:
                yield from self._records(reader)
            except csv.Error as error:
                raise self._error(reader.line_num, f"not CSV ({error}); mend the quotes") from error
            except UnicodeDecodeError as error:
                raise self._error(
                    reader.line_num + 1, "near here it is not UTF-8; convert the file"
                ) from error

    def _records(self, reader: Any) -> Iterator[Row]:
        header = next(reader, None)
        if header is None:
            raise self._error(1, "no header; write the names of the columns there")
        if "" in header or len(set(header)) != len(header):
            raise self._error(1, "a column without a name, or two of one; name each column once")
        for fields in reader:
            if len(fields) == len(header):
                yield dict(zip(header, map(typed, fields), strict=True))
            elif fields:
                raise self._error(
                    reader.line_num,
                    f"{len(fields)} fields where the header has {len(header)}; mend the line",
                )

    def _json_lines(self, stream: IO[bytes]) -> Iterator[Row]:
        for number, line in enumerate(stream, 1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if line.isspace():
                continue
            try:
                row = orjson.loads(line)
            except orjson.JSONDecodeError as error:
                raise self._error(number, f"not JSON ({error.msg}); mend the line") from error
            if not isinstance(row, dict):
                raise self._error(number, "JSON, but no object; write one object a line")
            yield row

    def _parquet(self, stream: IO[bytes]) -> Iterator[Row]:
        if not self._packing:
            yield from self._row_groups(stream)
            return
        # Parquet is read from its end, which a compressed stream cannot do: unpack it beside.
        with tempfile.TemporaryFile() as unpacked:
            shutil.copyfileobj(stream, unpacked, _CHUNK_BYTES)
            yield from self._row_groups(unpacked)

    def _row_groups(self, stream: IO[bytes]) -> Iterator[Row]:
        try:
            table = parquet.ParquetFile(stream)
            total = table.metadata.num_rows or 1
            read = 0
            self._position = lambda: read / total
            for batch in table.iter_batches(batch_size=_BATCH_ROWS):
                pairs = zip(batch.schema, batch.columns, strict=True)
                columns = [self._plain(*column) for column in pairs]
                names = batch.schema.names
                for values in zip(*columns, strict=True):
                    read += 1
                    yield dict(zip(names, values, strict=True))
        except arrow.ArrowException as error:
            raise StreamprocError(
                f"{self.path}: not Parquet, or damaged ({str(error).splitlines()[0]}); "
                "write it again"
            ) from error

    def _plain(self, field: Any, column: Any) -> list[Any]:
        """Return a column as Python values that JSON has: times as integer ms since the epoch."""
        kind = field.type
        if arrow.types.is_dictionary(kind):
            column, kind = column.dictionary_decode(), kind.value_type
        if arrow.types.is_timestamp(kind):
            column = column.cast(arrow.timestamp("ms", kind.tz), safe=False).cast(arrow.int64())
        elif arrow.types.is_decimal(kind):
            column, kind = column.cast(arrow.float64()), arrow.float64()
        elif arrow.types.is_date(kind):
            column = column.cast(arrow.string())
        elif not any(fits(kind) for fits in _PLAIN_TYPES):
            raise StreamprocError(
                f"{self.path}, column {field.name!r}: {kind} is no number, text, bool or time; "
                "leave the column out or convert it"
            )
        if arrow.types.is_floating(kind):
            finite = compute.is_finite(column)
            column = compute.if_else(finite, column, arrow.scalar(None, kind))
        values: list[Any] = column.to_pylist()
        return values

    def _error(self, line: int, problem: str) -> StreamprocError:
        return StreamprocError(f"{self.path}, line {line}: {problem}")


def typed(text: str) -> int | float | str | None:
    """Read a CSV value: an integer, a finite float, None where empty, and else the text.

    An integer beyond 64 bits, and a number with a leading zero, is a code and stays text.

    >>> [typed(text) for text in ("12", "-1.5e3", "00123", "nan", "", "0")]
    [12, -1500.0, '00123', 'nan', None, 0]
    """
    if text.isdigit() and text.isascii():
        if text[0] == "0" and len(text) > 1:
            return text
        if len(text) < 19 or (len(text) == 19 and int(text) in _INT64):
            return int(text)
        return text
    if not text:
        return None
    match = _NUMBER.fullmatch(text)
    if match is None:
        return text
    if match.lastindex is None and text != "-0":
        fits = len(text) < 20 or (len(text) == 20 and int(text) in _INT64)
        return int(text) if fits else text
    number = float(text)
    return number if math.isfinite(number) else text


class _ZstdStream(io.RawIOBase):
    """What a .zst file unpacks to.

    zstandard's own reader ends without a word where a file was cut short; this one tells.
    """

    def __init__(self, packed: IO[bytes]) -> None:
        self._packed = packed
        self._frame: Any = None
        self._input = b""
        self._output = memoryview(b"")

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        while not self._output:
            # Little by little, since a little may unpack to a lot.
            self._input = self._input or self._packed.read(_ZSTD_BYTES)
            if not self._input:
                if self._frame is not None:
                    raise EOFError("the last frame does not end")
                return 0
            if self._frame is None:
                self._frame = zstandard.ZstdDecompressor().decompressobj()
            self._output = memoryview(self._frame.decompress(self._input))
            self._input = self._frame.unused_data
            if self._frame.eof:
                self._frame = None
        size = min(len(buffer), len(self._output))
        buffer[:size] = self._output[:size]
        self._output = self._output[size:]
        return size


def _open_gzip(packed: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], gzip.GzipFile(fileobj=packed))


def _open_zstd(packed: IO[bytes]) -> IO[bytes]:
    return cast(IO[bytes], io.BufferedReader(_ZstdStream(packed), _CHUNK_BYTES))


def _open_plain(packed: IO[bytes]) -> IO[bytes]:
    return packed


_OPENERS = {"": _open_plain, ".gz": _open_gzip, ".zst": _open_zstd}
_READERS = {
    ".csv": RowFile._csv,
    ".jsonl": RowFile._json_lines,
    ".ndjson": RowFile._json_lines,
    ".parquet": RowFile._parquet,
}
_PLAIN_TYPES = (
    arrow.types.is_integer,
    arrow.types.is_floating,
    arrow.types.is_boolean,
    arrow.types.is_string,
    arrow.types.is_large_string,
    arrow.types.is_string_view,
    arrow.types.is_null,
)
