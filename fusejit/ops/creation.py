"""Arrays from nothing: constants, ranges, grids. All are made of `iota`, so that they fuse."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..device import CPU, beside, current
from ..dtypes import as_dtype, default_float, promote
from ..errors import ShapeError
from ..op import size_of, source
from ..operators import ArrayLike
from ..scalar import F64, DType
from ..tensor import Tensor, asarray
from .cast import astype
from .choose import where
from .compare import equal, greater_equal, less_equal
from .shape import Shape, as_shape, broadcast_to, expand_dims, normalize_axis, reshape

_iota = source(
    "iota",
    numpy=lambda *, shape: np.arange(size_of(shape)).reshape(shape),
    doc="Element k, in row-major order, is k.",
)


def iota_(shape: Shape) -> Tensor:
    """The numbers 0, 1, 2, ... where this thread makes tensors."""
    if current() != CPU:
        return _iota(shape=shape, device=current())
    return _iota(shape=shape)


def iota(shape: int | Sequence[int], /, axis: int | None = None) -> Tensor:
    """int64 numbers: 0, 1, 2, ... in row-major order, or the index along `axis`."""
    wanted = as_shape("iota", shape)
    if axis is None:
        return iota_(wanted)
    axis = normalize_axis("iota", axis, len(wanted))
    line = iota_((wanted[axis],))
    return broadcast_to(reshape(line, (-1, *(1,) * (len(wanted) - 1 - axis))), wanted)


def constant(
    value: ArrayLike, /, dtype: object = None, shape: int | Sequence[int] | None = None
) -> Tensor:
    """A Tensor of a number, nested lists or an array (copied), broadcast to `shape` if given.

    Example:
        >>> import fusejit as fj
        >>> fj.constant([[1.0, 2.0]])
        Tensor([[1., 2.]], shape=(1, 2), dtype=float32)
    """
    tensor = asarray(value, dtype=dtype)
    return tensor if shape is None else broadcast_to(tensor, as_shape("constant", shape))


def full(shape: int | Sequence[int], fill_value: ArrayLike, *, dtype: object = None) -> Tensor:
    """An array of `shape`, each element `fill_value`; its dtype is the value's unless given."""
    return broadcast_to(asarray(fill_value, dtype=dtype), as_shape("full", shape))


def zeros(shape: int | Sequence[int], *, dtype: object = None) -> Tensor:
    """Zeros; float32 unless `dtype` says otherwise.

    Example:
        >>> import fusejit as fj
        >>> fj.zeros((2, 2)).tolist()
        [[0.0, 0.0], [0.0, 0.0]]
    """
    return full(shape, 0, dtype=dtype or default_float())


def ones(shape: int | Sequence[int], *, dtype: object = None) -> Tensor:
    """Ones; float32 unless `dtype` says otherwise."""
    return full(shape, 1, dtype=dtype or default_float())


def empty(shape: int | Sequence[int], *, dtype: object = None) -> Tensor:
    """Zeros: a Tensor is immutable, so there is no use for one without values."""
    return zeros(shape, dtype=dtype)


def full_like(x: ArrayLike, /, fill_value: ArrayLike, *, dtype: object = None) -> Tensor:
    """An array with the shape and, unless given, the dtype of x; each element `fill_value`."""
    x = asarray(x)
    with beside(x):
        return full(x.shape, fill_value, dtype=dtype or x.dtype)


def zeros_like(x: ArrayLike, /, *, dtype: object = None) -> Tensor:
    """Zeros with the shape and, unless given, the dtype of x."""
    return full_like(x, 0, dtype=dtype)


def ones_like(x: ArrayLike, /, *, dtype: object = None) -> Tensor:
    """Ones with the shape and, unless given, the dtype of x."""
    return full_like(x, 1, dtype=dtype)


def empty_like(x: ArrayLike, /, *, dtype: object = None) -> Tensor:
    """Zeros with the shape and, unless given, the dtype of x."""
    return full_like(x, 0, dtype=dtype)


def _range_dtype(dtype: object, *bounds: bool | int | float) -> DType:
    return promote([], bounds) if dtype is None else as_dtype(dtype)


def arange(
    start: int | float,
    /,
    stop: int | float | None = None,
    step: int | float = 1,
    *,
    dtype: object = None,
) -> Tensor:
    """start, start + step, ... up to but without `stop`; from 0 if only one bound is given.

    ints give int64, floats float32, unless `dtype` says otherwise.
    Example:
        >>> import fusejit as fj
        >>> fj.arange(1, 6, 2).tolist()
        [1, 3, 5]
    """
    first, last = (0, start) if stop is None else (start, stop)
    if step == 0:
        raise ShapeError("arange: the step is 0; there is no end to reach.")
    wanted = _range_dtype(dtype, first, last, step)
    # Floats are computed as float64 and rounded once.
    numbers: Any = iota_((max(math.ceil((last - first) / step), 0),))
    numbers = numbers if step == 1 else numbers * step
    return astype(numbers if first == 0 else numbers + first, wanted)


def linspace(
    start: int | float,
    stop: int | float,
    /,
    num: int,
    *,
    dtype: object = None,
    endpoint: bool = True,
) -> Tensor:
    """`num` numbers at equal distances from `start` to `stop`, which is the last if `endpoint`.

    Example:
        >>> import fusejit as fj
        >>> fj.linspace(0, 1, 5).tolist()
        [0.0, 0.25, 0.5, 0.75, 1.0]
    """
    if num < 0:
        raise ShapeError(f"linspace: expected a count of numbers, got {num}.")
    wanted = default_float() if dtype is None else as_dtype(dtype)
    steps = num - 1 if endpoint else num
    numbers: Any = astype(iota_((num,)), F64)
    values = start + numbers * ((stop - start) / steps if steps else math.nan if num > 1 else 0.0)
    if endpoint and num > 1:  # rounding must not miss it
        values = where(numbers == num - 1, float(stop), values)
    return astype(values, wanted)


def _row_and_column(shape: Shape) -> tuple[Any, Any]:
    rows, columns = shape[-2:]
    return expand_dims(iota_((rows,)), 1), expand_dims(iota_((columns,)), 0)


def eye(n_rows: int, n_cols: int | None = None, /, *, k: int = 0, dtype: object = None) -> Tensor:
    """Ones on diagonal `k` (above the main one if positive), else zeros; float32 by default."""
    columns = n_rows if n_cols is None else n_cols
    row, column = _row_and_column(as_shape("eye", (n_rows, columns)))
    return astype(equal(row + k, column), dtype or default_float())


def tril(x: ArrayLike, /, *, k: int = 0) -> Tensor:
    """x with zeros above diagonal `k` of its last two axes."""
    x = _matrix("tril", x)
    with beside(x):
        row, column = _row_and_column(x.shape)
    return where(greater_equal(row + k, column), x, 0)


def triu(x: ArrayLike, /, *, k: int = 0) -> Tensor:
    """x with zeros below diagonal `k` of its last two axes."""
    x = _matrix("triu", x)
    with beside(x):
        row, column = _row_and_column(x.shape)
    return where(less_equal(row + k, column), x, 0)


def _matrix(name: str, x: ArrayLike) -> Tensor:
    x = asarray(x)
    if x.ndim < 2:
        raise ShapeError(f"{name}: expected at least two axes, got {x.type}.")
    return x


def meshgrid(*arrays: ArrayLike, indexing: str = "xy") -> list[Tensor]:
    """Coordinate arrays of the grid that one-dimensional `arrays` span.

    `indexing` "xy" exchanges the first two axes, as in a picture; "ij" is the order of the arrays.
    """
    if indexing not in ("xy", "ij"):
        raise ShapeError(f'meshgrid: expected indexing "xy" or "ij", got {indexing!r}.')
    lines = [asarray(x) for x in arrays]
    if any(line.ndim > 1 for line in lines):
        raise ShapeError(f"meshgrid: expected one axis each, got {[str(x.type) for x in lines]}.")
    order = list(range(len(lines)))
    if indexing == "xy" and len(lines) > 1:
        order[0], order[1] = 1, 0
    shape = tuple(lines[i].size for i in order)
    grids = []
    for place, line in zip(order, lines, strict=True):
        thin = reshape(line, tuple(line.size if axis == place else 1 for axis in range(len(lines))))
        grids.append(broadcast_to(thin, shape))
    return grids


def one_hot(indices: ArrayLike, num_classes: int, /, *, dtype: object = None) -> Tensor:
    """A new last axis of `num_classes`, with 1 at the index and 0 elsewhere; float32 by default.

    An index outside the range gives zeros.
    Example:
        >>> import fusejit as fj
        >>> fj.one_hot([0, 2], 3).tolist()
        [[1.0, 0.0, 0.0], [0.0, 0.0, 1.0]]
    """
    indices = asarray(indices)
    with beside(indices):
        classes = iota_((num_classes,))
    return astype(equal(expand_dims(indices, -1), classes), dtype or default_float())
