"""Views, which move no data inside a kernel, and `place`, which undoes a slice."""

from __future__ import annotations

import math
import operator
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from ..errors import AxisError, ShapeError
from ..ir.affine import Affine
from ..op import Array, Assembly, assembly, broadcast_shapes, view
from ..operators import ArrayLike
from ..tensor import Operators, Tensor, asarray

Shape = tuple[int, ...]

reshape_ = view(
    "reshape",
    numpy=lambda x, *, shape: np.reshape(x, shape),
    shape=lambda given, *, shape: shape,
    index=None,
    vjp=lambda g, x_type: (reshape(g, x_type.shape),),
    doc="The same elements in row-major order under another shape.",
)

permute_dims_ = view(
    "permute_dims",
    numpy=lambda x, *, axes: np.transpose(x, axes),
    shape=lambda given, *, axes: tuple(given[axis] for axis in axes),
    index=lambda place, given, *, axes: [place[axes.index(axis)] for axis in range(len(axes))],
    vjp=lambda g, *, axes: (permute_dims(g, tuple(int(i) for i in np.argsort(axes))),),
    doc="Axis i of the result is axis axes[i] of x.",
)


def _broadcast_index(place: Sequence[Affine], given: Shape, *, shape: Shape) -> list[Affine]:
    kept = place[len(shape) - len(given) :]
    return [p * 0 if n == 1 else p for p, n in zip(kept, given, strict=True)]


broadcast_to_ = view(
    "broadcast_to",
    numpy=lambda x, *, shape: np.broadcast_to(x, shape),
    shape=lambda given, *, shape: shape,
    index=_broadcast_index,
    vjp=lambda g, x_type: (sum_to_shape(g, x_type.shape),),
    doc="x repeated along axes of extent 1.",
)


def _slice_array(x: Array, *, ranges: Sequence[tuple[int, int, int]]) -> Array:
    """ranges: (start, step, length) an axis."""
    return x[tuple(_python_slice(*r) for r in ranges)]


def _python_slice(start: int, step: int, length: int) -> slice:
    stop = start + step * length
    return slice(start, stop if stop >= 0 else None, step) if length else slice(0, 0)


def _slice_index(place: Sequence[Affine], given: Shape, *, ranges: Any) -> list[Affine]:
    return [p * step + start for p, (start, step, _) in zip(place, ranges, strict=True)]


slice_ = view(
    "slice",
    numpy=_slice_array,
    shape=lambda given, *, ranges: tuple(length for _, _, length in ranges),
    index=_slice_index,
    vjp=lambda g, x_type, *, ranges: (
        place_(g, shape=x_type.shape, ranges=(tuple((start, step) for start, step, _ in ranges),)),
    ),
    doc="Element i of an axis is element start + i * step of x.",
)


Region = Sequence[tuple[int, int]]


def region_of(shape: Shape, region: Region) -> tuple[tuple[int, int, int], ...]:
    """The slice ranges (start, step, length) of an operand of `shape` that starts and steps so."""
    return tuple((start, step, n) for (start, step), n in zip(region, shape, strict=True))


def _place_array(*arrays: Array, shape: Shape, ranges: Sequence[Region]) -> Array:
    out = np.zeros(shape, arrays[0].dtype)
    for array, region in zip(arrays, ranges, strict=True):
        _slice_array(out, ranges=region_of(array.shape, region))[...] = array
    return out


place_: Assembly = assembly(
    "place",
    numpy=_place_array,
    variadic=True,
    regions=lambda shapes, *, shape, ranges: (shape, ranges),
    covers=False,
    vjp=lambda g, types, *, shape, ranges: [
        slice_(g, ranges=region_of(t.shape, region))
        for t, region in zip(types, ranges, strict=True)
    ],
    doc="Zeros of a shape, with each x at start + i * step of each axis: the gradient of a slice.",
)


def normalize_axis(name: str, axis: int, rank: int) -> int:
    """`axis` counted from the front; AxisError if there is no such axis."""
    axis = operator.index(axis)
    if not -rank <= axis < rank:
        raise AxisError(f"{name}: axis {axis} does not exist: the operand has {rank} axes.")
    return axis % rank


def normalize_axes(name: str, axis: int | Sequence[int] | None, rank: int) -> tuple[int, ...]:
    """Axes as a sorted tuple; None means all. AxisError if one is missing or named twice."""
    if axis is None:
        return tuple(range(rank))
    found = sorted(normalized_list(name, axis, rank))
    if len(set(found)) != len(found):
        raise AxisError(f"{name}: expected different axes, got {axis}.")
    return tuple(found)


def normalized_list(name: str, axis: int | Sequence[int], rank: int) -> list[int]:
    """Axes in the order given."""
    return [normalize_axis(name, a, rank) for a in _listed(axis)]


def _listed(given: int | Iterable[int]) -> Iterable[int]:
    """What is given as one or several; to ask whether a tuple is an Iterable takes 1 us."""
    if isinstance(given, (tuple, list)):
        return given
    return given if isinstance(given, Iterable) else (given,)


def as_shape(name: str, shape: int | Sequence[int]) -> Shape:
    """A shape from an int or a sequence of ints; ShapeError if one is negative."""
    wanted = tuple([operator.index(n) for n in _listed(shape)])
    if wanted and min(wanted) < 0:
        raise ShapeError(f"{name}: expected a shape of non-negative extents, got {wanted}.")
    return wanted


def reshape(x: ArrayLike, /, shape: int | Sequence[int], *, copy: bool | None = None) -> Tensor:
    """x under another shape, in row-major order; one extent may be -1. ShapeError if none fits."""
    x = asarray(x)
    wanted = [operator.index(n) for n in _listed(shape)]
    if wanted.count(-1) == 1:
        known = math.prod([n for n in wanted if n != -1])
        if known and x.size % known == 0:
            wanted[wanted.index(-1)] = x.size // known
    if any(n < 0 for n in wanted) or math.prod(wanted) != x.size:
        raise ShapeError(f"reshape: cannot make shape {tuple(wanted)} of {x.type}.")
    return x if tuple(wanted) == x.shape else reshape_(x, shape=tuple(wanted))


def permute_dims(x: ArrayLike, /, axes: Sequence[int]) -> Tensor:
    """x with its axes in another order: axis i of the result is axis axes[i] of x."""
    x = asarray(x)
    order = tuple(normalize_axis("permute_dims", axis, x.ndim) for axis in axes)
    if sorted(order) != list(range(x.ndim)):
        raise AxisError(f"permute_dims: expected each axis of {x.type} once, got {tuple(axes)}.")
    return x if order == tuple(range(x.ndim)) else permute_dims_(x, axes=order)


def broadcast_to(x: ArrayLike, /, shape: Sequence[int]) -> Tensor:
    """x repeated along axes of extent 1, and along new leading axes, to `shape`."""
    x = asarray(x)
    wanted = as_shape("broadcast_to", shape)
    extra = len(wanted) - x.ndim
    if extra < 0 or any(n not in (1, m) for n, m in zip(x.shape, wanted[extra:], strict=True)):
        raise ShapeError(f"broadcast_to: {x.type} does not broadcast to {wanted}.")
    return x if wanted == x.shape else broadcast_to_(x, shape=wanted)


def sum_to_shape(g: ArrayLike, shape: Shape) -> Tensor:
    """g summed over the axes along which `shape` was broadcast to its own: broadcasting undone."""
    from .reduce import sum as sum_  # rules and reductions need each other

    g = asarray(g)
    if g.shape == shape:
        return g
    extra = g.ndim - len(shape)
    axes = tuple(i for i in range(g.ndim) if i < extra or (shape[i - extra] == 1 != g.shape[i]))
    return reshape(sum_(g, axis=axes) if axes else g, shape)


def broadcast_arrays(*arrays: ArrayLike) -> list[Tensor]:
    """The arrays, each broadcast to the shape that all of them have together."""
    tensors = [asarray(x) for x in arrays]
    shape = broadcast_shapes("broadcast_arrays", [t.shape for t in tensors])
    return [broadcast_to(t, shape) for t in tensors]


def matrix_transpose(x: ArrayLike, /) -> Tensor:
    """The last two axes exchanged."""
    x = asarray(x)
    if x.ndim < 2:
        raise ShapeError(f"matrix_transpose: expected at least two axes, got {x.type}.")
    return swapaxes(x, -1, -2)


def swapaxes(x: ArrayLike, axis1: int, axis2: int, /) -> Tensor:
    """Two axes exchanged."""
    x = asarray(x)
    i, j = (normalize_axis("swapaxes", axis, x.ndim) for axis in (axis1, axis2))
    order = list(range(x.ndim))
    order[i], order[j] = j, i
    return permute_dims(x, order)


def moveaxis(
    x: ArrayLike, source: int | Sequence[int], destination: int | Sequence[int], /
) -> Tensor:
    """The axes `source` moved to the places `destination`; the others keep their order."""
    x = asarray(x)
    sources, places = (
        normalized_list("moveaxis", given, x.ndim) for given in (source, destination)
    )
    if not len(set(sources)) == len(set(places)) == len(sources) == len(places):
        raise AxisError(
            f"moveaxis: expected as many different places as axes, got {source} to {destination}."
        )
    order = [axis for axis in range(x.ndim) if axis not in sources]
    for place, axis in sorted(zip(places, sources, strict=True)):
        order.insert(place, axis)
    return permute_dims(x, order)


def squeeze(x: ArrayLike, /, axis: int | Sequence[int] | None = None) -> Tensor:
    """x without the given axes, whose extent must be 1; without every such axis if None."""
    x = asarray(x)
    if axis is None:
        axis = [i for i, n in enumerate(x.shape) if n == 1]
    axes = normalize_axes("squeeze", axis, x.ndim)
    for i in axes:
        if x.shape[i] != 1:
            raise ShapeError(f"squeeze: expected extent 1 at axis {i}, got {x.type}.")
    return reshape(x, tuple(n for i, n in enumerate(x.shape) if i not in axes))


def expand_dims(x: ArrayLike, /, axis: int | Sequence[int] = 0) -> Tensor:
    """x with new axes of extent 1, which are at the places `axis` of the result."""
    x = asarray(x)
    rank = x.ndim + (len(axis) if isinstance(axis, (tuple, list)) else 1)
    axes = normalize_axes("expand_dims", axis, rank)
    kept = iter(x.shape)
    return reshape(x, tuple(1 if i in axes else next(kept) for i in range(rank)))


def flatten(x: ArrayLike, /) -> Tensor:
    """All elements along one axis, in row-major order."""
    return reshape(x, -1) if asarray(x).size else reshape(x, 0)


def flip(x: ArrayLike, /, axis: int | Sequence[int] | None = None) -> Tensor:
    """The elements in reverse order along `axis`; along all axes if None."""
    x = asarray(x)
    axes = normalize_axes("flip", axis, x.ndim)
    ranges = tuple((n - 1, -1, n) if i in axes else (0, 1, n) for i, n in enumerate(x.shape))
    return slice_(x, ranges=ranges) if axes else x


def slice_axis(x: Tensor, axis: int, start: int, stop: int, step: int = 1) -> Tensor:
    """x[..., start:stop:step, ...] on one axis, with 0 <= start, stop <= extent."""
    length = len(range(start, stop, step))
    if (start, step, length) == (0, 1, x.shape[axis]):
        return x
    ranges = [(0, 1, n) for n in x.shape]
    ranges[axis] = (start, step, length)
    return slice_(x, ranges=tuple(ranges))


def _transpose(x: Any, *axes: Any) -> Tensor:
    """The axes in the order given, as NumPy's method; in reverse order if none is."""
    order = axes[0] if len(axes) == 1 and not isinstance(axes[0], int) else axes
    return permute_dims(x, order if order else range(x.ndim)[::-1])


def _reversed_axes(x: Any) -> Tensor:
    return permute_dims(x, range(x.ndim)[::-1])


Operators.install(
    "reshape", lambda self, *shape: reshape(self, shape[0] if len(shape) == 1 else shape)
)
Operators.install("transpose", _transpose)
Operators.install("T", property(_reversed_axes))
Operators.install("mT", property(matrix_transpose))
for _method in (flatten, squeeze, swapaxes):
    Operators.install(_method.__name__, _method)
Operators.install("ravel", flatten)
