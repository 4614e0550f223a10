"""Comparisons, tests for special values, and logic: everything that gives bool."""

from __future__ import annotations

import math

import numpy as np

from ..op import COMPARES, LOGICAL, ORDERS, SIGN_BITS, elementwise
from ..scalar import BOOL, F32, I32, I64, Expr, bitcast, constant
from ..tensor import binary_operator

equal = elementwise(
    "equal", numpy=np.equal, scalar=lambda a, b: a.eq(b), dtype=COMPARES, doc="a == b."
)

not_equal = elementwise(
    "not_equal", numpy=np.not_equal, scalar=lambda a, b: ~a.eq(b), dtype=COMPARES, doc="a != b."
)

less = elementwise(
    "less",
    numpy=np.less,
    scalar=lambda a, b: ~a & b if a.dtype == BOOL else a < b,
    dtype=ORDERS,
    doc="a < b.",
)

less_equal = elementwise(
    "less_equal",
    numpy=np.less_equal,
    scalar=lambda a, b: ~a | b if a.dtype == BOOL else a <= b,
    dtype=ORDERS,
    doc="a <= b.",
)

greater = elementwise(
    "greater",
    numpy=np.greater,
    scalar=lambda a, b: a & ~b if a.dtype == BOOL else a > b,
    dtype=ORDERS,
    doc="a > b.",
)

greater_equal = elementwise(
    "greater_equal",
    numpy=np.greater_equal,
    scalar=lambda a, b: a | ~b if a.dtype == BOOL else a >= b,
    dtype=ORDERS,
    doc="a >= b.",
)


def _for_floats(test: Expr | None, x: Expr, otherwise: bool) -> Expr:
    return constant(x, otherwise, BOOL) if test is None else test


def _is_float(x: Expr) -> bool:
    return x.dtype.kind == "f"


isnan = elementwise(
    "isnan",
    numpy=np.isnan,
    scalar=lambda x: _for_floats(~x.eq(x) if _is_float(x) else None, x, False),
    dtype=COMPARES,
    doc="Whether x is no number.",
)

isinf = elementwise(
    "isinf",
    numpy=np.isinf,
    scalar=lambda x: _for_floats(abs(x).eq(math.inf) if _is_float(x) else None, x, False),
    dtype=COMPARES,
    doc="Whether x is an infinity.",
)

isfinite = elementwise(
    "isfinite",
    numpy=np.isfinite,
    scalar=lambda x: _for_floats(abs(x) < math.inf if _is_float(x) else None, x, True),
    dtype=COMPARES,
    doc="Whether x is a number and no infinity.",
)

signbit = elementwise(
    "signbit",
    numpy=np.signbit,
    scalar=lambda x: bitcast(x, I32 if x.dtype == F32 else I64) < 0,
    dtype=SIGN_BITS,
    doc="Whether the sign bit of x is set: for negative numbers and -0.0.",
)

logical_and = elementwise(
    "logical_and", numpy=np.logical_and, scalar=lambda a, b: a & b, dtype=LOGICAL, doc="a and b."
)

logical_or = elementwise(
    "logical_or", numpy=np.logical_or, scalar=lambda a, b: a | b, dtype=LOGICAL, doc="a or b."
)

logical_xor = elementwise(
    "logical_xor",
    numpy=np.logical_xor,
    scalar=lambda a, b: a ^ b,
    dtype=LOGICAL,
    doc="a or b, but not both.",
)

logical_not = elementwise(
    "logical_not", numpy=np.logical_not, scalar=lambda x: ~x, dtype=LOGICAL, doc="not x."
)

# Python reflects comparisons itself: 1 < t becomes t > 1.
binary_operator("eq", equal, has_reflected=False)
binary_operator("ne", not_equal, has_reflected=False)
binary_operator("lt", less, has_reflected=False)
binary_operator("le", less_equal, has_reflected=False)
binary_operator("gt", greater, has_reflected=False)
binary_operator("ge", greater_equal, has_reflected=False)
