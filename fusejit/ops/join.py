"""Arrays put together and taken apart: concat, stack, split, tile, repeat, roll."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..dtypes import promote
from ..errors import ShapeError
from ..op import assembly
from ..operators import ArrayLike, is_number
from ..tensor import Operators, Tensor, asarray
from .cast import astype
from .shape import (
    Shape,
    as_shape,
    broadcast_to,
    expand_dims,
    flatten,
    normalize_axis,
    normalized_list,
    region_of,
    reshape,
    slice_,
    slice_axis,
    squeeze,
)


def _concat_regions(shapes: Sequence[Shape], *, axis: int) -> Any:
    first = shapes[0]
    starts = np.cumsum([0, *(s[axis] for s in shapes)]).tolist()
    shape = (*first[:axis], starts[-1], *first[axis + 1 :])
    regions = [tuple((start * (i == axis), 1) for i in range(len(first))) for start in starts[:-1]]
    return shape, regions


def _concat_vjp(g: Any, types: Any, *, axis: int) -> list[Any]:
    _, regions = _concat_regions([t.shape for t in types], axis=axis)
    return [
        slice_(g, ranges=region_of(t.shape, region))
        for t, region in zip(types, regions, strict=True)
    ]


concat_ = assembly(
    "concat",
    numpy=lambda *arrays, axis: np.concatenate(arrays, axis),
    variadic=True,
    regions=_concat_regions,
    covers=True,
    vjp=_concat_vjp,
    doc="Arrays joined along an existing axis.",
)


def _promoted(name: str, arrays: Sequence[ArrayLike]) -> list[Tensor]:
    """The operands as Tensors of one dtype; Python numbers are weak, as everywhere."""
    numbers = [v for v in arrays if is_number(v)]
    tensors = [asarray(v) for v in arrays]
    if not tensors:
        raise ShapeError(f"{name}: expected at least one array.")
    strong = [t.dtype for t, v in zip(tensors, arrays, strict=True) if not is_number(v)]
    dtype = promote(strong, numbers)
    return [astype(t, dtype) for t in tensors]


def concat(arrays: Sequence[ArrayLike], /, axis: int | None = 0) -> Tensor:
    """Arrays joined along an existing axis; flattened first if `axis` is None.

    Raises:
        ShapeError: the shapes differ in another axis.
    Example:
        >>> import fusejit as fj
        >>> fj.concat([[1, 2], [3]]).tolist()
        [1, 2, 3]
    """
    tensors = _promoted("concat", arrays)
    if axis is None:
        tensors, axis = [flatten(t) for t in tensors], 0
    first = tensors[0]
    axis = normalize_axis("concat", axis, first.ndim)
    for tensor in tensors[1:]:
        others = (tensor.shape[:axis], tensor.shape[axis + 1 :])
        if tensor.ndim != first.ndim or others != (first.shape[:axis], first.shape[axis + 1 :]):
            raise ShapeError(
                f"concat: {first.type} and {tensor.type} differ in another axis than {axis}."
            )
    return first if len(tensors) == 1 else concat_(*tensors, axis=axis)


def stack(arrays: Sequence[ArrayLike], /, axis: int = 0) -> Tensor:
    """Arrays of one shape joined along a new axis.

    Example:
        >>> import fusejit as fj
        >>> fj.stack([fj.constant([1, 2]), fj.constant([3, 4])], axis=1).tolist()
        [[1, 3], [2, 4]]
    """
    tensors = _promoted("stack", arrays)
    for tensor in tensors[1:]:
        if tensor.shape != tensors[0].shape:
            raise ShapeError(f"stack: expected one shape, got {tensors[0].type} and {tensor.type}.")
    axis = normalize_axis("stack", axis, tensors[0].ndim + 1)
    return concat([expand_dims(t, axis) for t in tensors], axis=axis)


def unstack(x: ArrayLike, /, axis: int = 0) -> tuple[Tensor, ...]:
    """The parts of x along an axis, which they lose."""
    x = asarray(x)
    axis = normalize_axis("unstack", axis, x.ndim)
    return tuple(squeeze(slice_axis(x, axis, i, i + 1), axis) for i in range(x.shape[axis]))


def split(x: ArrayLike, indices_or_sections: int | Sequence[int], /, axis: int = 0) -> list[Tensor]:
    """x cut along an axis: into n equal parts, or before each of a list of indices.

    Raises:
        ShapeError: n does not divide the extent.
    Example:
        >>> import fusejit as fj
        >>> [part.tolist() for part in fj.split(fj.arange(5), [1, 3])]
        [[0], [1, 2], [3, 4]]
    """
    x = asarray(x)
    axis = normalize_axis("split", axis, x.ndim)
    extent = x.shape[axis]
    if isinstance(indices_or_sections, int):
        count = indices_or_sections
        if count < 1 or extent % count:
            raise ShapeError(f"split: cannot cut axis {axis} of {x.type} into {count} equal parts.")
        cuts = [i * (extent // count) for i in range(1, count)]
    else:
        cuts = [slice(None, int(i)).indices(extent)[1] for i in indices_or_sections]
    edges = zip([0, *cuts], [*cuts, extent], strict=True)
    return [slice_axis(x, axis, start, stop) for start, stop in edges]


def roll(
    x: ArrayLike, /, shift: int | Sequence[int], axis: int | Sequence[int] | None = None
) -> Tensor:
    """The elements moved by `shift` along `axis`, coming in again at the other end."""
    x = asarray(x)
    if axis is None:
        return reshape(roll(flatten(x), shift, axis=0), x.shape)
    axes = normalized_list("roll", axis, x.ndim)
    shifts = list(shift) if isinstance(shift, Sequence) else [shift] * len(axes)
    for one, at in zip(shifts, axes, strict=True):
        extent = x.shape[at]
        cut = -operator.index(one) % extent if extent else 0
        if cut:
            x = concat([slice_axis(x, at, cut, extent), slice_axis(x, at, 0, cut)], axis=at)
    return x


def tile(x: ArrayLike, repetitions: int | Sequence[int], /) -> Tensor:
    """x repeated as a whole, `repetitions` times along each axis.

    Example:
        >>> import fusejit as fj
        >>> fj.tile([1, 2], (2, 2)).tolist()
        [[1, 2, 1, 2], [1, 2, 1, 2]]
    """
    x, counts = asarray(x), as_shape("tile", repetitions)
    rank = max(x.ndim, len(counts))
    shape = (1,) * (rank - x.ndim) + x.shape
    counts = (1,) * (rank - len(counts)) + counts
    pairs = list(zip(counts, shape, strict=True))
    thin = reshape(x, [n for _, extent in pairs for n in (1, extent)])
    wide = broadcast_to(thin, [n for pair in pairs for n in pair])
    return reshape(wide, [count * extent for count, extent in pairs])


def pad(
    x: ArrayLike, widths: Sequence[tuple[int, int]], /, *, value: bool | int | float = 0
) -> Tensor:
    """x with (before, after) more elements on each axis, all equal to `value`."""
    x = asarray(x)
    if len(widths) != x.ndim or any(w < 0 for pair in widths for w in pair):
        raise ShapeError(f"pad: expected (before, after) for each axis of {x.type}, got {widths}.")
    for axis, (before, after) in enumerate(widths):
        sides = [
            broadcast_to(astype(value, x.dtype), (*x.shape[:axis], n, *x.shape[axis + 1 :]))
            for n in (before, after)
        ]
        parts = [sides[0], x, sides[1]]
        x = concat([part for part in parts if part.shape[axis]] or [x], axis=axis)
    return x


# Nested lists that hold Tensors: what conversion, which lies below the ops, makes of them.
Operators.install("stacked", staticmethod(stack))
