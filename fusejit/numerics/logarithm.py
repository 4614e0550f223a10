"""log and what is made of it: log1p, log2, log10, the inverse hyperbolics, logaddexp.

All of them write x = 2**e (1 + f) with sqrt(1/2) <= 1 + f < sqrt(2) and log(1 + f) = f + tail(f).
"""

from __future__ import annotations

from typing import NamedTuple

from ..scalar import F32, F64, Expr, bitcast, cast, constant, copysign, fma, select, sqrt
from .exponential import exp
from .formats import (
    Format,
    as_float,
    at_most,
    exponent_of,
    format_of,
    polynomial,
    split,
)

# float32: log(1 + f) = f - f**2 / 2 + f**3 P(f), Cephes logf.c. From the constant term up.
_P32 = (
    3.3333331174e-1,
    -2.4999993993e-1,
    2.0000714765e-1,
    -1.6668057665e-1,
    1.4249322787e-1,
    -1.2420140846e-1,
    1.1676998740e-1,
    -1.1514610310e-1,
    7.0376836292e-2,
)
# float64: log(1 + f) = f - f**2 / 2 + s (f**2 / 2 + s**2 R(s**2)), s = f / (2 + f), fdlibm e_log.c.
_R64 = (
    6.666666666666735130e-01,
    3.999999999940941908e-01,
    2.857142874366239149e-01,
    2.222219843214978396e-01,
    1.818357216161805012e-01,
    1.531383769920937332e-01,
    1.479819860511658591e-01,
)


class _Base(NamedTuple):
    """log_b(2) and log_b(e) in two parts each; e two_hi is exact for every exponent e."""

    two_hi: float
    two_lo: float
    e_hi: float
    e_lo: float


# log10(2): fdlibm e_log10f.c and e_log10.c; the others are split at the precision of the format.
_BASE2_32 = _Base(1.0, 0.0, 1.4426950216293335, 1.9259629911266175e-08)
_BASE2_64 = _Base(1.0, 0.0, 1.4426950408889634, 2.0355273740931033e-17)
_BASE10_32 = _Base(
    3.0102920532226562e-01,
    7.9034151668e-07,
    0.4342944920063019,
    -1.0103050052231683e-08,
)
_BASE10_64 = _Base(
    3.01029995663611771306e-01,
    3.69423907715893078616e-13,
    0.4342944819032518,
    1.098319650216765e-17,
)
_LARGE = 2.0**28  # beyond it a**2 + 1 is a**2
_LN2 = 0.6931471805599453


def _tail(f: Expr) -> Expr:
    """log(1 + f) - f."""
    square = f * f
    if f.dtype == F32:
        return fma(square, -0.5, square * f * polynomial(f, _P32))
    half_square = square * 0.5
    s = f / (f + 2.0)
    z = s * s
    return fma(s, fma(z, polynomial(z, _R64), half_square), -half_square)


def _at_the_ends(x: Expr, inside: Expr) -> Expr:
    """A logarithm for every x from its value for positive finite ones: inf, -inf at 0, else NaN."""
    outside = select(x.eq(0.0), float("-inf"), constant(x, float("nan")))
    return select(x > 0.0, select(x < float("inf"), inside, x), outside)


def _combine(fmt: Format, e: Expr, f: Expr) -> Expr:
    """e ln 2 + log(1 + f), from the least term up."""
    return fma(e, fmt.ln2_hi, f + fma(e, fmt.ln2_lo, _tail(f)))


def log(x: Expr) -> Expr:
    """The natural logarithm, e ln 2 + log(1 + f).

    Error: 0.87 ulp in float32, 0.85 in float64.
    """
    return _at_the_ends(x, _combine(format_of(x), *split(x)))


def log1p(x: Expr) -> Expr:
    """log(1 + x): u = 1 + x is rounded; its error, exactly known, is added to f.

    Error: 1.40 ulp in float32, 1.31 in float64.
    """
    fmt = format_of(x)
    u = x + 1.0
    error = x - (u - 1.0)
    e = exponent_of(u)
    # The scale 2**-e stays finite: where e is greater, the error of u is long negligible.
    shift = at_most(e, fmt.bias) << fmt.mantissa
    scale = bitcast((fmt.bias << fmt.mantissa) - shift, x.dtype)
    mantissa = bitcast(bitcast(u, fmt.integer) - (e << fmt.mantissa), x.dtype)
    f = fma(error, scale, mantissa - 1.0)
    value = copysign(_combine(fmt, as_float(e, x.dtype, fmt.magic), f), x)
    return _at_the_ends(u, value)


def _other_base(x: Expr, base: _Base) -> Expr:
    """e log_b(2) + (f + tail) log_b(e), the products from the least term up."""
    e, f = split(x)
    rest = fma(_tail(f), base.e_hi, fma(f, base.e_lo, e * base.two_lo))
    return _at_the_ends(x, fma(e, base.two_hi, fma(f, base.e_hi, rest)))


def log2(x: Expr) -> Expr:
    """The logarithm to base 2; exact at powers of two.

    Error: 0.96 ulp in float32, 0.93 in float64.
    """
    return _other_base(x, _BASE2_32 if x.dtype == F32 else _BASE2_64)


def log10(x: Expr) -> Expr:
    """The logarithm to base 10.

    Error: 0.91 ulp in float32, 0.89 in float64.
    """
    return _other_base(x, _BASE10_32 if x.dtype == F32 else _BASE10_64)


def asinh(x: Expr) -> Expr:
    """log1p(a + a**2 / (1 + sqrt(a**2 + 1))) with a = |x|, log(2 a) for a large one; sign of x.

    Error: 0.51 ulp in float32, 1.60 in float64.
    """
    size = abs(cast(x, F64))
    square = size * size
    large = size > _LARGE
    value = log1p(select(large, size - 1.0, size + square / (sqrt(square + 1.0) + 1.0)))
    value = value + select(large, _LN2, constant(size, 0.0))
    return copysign(cast(value, x.dtype), x)


def acosh(x: Expr) -> Expr:
    """log1p(t + sqrt(t (t + 2))) with t = x - 1, log(2 x) for a large one.

    Error: 0.51 ulp in float32, 2.46 in float64.
    """
    t = cast(x, F64) - 1.0
    large = t > _LARGE
    value = log1p(select(large, t, t + sqrt(t * (t + 2.0))))
    value = value + select(large, _LN2, constant(t, 0.0))
    return cast(select(t < 0.0, float("nan"), value), x.dtype)


def atanh(x: Expr) -> Expr:
    """log1p(2 a / (1 - a)) / 2 with a = |x|, and the sign of x.

    Error: 0.51 ulp in float32, 1.84 in float64.
    """
    size = abs(cast(x, F64))
    value = log1p((size + size) / (1.0 - size)) * 0.5
    return copysign(cast(value, x.dtype), x)


def logaddexp(x: Expr, y: Expr) -> Expr:
    """log(e**x + e**y) = max + log1p(e**-|x - y|).

    Error: 2.6 ulp where max >= 0; below, where the sum may cancel, 6 ulp of the greater of result
    and max.
    """
    greatest = select(x > y, x, y)
    distance = select(x.eq(y), 0.0, -abs(x - y))  # equal infinities have no difference
    return greatest + log1p(exp(distance))
