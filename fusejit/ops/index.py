"""Indexing: t[...] as slices and reshapes where it can be, as a gather where it must be."""

from __future__ import annotations

import operator
from typing import Any

import numpy as np

from ..device import beside
from ..dtypes import TensorType
from ..errors import AxisError, ShapeError
from ..op import Array, Opaque, broadcast_shapes, opaque, size_of
from ..operators import ArrayLike
from ..scalar import BOOL, I64
from ..tensor import Operators, Tensor, asarray
from .cast import astype
from .creation import iota
from .shape import Shape, broadcast_to, moveaxis, normalize_axis, permute_dims, reshape, slice_


def _gathered(x: TensorType, *indices: TensorType) -> TensorType:
    picked = broadcast_shapes("gather", [i.shape for i in indices])
    return TensorType(x.dtype, (*picked, *x.shape[len(indices) :]))


def _gather_array(x: Array, *indices: Array) -> Array:
    try:
        picked: Array = x[indices]
    except IndexError as error:
        raise AxisError(f"index: {error}.") from None
    return picked if picked.base is None else picked.copy()


def _scatter_array(values: Array, *indices: Array, shape: Shape) -> Array:
    out = np.zeros(shape, values.dtype)
    if values.size:
        pairs = list(zip(indices, shape, strict=False))
        wrapped = np.broadcast_arrays(*(np.where(i < 0, i + n, i) for i, n in pairs))
        rows = np.ravel_multi_index(tuple(wrapped), shape[: len(indices)])
        inner = size_of(shape[len(indices) :])
        # One index a number: add.at is five times faster so than with one index a row.
        places = np.asarray(rows)[..., np.newaxis] * inner + np.arange(inner)
        np.add.at(out.reshape(-1), places.ravel(), values.ravel())
    return out


gather = opaque(
    "gather",
    numpy=_gather_array,
    variadic=True,
    types=_gathered,
    vjp=lambda g, xs, types: (
        scatter_add(g, *xs[1:], shape=types[0].shape),
        *[None] * (len(xs) - 1),
    ),
    sample=lambda rng: ([rng.normal(size=(4, 3)), rng.integers(-4, 4, 6)], {}),
    doc="x[i, j, ...] for integer arrays i, j, ..., one for each leading axis.",
)

scatter_add: Opaque = opaque(
    "scatter_add",
    numpy=_scatter_array,
    variadic=True,
    types=lambda values, *indices, shape: TensorType(values.dtype, shape),
    vjp=lambda g, xs, *, shape: (gather(g, *xs[1:]), *[None] * (len(xs) - 1)),
    sample=lambda rng: ([rng.normal(size=(6, 3)), rng.integers(-4, 4, 6)], {"shape": (4, 3)}),
    doc="Zeros of a shape, with values added at [i, j, ...]: the gradient of a gather.",
)

nonzero_ = opaque(
    "nonzero",
    numpy=np.nonzero,
    types=lambda x: None,
    sample=lambda rng: ([rng.integers(0, 2, (3, 4))], {}),
    doc="The places of the elements that are not zero: an int64 array for each axis.",
)


def nonzero(x: ArrayLike, /) -> tuple[Tensor, ...]:
    """The places of the elements that are not zero: an int64 array for each axis.

    Example:
        >>> import fusejit as fj
        >>> [axis.tolist() for axis in fj.nonzero([[0, 5], [7, 0]])]
        [[0, 1], [1, 0]]
    """
    x = asarray(x)
    if not x.ndim:
        raise ShapeError("nonzero: expected at least one axis, got a scalar.")
    found = nonzero_(x)
    return found if isinstance(found, tuple) else (found,)


def as_index(item: Any) -> Any:
    """One item of a key: int, slice, None, Ellipsis, or a Tensor of integers or bools."""
    if type(item) is slice or type(item) is int or item is None or item is Ellipsis:
        return item
    if isinstance(item, (int, np.integer)) and not isinstance(item, bool):
        return operator.index(item)
    found = asarray(item)
    if not found.size and isinstance(item, (list, tuple)):
        found = astype(found, I64)
    if found.dtype.kind not in "biu":
        raise AxisError(f"index: expected integers, bools, slices, None or ..., got {found.type}.")
    return found


def _axes_of(item: Any) -> int:
    """How many axes of the operand an item stands for."""
    if item is None or item is Ellipsis:
        return 0
    return item.ndim if isinstance(item, Tensor) and item.dtype == BOOL else 1


Range = tuple[int, int, int]
"""Of an axis: where it starts, by what it steps, how many elements that are."""


class _Reading:
    """A key, read from left to right: first a slice, then a reshape, then a gather.

    ranges   what the slice takes of each axis of the operand
    shape    the extents after the reshape, which drops the axes of ints and adds those of None
    arrays   the index arrays, and the axis of the reshaped operand that each replaces
    """

    def __init__(self, source: Shape, items: list[Any]) -> None:
        self.source = source
        # Whether an array is among the items: then ints are index arrays, too.
        self.advanced = any(isinstance(item, Tensor) for item in items)
        self.ranges: list[Range] = []
        self.shape: list[int] = []
        self.arrays: list[tuple[int, Tensor]] = []
        self.last_array = -1
        self.separated = False  # whether something stands between two index arrays
        self._read(items)

    def _read(self, items: list[Any]) -> None:
        missing = len(self.source) - sum(map(_axes_of, items))
        if missing < 0:
            raise AxisError(
                f"index: {len(self.source) - missing} indices for an operand of "
                f"{len(self.source)} axes."
            )
        if Ellipsis not in [item for item in items if not isinstance(item, Tensor)]:
            items = [*items, Ellipsis]
        for place, item in enumerate(items):
            if item is None:
                self.shape.append(1)
            elif item is Ellipsis:
                for _ in range(missing):
                    self._slice(slice(None))
            elif isinstance(item, slice):
                self._slice(item)
            else:
                self._pick(item)
                if self.advanced:
                    self.separated |= self.last_array not in (-1, place - 1)
                    self.last_array = place

    def _slice(self, item: slice) -> None:
        taken = _range_of(item, self.source[len(self.ranges)])
        self.ranges.append(taken)
        self.shape.append(taken[2])

    def _pick(self, item: int | Tensor) -> None:
        axis = len(self.ranges)
        if isinstance(item, int):
            extent = self.source[axis]
            if not -extent <= item < extent:
                raise AxisError(f"index: {item} is out of range for axis {axis}, extent {extent}.")
            if not self.advanced:
                self.ranges.append((item % extent, 1, 1))
                return
            item = asarray(item)
        if item.dtype == BOOL:
            self._mask(item)
        else:
            self._whole(item)

    def _whole(self, indices: Tensor) -> None:
        """The next axis, all of it, to be replaced by `indices`."""
        extent = self.source[len(self.ranges)]
        self.ranges.append((0, 1, extent))
        self.arrays.append((len(self.shape), indices))
        self.shape.append(extent)

    def _mask(self, mask: Tensor) -> None:
        axis = len(self.ranges)
        if mask.shape != self.source[axis : axis + mask.ndim]:
            raise AxisError(
                f"index: the mask is {mask.type}, but the axes from {axis} on are "
                f"{list(self.source[axis : axis + mask.ndim])}."
            )
        if not mask.ndim:  # True keeps a new axis of extent 1, False empties it
            self.arrays.append((len(self.shape), nonzero(reshape(mask, (1,)))[0]))
            self.shape.append(1)
            return
        for indices in nonzero(mask):
            self._whole(indices)


_SLICES = frozenset({slice})


def _range_of(item: slice, extent: int) -> Range:
    start, stop, step = item.indices(extent)
    length = len(range(start, stop, step))
    return (start, step, length) if length else (0, 1, 0)


def _sliced(x: Tensor, ranges: tuple[Range, ...]) -> Tensor:
    whole = ranges == tuple([(0, 1, n) for n in x.shape])
    return x if whole else slice_(x, ranges=ranges)


def getitem(x: ArrayLike, key: Any) -> Tensor:
    """x[key], with NumPy's meaning of ints, slices, None, ..., masks and integer arrays.

    Raises:
        AxisError: an index is out of range, or there are more than axes.
    Example:
        >>> import fusejit as fj
        >>> x = fj.constant([[1, 2, 3], [4, 5, 6]])
        >>> x[:, ::-2].tolist(), x[x > 4].tolist(), x[[1, 0], 0].tolist()
        ([[3, 1], [6, 4]], [5, 6], [4, 1])
    """
    x = asarray(x)
    given = key if isinstance(key, tuple) else (key,)
    if len(given) <= x.ndim and _SLICES.issuperset(map(type, given)):  # most keys
        taken = tuple(map(_range_of, given, x.shape))
        return _sliced(x, taken + tuple([(0, 1, n) for n in x.shape[len(given) :]]))
    with beside(x):
        items = [as_index(item) for item in given]
        if len([item for item in items if item is Ellipsis]) > 1:
            raise AxisError("index: at most one ellipsis (...) is allowed.")
        reading = _Reading(x.shape, items)
    x = reshape(_sliced(x, tuple(reading.ranges)), tuple(reading.shape))
    if not reading.arrays:
        return x
    axes = [axis for axis, _ in reading.arrays]
    kept = [axis for axis in range(x.ndim) if axis not in axes]
    indices = [found for _, found in reading.arrays]
    picked: Tensor = gather(permute_dims(x, axes + kept), *indices)
    rank = picked.ndim - len(kept)
    # NumPy: neighbouring index arrays leave their axes where they were, others go to the front.
    first = 0 if reading.separated else axes[0]
    return moveaxis(picked, list(range(rank)), list(range(first, first + rank)))


def take_along_axis(x: ArrayLike, indices: ArrayLike, /, axis: int = -1) -> Tensor:
    """x[..., indices[..., i, ...], ...]: for each place its own index along `axis`."""
    x, indices = asarray(x), asarray(indices)
    axis = normalize_axis("take_along_axis", axis, x.ndim)
    if indices.ndim != x.ndim:
        raise ShapeError(
            f"take_along_axis: expected as many axes, got {x.type} and {indices.type}."
        )
    around = [(*s[:axis], 1, *s[axis + 1 :]) for s in (x.shape, indices.shape)]
    common = broadcast_shapes("take_along_axis", around)
    shape = (*common[:axis], indices.shape[axis], *common[axis + 1 :])
    x = broadcast_to(x, (*common[:axis], x.shape[axis], *common[axis + 1 :]))
    with beside(x):
        places = [iota(shape, i) for i in range(x.ndim)]
    places[axis] = broadcast_to(indices, shape)
    picked: Tensor = gather(x, *places)
    return picked


Operators.install("__getitem__", getitem)
