"""sin, cos, tan of any finite argument, and their inverses.

float32 works in float64 with shorter polynomials; its results are all but correctly rounded.
"""

from __future__ import annotations

from ..scalar import F32, F64, U64, Expr, bitcast, cast, constant, copysign, fma, select, sqrt
from .formats import polynomial
from .reduction import Angle, reduce_angle

# sin(t) = t + t**3 S(t**2), cos(t) = 1 - t**2 / 2 + t**4 C(t**2) on |t| <= pi / 4.
# float64: fdlibm k_sin.c, k_cos.c. For float32: our own Remez fits, errors 2**-28 and 2**-33.
_SIN64 = (
    -1.66666666666666324348e-01,
    8.33333333332248946124e-03,
    -1.98412698298579493134e-04,
    2.75573137070700676789e-06,
    -2.50507602534068634195e-08,
    1.58969099521155010221e-10,
)
_COS64 = (
    4.16666666666666019037e-02,
    -1.38888888888741095749e-03,
    2.48015872894767294178e-05,
    -2.75573143513906633035e-07,
    2.08757232129817482790e-09,
    -1.13596475577881948265e-11,
)
_SIN32 = (
    -0.16666654908519896,
    0.008332175679064104,
    -0.00019516950351261715,
)
_COS32 = (
    0.041666646811938074,
    -0.0013887364723483113,
    2.4438116701056064e-05,
)
# asin(t) = t + t**3 A(t**2) on |t| <= 1/2; errors 2**-55.8 and 2**-31.7. Our own Remez fits.
_ASIN64 = (
    0.1666666666666541,
    0.07500000000338065,
    0.044642856826786856,
    0.030381959216476826,
    0.02237175591246039,
    0.017359739162952192,
    0.013884882589677766,
    0.012171579401225553,
    0.006517616683214061,
    0.019556746464996628,
    -0.016268947693435475,
    0.031942807338675744,
)
_ASIN32 = (
    0.1666665990837622,
    0.07500509260357409,
    0.04451598372724026,
    0.031815708969023866,
    0.014408998038476372,
    0.03755708027287163,
)
# atan(t) = t + t**3 A(t**2) on |t| <= tan(pi / 8); errors 2**-59 and 2**-35. Our own Remez fits.
_ATAN64 = (
    -0.33333333333333204,
    0.19999999999955093,
    -0.14285714280330483,
    0.1111111078959245,
    -0.090908979226678,
    0.07692062995504956,
    -0.06663134265380544,
    0.05848100761120174,
    -0.05040225215941047,
    0.038087236973747225,
    -0.017931357540864494,
)
_ATAN32 = (
    -0.33333332514167274,
    0.19999905144717803,
    -0.1428204079188464,
    0.11045076682070103,
    -0.08478306591260162,
    0.04748058097506102,
)
_TAN_PI_8, _TAN_3PI_8 = 0.41421356237309503, 2.414213562373095
_PI, _PI_LO = 3.141592653589793, 1.2246467991473532e-16
_INF = float("inf")


def _sin_cos(angle: Angle) -> tuple[Expr, Expr]:
    """sin and cos of theta + tail."""
    theta, tail = angle.theta, angle.tail
    z = theta * theta
    if tail is None:
        sine = fma(theta * z, polynomial(z, _SIN32), theta)
        return sine, fma(z * z, polynomial(z, _COS32), fma(z, -0.5, 1.0))
    # sin(t + d) = sin t + d (1 - t**2 / 2), cos(t + d) = cos t - t d, and 1 - z / 2 with its error.
    half = z * 0.5
    one_less = 1.0 - half
    sine = theta + fma(theta * z, polynomial(z, _SIN64), fma(-tail, half, tail))
    rest = fma(z * z, polynomial(z, _COS64), -(theta * tail))
    return sine, one_less + (((1.0 - one_less) - half) + rest)


def _flip(value: Expr, bit: Expr) -> Expr:
    """value with its sign changed where the top bit of `bit` (uint64) is set."""
    return bitcast(bitcast(value, U64) ^ (bit & (1 << 63)), F64)


def sin(x: Expr) -> Expr:
    """sin x = +-sin or +-cos of the reduced angle, by quarter turn; the sign of x comes last.

    Error: 0.56 ulp in float32, 0.79 in float64.
    """
    angle = reduce_angle(x)
    sine, cosine = _sin_cos(angle)
    value = select((angle.quarter & 1).eq(0), sine, cosine)
    value = cast(_flip(value, angle.quarter << 62), x.dtype)
    return value * copysign(constant(x, 1.0), x)


def cos(x: Expr) -> Expr:
    """cos x = +-cos or +-sin of the reduced angle, by quarter turn.

    Error: 0.56 ulp in float32, 0.79 in float64.
    """
    angle = reduce_angle(x)
    sine, cosine = _sin_cos(angle)
    value = select((angle.quarter & 1).eq(0), cosine, sine)
    return cast(_flip(value, (angle.quarter + 1) << 62), x.dtype)


def tan(x: Expr) -> Expr:
    """tan x = sin / cos of the reduced angle, -cos / sin after an odd number of quarter turns.

    Error: 0.57 ulp in float32, 2.10 in float64.
    """
    angle = reduce_angle(x)
    sine, cosine = _sin_cos(angle)
    even = (angle.quarter & 1).eq(0)
    value = select(even, sine, cosine) / select(even, cosine, -sine)
    return cast(value, x.dtype) * copysign(constant(x, 1.0), x)


def _asin_pieces(size: Expr, coefficients: tuple[float, ...]) -> tuple[Expr, Expr, Expr]:
    """(size <= 1/2, s, rest) with asin(s) = s + rest, s = size or sqrt((1 - size) / 2)."""
    small = size <= 0.5
    half_distance = fma(size, -0.5, 0.5)
    z = select(small, size * size, half_distance)
    s = select(small, size, sqrt(half_distance))
    return small, s, s * z * polynomial(z, coefficients)


def asin(x: Expr) -> Expr:
    """x + x**3 A(x**2) up to 1/2; above, pi/2 - 2 asin(sqrt((1 - x) / 2)).

    Error: 0.51 ulp in float32, 1.20 in float64.
    """
    size = abs(cast(x, F64))
    small, s, rest = _asin_pieces(size, _ASIN32 if x.dtype == F32 else _ASIN64)
    above = (_PI / 4 - 2.0 * s) + (_PI / 4 - fma(rest, 2.0, -_PI_LO / 2))
    return copysign(cast(select(small, s + rest, above), x.dtype), x)


def acos(x: Expr) -> Expr:
    """pi/2 - asin(x) up to 1/2; above, a = 2 asin(sqrt((1 - |x|) / 2)); below -1/2, pi - a.

    Error: 0.51 ulp in float32, 1.16 in float64.
    """
    wide = cast(x, F64)
    small, s, rest = _asin_pieces(abs(wide), _ASIN32 if x.dtype == F32 else _ASIN64)
    twice = 2.0 * (s + rest)
    outer = select(wide < 0.0, _PI - (twice - _PI_LO), twice)
    inner = _PI / 2 - (wide - (_PI_LO / 2 - copysign(rest, wide)))
    return cast(select(small, inner, outer), x.dtype)


def _atan_quotient(y: Expr, x: Expr, coefficients: tuple[float, ...]) -> Expr:
    """atan(y / x) for y, x >= 0, as base + atan(t) with base 0, pi/4 or pi/2 and |t| <= tan(pi/8).

    t is y / x, (y - x) / (y + x) or -x / y.
    """
    steep, middle = y > x * _TAN_3PI_8, y > x * _TAN_PI_8
    numerator = select(steep, -x, select(middle, y - x, y))
    denominator = select(steep, y, select(middle, y + x, x))
    base = select(steep, _PI / 2, select(middle, constant(x, _PI / 4), 0.0))
    base_lo = select(steep, _PI_LO / 2, select(middle, constant(x, _PI_LO / 4), 0.0))
    t = numerator / select(denominator.eq(0.0), 1.0, denominator)  # 0 / 0 has angle 0
    z = t * t
    return base + (t + fma(t * z, polynomial(z, coefficients), base_lo))


def atan(x: Expr) -> Expr:
    """atan(|x|) with the sign of x.

    Error: 0.51 ulp in float32, 1.82 in float64.
    """
    wide = abs(cast(x, F64))
    coefficients = _ATAN32 if x.dtype == F32 else _ATAN64
    value = _atan_quotient(wide, constant(wide, 1.0), coefficients)
    return copysign(cast(value, x.dtype), x)


def atan2(y: Expr, x: Expr) -> Expr:
    """The angle of the point (x, y), with C's special cases for zeros and infinities.

    Error: 0.51 ulp in float32, 1.77 in float64.
    """
    wide_y, wide_x = abs(cast(y, F64)), abs(cast(x, F64))
    both = wide_y.eq(_INF) & wide_x.eq(_INF)
    wide_y, wide_x = select(both, 1.0, wide_y), select(both, 1.0, wide_x)
    if x.dtype == F64:
        # Sums must not overflow, nor products with the bounds of the octants underflow.
        greatest = select(wide_y > wide_x, wide_y, wide_x)
        one = constant(greatest, 1.0)
        scale = select(greatest > 2.0**1000, 2.0**-100, select(greatest < 2.0**-900, 2.0**100, one))
        wide_y, wide_x = wide_y * scale, wide_x * scale
    value = _atan_quotient(wide_y, wide_x, _ATAN32 if x.dtype == F32 else _ATAN64)
    left = copysign(constant(x, 1.0), x) < 0.0
    value = select(left, _PI - (value - _PI_LO), value)
    return copysign(cast(value, x.dtype), y)
