"""Sorting, searching and sets, through NumPy."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import TensorType, promote
from ..errors import ShapeError
from ..op import REAL, Array, opaque
from ..operators import ArrayLike
from ..scalar import I64
from ..tensor import Operators, Tensor, asarray
from .cast import astype
from .index import take_along_axis
from .shape import normalize_axis, reshape


def _kind(stable: bool) -> Any:
    return "stable" if stable else None


def _argsort_array(x: Array, *, axis: int, descending: bool, stable: bool) -> Array:
    if not descending:
        return np.argsort(x, axis=axis, kind=_kind(stable))
    # Sorted backwards and counted from the end: equal elements then keep their order.
    order = np.argsort(np.flip(x, axis), axis=axis, kind=_kind(stable))
    return np.asarray(x.shape[axis] - 1 - np.flip(order, axis))


def _sort_array(x: Array, *, axis: int, descending: bool, stable: bool) -> Array:
    found = np.sort(x, axis=axis, kind=_kind(stable))
    return np.flip(found, axis).copy() if descending else found


def _sort_gradient(g: Tensor, x: Tensor, axis: int, descending: bool, stable: bool) -> Tensor:
    order = argsort_(x, axis=axis, descending=descending, stable=stable)
    back = argsort_(order, axis=axis, descending=False, stable=True)
    return take_along_axis(g, back, axis=axis)


sort_ = opaque(
    "sort",
    numpy=_sort_array,
    types=lambda x, **params: x,
    vjp=lambda g, x, *, axis, descending, stable: (_sort_gradient(g, x, axis, descending, stable),),
    sample=lambda rng: (
        [rng.normal(size=(3, 5))],
        {"axis": 1, "descending": True, "stable": True},
    ),
    doc="The elements in order along an axis.",
)

argsort_ = opaque(
    "argsort",
    numpy=_argsort_array,
    types=lambda x, **params: TensorType(I64, x.shape),
    sample=lambda rng: (
        [rng.normal(size=(3, 5))],
        {"axis": 0, "descending": False, "stable": True},
    ),
    doc="The indices that sort along an axis.",
)


def _arg_type(x: TensorType, *, axis: int, keepdims: bool) -> TensorType:
    kept = [1 if i == axis else n for i, n in enumerate(x.shape) if keepdims or i != axis]
    return TensorType(I64, tuple(kept))


argmax_ = opaque(
    "argmax",
    numpy=np.argmax,
    inputs=("x",),
    types=_arg_type,
    sample=lambda rng: ([rng.normal(size=(3, 5))], {"axis": 1, "keepdims": False}),
    doc="The index of the first greatest element along an axis.",
)

argmin_ = opaque(
    "argmin",
    numpy=np.argmin,
    inputs=("x",),
    types=_arg_type,
    sample=lambda rng: ([rng.normal(size=(3, 5))], {"axis": 1, "keepdims": True}),
    doc="The index of the first least element along an axis.",
)

searchsorted_ = opaque(
    "searchsorted",
    numpy=lambda x1, x2, *, side: np.searchsorted(x1, x2, side=side),
    inputs=("x1", "x2"),
    types=lambda x1, x2, *, side: TensorType(I64, x2.shape),
    sample=lambda rng: ([np.sort(rng.normal(size=6)), rng.normal(size=(2, 3))], {"side": "left"}),
    doc="Where to insert elements of x2 so that x1 stays sorted.",
)

unique_all_ = opaque(
    "unique_all",
    numpy=lambda x: tuple(np.unique_all(x)),
    types=lambda x: None,
    sample=lambda rng: ([rng.integers(0, 4, (3, 4))], {}),
    doc="The different elements, where each is first, the inverse, and how often each occurs.",
)


def sort(
    x: ArrayLike, /, axis: int = -1, *, descending: bool = False, stable: bool = True
) -> Tensor:
    """The elements in order along `axis`; NaNs come last in ascending order.

    Example:
        >>> import fusejit as fj
        >>> fj.sort([3, 1, 2], descending=True).tolist()
        [3, 2, 1]
    """
    x = asarray(x)
    axis = normalize_axis("sort", axis, x.ndim)
    found: Tensor = sort_(x, axis=axis, descending=descending, stable=stable)
    return found


def argsort(
    x: ArrayLike, /, axis: int = -1, *, descending: bool = False, stable: bool = True
) -> Tensor:
    """The indices, as int64, that put the elements in order along `axis`."""
    x = asarray(x)
    axis = normalize_axis("argsort", axis, x.ndim)
    order: Tensor = argsort_(x, axis=axis, descending=descending, stable=stable)
    return order


def _arg(op: Any, x: ArrayLike, axis: int | None, keepdims: bool) -> Tensor:
    x = asarray(x)
    REAL.common(op.name, x.dtype)
    line = reshape(x, (x.size,)) if axis is None else x
    place = normalize_axis(op.name, 0 if axis is None else axis, line.ndim)
    if not line.shape[place]:
        raise ShapeError(f"{op.name}: no element to choose along axis {axis} of {x.type}.")
    found: Tensor = op(line, axis=place, keepdims=keepdims)
    return reshape(found, (1,) * x.ndim) if axis is None and keepdims else found


def argmax(x: ArrayLike, /, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """The index of the first greatest element along `axis` (of all, flattened, if None)."""
    return _arg(argmax_, x, axis, keepdims)


def argmin(x: ArrayLike, /, axis: int | None = None, *, keepdims: bool = False) -> Tensor:
    """The index of the first least element along `axis` (of all, flattened, if None)."""
    return _arg(argmin_, x, axis, keepdims)


def searchsorted(
    x1: ArrayLike, x2: ArrayLike, /, *, side: str = "left", sorter: ArrayLike | None = None
) -> Tensor:
    """Where to insert each element of x2 into the sorted x1: before equal ones, or after ("right").

    `sorter` holds the indices that sort x1, if it is not sorted itself.
    """
    if side not in ("left", "right"):
        raise ShapeError(f'searchsorted: expected side "left" or "right", got {side!r}.')
    x1, x2 = asarray(x1), asarray(x2)
    if x1.ndim != 1:
        raise ShapeError(f"searchsorted: expected one axis to search in, got {x1.type}.")
    dtype = promote([x1.dtype, x2.dtype])
    x1 = x1 if sorter is None else take_along_axis(x1, sorter)
    places: Tensor = searchsorted_(astype(x1, dtype), astype(x2, dtype), side=side)
    return places


def unique_all(x: ArrayLike, /) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """(values, indices, inverse_indices, counts): see `unique_values`, `_inverse`, `_counts`."""
    found: tuple[Tensor, Tensor, Tensor, Tensor] = unique_all_(x)
    return found


def unique_counts(x: ArrayLike, /) -> tuple[Tensor, Tensor]:
    """The different elements, in order, and how often each occurs."""
    values, _, _, counts = unique_all(x)
    return values, counts


def unique_inverse(x: ArrayLike, /) -> tuple[Tensor, Tensor]:
    """The different elements, in order, and for each element of x which of them it is."""
    values, _, inverse, _ = unique_all(x)
    return values, inverse


def unique_values(x: ArrayLike, /) -> Tensor:
    """The different elements, in order.

    Example:
        >>> import fusejit as fj
        >>> fj.unique_values([3, 1, 3]).tolist()
        [1, 3]
    """
    return unique_all(x)[0]


for _method in (argmax, argmin, sort, argsort):
    Operators.install(_method.__name__, _method)
