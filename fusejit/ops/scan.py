"""Scans: what each element and those before it give together."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..device import beside
from ..dtypes import TensorType
from ..op import Opaque, opaque
from ..operators import ArrayLike
from ..tensor import Operators, Tensor, asarray
from .cast import astype
from .creation import full, ones, zeros
from .join import concat
from .shape import flip, moveaxis, normalize_axis, reshape, slice_axis


def _like(x: TensorType, **_: Any) -> TensorType:
    return x


def _cumulative(accumulate: Any) -> Any:
    return lambda x, *, axis: accumulate(x, axis=axis, dtype=x.dtype)


cumulative_sum_: Opaque = opaque(
    "cumulative_sum",
    numpy=_cumulative(np.cumsum),
    types=_like,
    vjp=lambda g, *, axis: (flip(cumulative_sum_(flip(g, axis=axis), axis=axis), axis=axis),),
    sample=lambda rng: ([rng.normal(size=(3, 4))], {"axis": 1}),
    doc="The sum of each element along an axis and those before it.",
)

cumulative_prod_ = opaque(
    "cumulative_prod",
    numpy=_cumulative(np.cumprod),
    types=_like,
    vjp=lambda g, x, *, axis: (_cumulative_prod_gradient(g, x, axis),),
    sample=lambda rng: ([rng.normal(size=(3, 4))], {"axis": 1}),
    doc="The product of each element along an axis and those before it.",
)


def _shifted(x: Tensor, axis: int, distance: int, fill: Tensor) -> Tensor:
    """Element i is element i + distance of x, or fill's where there is none."""
    extent = x.shape[axis]
    if distance >= 0:
        kept = slice_axis(x, axis, min(distance, extent), extent)
        return concat([kept, slice_axis(fill, axis, 0, min(distance, extent))], axis=axis)
    kept = slice_axis(x, axis, 0, max(extent + distance, 0))
    return concat([slice_axis(fill, axis, 0, min(-distance, extent)), kept], axis=axis)


def _products_before(x: Tensor, axis: int) -> Tensor:
    """The product of all earlier elements, by doubling: only multiplications, so that zeros are no
    special case and gradients of any order hold."""
    fill = ones(x.shape, dtype=x.dtype)
    total, distance = _shifted(x, axis, -1, fill), 1
    while distance < x.shape[axis]:
        total = total * _shifted(total, axis, -distance, fill)
        distance *= 2
    return total


def product_of_others(x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """For each element the product of all others along `axes`: the gradient of their product."""
    last = tuple(range(-len(axes), 0))
    moved = moveaxis(x, axes, last)
    line = reshape(moved, (*moved.shape[: x.ndim - len(axes)], -1)) if x.size else moved
    if not x.size or not axes:
        return ones(x.shape, dtype=x.dtype)
    before = _products_before(line, line.ndim - 1)
    after = flip(_products_before(flip(line, axis=-1), line.ndim - 1), axis=-1)
    return moveaxis(reshape(before * after, moved.shape), last, axes)


def _cumulative_prod_gradient(g: Tensor, x: Tensor, axis: int) -> Tensor:
    """P_i s_i, with P_i the product before i and s_i = g_i + x_(i+1) s_(i+1), by doubling."""
    nothing = zeros(x.shape, dtype=x.dtype)
    total, factor = g, _shifted(x, axis, 1, nothing)
    distance = 1
    while distance < x.shape[axis]:
        total = total + factor * _shifted(total, axis, distance, nothing)
        factor = factor * _shifted(factor, axis, distance, nothing)
        distance *= 2
    return _products_before(x, axis) * total


def _scan(
    name: str, op: Any, x: ArrayLike, axis: int | None, dtype: object, initial: int | None
) -> Tensor:
    x = asarray(x)
    if axis is None and x.ndim != 1:
        axis, x = 0, reshape(x, (x.size,))
    axis = normalize_axis(name, 0 if axis is None else axis, x.ndim)
    if dtype is None and x.dtype.kind in "biu":
        dtype = "uint64" if x.dtype.kind == "u" else "int64"
    x = x if dtype is None else astype(x, dtype)
    result: Tensor = op(x, axis=axis)
    if initial is None:
        return result
    with beside(x):
        first = full((*x.shape[:axis], 1, *x.shape[axis + 1 :]), initial, dtype=x.dtype)
    return concat([first, result], axis=axis)


def cumulative_sum(
    x: ArrayLike, /, axis: int | None = None, *, dtype: object = None, include_initial: bool = False
) -> Tensor:
    """The sum of each element along `axis` and those before it; of all, flattened, if None.

    Args:
        x: an array; bool and integers are summed as int64 or uint64.
        axis: may be left out for one axis.
        dtype: of the sums.
        include_initial: whether the result starts with the empty sum, 0.
    Example:
        >>> import fusejit as fj
        >>> fj.cumulative_sum([1, 2, 3]).tolist()
        [1, 3, 6]
    """
    initial = 0 if include_initial else None
    return _scan("cumulative_sum", cumulative_sum_, x, axis, dtype, initial)


def cumulative_prod(
    x: ArrayLike, /, axis: int | None = None, *, dtype: object = None, include_initial: bool = False
) -> Tensor:
    """The product of each element along `axis` and those before it; see `cumulative_sum`."""
    initial = 1 if include_initial else None
    return _scan("cumulative_prod", cumulative_prod_, x, axis, dtype, initial)


def diff(x: ArrayLike, /, axis: int = -1, *, n: int = 1) -> Tensor:
    """Each element after the first minus the one before it, along `axis`, n times over.

    Example:
        >>> import fusejit as fj
        >>> fj.diff([1, 4, 9]).tolist()
        [3, 5]
    """
    x = asarray(x)
    axis = normalize_axis("diff", axis, x.ndim)
    for _ in range(n):
        extent = x.shape[axis]
        later = slice_axis(x, axis, min(1, extent), extent)
        x = later - slice_axis(x, axis, 0, max(extent - 1, 0))
    return x


Operators.install("cumsum", lambda self, axis=None: cumulative_sum(self, axis=axis))
Operators.install("cumprod", lambda self, axis=None: cumulative_prod(self, axis=axis))
