"""Reductions as steps: one kernel, or, where that has too few rows to share, several.

Threads share a step by its outermost index, and a sum over everything has only one. So few long
rows are cut into parts, reduced each by itself, and the results are reduced once more. Where the
cuts lie depends on the shape alone, so the bits do not depend on threads, nor on what was fused.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from ..frozen import frozen, replace
from ..scalar import DType, Program, trace
from .base import BLOCK_ROWS, Access, Form, Reduce, Walk
from .plan import Step

if TYPE_CHECKING:
    from .storage import Stream

FEW = 8
"""Kept indices from which on they are shared as they are: two for each of four threads."""
PART = 65536
"""Elements of a part: 3 us of a plain sum, which is many times what claiming a part costs, and 1 %
of it for the partial results. Whole blocks, so parts lose no accuracy."""
COLUMNS = 1024
"""Columns of a part where there are many: rows of 4 KiB. There are no partial results then."""


@frozen(eq=False)
class Reducing:
    """combine over the middle axis of program(streams...), in a space [kept, reduced, columns].

    Streams have strides along these axes, the target along kept and columns. columns == 1 for ROW.
    What else the program computes goes to `stored`, which has strides as streams do.
    """

    form: Form
    extents: tuple[int, int, int]
    streams: tuple[Stream, ...]
    target: Stream
    program: Program
    combine: Program
    identity: bool | int | float
    stored: tuple[Stream, ...] = ()

    def steps(self, temporary: Callable[[DType, tuple[int, ...]], Stream]) -> list[Step]:
        """The steps in order; `temporary` makes a buffer for partial results."""
        kept, reduced, columns = self.extents
        if kept >= FEW or kept * reduced * columns < 2 * PART:
            return [self.step()]
        if columns >= 2 * COLUMNS:
            rows = [self._row(index) for index in range(kept)]
            return [part.step() for row in rows for part in row._cut(2, COLUMNS, row.target)]
        size = PART if self.form is Form.ROW else max(PART // columns, BLOCK_ROWS)
        if reduced < 2 * size:
            return [self.step()]
        found: list[Step] = []
        for index in range(kept):
            row = self._row(index)
            count = -(-reduced // size)
            partial = temporary(self.target.dtype, (count, columns))
            found += [part.step() for part in row._cut(1, size, partial)]
            found.append(row._over(partial, count).step())
        return found

    def _row(self, index: int) -> Reducing:
        """The reduction at one kept index."""
        return replace(
            self,
            extents=(1, *self.extents[1:]),
            streams=tuple(_moved(s, index * s.strides[0]) for s in self.streams),
            stored=tuple(_moved(s, index * s.strides[0]) for s in self.stored),
            target=_moved(self.target, index * self.target.strides[0]),
        )

    def _cut(self, axis: int, size: int, target: Stream) -> Iterator[Reducing]:
        """Parts of `size` of an axis as the kept axis of one reduction, and what is left over.

        The parts of the columns belong into `target` side by side, those of the rest row by row.
        """
        whole, left = divmod(self.extents[axis], size)
        columns = target.strides[1]
        apart = size * columns if axis == 2 else target.strides[0]
        yield replace(
            self,
            extents=_with(_with(self.extents, axis, size), 0, whole),
            streams=tuple(_split(s, axis, size) for s in self.streams),
            stored=tuple(_split(s, axis, size) for s in self.stored),
            target=replace(target, strides=(apart, columns)),
        )
        if left:
            yield replace(
                self,
                extents=_with(self.extents, axis, left),
                streams=tuple(_moved(s, whole * size * s.strides[axis]) for s in self.streams),
                stored=tuple(_moved(s, whole * size * s.strides[axis]) for s in self.stored),
                target=_moved(target, whole * apart),
            )

    def _over(self, partial: Stream, count: int) -> Reducing:
        """The reduction of so many partial results."""
        columns = self.extents[2]
        return replace(
            self,
            extents=(1, count, columns),
            streams=(replace(partial, strides=(0, *partial.strides)),),
            program=trace(lambda x: x, [partial.dtype]),
            stored=(),
        )

    def step(self) -> Step:
        """The reduction as one kernel."""
        row = self.form is Form.ROW
        axes = 2 if row else 3
        kernel = Reduce(
            self.form,
            tuple(Access(s.dtype, walk(s.slot, s.strides[axes - 1])) for s in self.streams),
            Access(self.target.dtype, Walk.UNIT),
            self.program,
            self.combine,
            self.identity,
            # A stride of 0 means that there is but one element.
            tuple(Access(s.dtype, walk(s.slot, s.strides[axes - 1] or 1)) for s in self.stored),
        )
        moving = (*self.streams, *self.stored)
        meta = [*self.extents[:axes]]
        for stream in moving:
            meta += stream.strides[:axes]
        meta += self.target.strides[: axes - 1]
        operands = tuple(s.operand() for s in (*moving, self.target))
        return Step(kernel, operands, tuple(map(int, meta)), self.extents[0])


def walk(slot: int, stride: int) -> Walk:
    """How an operand moves along an innermost axis with this stride."""
    if slot < 0:
        return Walk.INDEX
    return {1: Walk.UNIT, 0: Walk.SPLAT}.get(stride, Walk.STRIDED)


def _moved(stream: Stream, distance: int) -> Stream:
    return replace(stream, offset=stream.offset + distance)


def _split(stream: Stream, axis: int, size: int) -> Stream:
    strides = stream.strides
    return replace(stream, strides=(size * strides[axis], *strides[1:]))


def _with(extents: tuple[int, int, int], axis: int, extent: int) -> tuple[int, int, int]:
    a, b, c = (extent if i == axis else n for i, n in enumerate(extents))
    return a, b, c
