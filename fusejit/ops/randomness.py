"""Random bits: an elementwise op of a counter and a key, so that a draw fuses like any other op."""

from __future__ import annotations

from ..numerics import philox
from ..op import DTypeRule, elementwise
from ..scalar import U64

random_bits = elementwise(
    "random_bits",
    numpy=philox.random_bits_array,
    scalar=philox.random_bits,
    dtype=DTypeRule(kinds="u", operand=U64),
    domain=(0.0, 1e9),
    doc="64 bits that Philox4x32-10 makes of a counter and a key; parameter half: 0 or 1.",
)
