"""Arithmetic: what IEEE and two's complement define bit by bit, so NumPy runs it when eager."""

from __future__ import annotations

import numpy as np

from ..op import FLOATING, MAGNITUDE, NUMERIC, ORDERED, SAME, Elementwise, elementwise
from ..operators import ArrayLike
from ..scalar import BOOL, Expr, copysign, floor, select
from ..scalar import sqrt as scalar_sqrt
from ..tensor import Operators, Tensor, asarray, binary_operator
from .cast import conj, real

add = elementwise(
    "add",
    numpy=np.add,
    scalar=lambda a, b: a | b if a.dtype == BOOL else a + b,
    vjp=lambda g: (g, g),
    dtype=SAME,
    doc="a + b; for bool, a or b.",
)

subtract = elementwise(
    "subtract",
    numpy=np.subtract,
    scalar=lambda a, b: a - b,
    vjp=lambda g: (g, -g),
    dtype=NUMERIC,
    doc="a - b.",
)

multiply = elementwise(
    "multiply",
    numpy=np.multiply,
    scalar=lambda a, b: a & b if a.dtype == BOOL else a * b,
    vjp=lambda g, a, b: (g * b, g * a),
    dtype=SAME,
    doc="a * b; for bool, a and b.",
)

divide = elementwise(
    "divide",
    numpy=np.true_divide,
    scalar=lambda a, b: a / b,
    vjp=lambda g, b, y: (g / b, -g * y / b),
    dtype=FLOATING,
    domain=(0.5, 4.0),
    doc="a / b; integers give float64.",
)


def _floor_divide(a: Expr, b: Expr) -> Expr:
    """NumPy's floats: the quotient of what fmod leaves, an integer but for its last rounding."""
    if a.dtype.kind != "f":
        return a / b
    rest = copysign(abs(a) % abs(b), a)  # fmod, from a remainder of positive numbers
    quotient = (a - rest) / b
    crosses = ~rest.eq(0.0) & ((b < 0.0) ^ (rest < 0.0))
    quotient = select(crosses, quotient - 1.0, quotient)
    whole = floor(quotient)
    whole = select(quotient - whole > 0.5, whole + 1.0, whole)
    whole = select(quotient.eq(0.0), copysign(quotient * 0.0, a / b), whole)
    return select(b.eq(0.0), a / b, whole)


floor_divide = elementwise(
    "floor_divide",
    numpy=np.floor_divide,
    scalar=_floor_divide,
    vjp=lambda g: (None, None),
    dtype=ORDERED,
    domain=(0.5, 4.0),
    doc="The largest integer not above a / b; an integer divided by zero gives 0.",
)

remainder = elementwise(
    "remainder",
    numpy=np.remainder,
    scalar=lambda a, b: a % b,
    vjp=lambda g, a, b: (g, -g * floor_divide(a, b)),
    dtype=ORDERED,
    domain=(0.5, 4.0),
    doc="a - b * floor_divide(a, b), with the sign of b; an integer modulo zero gives 0.",
)

negative = elementwise(
    "negative",
    numpy=np.negative,
    scalar=lambda x: -x,
    vjp=lambda g: (-g,),
    dtype=NUMERIC,
    doc="-x.",
)


def _sign(x: Expr) -> Expr:
    """1, -1, or a zero that is positive; a NaN stays."""
    zero = x.builder.const(0, x.dtype)
    if x.dtype.kind == "u":
        return select(x > 0, 1, zero)
    other = select(x.eq(0), zero, x) if x.dtype.kind == "f" else zero
    return select(x > 0, 1, select(x < 0, -1, other))


def _sign_gradient(g: Tensor, x: Tensor) -> Tensor | None:
    """Nothing for real numbers; of x / r with r = abs(x) for complex ones, 0 at 0."""
    if x.dtype.kind != "c":
        return None
    size, unit = abs_(x), sign(x)
    return (g - conj(unit) * real(g * unit)) * (size != 0) / (size + (size == 0))


def _abs_gradient(g: Tensor, x: Tensor, y: Tensor) -> Tensor:
    """g sign(x); g conj(x) / y for complex numbers, 0 at 0."""
    if x.dtype.kind != "c":
        return sign(x) * g
    return conj(x) * g / (y + (y == 0))


sign: Elementwise = elementwise(
    "sign",
    numpy=np.sign,
    scalar=_sign,
    vjp=lambda g, x: (_sign_gradient(g, x),),
    dtype=NUMERIC,
    doc="-1, 0 or 1 by the sign of x; x / abs(x) for complex x.",
)

abs_: Elementwise = elementwise(
    "abs",
    numpy=np.absolute,
    scalar=lambda x: x if x.dtype.kind in "bu" else abs(x),
    vjp=lambda g, x, y: (_abs_gradient(g, x, y),),
    dtype=MAGNITUDE,
    doc="The absolute value.",
)

reciprocal = elementwise(
    "reciprocal",
    numpy=np.reciprocal,
    scalar=lambda x: 1.0 / x,
    vjp=lambda g, y: (-g * y * y,),
    dtype=FLOATING,
    domain=(0.5, 4.0),
    doc="1 / x; integers give float64.",
)

sqrt = elementwise(
    "sqrt",
    numpy=np.sqrt,
    scalar=scalar_sqrt,
    vjp=lambda g, y: (g / (2 * y),),
    dtype=FLOATING,
    domain=(0.1, 4.0),
    doc="The square root, correctly rounded.",
)


def square(x: ArrayLike, /) -> Tensor:
    """x * x."""
    x = asarray(x)
    return multiply(x, x)


def positive(x: ArrayLike, /) -> Tensor:
    """x itself."""
    return asarray(x)


binary_operator("add", add)
binary_operator("sub", subtract)
binary_operator("mul", multiply)
binary_operator("truediv", divide)
binary_operator("floordiv", floor_divide)
binary_operator("mod", remainder)
Operators.install("__neg__", lambda self: negative(self))
Operators.install("__pos__", positive)
Operators.install("__abs__", lambda self: abs_(self))
Operators.install("__divmod__", lambda self, other: (self // other, self % other))
Operators.install("__rdivmod__", lambda self, other: (other // self, other % self))
