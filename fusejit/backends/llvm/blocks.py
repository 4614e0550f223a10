"""The memory of large outputs: how much of it is kept. `kernels/llvm/blocks.ll` does the work.

A result of 256 KiB or more lies in a block of memory that goes back to a free list with the array,
so that the next result of that size need not touch fresh pages. The process keeps its own malloc.
"""

from __future__ import annotations

import ctypes
from collections.abc import Mapping
from typing import Any

from ...config import config

EXPORTS = ("blocks.limit", "blocks.kept")
KEPT = 256 << 20
"""The most bytes that free blocks have: six results of 40 MB. The oldest are given back first."""

_functions: dict[str, Any] = {}


def start(code: Mapping[str, int]) -> None:
    """Begin to keep memory, once the native module is there; not under FUSEJIT_NO_REUSE."""
    # PYFUNCTYPE: the free list has no lock but the GIL.
    _functions["limit"] = ctypes.PYFUNCTYPE(None, ctypes.c_int64)(code["blocks.limit"])
    _functions["kept"] = ctypes.PYFUNCTYPE(ctypes.c_int64)(code["blocks.kept"])
    config.on_change(_follow)
    _follow()


def _follow() -> None:
    _functions["limit"](0 if config.no_reuse else KEPT)


def kept() -> int:
    """Bytes of free blocks."""
    return int(_functions["kept"]()) if _functions else 0


def clear() -> None:
    """Give all free blocks back to the system."""
    if _functions:
        _functions["limit"](0)
        _follow()
