"""Rounding to integers, and the sign and neighbours of a float."""

from __future__ import annotations

import numpy as np

from ..op import NUMERIC, ORDERED, REAL_FLOATING, elementwise
from ..scalar import F32, I32, I64, Expr, bitcast, rint, select
from ..scalar import ceil as scalar_ceil
from ..scalar import copysign as scalar_copysign
from ..scalar import floor as scalar_floor
from ..scalar import trunc as scalar_trunc
from .arithmetic import sign
from .choose import where

floor = elementwise(
    "floor",
    numpy=np.floor,
    scalar=lambda x: scalar_floor(x) if x.dtype.kind == "f" else x,
    vjp=lambda g: (None,),
    dtype=ORDERED,
    doc="The largest integer not above x, in the dtype of x.",
)

ceil = elementwise(
    "ceil",
    numpy=np.ceil,
    scalar=lambda x: scalar_ceil(x) if x.dtype.kind == "f" else x,
    vjp=lambda g: (None,),
    dtype=ORDERED,
    doc="The least integer not below x, in the dtype of x.",
)

trunc = elementwise(
    "trunc",
    numpy=np.trunc,
    scalar=lambda x: scalar_trunc(x) if x.dtype.kind == "f" else x,
    vjp=lambda g: (None,),
    dtype=ORDERED,
    doc="x without its fraction, in the dtype of x.",
)

round = elementwise(
    "round",
    numpy=np.round,
    scalar=lambda x: rint(x) if x.dtype.kind == "f" else x,
    inputs=("x",),
    vjp=lambda g: (None,),
    dtype=NUMERIC,
    doc="The nearest integer, in the dtype of x; the even one of two.",
)

copysign = elementwise(
    "copysign",
    numpy=np.copysign,
    scalar=lambda a, b: scalar_copysign(a, b),
    vjp=lambda g, a, y: (g * where(a == 0, 0, sign(a) * sign(y)), None),
    dtype=REAL_FLOATING,
    doc="The size of a with the sign of b.",
)


def _nextafter(a: Expr, b: Expr) -> Expr:
    """The bits of a, read as an integer, one further from zero or one nearer to it."""
    integer = I32 if a.dtype == F32 else I64
    bits = bitcast(a, integer)
    outwards = ~((b > a) ^ (a > 0.0))
    moved = bitcast(select(outwards, bits + 1, bits - 1), a.dtype)
    least = scalar_copysign(bitcast(bits.builder.const(1, integer), a.dtype), b)
    moved = select(a.eq(0.0), least, moved)
    return select(a.eq(b), b, select(a.eq(a) & b.eq(b), moved, a + b))


nextafter = elementwise(
    "nextafter",
    numpy=np.nextafter,
    scalar=_nextafter,
    vjp=lambda g: (g, None),
    dtype=REAL_FLOATING,
    doc="The next float after a in the direction of b.",
)
