"""Canonical forms of reductions and matrix products: what shape and strides a kernel gets to see.

The order in which a reduction combines must depend on shape and axes alone, so axes are merged here
by looking at them only: neighbouring axes of one kind (kept, reduced) become one. An operand that
cannot be walked with one stride along a merged axis is copied first: the price of equal bits.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import groupby, pairwise

from ..frozen import frozen
from ..ir.affine import Affine, identity, linear
from ..ir.graph import Node, Value
from ..ir.places import NotAffine, Place, through

Strides = tuple[int, ...]


def merge_axes(coefficients: Sequence[int], extents: Sequence[int]) -> int:
    """The one stride that walks several axes as if they were one; NotAffine if there is none."""
    kept = [(c, n) for c, n in zip(coefficients, extents, strict=True) if n != 1]
    for (outer, _), (inner, n) in pairwise(kept):
        if outer != inner * n:
            raise NotAffine(
                "its operand repeats along part of the reduced axes, or is read out of order"
            )
    return kept[-1][0] if kept else 0


@frozen
class Layout:
    """A reduction over `shape` as [kept, reduced, columns]: the axes that make each."""

    shape: tuple[int, ...]
    axes: tuple[tuple[int, ...], tuple[int, ...], tuple[int, ...]]

    @property
    def extents(self) -> tuple[int, int, int]:
        a, b, c = (self._extent(axes) for axes in self.axes)
        return a, b, c

    @property
    def has_columns(self) -> bool:
        return bool(self.axes[2])

    def collapse(self, addresses: Sequence[Affine]) -> list[tuple[int, Strides]]:
        """(offset, strides along [kept, reduced, columns]) of each address, or NotAffine."""
        return [
            (
                address.constant,
                tuple(self._stride(address.coefficients, axes) for axes in self.axes),
            )
            for address in addresses
        ]

    def _extent(self, axes: tuple[int, ...]) -> int:
        product = 1
        for axis in axes:
            product *= self.shape[axis]
        return product

    def _stride(self, coefficients: tuple[int, ...], axes: tuple[int, ...]) -> int:
        return merge_axes([coefficients[a] for a in axes], [self.shape[a] for a in axes])


def axis_runs(shape: Sequence[int], axes: Sequence[int]) -> list[tuple[bool, tuple[int, ...]]]:
    """Neighbouring axes of one kind: (reduced?, axes), axes of extent 1 left out."""
    real = [(axis in axes, axis) for axis, extent in enumerate(shape) if extent != 1]
    return [
        (kind, tuple(a for _, a in run)) for kind, run in groupby(real, key=lambda pair: pair[0])
    ]


def reduction_layout(node: Node) -> Layout:
    """The canonical layout; `gather_axes` has made the reduced axes neighbours."""
    (operand,) = node.inputs
    runs = axis_runs(operand.type.shape, node.params["axes"])
    kinds = [kind for kind, _ in runs]
    if kinds.count(True) > 1:
        raise NotAffine("the reduced axes are not neighbours")
    if True not in kinds:  # every reduced axis has extent 1
        kept = tuple(axis for _, run in runs for axis in run)
        return Layout(operand.type.shape, (kept, (), ()))
    at = kinds.index(True)
    before = runs[at - 1][1] if at else ()
    after = runs[at + 1][1] if at + 1 < len(runs) else ()
    return Layout(operand.type.shape, (before, runs[at][1], after))


def blas_strides(
    operand: Value, view_producer: Callable[[Value], Node | None]
) -> tuple[Value, int, tuple[int, ...]] | None:
    """(base, offset, stride an axis) of a matrix operand seen through views, as BLAS can read it.

    None if the views are not affine, or neither matrix axis has stride 1, or rows overlap: then the
    operand is copied, which costs one pass over it against K passes of arithmetic.
    """
    rank = len(operand.type.shape)
    base = operand
    address: Place | Affine = identity(rank)
    while (node := view_producer(base)) is not None:
        if isinstance(address, Affine):
            return None
        (inner,) = node.inputs
        try:
            address = through(node, address, view_producer(inner) is None, rank)
        except NotAffine:
            return None
        base = inner
    flat = address if isinstance(address, Affine) else linear(address, base.type.shape, rank)
    rows, columns = operand.type.shape[-2:]
    row, column = (
        c if n != 1 else 0 for c, n in zip(flat.coefficients[-2:], (rows, columns), strict=True)
    )
    readable = (
        column in (0, 1) and (columns == 1 or column == 1) and (row >= columns or rows == 1)
    ) or (row in (0, 1) and (rows == 1 or row == 1) and (column >= rows or columns == 1))
    return (base, flat.constant, flat.coefficients) if readable else None
