"""Convolution and pooling over any number of axes between the first, of examples, and the last, of
channels.

Convolution is lowered to one matrix product: the windows are laid out side by side ("im2col"), by a
strided slice for each place in the window, and multiplied by the kernel. It was chosen by measuring
(bench/convolution.py: one core, images of 14 to 32 pixels). Fused gradients took 1.1 to 1.8 times
as long by a product for each place in the window, whose results are added, and 1.3 to 3.2 times by
a gather of the windows, which no kernel fuses with. A window of n places costs n times the memory
of the input. Slices, joins and products have gradients, so convolution needs no rule; all of it
fuses but the product.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

from ..dtypes import promote
from ..errors import DTypeError, ShapeError
from ..frozen import frozen
from ..operators import ArrayLike
from ..ops.cast import astype
from ..ops.choose import where
from ..ops.compare import greater, isnan
from ..ops.creation import ones
from ..ops.index import getitem
from ..ops.join import concat, pad
from ..ops.matmul import matmul
from ..ops.shape import moveaxis, reshape
from ..tensor import Tensor, asarray

Sizes: TypeAlias = "int | Sequence[int]"
Padding: TypeAlias = "str | int | Sequence[int | tuple[int, int]]"


def convolution(
    x: ArrayLike,
    kernel: ArrayLike,
    /,
    *,
    strides: Sizes = 1,
    padding: Padding = "valid",
    dilations: Sizes = 1,
    groups: int = 1,
) -> Tensor:
    """y[n, o, f] = sum over w, c of x[n, o * stride + w * dilation, c] * kernel[w, c, f].

    (A cross-correlation, as everywhere in this field: the kernel is not turned around.)

    Args:
        x: [batch, *extents, channels].
        kernel: [*window, channels / groups, filters], of as many axes as x.
        strides: by how much windows are apart; a number for all axes, or one for each.
        padding: zeros around x. "valid": none; "same": so that the result has extent / stride
            places, rounded up, one more zero at the end if the number is odd; "causal": before x
            only, so that no place sees a later one; or a number, or one or (before, after) for each
            axis.
        dilations: by how much the places within a window are apart.
        groups: channels and filters in so many groups that do not see each other. With a group for
            each channel there is no sum over channels: then products are elementwise, and fuse.
    Returns:
        [batch, *places, filters].
    Raises:
        ShapeError: the shapes, window or groups do not fit.
    Example:
        >>> import fusejit as fj
        >>> x, kernel = fj.ones((1, 4, 4, 1)), fj.ones((3, 3, 1, 2))
        >>> fj.nn.convolution(x, kernel).shape
        (1, 2, 2, 2)
        >>> fj.nn.convolution(x, kernel, padding="same", strides=2)[0, :, :, 0].tolist()
        [[9.0, 6.0], [6.0, 4.0]]
    """
    x, kernel = asarray(x), asarray(kernel)
    dtype = promote([x.dtype, kernel.dtype])
    x, kernel = astype(x, dtype), astype(kernel, dtype)
    *window, inner, filters = kernel.shape if kernel.ndim > 2 else (0, 0, 0)
    if x.ndim != kernel.ndim or inner * groups != x.shape[-1] or filters % groups:
        raise ShapeError(
            f"convolution: expected x [batch, {'extent, ' * len(window)}channels] and a kernel "
            f"[*window, channels / groups, filters], got {x.type} and {kernel.type} with groups "
            f"{groups}."
        )
    sight = _sight("convolution", x.shape[1:-1], window, strides, padding, dilations)
    parts = list(sight.windows(sight.padded(x, 0)))
    if inner == 1 and groups > 1:
        return _by_channel(parts, kernel, groups)
    shape = (x.shape[0], *sight.counts)
    if groups == 1:
        columns = reshape(concat(parts, axis=-1), (math.prod(shape), len(parts) * inner))
        return reshape(columns @ reshape(kernel, (-1, filters)), (*shape, filters))
    grouped = concat([reshape(p, (math.prod(shape), groups, inner)) for p in parts], axis=-1)
    matrices = reshape(kernel, (len(parts) * inner, groups, filters // groups))
    product = matmul(moveaxis(grouped, 1, 0), moveaxis(matrices, 1, 0))
    return reshape(moveaxis(product, 0, 1), (*shape, filters))


def max_pool(
    x: ArrayLike, /, window: Sizes, *, strides: Sizes | None = None, padding: Padding = "valid"
) -> Tensor:
    """The greatest number in each window; the gradient goes to the first that is greatest.

    Args:
        x: float[batch, *extents, channels].
        window: its extents; a number for all axes, or one for each.
        strides: by how much windows are apart; default `window`.
        padding: as of `convolution`; what is added never is the greatest.
    Returns:
        [batch, *places, channels]; NaN where a window holds one.
    Raises:
        DTypeError: x is not floating.
        ShapeError: the window does not fit.
    Example:
        >>> import fusejit as fj
        >>> fj.nn.max_pool(fj.reshape(fj.arange(4.0), (1, 4, 1)), 2)[0, :, 0].tolist()
        [1.0, 3.0]
    """
    x, sight = _pooled("max_pool", x, window, strides, padding)
    parts = sight.windows(sight.padded(x, -math.inf))
    best = next(parts)
    for part in parts:
        best = where(greater(part, best) | isnan(part), part, best)
    return best


def average_pool(
    x: ArrayLike, /, window: Sizes, *, strides: Sizes | None = None, padding: Padding = "valid"
) -> Tensor:
    """The mean of each window, over what belongs to x: padding does not count.

    Arguments as of `max_pool`.

    Example:
        >>> import fusejit as fj
        >>> fj.nn.average_pool(fj.reshape(fj.arange(4.0), (1, 4, 1)), 2)[0, :, 0].tolist()
        [0.5, 2.5]
    """
    x, sight = _pooled("average_pool", x, window, strides, padding)
    total = _total(sight.windows(sight.padded(x, 0)))
    if not any(sum(pair) for pair in sight.pads):
        return total / math.prod(sight.window)
    inside = ones((1, *x.shape[1:-1], 1), dtype=x.dtype)
    return total / _total(sight.windows(sight.padded(inside, 0)))


def _total(parts: Iterator[Tensor]) -> Tensor:
    total = next(parts)
    for part in parts:
        total = total + part
    return total


def _by_channel(parts: Sequence[Tensor], kernel: Tensor, groups: int) -> Tensor:
    """One sum of products for each channel and each of its filters."""
    weights = reshape(kernel, (len(parts), groups, -1))
    products = (reshape(p, (*p.shape, 1)) * weights[i] for i, p in enumerate(parts))
    total = _total(products)
    return reshape(total, (*total.shape[:-2], -1))


def _pooled(
    name: str, x: ArrayLike, window: Sizes, strides: Sizes | None, padding: Padding
) -> tuple[Tensor, _Sight]:
    x = asarray(x)
    if x.dtype.kind != "f":
        raise DTypeError(f"{name}: expected floats, got {x.type}.")
    if x.ndim < 3:
        raise ShapeError(f"{name}: expected [batch, *extents, channels], got {x.type}.")
    extents = x.shape[1:-1]
    sizes = _each(name, "window", window, len(extents))
    return x, _sight(name, extents, sizes, sizes if strides is None else strides, padding, 1)


@frozen
class _Sight:
    """Where windows lie: one number, or pair, for each axis between the first and the last."""

    window: tuple[int, ...]
    strides: tuple[int, ...]
    dilations: tuple[int, ...]
    pads: tuple[tuple[int, int], ...]
    counts: tuple[int, ...]

    def padded(self, x: Tensor, value: float) -> Tensor:
        if not any(sum(pair) for pair in self.pads):
            return x
        return pad(x, [(0, 0), *self.pads, (0, 0)], value=value)

    def windows(self, x: Tensor) -> Iterator[Tensor]:
        """For each place in the window what the windows see there: [batch, *counts, channels]."""
        for place in itertools.product(*map(range, self.window)):
            axes = zip(place, self.dilations, self.strides, self.counts, strict=True)
            slices = [slice(at * d, at * d + s * (n - 1) + 1, s) for at, d, s, n in axes]
            yield getitem(x, (slice(None), *slices))


def _sight(
    name: str,
    extents: Sequence[int],
    window: Sequence[int],
    strides: Sizes,
    padding: Padding,
    dilations: Sizes,
) -> _Sight:
    rank = len(extents)
    steps = _each(name, "strides", strides, rank)
    gaps = _each(name, "dilations", dilations, rank)
    spans = [(w - 1) * d + 1 for w, d in zip(window, gaps, strict=True)]
    pads = _pads(name, padding, extents, spans, steps)
    counts = []
    for extent, span, step, (before, after) in zip(extents, spans, steps, pads, strict=True):
        if extent + before + after < span:
            raise ShapeError(
                f"{name}: a window over {list(spans)} places does not fit into {list(extents)} "
                f"with padding {padding!r}; pad more, or make the window smaller."
            )
        counts.append((extent + before + after - span) // step + 1)
    return _Sight(tuple(window), steps, gaps, pads, tuple(counts))


def _pads(
    name: str,
    padding: Padding,
    extents: Sequence[int],
    spans: Sequence[int],
    steps: Sequence[int],
) -> tuple[tuple[int, int], ...]:
    if isinstance(padding, int):
        padding = [padding] * len(extents)
    if not isinstance(padding, str):
        if len(padding) != len(extents):
            raise ShapeError(
                f"{name}: expected padding for {len(extents)} axes, got {list(padding)}."
            )
        return tuple((p, p) if isinstance(p, int) else (p[0], p[1]) for p in padding)
    padding = padding.lower()  # TensorFlow writes "SAME"
    if padding == "valid":
        return ((0, 0),) * len(extents)
    if padding == "causal":
        return tuple((span - 1, 0) for span in spans)
    if padding != "same":
        raise ShapeError(
            f"{name}: expected padding 'valid', 'same', 'causal' or numbers, got {padding!r}."
        )
    totals = [
        max((math.ceil(extent / step) - 1) * step + span - extent, 0)
        for extent, span, step in zip(extents, spans, steps, strict=True)
    ]
    return tuple((total // 2, total - total // 2) for total in totals)


def _each(name: str, what: str, given: Sizes, rank: int) -> tuple[int, ...]:
    """A number for each axis, from one for all or a sequence of them."""
    sizes = (given,) * rank if isinstance(given, int) else tuple(given)
    if len(sizes) != rank or any(size < 1 for size in sizes):
        raise ShapeError(f"{name}: expected {what} for {rank} axes, at least 1, got {given}.")
    return sizes
