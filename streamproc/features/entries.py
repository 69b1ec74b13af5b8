"""What Python calls of the compiled windows. Imports numba, so import it where it is needed."""

from __future__ import annotations

from typing import Any

from numba import types

from streamproc.features import directory, kernel, segments, times
from streamproc.features.jit import entry, sources

_SOURCES = sources(
    (
        "words.py", "layout.py", "directory.py", "shapes.py", "spans.py", "times.py", "extremes.py",
        "results.py", "segments.py", "kernel.py",
    )
)  # fmt: skip

_int, _nothing = types.int64, types.void
_ints, _table, _words = types.int64[::1], types.int64[:, ::1], types.uint64[:, ::1]
_word_list, _floats = types.uint64[::1], types.float64[:, ::1]
_bytes, _text = types.uint8[::1], types.Array(types.uint8, 1, "C", readonly=True)
_stacks = types.int32[:, ::1]

_find, _id_codes, _advance = directory.find, directory.id_codes, kernel.advance
_touch, _spread_out = directory.touch, directory.spread_out
_settle, _sweep, _drop = kernel.settle, segments.sweep, segments.drop
_claim, _empty, _tidy = segments.claim, segments.empty, segments.tidy
_times_of = times.times_of


def _made(version: int) -> dict[str, Any]:
    """Return the entries; each closes over ``version``, and so is compiled anew for another."""

    def find(text, ends, seed, make, words, table, pool, meta, entity, made, codes):  # type: ignore[no-untyped-def]
        version  # noqa: B018
        return _find(text, ends, seed, make, words, table, pool, meta, entity, made, codes)

    def id_codes(text, ends, codes):  # type: ignore[no-untyped-def]
        version  # noqa: B018
        return _id_codes(text, ends, codes)

    def advance(  # type: ignore[no-untyped-def]
        first, entity, times, values, what, text, ends, codes, rows, words, records, numbers,
        stacks, pool, meta, spans, plan, shape, out, slow, scratch, edges,
    ):  # fmt: skip
        version  # noqa: B018
        return _advance(
            first, entity, times, values, what, text, ends, codes, rows, words, records, numbers,
            stacks, pool, meta, spans, plan, shape, out, slow, scratch, edges,
        )  # fmt: skip

    def touch(words, meta, entity, changed, frozen):  # type: ignore[no-untyped-def]
        version  # noqa: B018
        return _touch(words, meta, entity, changed, frozen)

    def spread_out(old, new):  # type: ignore[no-untyped-def]
        version  # noqa: B018
        _spread_out(old, new)

    def settle(row, now_ms, rows, words, records, numbers, stacks, spans, shape):  # type: ignore[no-untyped-def]
        version  # noqa: B018
        _settle(row, now_ms, rows, words, records, numbers, stacks, spans, shape)

    def sweep(  # type: ignore[no-untyped-def]
        begin, end, floor_ms, oldest_ms, rows, words, records, table, pool, meta, gone
    ):
        version  # noqa: B018
        return _sweep(
            begin, end, floor_ms, oldest_ms, rows, words, records, table, pool, meta, gone
        )

    def drop(row, rows, words, records, table, pool, meta):  # type: ignore[no-untyped-def]
        version  # noqa: B018
        _drop(row, rows, words, records, table, pool, meta)

    def empty(row, rows, records, pool, meta):  # type: ignore[no-untyped-def]
        version  # noqa: B018
        _empty(row, rows, records, pool, meta)

    def claim(size_class, records, meta):  # type: ignore[no-untyped-def]
        version  # noqa: B018
        return _claim(size_class, records, meta)

    def tidy(rows, words, records, pool, new, meta):  # type: ignore[no-untyped-def]
        version  # noqa: B018
        _tidy(rows, words, records, pool, new, meta)

    signatures: dict[Any, Any] = {
        find: _int(_text, _ints, types.uint64, types.boolean, _words, _word_list, _bytes, _ints,
                   _ints, _ints, _words),
        id_codes: _int(_text, _ints, _words),
        advance: _int(_int, _ints, _ints, _ints, _bytes, _text, _ints, _words, _table, _words,
                      _table, _floats, _stacks, _bytes, _ints, _table, _table, _ints, _floats,
                      _table, _word_list, _table),
        touch: _int(_words, _ints, _ints, _ints, _ints),
        spread_out: _nothing(_word_list, _word_list),
        settle: _nothing(_int, _int, _table, _words, _table, _floats, _stacks, _table, _ints),
        sweep: _int(_int, _int, _int, _int, _table, _words, _table, _word_list, _bytes, _ints,
                    _ints),
        drop: _nothing(_int, _table, _words, _table, _word_list, _bytes, _ints),
        empty: _nothing(_int, _table, _table, _bytes, _ints),
        claim: _int(_int, _table, _ints),
        tidy: _nothing(_table, _words, _table, _bytes, _bytes, _ints),
    }  # fmt: skip
    return {each.__name__: entry(each, signature) for each, signature in signatures.items()}


def _made_of_times(version: int) -> Any:
    def times_ms(text, ends, found):  # type: ignore[no-untyped-def]
        version  # noqa: B018
        return _times_of(text, ends, found)

    return entry(times_ms, types.boolean(_text, _ints, _ints))


_all = _made(_SOURCES)
find, id_codes, advance = _all["find"], _all["id_codes"], _all["advance"]
touch, spread_out, settle = _all["touch"], _all["spread_out"], _all["settle"]
sweep, drop, empty = _all["sweep"], _all["drop"], _all["empty"]
claim, tidy, times_ms = _all["claim"], _all["tidy"], _made_of_times(_SOURCES)
