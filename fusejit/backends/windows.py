"""Which bytes a step touches as its outermost index goes on: what strips are formed from.

Index i of a step touches, through an operand, the bytes [low, high) + i * pitch of a slot. That is
all that it takes to say whether two steps can go over their rows side by side: no op, no kernel and
no shape is looked at.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from math import prod

from .base import Form, Loop, Reduce
from .plan import PANEL_BYTES, Matmul, MatmulForm, Operand, Pack, Step


@dataclass(frozen=True, slots=True)
class Window:
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

    def rows_of(self, indices: int) -> Window:
        """The same where one row is so many indices of the step."""
        reach = self.pitch * (indices - 1)
        low, high = self.low + min(reach, 0), self.high + max(reach, 0)
        size = self.bytes * (indices if self.pitch else 1)
        return Window(self.slot, self.pitch * indices, low, high, self.written, size)


def windows(step: Step) -> list[Window] | None:
    """The windows of one index of a step; None if they say nothing about its rows."""
    code, meta = step.code, step.meta
    if isinstance(code, Loop):
        extents, strides = meta[: code.rank], meta[code.rank :]
        if 0 in extents:
            return None
        accesses = [(access.dtype.itemsize, code.rank) for access in code.inputs + code.outputs]
        return list(_windows(step, extents[1:], strides, accesses, len(code.inputs)))
    if isinstance(code, Reduce):
        axes = 2 if code.form is Form.ROW else 3
        extents, strides = meta[:axes], meta[axes:]
        if 0 in extents:
            return None
        accesses = [(access.dtype.itemsize, axes) for access in code.inputs + code.stored]
        moving = _windows(step, extents[1:], strides, accesses, len(code.inputs))
        result = [(code.output.dtype.itemsize, axes - 1)]
        rest = strides[axes * len(accesses) :]
        target = Step(code, step.operands[-1:], (), step.count)
        return [*moving, *_windows(target, extents[2:], rest, result, 0)]
    if isinstance(code, Matmul):
        return _matrix_windows(step)
    if isinstance(code, Pack):
        return _panel_windows(step)
    return None


def _windows(
    step: Step,
    inner: Sequence[int],
    strides: Sequence[int],
    accesses: Sequence[tuple[int, int]],
    reads: int,
) -> Iterator[Window]:
    """Operands with (item size, axes); `inner` are the extents of all axes but the outermost."""
    place = 0
    operands: Sequence[Operand] = step.operands[: len(accesses)]
    for number, (operand, (itemsize, axes)) in enumerate(zip(operands, accesses, strict=True)):
        steps = strides[place : place + axes]
        place += axes
        if operand.slot >= 0:
            low, high = _stretch(operand, itemsize, *zip(inner, steps[1:], strict=True))
            size = itemsize * prod(n for n, s in zip(inner, steps[1:], strict=True) if s)
            yield Window(operand.slot, itemsize * steps[0], low, high, number >= reads, size)


def _matrix_windows(step: Step) -> list[Window] | None:
    """Rows of A and C beside all of B; None for what does not go by rows."""
    assert isinstance(step.code, Matmul)
    if not step.code.form.by_rows:
        return None
    _, _, n, k = step.meta[:4]
    size = step.code.dtype.itemsize
    (_, down, across), strides, (_, below, beside) = (step.meta[i : i + 3] for i in (4, 7, 10))
    a, b, c = step.operands
    row, result = _stretch(a, size, (k, across)), _stretch(c, size, (n, beside))
    if step.code.form is MatmulForm.PACKED:
        low, high = b.offset, b.offset + PANEL_BYTES * k * -(-n * size // PANEL_BYTES)
    else:
        low, high = _stretch(b, size, (k, strides[1]), (n, strides[2]))
    return [
        Window(a.slot, size * down, *row, False, size * k),
        Window(b.slot, 0, low, high, False, high - low),
        Window(c.slot, size * below, *result, True, size * n),
    ]


def _panel_windows(step: Step) -> list[Window]:
    """A panel at a time, of whatever part of the matrix it is made from."""
    assert isinstance(step.code, Pack)
    k, n, down, across = step.meta
    source, panels = step.operands
    size, panel = step.code.dtype.itemsize, PANEL_BYTES * k
    low, high = _stretch(source, size, (k, down), (n, across))
    return [
        Window(source.slot, 0, low, high, False, high - low),
        Window(panels.slot, panel, panels.offset, panels.offset + panel, True, panel),
    ]


def _stretch(operand: Operand, size: int, *axes: tuple[int, int]) -> tuple[int, int]:
    """The bytes between which an operand lies that has these (extent, stride) axes."""
    far = [(extent - 1) * stride for extent, stride in axes]
    low = sum(min(f, 0) for f in far)
    high = 1 + sum(max(f, 0) for f in far)
    return operand.offset + size * low, operand.offset + size * high
