"""Matrix products as steps, and which code runs each of them.

A product is lowered for BLAS first (`steps`). When all steps of a plan are known, `choose` gives
each product its form, and packs a matrix that several of them use once. Microseconds on one core of
a Zen 5 (AVX-512), float32, M x K x N, medians of interleaved runs (OpenBLAS with its SkylakeX core;
`plain` and `streamed` are the same code; at 784 x 64 x 128 A is column-major):

                       B row-major                       B column-major
                       BLAS   packed  packing    plain   BLAS   packed  packing
      1 x 256 x 512     5.6      4.4       13      5.8    6.9      4.4       14
      2 x 256 x 512     4.7      4.2       10      4.4    7.1      4.4       14
      3 x 256 x 512      12      5.5       12      6.4     44      6.1       14
      4 x 256 x 512     5.0      5.5       11      5.7     30      5.3       10
      6 x 256 x 512      12       10       13       10     37      9.2       10
      8 x 256 x 512      29      9.5       11      9.8     36      9.5       10
     16 x 256 x 512      39       18       11       19     41       18       10
     32 x 256 x 512      61       35       12       38     62       36       11
     64 x 512 x 1024    435      285       57      309    381      284       41
     64 x 784 x 128      68       56        7       58     76       56        7
    256 x 784 x 512     950      889       40      938    967      888       33
     64 x 128 x 10      2.1      2.0      0.7      2.3    1.6      1.9      0.7
    784 x  64 x 128      63       57        1       57     64       57        1
    512 x 512 x 512    1220     1134       25     1241   1220     1132       23
   1024 x 1024 x 1024  9756     9339      176    11706  10901    11126      287

So nothing is left to BLAS but stacks of matrices, products with a vector on the right, and one or
two rows times a column-major matrix, which are dot products. With AVX2 alone (a Haswell of both)
64 x 512 x 1024 takes 600 by BLAS, 535 packed, 820 plain; 16 x 256 x 512 takes 52, 35 and 36.

Two things are left undone because they were measured to be worth nothing. A product that adds to
what C holds: a sum of two products and its activation run as one strip, and take 0.98 to 1.01 of
the time that way, 0.95 where K is 16. And an elementwise op computed while its result is packed: in
the backward part of an MLP or an LSTM others read that result too, so it is stored anyway, and all
its packing takes 0.5 to 2 % of the time.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Container, Sequence
from math import prod
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from ..frozen import replace
from ..ir.graph import Node, Value
from ..ir.places import NotAffine
from ..passes.canonical import blas_strides, merge_axes
from .base import Loop, Reduce
from .plan import PANEL_BYTES, Guard, Matmul, MatmulForm, Operand, Pack, Role, Slot, Step

if TYPE_CHECKING:
    from .storage import Stream

PACKED_ROWS = 128
"""Rows that use a row-major B from which on packing it pays. The product itself gains 3 % (20 % if
B is beyond the second-level cache), and packing costs as much as 4 to 10 rows: 64 x 256 x 512 takes
1.05 to 1.15 times as long with packing, 128 x 256 x 512 0.97 to 1.05, with AVX-512 or without."""
PAGED_ROWS = 48
"""The same if the rows of B are a multiple of a page apart, and so in the same few sets of the
cache. In strips, where 8 or 16 rows at a time pass over all of B, 64 x 512 x 1024 takes as long
with packing as without on a free machine, 0.8 of it where others use the cache; 32 rows 1.1."""
NARROW_PAGED_ROWS = 16
"""The same without AVX-512: tiles are one panel wide, and read one line of each row. 16 rows of
512 x 1024 take 0.85 of the time with packing, 32 rows 0.65, 64 rows 0.6; 8 rows 1.1."""
PAGE = 4096
TURNED_ROWS = 3
"""Rows that use a B whose columns are adjacent from which on packing it pays. For one or two BLAS
computes dot products."""
NARROW_TURNED_ROWS = 2
"""The same without AVX-512: two rows of 256 x 512 take BLAS 33 us, and us 17 with packing."""
STREAMED_ROWS = 8
"""Rows of one tile: rows cannot be shared without reading B again, so columns are."""
GRAIN_ROWS = 8
"""Rows of a tile on AVX-512. On AVX a tile has 6; 8 rows at a time have 0.93 of its rate, 16 have
0.97, so turns of 12 would gain less than they would lose by being less even."""
GRAIN_PANELS = 8
"""Panels of the widest tile: half a kilobyte of each row of B."""
PACKING_PANELS = 4
"""Panels that are packed side by side: a quarter of a kilobyte of each row of B."""

Place: TypeAlias = "tuple[Value, int, tuple[int, ...]]"


def reading(value: Value, producer: Callable[[Value], Node | None], rank: int) -> Place:
    """(base, offset, strides) of an operand that is read through its views, of rank `rank`."""
    found = blas_strides(value, producer)
    assert found is not None, "fuse lets only readable operands through"
    base, offset, strides = found
    extents = value.type.shape
    steps = [0 if n == 1 else s for s, n in zip(strides[:-2], extents[:-2], strict=True)]
    return base, offset, ((0,) * (rank - len(strides)) + (*steps, *strides[-2:]))


def steps(matrices: Sequence[Stream], shape: tuple[int, ...], k: int) -> list[Step]:
    """The product of two stacks of matrices into the third, which has `shape`, by BLAS."""
    batch, (m, n) = shape[:-2], shape[-2:]
    try:
        merged = [merge_axes(s.strides[:-2], batch) for s in matrices]
        jobs = [((0,) * len(batch), prod(batch), merged)]
    except NotAffine:  # batch axes that do not merge: one call for each index of all but the last
        last = [s.strides[-3] for s in matrices]
        jobs = [((*i, 0), batch[-1], last) for i in np.ndindex(*batch[:-1])]
    found = []
    for index, count, far in jobs:
        operands, meta = [], [count, m, n, k]
        for s, step, extents in zip(matrices, far, ((m, k), (k, n), (m, n)), strict=True):
            start = sum(a * b for a, b in zip(index, s.strides[:-2], strict=True))
            operands.append(Operand(s.slot, (s.offset + start) * s.dtype.itemsize))
            meta += [step, *_leading(s.strides[-2:], extents)]
        code = Matmul(matrices[-1].dtype)
        found.append(Step(code, tuple(operands), tuple(map(int, meta)), int(count)))
    return found


def _leading(strides: Sequence[int], extents: tuple[int, int]) -> tuple[int, int]:
    """Row and column stride as BLAS wants them: one is 1, the other at least the extent."""
    row, column = strides
    rows, columns = extents
    if columns == 1 or column == 1:
        return (row if rows > 1 else max(columns, 1)), 1
    return 1, (column if columns > 1 else max(rows, 1))


# ---- the form of each product


def choose(
    slots: Sequence[Slot], steps: Sequence[Step], kept: Container[int] = (), narrow: bool = False
) -> tuple[list[Slot], list[Step]]:
    """The same plan with a form for each product, and the packing that they need.

    What is packed from `kept` slots stays packed from call to call, so that packing always pays.
    `narrow` machines have vectors shorter than a panel.
    """
    folded = [_folded(step) if isinstance(step.code, Matmul) else step for step in steps]
    rows = Counter[object]()
    for step in folded:
        if _is_single(step):
            rows[_matrix(step)] += PACKED_ROWS if step.operands[1].slot in kept else step.meta[1]
    formed = [
        _formed(step, rows[_matrix(step)], narrow) if _is_single(step) else step for step in folded
    ]
    return _with_packing(slots, formed)


def _is_single(step: Step) -> bool:
    """Whether a step is a product of two matrices, not of stacks of them."""
    return isinstance(step.code, Matmul) and step.meta[0] == 1


def _matrix(step: Step) -> object:
    """What tells one B from another: where it begins, its extents and its strides."""
    _, _, n, k = step.meta[:4]
    return step.operands[1], k, n, step.meta[8:10]


def _folded(step: Step) -> Step:
    """A stack of row-major matrices times one matrix is one taller matrix times it."""
    batch, m, n, k, a_far, a_row, a_column, b_far, b_row, b_column, c_far, c_row, _ = step.meta
    if m == 1:
        a_row, c_row = a_far, c_far
    regular = a_far == m * a_row and c_far == m * c_row and a_column == 1 and a_row >= k
    if batch == 1 or b_far != 0 or not regular:
        return step
    meta = (1, batch * m, n, k, 0, a_row, 1, 0, b_row, b_column, 0, c_row, 1)
    return replace(step, meta=meta, count=1)


def _formed(step: Step, rows: int, narrow: bool) -> Step:
    """A product in the form that suits it; `rows` of the plan are multiplied by the same B."""
    _, m, n = step.meta[:3]
    assert isinstance(step.code, Matmul)
    by_rows = step.meta[9] == 1
    packed = rows >= _packed_rows(step, narrow)
    if n == 1 or not (by_rows or packed):
        return step
    few = m <= STREAMED_ROWS
    if packed:
        form = MatmulForm.PANELS if few else MatmulForm.PACKED
    else:
        form = MatmulForm.STREAMED if few else MatmulForm.PLAIN
    count, grain = (m, GRAIN_ROWS) if form.by_rows else (_panels(step), GRAIN_PANELS)
    return replace(step, code=replace(step.code, form=form), count=count, grain=grain)


def _packed_rows(step: Step, narrow: bool) -> int:
    """From how many rows on packing the B of a product pays."""
    assert isinstance(step.code, Matmul)
    row, column = step.meta[8:10]
    if column != 1:
        return NARROW_TURNED_ROWS if narrow else TURNED_ROWS
    if row * step.code.dtype.itemsize % PAGE:
        return PACKED_ROWS
    return NARROW_PAGED_ROWS if narrow else PAGED_ROWS


def _lanes(step: Step) -> int:
    assert isinstance(step.code, Matmul)
    return PANEL_BYTES // step.code.dtype.itemsize


def _panels(step: Step) -> int:
    return -(-step.meta[2] // _lanes(step))


def _with_packing(slots: Sequence[Slot], steps: Sequence[Step]) -> tuple[list[Slot], list[Step]]:
    """Each matrix that is read in panels is packed once, as soon as it is there."""
    made = list(slots)
    panels: dict[object, int] = {}  # matrix -> the slot of its panels
    packing: dict[int, list[Step]] = {}  # what comes before a step
    ready: dict[int, int] = {}  # slot -> the step before which it is written as far as we have seen
    formed = []
    for number, step in enumerate(steps):
        if isinstance(step.code, Matmul) and step.code.form.packed:
            key, (a, b, c) = _matrix(step), step.operands
            if key not in panels:
                panels[key] = len(made)
                _, _, _, k = step.meta[:4]
                made.append(Slot(Role.TEMPORARY, step.code.dtype, (_panels(step), k, _lanes(step))))
                packing.setdefault(ready.get(b.slot, 0), []).append(_pack(step, panels[key]))
            step = replace(step, operands=(a, Operand(panels[key]), c))
        formed.append(step)
        ready.update((slot, number + 1) for slot in _written(step))
    ordered = [s for number, step in enumerate(formed) for s in (*packing.get(number, ()), step)]
    return made, ordered


def _pack(step: Step, panels: int) -> Step:
    """The packing of a product's B."""
    assert isinstance(step.code, Matmul)
    _, _, n, k = step.meta[:4]
    operands = (step.operands[1], Operand(panels))
    meta = (k, n, *step.meta[8:10])
    code = Pack(step.code.dtype)
    return Step(code, operands, meta, _panels(step), step.where, PACKING_PANELS)


def _written(step: Step) -> list[int]:
    """The slots that a step may write; of a Python step, all that it is given."""
    if isinstance(step.code, Guard):
        return []
    reads = 0
    if isinstance(step.code, Loop | Reduce):
        reads = len(step.code.inputs)
    elif isinstance(step.code, Matmul | Pack):
        reads = len(step.operands) - 1
    return [operand.slot for operand in step.operands[reads:]]
