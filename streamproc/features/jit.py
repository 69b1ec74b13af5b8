"""Compiling by numba, once a machine: what was compiled is kept, and read by the next process."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar, cast

import numba
from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic
from numba.np.arrayobj import make_array

# Compiled code makes no arrays, so it need not count who uses them, an atomic step at each call.
_OPTIONS: dict[str, Any] = {"error_model": "numpy", "_nrt": False}

_make_array: Any = make_array
_unpack_tuple: Any = cgutils.unpack_tuple
_BYTE_POINTER = ir.IntType(8).as_pointer()
Function = TypeVar("Function", bound=Callable[..., Any])


def inlined(function: Function) -> Function:
    """Let compiled code call a function; it becomes a part of what calls it."""
    return _jitted(function, forceinline=True)


def called(function: Function) -> Function:
    """Let compiled code call a function that is seldom called, or large, and stays by itself."""
    return _jitted(function)


def _jitted(function: Function, **options: Any) -> Function:
    compiled: Any = numba.njit(**_OPTIONS, **options)(function)
    return cast(Function, compiled)


def entry(function: Callable[..., Any], signature: Any) -> Any:
    """Compile a function for Python to call, or read it from numba's cache.

    The cache is the folder ``__pycache__`` beside the code, where it can be written; else the
    user's cache folder; ``NUMBA_CACHE_DIR`` names another. Where none can be written, every start
    compiles anew.
    """
    try:
        return _compiled(function, signature, cache=True)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return _compiled(function, signature, cache=False)


def _compiled(function: Callable[..., Any], signature: Any, cache: bool) -> Any:
    return numba.njit(signature, cache=cache, **_OPTIONS)(function)


def sources(names: Sequence[str]) -> int:
    """Return a number that changes when one of these files beside this one does.

    Numba looks at the size and the time of one file to see whether its cache is stale, which tells
    nothing of a wheel, whose files are all of one time. What an entry closes over it does compare.
    """
    folder = Path(__file__).parent
    digest = hashlib.sha256(b"".join((folder / name).read_bytes() for name in names))
    return int.from_bytes(digest.digest()[:7], "big")


def _prefetch(typing: Any, array: Any, row: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind, (value, index) = signature.args[0], arguments
        made = _make_array(kind)(context, builder, value)
        strides = _unpack_tuple(builder, made.strides, kind.ndim)
        data = builder.ptrtoint(made.data, strides[0].type)
        at = builder.inttoptr(builder.add(data, builder.mul(index, strides[0])), _BYTE_POINTER)
        word = ir.IntType(32)
        given = (at, *(ir.Constant(word, number) for number in (0, 3, 1)))
        wanted = ir.FunctionType(ir.VoidType(), [_BYTE_POINTER, word, word, word])
        builder.call(
            builder.module.declare_intrinsic("llvm.prefetch", [_BYTE_POINTER], wanted), given
        )
        return context.get_dummy_value()

    return types.void(array, types.int64), generate


def _leading_zeros(typing: Any, word: Any) -> Any:
    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.ctlz(arguments[0], ir.Constant(ir.IntType(1), 0))

    return types.uint64(types.uint64), generate


leading_zeros: Any = intrinsic(_leading_zeros)
"""How many zeros a 64-bit word begins with, which processors have an instruction for."""

prefetch: Any = intrinsic(_prefetch)
"""Have the processor fetch the beginning of an array's row, and wait for nothing.

Entities come in any order, each in another place of memory, which takes longer than to add it up.
"""
