"""Which bytes a step touches as its outermost index goes on: what strips are formed from.

Index i of a step touches, through an operand, the bytes [low, high) + i * pitch of a slot. That is
all that it takes to say whether two steps can go over their rows side by side: no op, no kernel and
no shape is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from math import prod
from typing import NamedTuple, TypeAlias

from .base import Form, Loop, Reduce
from .plan import PANEL_BYTES, Code, Matmul, MatmulForm, Operand, Pack, Step


class Window(NamedTuple):
    """What one row of a step touches of a slot, and how far it moves from row to row.

    All of it lies in [low, high); a row that jumps, as that of a transposed matrix does, touches
    fewer `bytes`.
    """

    slot: int
    pitch: int
    low: int
    high: int
    written: bool
    bytes: int


Outline: TypeAlias = "list[Window] | None"
"""Windows that have the number of an operand for a slot, and count bytes from its beginning."""


def windows(step: Step) -> list[Window] | None:
    """The windows of one index of a step; None if they say nothing about its rows."""
    return placed(outline(step.code, step.meta), step.operands)


def placed(found: Outline, operands: Sequence[Operand]) -> list[Window] | None:
    """The windows of a step that has these operands."""
    if found is None:
        return None
    return [
        Window(operand.slot, pitch, low + operand.offset, high + operand.offset, written, size)
        for number, pitch, low, high, written, size in found
        if (operand := operands[number]).slot >= 0
    ]


def outline(code: Code, meta: Sequence[int]) -> Outline:
    """What the windows of all steps of this kernel and these extents have in common."""
    if isinstance(code, Loop):
        extents, strides = meta[: code.rank], meta[code.rank :]
        if 0 in extents:
            return None
        accesses = [(access.dtype.itemsize, code.rank) for access in code.inputs + code.outputs]
        return list(_moving(extents[1:], strides, accesses, len(code.inputs)))
    if isinstance(code, Reduce):
        axes = 2 if code.form is Form.ROW else 3
        extents, strides = meta[:axes], meta[axes:]
        if 0 in extents:
            return None
        accesses = [(access.dtype.itemsize, axes) for access in code.inputs + code.stored]
        moving = list(_moving(extents[1:], strides, accesses, len(code.inputs)))
        rest = strides[axes * len(accesses) :]
        (result,) = _moving(extents[2:], rest, [(code.output.dtype.itemsize, axes - 1)], 0)
        return [*moving, result._replace(slot=len(moving))]
    if isinstance(code, Matmul):
        # Stacks go by BLAS, and without one by NumPy, which takes them whole.
        return None if code.form is MatmulForm.BLAS else _matrices(code, meta)
    if isinstance(code, Pack):
        return _panels(code, meta)
    return None


def _moving(
    inner: Sequence[int],
    strides: Sequence[int],
    accesses: Sequence[tuple[int, int]],
    reads: int,
) -> Iterator[Window]:
    """Operands with (item size, axes); `inner` are the extents of all axes but the outermost."""
    place = 0
    for number, (itemsize, axes) in enumerate(accesses):
        steps = strides[place : place + axes]
        place += axes
        pairs = list(zip(inner, steps[1:], strict=True))
        low, high = _stretch(itemsize, *pairs)
        size = itemsize * prod([n for n, s in pairs if s])
        yield Window(number, itemsize * steps[0], low, high, number >= reads, size)


def _matrices(code: Matmul, meta: Sequence[int]) -> list[Window]:
    """Rows of A and C beside all of B, or panels of B and C beside all of A."""
    form, size, (_, m, n, k) = code.form, code.dtype.itemsize, meta[:4]
    strides = [meta[i : i + 3] for i in (4, 7, 10)]  # batch, row, column
    if form.by_rows:
        rows, columns = 1, n
        pitches = [size * strides[0][1], 0, size * strides[2][1]]
    else:
        rows, columns = m, PANEL_BYTES // size
        pitches = [0, PANEL_BYTES * (k if form.packed else 1), PANEL_BYTES]
    found = []
    for number, (down, across) in enumerate(((rows, k), (k, columns), (rows, columns))):
        low, high = _stretch(size, *zip((down, across), strides[number][1:], strict=True))
        if number == 1 and form.packed:
            low, high = 0, PANEL_BYTES * k * -(-columns * size // PANEL_BYTES)
        written, touched = number == 2, size * down * across
        found.append(Window(number, pitches[number], low, high, written, touched))
    return found


def _panels(code: Pack, meta: Sequence[int]) -> list[Window]:
    """A panel at a time, of whatever part of the matrix it is made from."""
    k, n, down, across = meta
    size, panel = code.dtype.itemsize, PANEL_BYTES * k
    low, high = _stretch(size, (k, down), (n, across))
    return [
        Window(0, 0, low, high, False, high - low),
        Window(1, panel, 0, panel, True, panel),
    ]


def _stretch(size: int, *axes: tuple[int, int]) -> tuple[int, int]:
    """The bytes between which an operand lies that has these (extent, stride) axes."""
    low, high = 0, 1
    for extent, stride in axes:
        far = (extent - 1) * stride
        low, high = (low + far, high) if far < 0 else (low, high + far)
    return size * low, size * high
