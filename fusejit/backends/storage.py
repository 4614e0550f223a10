"""Where values lie while a graph is lowered: slots, offsets and strides, in elements."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..frozen import frozen
from .plan import Operand


@frozen
class Storage:
    """Where a value lives: a slot, the element it starts at, and its stride along each axis."""

    slot: int
    offset: int
    strides: tuple[int, ...]


@frozen
class Stream:
    """One operand of a loop before its axes are merged."""

    slot: int  # -1 for an index
    dtype: np.dtype[Any]
    offset: int
    strides: tuple[int, ...]

    def operand(self) -> Operand:
        return Operand(self.slot, self.offset * (self.dtype.itemsize if self.slot >= 0 else 1))


def row_major(shape: Sequence[int]) -> tuple[int, ...]:
    """The strides, in elements, of a C-contiguous array."""
    strides, step = [], 1
    for extent in reversed(shape):
        strides.append(step)
        step *= extent
    return tuple(reversed(strides))


def merge_loop_axes(
    shape: Sequence[int], strides: Sequence[Sequence[int]]
) -> tuple[list[int], list[list[int]]]:
    """Extents and strides after dropping axes of extent 1 and joining axes that all walk as one."""
    axes = [i for i, n in enumerate(shape) if n != 1] or list(range(len(shape)))[-1:]
    if not axes:  # a scalar: one iteration, everything at its start
        return [1], [[1] for _ in strides]
    extents: list[int] = []
    rows: list[list[int]] = [[] for _ in strides]
    for axis in axes:
        extent = shape[axis]
        if extents and all(
            row[-1] == s[axis] * extent for row, s in zip(rows, strides, strict=True)
        ):
            extents[-1] *= extent
            for row, s in zip(rows, strides, strict=True):
                row[-1] = s[axis]
        else:
            extents.append(extent)
            for row, s in zip(rows, strides, strict=True):
                row.append(s[axis])
    return extents, rows
