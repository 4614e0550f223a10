"""pow and hypot.

pow is 2**(y log2 |x|), with the logarithm known well beyond the format's precision: the exponent of
the result multiplies its relative error. float32 works in float64, float64 in pairs of float64.
"""

from __future__ import annotations

from ..scalar import F32, F64, I64, Expr, bitcast, cast, constant, copysign, fma, rint, select
from ..scalar import sqrt as square_root
from .exponential import reduced_exponential
from .formats import at_least, at_most, format_of, polynomial, split, split_scale

_INF = float("inf")

# float32: log2(1 + f) = f Q(f) on sqrt(1/2) <= 1 + f <= sqrt(2), relative error 2**-35.3, and 2**r
# on |r| <= 1/2, relative error 2**-29. Our own Remez fits with mpmath.
_LOG2 = (
    1.442695040866778,
    -0.7213475207460591,
    0.4808983625093551,
    -0.360673699485762,
    0.2885372017445404,
    -0.24045172977263393,
    0.2061775098987859,
    -0.18033581649364647,
    0.15876419574352224,
    -0.14276884853274743,
    0.14446039832945692,
    -0.14442045126189557,
    0.07954401443883602,
)
_EXP2 = (
    0.9999999999184935,
    0.6931472068673418,
    0.2402265150990838,
    0.05550326879650987,
    0.009617993974358315,
    0.0013400565960338489,
    0.00015478171409737658,
)
# float64: log(1 + f) = 2 s + 2/3 s**3 + s**5 P(s**2) with s = f / (2 + f); relative error of P
# 2**-55. Our own Remez fit with mpmath.
_P64 = (
    0.4,
    0.28571428571421553,
    0.22222222225831112,
    0.18181817494198801,
    0.15384675890908486,
    0.13330800971818846,
    0.1180457520369551,
    0.10773408722078384,
)
_TWO_THIRDS, _TWO_THIRDS_LO = 0.6666666666666666, 3.700743415417188e-17


def pow(x: Expr, y: Expr) -> Expr:
    """x**y with C's special cases: pow(x, 0) = pow(1, y) = 1, negative x needs an integer y.

    Error: 0.56 ulp in float32, 1.74 in float64.
    """
    size = abs(x)
    magnitude = _power32(size, y) if x.dtype == F32 else _power64(size, y)
    magnitude = select(size.eq(1.0), 1.0, magnitude)
    integer = rint(y).eq(y)
    half = y * 0.5
    odd = integer & ~rint(half).eq(half)
    result = select(odd, copysign(magnitude, x), magnitude)
    undefined = (x < 0.0) & (size < _INF) & ~integer
    result = select(undefined, float("nan"), result)
    return select(y.eq(0.0) | x.eq(1.0), 1.0, result)


def _log_at_the_ends(size: Expr, inside: Expr) -> Expr:
    """log(0) = -inf, log(inf) = inf, and NaN, from the logarithm inside the range."""
    return select(size < _INF, select(size.eq(0.0), -_INF, inside), size)


def _power32(size: Expr, y: Expr) -> Expr:
    """size**y in float64; rounding the result to float32 overflows and underflows as it should."""
    wide = cast(size, F64)
    fmt = format_of(wide)
    e, f = split(wide)
    log2 = _log_at_the_ends(wide, fma(f, polynomial(f, _LOG2), e))
    exponent = at_most(at_least(log2 * cast(y, F64), -200.0), 200.0)
    magic = fmt.magic + fmt.bias
    shifted = exponent + magic
    scale = bitcast(bitcast(shifted, I64) << fmt.mantissa, F64)
    return cast(polynomial(exponent - (shifted - magic), _EXP2) * scale, F32)


def _fast_two_sum(a: Expr, b: Expr) -> tuple[Expr, Expr]:
    """a + b rounded and the rounding error, for |a| >= |b| or a = 0 (Dekker)."""
    total = a + b
    return total, b - (total - a)


def _log_pair(size: Expr) -> tuple[Expr, Expr]:
    """log(size) as an unevaluated sum of two float64, relative error about 2**-65."""
    fmt = format_of(size)
    e, f = split(size)
    d, d_error = _fast_two_sum(constant(f, 2.0), f)
    reciprocal = 1.0 / d
    s = f * reciprocal
    s_error = (fma(-s, d, f) - s * d_error) * reciprocal
    z = s * s
    z_error = fma(s, s, -z) + 2.0 * s * s_error
    cube = z * s
    cube_error = fma(z, s, -cube) + fma(z, s_error, z_error * s)
    third = cube * _TWO_THIRDS
    rest = fma(cube * z, polynomial(z, _P64), fma(cube, _TWO_THIRDS_LO, cube_error * _TWO_THIRDS))
    rest = rest + fma(cube, _TWO_THIRDS, -third)
    total, error = _fast_two_sum(s + s, third)
    error = error + fma(s_error, 2.0, rest)
    total, total_error = _fast_two_sum(e * fmt.ln2_hi, total)
    return _fast_two_sum(total, total_error + fma(e, fmt.ln2_lo, error))


def _power64(size: Expr, y: Expr) -> Expr:
    """exp(y log(size)), the product as a pair too."""
    log, log_error = _log_pair(size)
    log = _log_at_the_ends(size, log)
    product = y * log
    product_error = fma(y, log, -product) + y * log_error
    # Out of the range of exp the error counts for nothing, and may be a NaN.
    product_error = select(abs(product) < 800.0, product_error, 0.0)
    product = at_most(at_least(product, -746.0), 710.5)
    biased, q = reduced_exponential(product, 2, product_error)
    a, b = split_scale(biased)
    return (q + 1.0) * a * b


def hypot(x: Expr, y: Expr) -> Expr:
    """sqrt(x**2 + y**2) without undue overflow; inf if x or y is infinite, even beside a NaN.

    Error: 0.51 ulp in float32, 1.14 in float64.
    """
    if x.dtype == F32:
        wide_x, wide_y = cast(x, F64), cast(y, F64)
        result = cast(square_root(fma(wide_x, wide_x, wide_y * wide_y)), F32)
    else:
        result = _hypot64(abs(x), abs(y))
    infinite = abs(x).eq(_INF) | abs(y).eq(_INF)
    return select(infinite, _INF, result)


def _hypot64(x: Expr, y: Expr) -> Expr:
    greatest = select(x > y, x, y)
    large, small = greatest > 2.0**500, greatest < 2.0**-400
    scale = select(large, 2.0**-600, select(small, 2.0**600, constant(x, 1.0)))
    back = select(large, 2.0**600, select(small, 2.0**-600, constant(x, 1.0)))
    x, y = x * scale, y * scale
    return square_root(fma(x, x, y * y)) * back
