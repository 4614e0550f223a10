"""Operations on the bits of integers; on bool they are logic."""

from __future__ import annotations

import numpy as np

from ..op import INTEGRAL, SHIFTS, elementwise
from ..tensor import Operators, binary_operator

bitwise_and = elementwise(
    "bitwise_and",
    numpy=np.bitwise_and,
    scalar=lambda a, b: a & b,
    dtype=INTEGRAL,
    doc="a & b.",
)

bitwise_or = elementwise(
    "bitwise_or", numpy=np.bitwise_or, scalar=lambda a, b: a | b, dtype=INTEGRAL, doc="a | b."
)

bitwise_xor = elementwise(
    "bitwise_xor", numpy=np.bitwise_xor, scalar=lambda a, b: a ^ b, dtype=INTEGRAL, doc="a ^ b."
)

bitwise_invert = elementwise(
    "bitwise_invert", numpy=np.invert, scalar=lambda x: ~x, dtype=INTEGRAL, doc="~x."
)

bitwise_left_shift = elementwise(
    "bitwise_left_shift",
    numpy=np.left_shift,
    scalar=lambda a, b: a << b,
    dtype=SHIFTS,
    domain=(0.0, 8.0),
    doc="a << b; 0 if b is at least the width of a.",
)

bitwise_right_shift = elementwise(
    "bitwise_right_shift",
    numpy=np.right_shift,
    scalar=lambda a, b: a >> b,
    dtype=SHIFTS,
    domain=(0.0, 8.0),
    doc="a >> b, which keeps the sign; 0 or -1 if b is at least the width of a.",
)

binary_operator("and", bitwise_and)
binary_operator("or", bitwise_or)
binary_operator("xor", bitwise_xor)
binary_operator("lshift", bitwise_left_shift)
binary_operator("rshift", bitwise_right_shift)
Operators.install("__invert__", lambda self: bitwise_invert(self))
