"""Reductions: elements combined along axes, in an order that depends on the shape alone."""

from __future__ import annotations

import builtins
import math
from collections.abc import Sequence
from typing import Any, TypeAlias

import numpy as np

from ..dtypes import DTYPES
from ..errors import ShapeError
from ..op import REAL, SAME, Reduction, reduction
from ..operators import ArrayLike
from ..scalar import BOOL, F32, F64, DType
from ..tensor import Operators, Tensor, asarray
from .arithmetic import abs_, sqrt
from .cast import astype
from .choose import maximum, minimum
from .scan import product_of_others
from .shape import broadcast_to, normalize_axes, reshape

Axis: TypeAlias = "int | Sequence[int] | None"


def spread(g: Any, shape: tuple[int, ...], axes: tuple[int, ...]) -> Tensor:
    """A reduced array repeated along the axes that were reduced."""
    kept = tuple(1 if i in axes else n for i, n in enumerate(shape))
    return broadcast_to(reshape(g, kept), shape)


def _extreme_gradient(g: Tensor, y: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    """Shared equally among the elements that equal the extreme."""
    hits = astype(x == spread(y, x.shape, axes), g.dtype)
    return hits * spread(g, x.shape, axes) / sum_(hits, axes=axes, keepdims=True)


def _product_gradient(g: Tensor, x: Tensor, axes: tuple[int, ...]) -> Tensor:
    return spread(g, x.shape, axes) * product_of_others(x, axes)


def _lowest(dtype: DType) -> bool | int | float:
    if dtype == BOOL:
        return False
    return -math.inf if dtype.kind == "f" else int(np.iinfo(dtype.name).min)


def _highest(dtype: DType) -> bool | int | float:
    if dtype == BOOL:
        return True
    return math.inf if dtype.kind == "f" else int(np.iinfo(dtype.name).max)


sum_ = reduction(
    "sum",
    numpy=np.sum,
    combine=lambda total, x: total + x,
    identity=lambda dtype: 0,
    dtype=SAME,
    vjp=lambda g, x_type, *, axes, keepdims: (spread(g, x_type.shape, axes),),
    doc="The sum along axes.",
)

prod_ = reduction(
    "prod",
    numpy=np.prod,
    combine=lambda total, x: total * x,
    identity=lambda dtype: 1,
    dtype=SAME,
    vjp=lambda g, x, *, axes, keepdims: (_product_gradient(g, x, axes),),
    doc="The product along axes.",
)

# Not exact: NumPy's order decides which of 0.0 and -0.0 remains, so the kernel runs eagerly too.
max_ = reduction(
    "max",
    numpy=np.max,
    combine=maximum.scalar,
    identity=_lowest,
    dtype=REAL,
    vjp=lambda g, y, x, *, axes, keepdims: (_extreme_gradient(g, y, x, axes),),
    doc="The greatest element along axes; a NaN wins.",
)

min_ = reduction(
    "min",
    numpy=np.min,
    combine=minimum.scalar,
    identity=_highest,
    dtype=REAL,
    vjp=lambda g, y, x, *, axes, keepdims: (_extreme_gradient(g, y, x, axes),),
    doc="The least element along axes; a NaN wins.",
)

any_ = reduction(
    "any",
    numpy=np.any,
    combine=lambda total, x: total | x,
    identity=lambda dtype: False,
    exact=True,
    doc="Whether an element along axes is True.",
)

all_ = reduction(
    "all",
    numpy=np.all,
    combine=lambda total, x: total & x,
    identity=lambda dtype: True,
    exact=True,
    doc="Whether all elements along axes are True.",
)


def _reduce(op: Reduction, x: Tensor, axis: Axis, keepdims: bool) -> Tensor:
    result: Tensor = op(x, axes=normalize_axes(op.name, axis, x.ndim), keepdims=keepdims)
    return result


def _accumulated(x: ArrayLike, dtype: object) -> Tensor:
    """The operand of a sum or product: bool and integers as 64 bits unless `dtype` is given."""
    x = asarray(x)
    if dtype is None and x.dtype.kind in "biu":
        dtype = "uint64" if x.dtype.kind == "u" else "int64"
    return x if dtype is None else astype(x, dtype)


def sum(
    x: ArrayLike, /, axis: Axis = None, *, dtype: object = None, keepdims: bool = False
) -> Tensor:
    """The sum along `axis` (all axes if None). bool and integers are summed as int64 or uint64.

    Example:
        >>> import fusejit as fj
        >>> fj.sum([[1, 2], [3, 4]], axis=0).tolist()
        [4, 6]
    """
    return _reduce(sum_, _accumulated(x, dtype), axis, keepdims)


def prod(
    x: ArrayLike, /, axis: Axis = None, *, dtype: object = None, keepdims: bool = False
) -> Tensor:
    """The product along `axis` (all axes if None). bool and integers give int64 or uint64."""
    return _reduce(prod_, _accumulated(x, dtype), axis, keepdims)


def _extreme(op: Reduction, x: ArrayLike, axis: Axis, keepdims: bool) -> Tensor:
    x = asarray(x)
    op.dtype.common(op.name, x.dtype)
    axes = normalize_axes(op.name, axis, x.ndim)
    if not builtins.all(x.shape[i] for i in axes):
        raise ShapeError(f"{op.name}: no element to choose along axes {axes} of {x.type}.")
    return _reduce(op, x, axes, keepdims)


def max(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The greatest element along `axis` (all axes if None); a NaN wins. Ties share the gradient."""
    return _extreme(max_, x, axis, keepdims)


def min(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The least element along `axis` (all axes if None); a NaN wins. Ties share the gradient."""
    return _extreme(min_, x, axis, keepdims)


def any(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """Whether an element along `axis` is true, that is not zero."""
    return _reduce(any_, astype(x, BOOL), axis, keepdims)


def all(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """Whether all elements along `axis` are true, that is not zero."""
    return _reduce(all_, astype(x, BOOL), axis, keepdims)


def count_nonzero(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """How many elements along `axis` are not zero, as int64."""
    return sum(astype(x, BOOL), axis, keepdims=keepdims)


def mean(x: ArrayLike, /, axis: Axis = None, *, keepdims: bool = False) -> Tensor:
    """The arithmetic mean along `axis` (all axes if None); integers give float64.

    Example:
        >>> import fusejit as fj
        >>> fj.mean([1, 2, 6]).item()
        3.0
    """
    x = asarray(x)
    if x.dtype.kind in "biu":
        x = astype(x, F64)
    half = x.dtype == DTYPES["float16"]  # whose sums would overflow
    total = sum(x, axis, dtype=F32 if half else None, keepdims=keepdims)
    result: Tensor = total / _count(x, normalize_axes("mean", axis, x.ndim))
    return astype(result, x.dtype)


def _count(x: Tensor, axes: tuple[int, ...]) -> int:
    return math.prod(x.shape[i] for i in axes)


def var(
    x: ArrayLike, /, axis: Axis = None, *, correction: int | float = 0, keepdims: bool = False
) -> Tensor:
    """The mean squared distance from the mean along `axis`; divides by n - `correction`."""
    x = asarray(x)
    x = astype(x, F64) if x.dtype.kind in "biu" else x
    distance = abs_(x - mean(x, axis, keepdims=True))
    divisor = _count(x, normalize_axes("var", axis, x.ndim)) - correction
    half = distance.dtype == DTYPES["float16"]
    total = sum(distance * distance, axis, dtype=F32 if half else None, keepdims=keepdims)
    # As NumPy: no degrees of freedom give NaN, not a negative variance.
    return astype(total / builtins.max(divisor, 0), distance.dtype)


def std(
    x: ArrayLike, /, axis: Axis = None, *, correction: int | float = 0, keepdims: bool = False
) -> Tensor:
    """The square root of `var`."""
    return sqrt(var(x, axis, correction=correction, keepdims=keepdims))


for _method in (sum, prod, max, min, any, all, mean, var, std):
    Operators.install(_method.__name__, _method)
