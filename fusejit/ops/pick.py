"""Elements chosen by number: take, repeat, topk."""

from __future__ import annotations

from ..device import beside
from ..errors import ShapeError
from ..operators import ArrayLike
from ..tensor import Operators, Tensor, asarray
from .creation import arange
from .index import as_index, getitem, take_along_axis
from .scan import cumulative_sum
from .shape import broadcast_to, expand_dims, flatten, normalize_axis, reshape, slice_axis
from .sorting import argsort, searchsorted


def take(x: ArrayLike, indices: ArrayLike, /, axis: int | None = None) -> Tensor:
    """The elements at `indices` along `axis`, which may be left out for one axis.

    Example:
        >>> import fusejit as fj
        >>> fj.take([10, 20, 30], [2, 0]).tolist()
        [30, 10]
    """
    x = asarray(x)
    if axis is None and x.ndim != 1:
        axis, x = 0, reshape(x, (x.size,))
    axis = normalize_axis("take", 0 if axis is None else axis, x.ndim)
    with beside(x):
        places = asarray(as_index(indices))
    return getitem(x, (*[slice(None)] * axis, places))


def repeat(x: ArrayLike, repeats: ArrayLike, /, axis: int | None = None) -> Tensor:
    """Each element `repeats` times along `axis`; of x flattened if None.

    `repeats` is a number, or one for each element along the axis: then the extent of the result
    depends on its values.
    Example:
        >>> import fusejit as fj
        >>> fj.repeat([7, 8], 2).tolist(), fj.repeat([7, 8], [1, 3]).tolist()
        ([7, 7, 8, 8], [7, 8, 8, 8])
    """
    x = asarray(x)
    if axis is None:
        x, axis = flatten(x), 0
    axis = normalize_axis("repeat", axis, x.ndim)
    if isinstance(repeats, int):
        shape = (*x.shape[: axis + 1], repeats, *x.shape[axis + 1 :])
        wide = broadcast_to(expand_dims(x, axis + 1), shape)
        return reshape(wide, (*x.shape[:axis], x.shape[axis] * repeats, *x.shape[axis + 1 :]))
    with beside(x):
        ends = cumulative_sum(broadcast_to(repeats, (x.shape[axis],)))
        places = arange(int(ends[-1]) if x.shape[axis] else 0)
    return take(x, searchsorted(ends, places, side="right"), axis=axis)


def topk(x: ArrayLike, k: int, /, axis: int = -1, *, largest: bool = True) -> tuple[Tensor, Tensor]:
    """The k greatest (or least) elements along `axis`, in order, and their indices.

    Example:
        >>> import fusejit as fj
        >>> values, indices = fj.topk([1.0, 9.0, 5.0], 2)
        >>> values.tolist(), indices.tolist()
        ([9.0, 5.0], [1, 2])
    """
    x = asarray(x)
    axis = normalize_axis("topk", axis, x.ndim)
    if not 0 <= k <= x.shape[axis]:
        raise ShapeError(f"topk: expected 0 <= k <= {x.shape[axis]} for axis {axis}, got {k}.")
    indices = slice_axis(argsort(x, axis=axis, descending=largest), axis, 0, k)
    return take_along_axis(x, indices, axis=axis), indices


Operators.install("take", take)
Operators.install("repeat", repeat)
