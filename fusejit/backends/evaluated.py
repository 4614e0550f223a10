"""Small eager ops without a compiler: the results of the kernels, bit for bit, computed by NumPy.

Elementwise ops go through the reference evaluator. Reductions combine in the order that
`base.Reduce` documents, with axes merged as `passes.canonical` does. Products are NumPy's own: like
those of kernels they are within 2 K eps sum|a||b|, but the last bits of the two may differ.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from itertools import groupby
from math import prod
from typing import Any

import numpy as np

from ..dtypes import COMPILED
from ..numerics.evaluate import evaluate
from ..op import Array, Contraction, Elementwise, Op, Reduction
from ..scalar import DType, Program, trace
from .base import BLOCK_ROWS, LANES

SMALL = 4096
"""Elements of an operand or a result: a transcendental takes 0.3 ms then in float32, 1.5 in float64
(0.1 and 0.6 for a single element), and from 8192 on several times more for each element. It is also
less than a block of a row, of which the order here knows but one."""


def evaluated(op: Op, arrays: Sequence[Array], params: Mapping[str, Any]) -> Array | None:
    """The result of `op`, or None: it is large, or only a kernel knows it."""
    if isinstance(op, Contraction):
        with np.errstate(all="ignore"):
            product: Array = op.by_numpy(arrays, params)
        return product
    if isinstance(op, Elementwise):
        if prod(np.broadcast_shapes(*(a.shape for a in arrays))) > SMALL:
            return None
        program = op.program(tuple([a.dtype for a in arrays]), params)
        return None if program is None else evaluate(program, *arrays)[0]
    return _reduced(op, arrays[0], params) if isinstance(op, Reduction) else None


def _reduced(op: Reduction, x: Array, params: Mapping[str, Any]) -> Array | None:
    """`x` combined along axes; None for what is not evaluated here."""
    if not 0 < x.size <= SMALL or x.dtype not in COMPILED or x.dtype.kind == "b":
        return None
    program = _combining(op, x.dtype)
    neutral = np.array(op.identity(x.dtype), x.dtype)

    def join(left: Array, right: Array) -> Array:
        return evaluate(program, left, right)[0]

    axes = params["axes"]
    columns = _columns(x, axes)
    if columns is None:
        order = (*(axis for axis in range(x.ndim) if axis not in axes), *axes)
        kept = prod(n for axis, n in enumerate(x.shape) if axis not in axes)
        found = _fold(join, neutral, x.transpose(order).reshape(kept, -1))
    elif len(columns) <= BLOCK_ROWS:
        total = neutral
        for row in columns:
            total = join(total, row)
        found = join(neutral, total)
    else:
        return None
    extents = ((1 if i in axes else n, i in axes) for i, n in enumerate(x.shape))
    return found.reshape([n for n, reduced in extents if params["keepdims"] or not reduced])


@lru_cache(maxsize=256)  # ops x dtypes
def _combining(op: Reduction, dtype: DType) -> Program:
    return trace(op.combine, [dtype, dtype])


def _columns(x: Array, axes: Sequence[int]) -> Array | None:
    """`x` as [reduced, kept, columns] if the reduced axes are neighbours with kept ones after them;
    else None: it is reduced along rows. Axes of extent 1 do not count."""
    real = [(axis in axes, axis) for axis, extent in enumerate(x.shape) if extent != 1]
    runs = [(kind, [a for _, a in run]) for kind, run in groupby(real, key=lambda pair: pair[0])]
    reduced = [run for kind, run in runs if kind]
    if len(reduced) != 1 or runs[-1][0]:
        return None
    first, last = reduced[0][0], reduced[0][-1]
    shape = (prod(x.shape[:first]), prod(x.shape[first : last + 1]), prod(x.shape[last + 1 :]))
    return np.moveaxis(x.reshape(shape), 1, 0)


def _fold(join: Callable[[Array, Array], Array], neutral: Array, rows: Array) -> Array:
    """Each row: element j to lane j % LANES in order, then halves of the lanes onto each other."""
    count, length = rows.shape
    lanes = np.full((count, LANES), neutral)
    for start in range(0, length, LANES):
        part = rows[:, start : start + LANES]
        width = part.shape[1]
        lanes[:, :width] = join(lanes[:, :width], part)
    lanes = join(neutral, lanes)
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = join(lanes[:, :half], lanes[:, half:])
    return lanes[:, 0]
