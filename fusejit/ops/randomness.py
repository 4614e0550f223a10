"""Random bits: an elementwise op of a counter and a key, so that a draw fuses like any other op."""

from __future__ import annotations

import numpy as np

from ..numerics import philox
from ..op import DTypeRule, elementwise
from ..scalar import U64

random_bits = elementwise(
    "random_bits",
    numpy=philox.random_bits_array,
    scalar=philox.random_bits,
    dtype=DTypeRule(kinds="u", operand=U64),
    exact=False,  # it is, but the kernel is many times faster than a hundred array operations
    domain=(0.0, 1e9),
    sample=lambda rng: (list(rng.integers(0, 2**63, (2, 5), np.uint64)), {"half": 1}),
    doc="64 bits that Philox4x32-10 makes of a counter and a key; parameter half: 0 or 1.",
)
