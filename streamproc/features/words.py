"""Sums that never round, compiled: whole numbers in 64-bit words, lowest first.

A float is an integer times a power of two. One that is a multiple of ``2**-118`` and smaller than
``2**43`` has its place in three words, its square in six, and there is room for 2**30 of them. So
adding and taking away is exact, and the one rounding is the last: :func:`ratio`.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from streamproc.features.jit import inlined, leading_zeros

SUM_WORDS = 3
SQUARE_WORDS = 6
FRACTION = 118
"""How many binary places a sum has; one of squares has twice as many."""

_U0, _U1, _U32, _U63, _U64 = (np.uint64(n) for n in (0, 1, 32, 63, 64))
_LOW = np.uint64(0xFFFFFFFF)
_MANTISSA = np.int64((1 << 52) - 1)
_HIDDEN = np.uint64(1 << 52)
_DROPPED, _HALF = np.uint64(0x7FF), np.uint64(0x400)
_U11 = np.uint64(11)
_MIDDLE = 500
_POWERS = np.ldexp(1.0, np.arange(-_MIDDLE, _MIDDLE))
_HIGHEST = 108
"""The place of the last bit of a value just below 2**43."""

Word = Any
"""A ``np.uint64``. Never mixed with a signed integer: numba would make a float of the two."""

Words = Any
"""An array of them, of one or two dimensions."""


@inlined
def split(bits: int) -> tuple[Word, int, bool]:
    """Return a float's digits and their place, and whether it has one; ``bits`` are its own."""
    exponent = (bits >> 52) & 0x7FF
    digits = np.uint64(bits & _MANTISSA)
    if exponent == 0:
        return digits, 0, digits == _U0
    digits |= _HIDDEN
    place = exponent - 1075 + FRACTION
    if place > _HIGHEST or place <= -53:
        return digits, 0, False
    if place < 0:
        cut = np.uint64(-place)
        if digits & ((_U1 << cut) - _U1) != _U0:
            return digits, 0, False
        return digits >> cut, 0, True
    return digits, place, True


@inlined
def limbs(digits: Word, place: int, minus: bool) -> tuple[Word, Word, Word]:
    """Return a value as the three words of a sum, or what takes it away."""
    low = digits << np.uint64(place & 63)
    high = _U0
    if place & 63 != 0:
        high = digits >> np.uint64(64 - (place & 63))
    if place < 64:
        first, second, third = low, high, _U0
    else:
        first, second, third = _U0, low, high
    if minus:  # the complement, and one
        first = ~first + _U1
        second = ~second + (_U1 if first == _U0 else _U0)
        third = ~third + (_U1 if (first | second) == _U0 else _U0)
    return first, second, third


@inlined
def add(words: Words, row: int, at: int, first: Word, second: Word, third: Word) -> None:
    """Add three words to a sum."""
    low = words[row, at] + first
    carry = _U1 if low < first else _U0
    middle = words[row, at + 1] + second
    more = _U1 if middle < second else _U0
    middle += carry
    more += _U1 if middle < carry else _U0
    words[row, at] = low
    words[row, at + 1] = middle
    words[row, at + 2] += third + more


@inlined
def take_away(words: Words, row: int, this: int, other: int, scratch: Words) -> None:
    """Put one sum of a row less another one into the first words of ``scratch``."""
    borrow = _U0
    for i in range(SUM_WORDS):
        have, gone = words[row, this + i], words[row, other + i]
        scratch[i] = have - gone - borrow
        borrow = _U1 if have < gone or (have == gone and borrow != _U0) else _U0


@inlined
def product(a: Word, b: Word) -> tuple[Word, Word]:
    """Return the low and the high word of a product."""
    a_low, a_high, b_low, b_high = a & _LOW, a >> _U32, b & _LOW, b >> _U32
    low = a_low * b_low
    middle = a_high * b_low + (low >> _U32)
    other = a_low * b_high + (middle & _LOW)
    return a * b, a_high * b_high + (middle >> _U32) + (other >> _U32)


@inlined
def add_square(words: Words, row: int, at: int, digits: Word, place: int, minus: bool) -> None:
    """Add a value's square to a sum of six words, or take it away."""
    low, high = product(digits, digits)
    word, shift = (2 * place) // 64, np.uint64((2 * place) % 64)
    top = _U0
    if shift != _U0:
        back = _U64 - shift
        top = high >> back
        high = (high << shift) | (low >> back)
        low <<= shift
    carry = _U0
    for i in range(word, SQUARE_WORDS):
        given = low if i == word else high if i == word + 1 else top if i == word + 2 else _U0
        if i > word + 2 and carry == _U0:
            break
        have = words[row, at + i]
        if minus:
            words[row, at + i] = have - given - carry
            carry = _U1 if have < given or (have == given and carry != _U0) else _U0
        else:
            found = have + given + carry
            words[row, at + i] = found
            carry = _U1 if found < have or (found == have and carry != _U0) else _U0


@inlined
def _divided(high: Word, low: Word, by: Word) -> tuple[Word, Word]:
    """Divide two words by one that begins with a one and is above ``high`` (Knuth's D)."""
    by_high, by_low = by >> _U32, by & _LOW
    quotient = _U0
    for half in (low >> _U32, low & _LOW):
        guess = high // by_high
        rest = high - guess * by_high
        while guess > _LOW or guess * by_low > ((rest << _U32) | half):
            guess -= _U1
            rest += by_high
            if rest > _LOW:
                break
        high = ((high << _U32) | half) - guess * by
        quotient = (quotient << _U32) | guess
    return quotient, high


@inlined
def ratio(words: Words, size: int, divisor: Word, places: int) -> Any:
    """Return a sum over a divisor and ``2**places``, rounded once, to even; ``words`` is spent."""
    negative = words[size - 1] >> _U63 != _U0
    if negative:
        carry = _U1
        for i in range(size):
            words[i] = ~words[i] + carry
            carry = _U1 if carry != _U0 and words[i] == _U0 else _U0
    top = size - 1
    while top >= 0 and words[top] == _U0:
        top -= 1
    if top < 0:
        return 0.0
    zeros = leading_zeros(words[top])
    high, low = words[top], words[top - 1] if top > 0 else _U0
    below = words[top - 2] if top > 1 else _U0
    if zeros != _U0:
        high = (high << zeros) | (low >> (_U64 - zeros))
        low = (low << zeros) | (below >> (_U64 - zeros))
        below <<= zeros
    inexact = below != _U0
    for i in range(top - 2):
        inexact |= words[i] != _U0
    exponent = 64 * top - np.int64(zeros) - places
    if divisor != _U1:
        shift = leading_zeros(divisor)
        divisor <<= shift
        if high >= divisor:
            inexact |= low & _U1 != _U0
            low = (low >> _U1) | (high << _U63)
            high >>= _U1
            exponent += 1
        high, low = _divided(high, low, divisor)
        exponent += np.int64(shift) - 64
    inexact |= low != _U0
    digits, dropped = high >> _U11, high & _DROPPED
    if dropped > _HALF or (dropped == _HALF and (inexact or digits & _U1 != _U0)):
        digits += _U1
    found = np.float64(digits) * _POWERS[exponent + 11 + _MIDDLE]
    return -found if negative else found


@inlined
def rounded(words: Words, row: int, at: int) -> Any:
    """Return a sum of a row as :func:`ratio` would, over one; most that is asked for is that."""
    low, middle, high = words[row, at], words[row, at + 1], words[row, at + 2]
    negative = high >> _U63 != _U0
    if negative:
        low = ~low + _U1
        middle = ~middle + (_U1 if low == _U0 else _U0)
        high = ~high + (_U1 if (low | middle) == _U0 else _U0)
    exponent: Any = 2 * 64 - FRACTION
    if high == _U0:
        high, middle, low = middle, low, _U0
        exponent -= 64
    if high == _U0:
        high, middle = middle, _U0
        exponent -= 64
    if high == _U0:
        return 0.0
    zeros = leading_zeros(high)
    rest = middle << zeros
    if zeros != _U0:
        high = (high << zeros) | (middle >> (_U64 - zeros))
    digits, dropped = high >> _U11, high & _DROPPED
    if dropped > _HALF or (dropped == _HALF and ((rest | low) != _U0 or digits & _U1 != _U0)):
        digits += _U1
    found = np.float64(np.int64(digits)) * _POWERS[exponent - np.int64(zeros) + 11 + _MIDDLE]
    return -found if negative else found


@inlined
def spread(words: Words, row: int, at: int, count: int, scratch: Words) -> Word:
    """Return ``count * squares - sum**2``, exact, in seven words of ``scratch``; the sum is first.

    A value's variance is that over ``count * (count - 1)``. Uses words 7 to 9 too.
    """
    carry, many = _U0, np.uint64(count)
    for i in range(SQUARE_WORDS):
        low, high = product(words[row, at + SUM_WORDS + i], many)
        low += carry
        carry = high + (_U1 if low < carry else _U0)
        scratch[i] = low
    scratch[6] = carry
    flip = words[row, at + 2] >> _U63 != _U0
    carry = _U1
    for i in range(SUM_WORDS):
        word = words[row, at + i]
        if flip:
            word = ~word + carry
            carry = _U1 if carry != _U0 and word == _U0 else _U0
        scratch[7 + i] = word
    for i in range(SUM_WORDS):
        for j in range(SUM_WORDS):
            low, high = product(scratch[7 + i], scratch[7 + j])
            _take(scratch, i + j, low)
            _take(scratch, i + j + 1, high)
    return scratch[6]


@inlined
def _take(scratch: Words, at: int, word: Word) -> None:
    for i in range(at, 7):
        have = scratch[i]
        scratch[i] = have - word
        if have >= word:
            return
        word = _U1
