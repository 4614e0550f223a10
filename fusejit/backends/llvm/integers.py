"""Integer primitives and conversions, made total: what LLVM leaves undefined has NumPy's result."""

from __future__ import annotations

import numpy as np

from ...scalar import DType
from .text import ELEMENTS, Lanes


def divide(c: Lanes, hint: str, dtype: DType, a: str, b: str) -> str:
    """Floor division: x // 0 is 0, MIN // -1 is MIN."""
    element = ELEMENTS[dtype]
    zero = c.const(element, 0)
    safe = _safe_divisor(c, hint, dtype, a, b)
    if dtype.kind == "u":
        quotient = c.op(f"{hint}.q", "udiv", element, a, safe)
    else:
        truncated = c.op(f"{hint}.t", "sdiv", element, a, safe)
        product = c.op(f"{hint}.p", "mul", element, truncated, safe)
        rest = c.op(f"{hint}.r", "sub", element, a, product)
        down = _signs_differ(c, hint, element, rest, safe)
        lower = c.op(f"{hint}.l", "add", element, truncated, c.const(element, -1))
        quotient = c.select(f"{hint}.q", down, element, lower, truncated)
    by_zero = c.op(f"{hint}.z", "icmp eq", element, b, zero)
    return c.select(hint, by_zero, element, zero, quotient)


def remainder(c: Lanes, hint: str, dtype: DType, a: str, b: str) -> str:
    """The remainder with the sign of the divisor; x % 0 and MIN % -1 are 0."""
    element = ELEMENTS[dtype]
    safe = _safe_divisor(c, hint, dtype, a, b)
    if dtype.kind == "u":
        return c.op(hint, "urem", element, a, safe)
    rest = c.op(f"{hint}.r", "srem", element, a, safe)
    down = _signs_differ(c, hint, element, rest, safe)
    higher = c.op(f"{hint}.h", "add", element, rest, safe)
    return c.select(hint, down, element, higher, rest)


def _safe_divisor(c: Lanes, hint: str, dtype: DType, a: str, b: str) -> str:
    """`b`, or 1 where the division would trap."""
    element = ELEMENTS[dtype]
    bad = c.op(f"{hint}.zero", "icmp eq", element, b, c.const(element, 0))
    if dtype.kind == "i":
        lowest = -(1 << (8 * dtype.itemsize - 1))
        least = c.op(f"{hint}.min", "icmp eq", element, a, c.const(element, lowest))
        minus = c.op(f"{hint}.minus", "icmp eq", element, b, c.const(element, -1))
        overflow = c.op(f"{hint}.over", "and", "i1", least, minus)
        bad = c.op(f"{hint}.bad", "or", "i1", bad, overflow)
    return c.select(f"{hint}.safe", bad, element, c.const(element, 1), b)


def _signs_differ(c: Lanes, hint: str, element: str, rest: str, divisor: str) -> str:
    zero = c.const(element, 0)
    inexact = c.op(f"{hint}.inexact", "icmp ne", element, rest, zero)
    mixed = c.op(f"{hint}.mixed", "xor", element, rest, divisor)
    negative = c.op(f"{hint}.opposed", "icmp slt", element, mixed, zero)
    return c.op(f"{hint}.down", "and", "i1", inexact, negative)


def shift(c: Lanes, hint: str, prim: str, dtype: DType, a: str, b: str) -> str:
    """Shifts by the width or more (a negative amount is one): 0, or the sign."""
    element, bits = ELEMENTS[dtype], 8 * dtype.itemsize
    inside = c.op(f"{hint}.in", "icmp ult", element, b, c.const(element, bits))
    if prim == "shr" and dtype.kind == "i":
        amount = c.select(f"{hint}.by", inside, element, b, c.const(element, bits - 1))
        return c.op(hint, "ashr", element, a, amount)
    amount = c.select(f"{hint}.by", inside, element, b, c.const(element, 0))
    opcode = "shl" if prim == "shl" else "lshr"
    moved = c.op(f"{hint}.moved", opcode, element, a, amount)
    return c.select(hint, inside, element, moved, c.const(element, 0))


def multiply_high(c: Lanes, hint: str, dtype: DType, a: str, b: str) -> str:
    element, bits = ELEMENTS[dtype], 8 * dtype.itemsize
    wide = f"i{2 * bits}"
    left = c.convert(f"{hint}.a", "zext", a, element, wide)
    right = c.convert(f"{hint}.b", "zext", b, element, wide)
    product = c.op(f"{hint}.p", "mul", wide, left, right)
    upper = c.op(f"{hint}.u", "lshr", wide, product, c.const(wide, bits))
    return c.convert(hint, "trunc", upper, wide, element)


def float_to_integer(c: Lanes, hint: str, value: str, source: str, to: DType) -> str:
    """Truncation; outside the range what an x86-64 conversion gives: the lowest integer.

    Narrow types go through i32 and u32 through i64, as NumPy's compiled loops do.
    """
    element = ELEMENTS[to]
    if to == np.dtype(np.uint64):
        return _float_to_uint64(c, hint, value, source)
    via = "i64" if to.itemsize == 8 or to == np.dtype(np.uint32) else "i32"
    if via == element:
        return _float_to_signed(c, hint, value, source, via)
    wide = _float_to_signed(c, f"{hint}.wide", value, source, via)
    return c.convert(hint, "trunc", wide, via, element)


def _float_to_signed(c: Lanes, hint: str, value: str, source: str, to: str) -> str:
    """One comparison serves both ends: at -2**bits itself the lowest integer is right anyway.

    LLVM's own result outside the range is poison, which select does not pass on.
    """
    limit = 2.0 ** (int(to[1:]) - 1)
    size = c.intrinsic(f"{hint}.abs", "fabs", source, value)
    fits = c.op(f"{hint}.fits", "fcmp olt", source, size, c.const(source, limit))
    number = c.convert(f"{hint}.int", "fptosi", value, source, to)
    return c.select(hint, fits, to, number, c.const(to, -int(limit)))


def _float_to_uint64(c: Lanes, hint: str, value: str, source: str) -> str:
    half = c.const(source, 2.0**63)
    large = c.op(f"{hint}.large", "fcmp oge", source, value, half)
    less = c.op(f"{hint}.less", "fsub", source, value, half)
    reduced = c.select(f"{hint}.reduced", large, source, less, value)
    number = _float_to_signed(c, f"{hint}.signed", reduced, source, "i64")
    raised = c.op(f"{hint}.raised", "xor", "i64", number, c.const("i64", -(2**63)))
    return c.select(hint, large, "i64", raised, number)
