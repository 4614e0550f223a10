"""Philox4x32-10: random bits from a counter and a key, so any element can be drawn alone.

Salmon, Moraes, Dror and Shaw, "Parallel random numbers: as easy as 1, 2, 3" (SC 2011). The tests
check the known answers that its authors publish with Random123.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from fusejit.scalar import U32, U64, Expr, cast, mulhi

_MULTIPLIERS = (0xD2511F53, 0xCD9E8D57)
_WEYL = (0x9E3779B9, 0xBB67AE85)  # added to the key after each round
_ROUNDS = 10


def philox4x32(counter: tuple[Expr, Expr, Expr, Expr], key: tuple[Expr, Expr]) -> tuple[Expr, ...]:
    """Four random 32-bit words from a counter of four words and a key of two."""
    c0, c1, c2, c3 = counter
    k0, k1 = key
    for _ in range(_ROUNDS):
        first, second = ((mulhi(c, m), c * m) for c, m in zip((c0, c2), _MULTIPLIERS, strict=True))
        c0, c1, c2, c3 = second[0] ^ c1 ^ k0, second[1], first[0] ^ c3 ^ k1, first[1]
        k0, k1 = k0 + _WEYL[0], k1 + _WEYL[1]
    return c0, c1, c2, c3


def _halves(x: Expr) -> tuple[Expr, Expr]:
    return cast(x, U32), cast(x >> 32, U32)


def random_bits(counter: Expr, key: Expr, *, half: int) -> Expr:
    """64 random bits from a 64-bit counter and key: the first (0) or second (1) half of a block."""
    low, high = _halves(counter)
    zero = low.builder.const(0, U32)
    words = philox4x32((low, high, zero, zero), _halves(key))
    low, high = words[2 * half], words[2 * half + 1]
    return cast(low, U64) | (cast(high, U64) << 32)


def random_bits_array(counter: Any, key: Any, *, half: int) -> Any:
    """The same by NumPy, with 32-bit words in arrays of uint64."""
    low, shift = np.uint64(0xFFFFFFFF), np.uint64(32)
    counter, key = np.broadcast_arrays(counter, key)
    c0, c1 = counter & low, counter >> shift
    k0, k1 = key & low, key >> shift
    c2 = c3 = np.zeros_like(c0)
    for _ in range(_ROUNDS):
        first, second = c0 * np.uint64(_MULTIPLIERS[0]), c2 * np.uint64(_MULTIPLIERS[1])
        c0, c1 = (second >> shift) ^ c1 ^ k0, second & low
        c2, c3 = (first >> shift) ^ c3 ^ k1, first & low
        k0, k1 = (k0 + np.uint64(_WEYL[0])) & low, (k1 + np.uint64(_WEYL[1])) & low
    words = (c0, c1, c2, c3)
    return words[2 * half] | (words[2 * half + 1] << shift)
