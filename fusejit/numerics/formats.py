"""The two IEEE formats: their constants, and exponents read and built as integers."""

from __future__ import annotations

from collections.abc import Sequence

from ..frozen import frozen
from ..scalar import F32, F64, I32, I64, DType, Expr, bitcast, constant, fma, select


@frozen
class Format:
    """What the algorithms need to know of a floating-point format."""

    integer: DType  # the signed integer of the same width
    mantissa: int  # bits stored after the leading one
    bias: int  # exponent field of 1.0
    tiny: float  # least normal number
    sqrt_half_bits: int  # sqrt(1/2) as an integer
    ln2_hi: float  # ln 2 with its low bits zero: n * ln2_hi is exact for every exponent n
    ln2_lo: float  # ln 2 - ln2_hi

    @property
    def magic(self) -> float:
        """1.5 * 2**mantissa: x + magic rounds x to an integer and leaves it in the low bits."""
        return 1.5 * 2.0**self.mantissa

    @property
    def magic_bits(self) -> int:
        """`magic` as an integer."""
        return ((self.bias + self.mantissa) << self.mantissa) + (1 << (self.mantissa - 1))


# ln2_hi, ln2_lo: Cephes expf.c, and fdlibm e_exp.c.
_FLOAT32 = Format(I32, 23, 127, 2.0**-126, 0x3F3504F3, 0.693359375, -2.12194440e-4)
_FLOAT64 = Format(
    I64,
    52,
    1023,
    2.0**-1022,
    0x3FE6A09E667F3BCD,
    6.93147180369123816490e-01,
    1.90821492927058770002e-10,
)


def format_of(x: Expr) -> Format:
    """The format of a float32 or float64 expression."""
    if x.dtype == F32:
        return _FLOAT32
    if x.dtype == F64:
        return _FLOAT64
    raise NotImplementedError(f"a transcendental function of {x.dtype} has no scalar code")


def polynomial(x: Expr, coefficients: Sequence[float]) -> Expr:
    """c[0] + c[1] x + c[2] x**2 + ... by Horner's rule, one fma a term."""
    last = coefficients[-1]
    total: Expr | float = last
    for coefficient in reversed(coefficients[:-1]):
        total = fma(x, total, coefficient)
    assert isinstance(total, Expr)
    return total


def at_most(x: Expr, bound: Expr | float) -> Expr:
    """The lesser of x and bound; a NaN stays."""
    return select(x > bound, bound, x)


def at_least(x: Expr, bound: Expr | float) -> Expr:
    """The greater of x and bound; a NaN stays."""
    return select(x < bound, bound, x)


def split_scale(biased: Expr) -> tuple[Expr, Expr]:
    """Powers of two (a, b) with a * b = 2**n, from an integer whose low bits are n + 2 * bias.

    One factor cannot reach the ends of the range; scaling by the two in turn overflows exactly
    where it should and rounds once where the product is denormal.
    """
    fmt = _FLOAT32 if biased.dtype == I32 else _FLOAT64
    half = biased >> 1
    return bitcast(half << fmt.mantissa, _float(fmt)), bitcast(
        (biased - half) << fmt.mantissa, _float(fmt)
    )


def exponent_of(x: Expr) -> Expr:
    """e as an integer, where a positive normal x is 2**e m with sqrt(1/2) <= m < sqrt(2)."""
    fmt = format_of(x)
    return (bitcast(x, fmt.integer) - fmt.sqrt_half_bits) >> fmt.mantissa


def as_float(e: Expr, dtype: DType, offset: Expr | float) -> Expr:
    """A small integer e as a float plus `magic`, minus offset: e goes into magic's low bits."""
    fmt = _FLOAT32 if dtype == F32 else _FLOAT64
    return bitcast(e + fmt.magic_bits, dtype) - offset


def split(x: Expr) -> tuple[Expr, Expr]:
    """(e, m - 1) as floats, where a positive x is 2**e m with sqrt(1/2) <= m < sqrt(2)."""
    fmt = format_of(x)
    shift = float(fmt.mantissa + 1)
    denormal = x < fmt.tiny
    normal = select(denormal, x * 2.0**shift, x)
    e = exponent_of(normal)
    m = bitcast(bitcast(normal, fmt.integer) - (e << fmt.mantissa), x.dtype)
    offset = select(denormal, fmt.magic + shift, constant(x, fmt.magic))
    return as_float(e, x.dtype, offset), m - 1.0


def _float(fmt: Format) -> DType:
    return F32 if fmt.integer == I32 else F64
