"""Reduction of an angle, however large, to |x| = q pi/2 + theta with |theta| <= pi/4.

Only the fraction of x / (2 pi), a number of turns, matters. Both formats multiply x by many bits of
1 / (2 pi) and drop whole turns before they can push out the fraction (Payne and Hanek, 1983).
"""

from __future__ import annotations

from typing import NamedTuple

from ..scalar import (
    F32,
    F64,
    I64,
    U64,
    Expr,
    bitcast,
    cast,
    constant,
    fma,
    mulhi,
    rint,
    select,
)

# 1 / (2 pi) in five pieces of 29 bits and one of 53: a float32 times a short piece is exact.
_PIECES = (
    0.15915494272485375,
    3.6704158115630214e-10,
    5.690025167992954e-19,
    1.4703036846932608e-27,
    2.5867171752090537e-36,
    9.458140970740169e-46,
)
_TWO_PI = 6.283185307179586

# 53 zero bits, then 1 / (2 pi) in binary; most significant word first.
_WORDS = (
    0x0000000000000145,
    0xF306DC9C882A53F8,
    0x4EAFA3EA69BB81B6,
    0xC52B3278872083FC,
    0xA2C757BD778AC36E,
    0x48DC74849BA5C00C,
    0x925DD413A32439FC,
    0x3BD63962534E7DD1,
    0x046BEA5D768909D3,
    0x38E04D68BEFC8273,
    0x23AC7306A673E939,
    0x08BF177BF250763F,
    0xF12FFFBC0B301FDE,
    0x5E2316B414DA3EDA,
    0x6CFD9E4F96136E9E,
    0x8C7ECD3CBFD45AEA,
    0x4F758FD7CBE2F67A,
    0x0E73EF14A525D4D7,
    0xF6BF623F1ABA10AC,
    0x06608DF8F6D757E1,
)
# 2 pi / 2**64, in two parts.
_UNIT, _UNIT_LO = 3.4061215800865545e-19, 1.3277647201629795e-35


class Angle(NamedTuple):
    """|x| = quarter * pi/2 + theta + tail, as float64; quarter (uint64) counts modulo 4."""

    quarter: Expr
    theta: Expr
    tail: Expr | None


def reduce_angle(x: Expr) -> Angle:
    """The angle of |x|; theta is NaN if x is infinite or a NaN."""
    return _reduce32(abs(x)) if x.dtype == F32 else _reduce64(abs(x))


def _reduce32(x: Expr) -> Angle:
    """In float64, without a table: whole turns are dropped from each exact product.

    Summing from the greatest, after the quarter turns are taken off, is exact up to the last terms:
    what remains is always as small as the terms still to come, or of the order of the result.
    """
    wide = cast(x, F64)
    turns = [wide * piece for piece in _PIECES[:-1]]
    fractions = [t - rint(t) for t in turns]
    total = fractions[0]
    for fraction in fractions[1:]:
        total = total + fraction
    magic = 1.5 * 2.0**52
    shifted = fma(total, 4.0, magic)
    rest = fma(shifted - magic, -0.25, fractions[0])
    for fraction in fractions[1:]:
        rest = rest + fraction
    return Angle(bitcast(shifted, U64), fma(wide, _PIECES[-1], rest) * _TWO_PI, None)


def _reduce64(x: Expr) -> Angle:
    """In fixed point: the 53 bits of x times the 192 bits of 1 / (2 pi) that matter to it."""
    bits = bitcast(x, U64)
    exponent = bits >> 52
    mantissa = (bits & ((1 << 52) - 1)) | (1 << 52)
    start = select(exponent < 1022, constant(bits, 0), exponent - 1022)
    high, low = _product(mantissa, _window(start))
    quarter = (high + (1 << 61)) >> 62
    high = high - (quarter << 62)
    # A negative fraction becomes positive (all but its last bit), so that no leading ones cancel.
    sign = bitcast(bitcast(high, I64) >> 63, U64)
    theta, tail = _radians(high ^ sign, low ^ sign)
    flip = sign & (1 << 63)
    theta = bitcast(bitcast(theta, U64) ^ flip, F64)
    tail = bitcast(bitcast(tail, U64) ^ flip, F64)
    # Fixed point has no relative precision for a small x, which needs no reduction.
    small = x < 0.7853981633974483
    theta = select(small, x, select(x < float("inf"), theta, float("nan")))
    return Angle(select(small, 0, quarter), theta, select(small, 0.0, tail))


def _window(start: Expr) -> list[Expr]:
    """192 bits of 1 / (2 pi) from bit `start` on: words chosen by its upper bits, then shifted."""
    words = [constant(start, word) for word in _WORDS]
    for step in (16, 8, 4, 2, 1):
        here = (start & (64 * step)).eq(0)
        words = [
            select(here, words[i], words[i + step]) if i + step < len(words) else words[i]
            for i in range(step + 3)
        ]
    shift = start & 63
    back = 64 - shift
    return [(words[i] << shift) | (words[i + 1] >> back) for i in range(3)]


def _product(mantissa: Expr, window: list[Expr]) -> tuple[Expr, Expr]:
    """The fraction of mantissa * window / 2**192 * 2**64 as 128 bits, upper and lower half."""
    first, second, third = window
    middle = mantissa * second
    low = middle + mulhi(mantissa, third)
    carry = select(low < middle, constant(low, 1), 0)
    return mantissa * first + mulhi(mantissa, second) + carry, low


def _radians(high: Expr, low: Expr) -> tuple[Expr, Expr]:
    """(high + low / 2**64) * 2 pi / 2**64 as an unevaluated sum of two float64."""
    upper = cast(bitcast(high >> 32, I64), F64) * 2.0**32
    middle = cast(bitcast(high & 0xFFFFFFFF, I64), F64)
    lower = cast(bitcast(low >> 1, I64), F64) * 2.0**-63
    top = upper + middle
    rest = (middle - (top - upper)) + lower
    total = top + rest
    error = rest - (total - top)
    theta = total * _UNIT
    tail = fma(total, _UNIT, -theta) + fma(total, _UNIT_LO, error * _UNIT)
    return theta, tail
