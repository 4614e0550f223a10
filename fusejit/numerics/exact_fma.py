"""a * b + c rounded once, with NumPy operations that each round."""

from __future__ import annotations

import math
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = "np.ndarray[Any, Any]"

_SPLITTER = 2.0**27 + 1.0  # Veltkamp: splits 53 bits into two halves of 26


def fma32(a: Array, b: Array, c: Array) -> Array:
    """float32 fma. The product is exact in float64; the sum is rounded to odd, so that rounding it
    again to float32 gives what rounding the exact value once would."""
    product = np.multiply(a, b, dtype=np.float64)
    total, error = _two_sum(product, np.asarray(c, np.float64))
    return _to_odd(total, error).astype(np.float32)


def fma64(a: Array, b: Array, c: Array) -> Array:
    """float64 fma: error-free sums where no intermediate can overflow or lose bits; elsewhere the
    exact rational result, rounded by Python."""
    a, b, c = np.broadcast_arrays(a, b, c)
    plain = a * b + c
    result = _fma64_in_range(a, b, c)
    zero_factor = (a == 0.0) | (b == 0.0)
    # An exact zero has the sign that plain arithmetic gives it.
    result = np.where((result == 0.0) | zero_factor, plain, result)
    finite = np.isfinite(a) & np.isfinite(b) & np.isfinite(c)
    # With an infinite c the product must not overflow into a NaN first.
    infinite = np.isinf(c) & np.isfinite(a) & np.isfinite(b)
    result = np.where(finite, result, np.where(infinite, c, plain))
    safe = _moderate(a) & _moderate(b) & _moderate(a * b) & (_moderate(c) | (c == 0.0))
    hard = finite & ~safe & ~zero_factor
    for place in zip(*np.nonzero(hard), strict=True) if result.ndim else [()] * int(hard):
        result[place] = _fma_exactly(float(a[place]), float(b[place]), float(c[place]))
    return result


def _moderate(x: Array) -> Array:
    """Far enough from overflow and underflow for the error-free transformations."""
    size = np.abs(x)
    moderate: Array = (size > 2.0**-900) & (size < 2.0**990)
    return moderate


def _two_sum(a: Array, b: Array) -> tuple[Array, Array]:
    """a + b rounded, and the rounding error (Knuth)."""
    total = a + b
    rounded_b = total - a
    return total, (a - (total - rounded_b)) + (b - rounded_b)


def _two_product(a: Array, b: Array) -> tuple[Array, Array]:
    """a * b rounded, and the rounding error (Dekker)."""
    product = a * b
    shifted_a, shifted_b = a * _SPLITTER, b * _SPLITTER
    a_hi, b_hi = shifted_a - (shifted_a - a), shifted_b - (shifted_b - b)
    a_lo, b_lo = a - a_hi, b - b_hi
    return product, ((a_hi * b_hi - product) + a_hi * b_lo + a_lo * b_hi) + a_lo * b_lo


def _to_odd(total: Array, error: Array) -> Array:
    """The exact total + error rounded to odd: truncated, with the last bit set unless exact."""
    bits = np.asarray(total, np.float64).view(np.int64)
    # Where it is inexact and even, the odd neighbour on the side of the error is one bit away.
    step = np.where((error > 0.0) == (total > 0.0), 1, -1)
    inexact = np.isfinite(total) & (error != 0.0) & (bits & 1 == 0)
    return np.where(inexact, bits + step, bits).view(np.float64)


def _fma64_in_range(a: Array, b: Array, c: Array) -> Array:
    """Boldo and Melquiond, Emulation of a FMA and correctly rounded sums (2008), algorithm 5."""
    product, product_error = _two_product(a, b)
    low, low_error = _two_sum(c, product_error)
    high, high_error = _two_sum(product, low)
    result: Array = high + _to_odd(*_two_sum(low_error, high_error))
    return result


def _fma_exactly(a: float, b: float, c: float) -> float:
    from fractions import Fraction  # and decimal: 2 ms, which few processes need

    exact = Fraction(a) * Fraction(b) + Fraction(c)
    if exact == 0:
        return a * b + c  # for the sign of zero; what cancels are equal floats
    try:
        size = abs(exact.numerator) / exact.denominator  # Python rounds this quotient correctly
    except OverflowError:
        size = math.inf
    return size if exact > 0 else -size
