"""Exponentials, logarithms, powers: polynomials, so that eager and fused bits agree."""

from __future__ import annotations

import math

import numpy as np

from ..errors import DTypeError
from ..numerics import exponential, logarithm, power, special
from ..op import FLOATING, NUMERIC, REAL_FLOATING, Array, Elementwise, elementwise
from ..operators import ArrayLike
from ..scalar import Expr
from ..tensor import Tensor, asarray, binary_operator
from .arithmetic import multiply
from .choose import where

exp = elementwise(
    "exp",
    numpy=np.exp,
    scalar=exponential.exp,
    vjp=lambda g, y: (g * y,),
    dtype=FLOATING,
    exact=False,
    doc="e to the power x.",
)

expm1 = elementwise(
    "expm1",
    numpy=np.expm1,
    scalar=exponential.expm1,
    vjp=lambda g, y: (g * (y + 1),),
    dtype=FLOATING,
    exact=False,
    doc="exp(x) - 1, also where x is small.",
)

log = elementwise(
    "log",
    numpy=np.log,
    scalar=logarithm.log,
    vjp=lambda g, x: (g / x,),
    dtype=FLOATING,
    exact=False,
    domain=(0.1, 4.0),
    doc="The natural logarithm.",
)

log1p = elementwise(
    "log1p",
    numpy=np.log1p,
    scalar=logarithm.log1p,
    vjp=lambda g, x: (g / (1 + x),),
    dtype=FLOATING,
    exact=False,
    domain=(-0.9, 4.0),
    doc="log(1 + x), also where x is small.",
)

log2 = elementwise(
    "log2",
    numpy=np.log2,
    scalar=logarithm.log2,
    vjp=lambda g, x: (g / (x * math.log(2)),),
    dtype=FLOATING,
    exact=False,
    domain=(0.1, 4.0),
    doc="The logarithm to base 2.",
)

log10 = elementwise(
    "log10",
    numpy=np.log10,
    scalar=logarithm.log10,
    vjp=lambda g, x: (g / (x * math.log(10)),),
    dtype=FLOATING,
    exact=False,
    domain=(0.1, 4.0),
    doc="The logarithm to base 10.",
)

sigmoid = elementwise(
    "sigmoid",
    numpy=lambda x: 1 / (1 + np.exp(-x)),
    scalar=exponential.sigmoid,
    vjp=lambda g, y: (g * y * (1 - y),),
    dtype=REAL_FLOATING,
    exact=False,
    domain=(-8.0, 8.0),
    doc="1 / (1 + exp(-x)).",
)

logaddexp = elementwise(
    "logaddexp",
    numpy=np.logaddexp,
    scalar=logarithm.logaddexp,
    inputs=("a", "b"),
    vjp=lambda g, a, b: (g * sigmoid(a - b), g * sigmoid(b - a)),
    dtype=REAL_FLOATING,
    exact=False,
    domain=(0.0, 4.0),
    doc="log(exp(a) + exp(b)), without overflow.",
)


def _erf_array(x: Array) -> Array:
    """NumPy has no erf; Python's is accurate, and this runs only where there is no kernel."""
    return np.asarray(np.frompyfunc(math.erf, 1, 1)(x), x.dtype)


erf = elementwise(
    "erf",
    numpy=_erf_array,
    scalar=special.erf,
    vjp=lambda g, x: (g * (2 / math.sqrt(math.pi)) * exp(-x * x),),
    dtype=REAL_FLOATING,
    exact=False,
    doc="The error function: 2 / sqrt(pi) times the integral of exp(-t * t) from 0 to x.",
)


def _power(a: Expr, b: Expr) -> Expr:
    if a.dtype.kind != "f":
        raise NotImplementedError("integer powers run through NumPy")
    return power.pow(a, b)


def _power_array(a: Array, b: Array) -> Array:
    if b.dtype.kind == "i" and (b < 0).any():
        raise DTypeError(
            "pow: an integer to a negative power is no integer; make one of them a float."
        )
    result: Array = np.power(a, b)
    return result


pow_: Elementwise = elementwise(
    "pow",
    numpy=_power_array,
    scalar=_power,
    vjp=lambda g, a, b, y: (
        g * b * pow_(a, where(b == 0, 1, b - 1)),
        g * where(a == 0, 0, y * log(where(a == 0, 1, a))),
    ),
    dtype=NUMERIC,
    exact=False,
    domain=(0.1, 4.0),
    doc="a to the power b.",
)

hypot = elementwise(
    "hypot",
    numpy=np.hypot,
    scalar=power.hypot,
    inputs=("a", "b"),
    vjp=lambda g, a, b, y: (g * a / y, g * b / y),
    dtype=REAL_FLOATING,
    exact=False,
    domain=(0.1, 4.0),
    doc="sqrt(a * a + b * b), without overflow.",
)


def pow(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """a to the power b. Integers give integers; negative powers of them raise DTypeError.

    Example:
        >>> import fusejit as fj
        >>> fj.pow([1, 2, 3], 3).tolist()
        [1, 8, 27]
    """
    # The int 2 only: a float is a run-time parameter of a plan, and must not choose the code.
    if type(b) is int and b == 2:
        a = asarray(a)
        return multiply(a, a)
    return pow_(a, b)


binary_operator("pow", pow)
