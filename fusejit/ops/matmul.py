"""Products of vectors and matrices, by one contraction; diagonals."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import promote
from ..errors import ShapeError
from ..op import Contraction, broadcast_shapes, contraction
from ..operators import ArrayLike
from ..tensor import Tensor, asarray, binary_operator
from .arithmetic import multiply
from .cast import astype, conj
from .join import roll
from .reduce import sum, sum_
from .shape import (
    broadcast_arrays,
    expand_dims,
    flatten,
    matrix_transpose,
    normalize_axes,
    normalize_axis,
    normalized_list,
    permute_dims,
    reshape,
    slice_axis,
    sum_to_shape,
)

Shape = tuple[int, ...]


def _matmul_shape(a: Shape, b: Shape) -> Shape:
    if len(a) < 2 or len(b) < 2 or a[-1] != b[-2]:
        raise ShapeError(
            f"matmul: cannot multiply {list(a)} by {list(b)}: the last axis of the first operand "
            "must equal the last but one of the second."
        )
    return (*broadcast_shapes("matmul", [a[:-2], b[:-2]]), a[-2], b[-1])


matmul_: Contraction = contraction(
    "matmul",
    numpy=np.matmul,
    inputs=("a", "b"),
    shape=_matmul_shape,
    vjp=lambda g, a, b: (
        sum_to_shape(matmul_(g, matrix_transpose(b)), a.shape),
        sum_to_shape(matmul_(matrix_transpose(a), g), b.shape),
    ),
    doc="The matrix product over the last two axes; leading axes broadcast.",
)


def matmul(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """The matrix product, NumPy's `@`: vectors act as rows or columns, leading axes broadcast."""
    a, b = asarray(a), asarray(b)
    if not a.ndim or not b.ndim:
        raise ShapeError(f"matmul: expected at least one axis, got {a.type} and {b.type}.")
    dtype = promote([a.dtype, b.dtype])
    a, b = astype(a, dtype), astype(b, dtype)
    if a.ndim > 1 and b.ndim > 1:
        return matmul_(a, b)
    row = reshape(a, (1, *a.shape)) if a.ndim == 1 else a
    column = reshape(b, (*b.shape, 1)) if b.ndim == 1 else b
    product: Tensor = matmul_(row, column)
    kept = product.shape
    if b.ndim == 1:
        kept = kept[:-1]
    if a.ndim == 1:
        kept = kept[:-1] if b.ndim == 1 else (*kept[:-2], kept[-1])
    return reshape(product, kept)


def tensordot(
    a: ArrayLike, b: ArrayLike, /, axes: int | tuple[Sequence[int], Sequence[int]] = 2
) -> Tensor:
    """The sum of products over pairs of axes: the last n of a and first n of b, or as listed.

    Example:
        >>> import fusejit as fj
        >>> fj.tensordot([1, 2, 3], [4, 5, 6], 1).item()
        32
    """
    a, b = asarray(a), asarray(b)
    if isinstance(axes, int):
        pairs: Any = (range(a.ndim - axes, a.ndim), range(axes))
    else:
        pairs = axes
    of_a = normalized_list("tensordot", pairs[0], a.ndim)
    of_b = normalized_list("tensordot", pairs[1], b.ndim)
    if [a.shape[i] for i in of_a] != [b.shape[i] for i in of_b]:
        raise ShapeError(
            f"tensordot: axes {of_a} of {a.type} and {of_b} of {b.type} differ in extent."
        )
    free_a = [i for i in range(a.ndim) if i not in of_a]
    free_b = [i for i in range(b.ndim) if i not in of_b]
    inner = math.prod(a.shape[i] for i in of_a)
    shape_a, shape_b = [a.shape[i] for i in free_a], [b.shape[i] for i in free_b]
    rows = reshape(permute_dims(a, free_a + of_a), (math.prod(shape_a), inner))
    columns = reshape(permute_dims(b, of_b + free_b), (inner, math.prod(shape_b)))
    return reshape(matmul(rows, columns), shape_a + shape_b)


def vecdot(a: ArrayLike, b: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """The sum of conj(a) * b along `axis`."""
    products = multiply(conj(a), b)
    return sum_(products, axes=normalize_axes("vecdot", axis, products.ndim), keepdims=False)


def outer(a: ArrayLike, b: ArrayLike, /) -> Tensor:
    """a[i] * b[j] at [i, j], of flattened operands."""
    return multiply(expand_dims(flatten(a), 1), expand_dims(flatten(b), 0))


def cross(a: ArrayLike, b: ArrayLike, /, *, axis: int = -1) -> Tensor:
    """The cross product of vectors with three elements along `axis`."""
    a, b = broadcast_arrays(a, b)
    axis = normalize_axis("cross", axis, a.ndim)
    if a.shape[axis] != 3:
        raise ShapeError(f"cross: expected 3 elements along axis {axis}, got {a.type}.")
    return roll(a * roll(b, -1, axis=axis) - b * roll(a, -1, axis=axis), -1, axis=axis)


def diagonal(x: ArrayLike, /, *, offset: int = 0) -> Tensor:
    """The diagonals of the last two axes; above the main one if `offset` is positive."""
    x = asarray(x)
    if x.ndim < 2:
        raise ShapeError(f"diagonal: expected at least two axes, got {x.type}.")
    *batch, rows, columns = x.shape
    length = max(min(rows + min(offset, 0), columns - max(offset, 0)), 0)
    start = offset if offset >= 0 else -offset * columns
    line = reshape(x, (*batch, rows * columns))
    step = columns + 1  # one row down and one column to the right
    stop = start + (length - 1) * step + 1 if length else start
    return slice_axis(line, line.ndim - 1, start, stop, step) if length else line[..., :0]


def trace(x: ArrayLike, /, *, offset: int = 0, dtype: object = None) -> Tensor:
    """The sum of the diagonals of the last two axes."""
    return sum(diagonal(x, offset=offset), -1, dtype=dtype)


binary_operator("matmul", matmul)
