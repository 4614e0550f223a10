"""einsum: sums of products by labels of axes, as permutations, reshapes and matrix products.

Each operand first loses what concerns it alone: repeated labels become diagonals, labels that occur
nowhere else are summed. Then operands are multiplied from left to right, two at a time; labels that
nobody needs any more are contracted by matmul, which BLAS runs.
"""

from __future__ import annotations

import math

from ..errors import ShapeError
from ..frozen import frozen
from ..operators import ArrayLike
from ..tensor import Tensor, asarray
from .matmul import diagonal, matmul
from .reduce import sum
from .shape import moveaxis, permute_dims, reshape, squeeze


@frozen
class _Term:
    """An array and one label for each of its axes."""

    x: Tensor
    labels: str

    def order(self, labels: str) -> Tensor:
        return permute_dims(self.x, [self.labels.index(label) for label in labels])

    def extent(self, labels: str) -> int:
        return math.prod(self.x.shape[self.labels.index(label)] for label in labels)


def einsum(subscripts: str, /, *operands: ArrayLike) -> Tensor:
    """Sums of products in Einstein's notation, with "->" and "..." as in NumPy.

    Args:
        subscripts: a letter for each axis of each operand, e.g. "ij,jk->ik"; without "->" the
            result has the letters that occur once, in alphabetical order.
        operands: one array for each part of `subscripts`.
    Raises:
        ShapeError: the letters do not fit the operands.
    Example:
        >>> import fusejit as fj
        >>> fj.einsum("ij,j->i", [[1, 2], [3, 4]], [10, 1]).tolist()
        [12, 34]
    """
    tensors = [asarray(x) for x in operands]
    inputs, output = _parse(subscripts, tensors)
    extents = _extents(subscripts, inputs, tensors)
    terms = [_own(x, labels, extents) for x, labels in zip(tensors, inputs, strict=True)]
    while len(terms) > 1:
        first, second, *rest = terms
        needed = set(output).union(*(term.labels for term in rest))
        terms = [_multiply(first, second, needed), *rest]
    term = _summed(terms[0], set(output))
    return term.order(output)


def _parse(subscripts: str, tensors: list[Tensor]) -> tuple[list[str], str]:
    """Labels of the operands and of the result; those of "..." are capital Greek letters."""
    left, arrow, output = subscripts.replace(" ", "").partition("->")
    parts = left.split(",")
    if len(parts) != len(tensors):
        raise ShapeError(
            f"einsum: {subscripts!r} is for {len(parts)} operands, not {len(tensors)}."
        )
    inputs, dots = [], ""
    for part, x in zip(parts, tensors, strict=True):
        rank = x.ndim - len(part.replace("...", ""))
        if rank < 0 or (rank and "..." not in part):
            raise ShapeError(f"einsum: {part!r} in {subscripts!r} does not fit {x.type}.")
        labels = "".join(chr(0x391 + i) for i in range(rank))[::-1]  # the last axis is Alpha
        dots = max(dots, labels, key=len)
        inputs.append(part.replace("...", labels))
    if not arrow:
        letters = sorted(label for label in set(left) if left.count(label) == 1 and label.isalpha())
        return inputs, dots + "".join(letters)
    output = output.replace("...", dots)
    if not set(output) <= set("".join(inputs)) or len(set(output)) != len(output):
        raise ShapeError(f"einsum: the result of {subscripts!r} must use each letter once.")
    return inputs, output


def _extents(subscripts: str, inputs: list[str], tensors: list[Tensor]) -> dict[str, int]:
    extents: dict[str, int] = {}
    for labels, x in zip(inputs, tensors, strict=True):
        for label, extent in zip(labels, x.shape, strict=True):
            known = extents.setdefault(label, extent)
            if known != extent and 1 not in (known, extent):
                raise ShapeError(
                    f"einsum: {label!r} in {subscripts!r} is both {known} and {extent}."
                )
            extents[label] = extent if known == 1 else known
    return extents


def _own(x: Tensor, labels: str, extents: dict[str, int]) -> _Term:
    """The operand with one axis a label, none of them to be broadcast."""
    thin = [i for i, label in enumerate(labels) if x.shape[i] == 1 != extents[label]]
    x = squeeze(x, thin) if thin else x
    labels = "".join(label for i, label in enumerate(labels) if i not in thin)
    for label in set(labels):
        while labels.count(label) > 1:
            first = labels.index(label)
            second = labels.index(label, first + 1)
            x = diagonal(moveaxis(x, (first, second), (-2, -1)))
            labels = labels[:first] + labels[first + 1 : second] + labels[second + 1 :] + label
    return _Term(x, labels)


def _summed(term: _Term, needed: set[str]) -> _Term:
    axes = [i for i, label in enumerate(term.labels) if label not in needed]
    if not axes:
        return term
    kept = "".join(label for label in term.labels if label in needed)
    return _Term(sum(term.x, axes, dtype=term.x.dtype), kept)


def _multiply(a: _Term, b: _Term, needed: set[str]) -> _Term:
    """The product of two terms, with the labels that are not needed summed."""
    a = _summed(a, needed | set(b.labels))
    b = _summed(b, needed | set(a.labels))
    shared = [label for label in a.labels if label in b.labels]
    batch = "".join(label for label in shared if label in needed)
    inner = "".join(label for label in shared if label not in needed)
    free_a = "".join(label for label in a.labels if label not in shared)
    free_b = "".join(label for label in b.labels if label not in shared)
    each = [a.extent(label) for label in batch]
    rows = reshape(a.order(batch + free_a + inner), (*each, a.extent(free_a), a.extent(inner)))
    columns = reshape(b.order(batch + inner + free_b), (*each, b.extent(inner), b.extent(free_b)))
    # Without a label to sum, an elementwise product fuses with its neighbours.
    product = matmul(rows, columns) if inner else rows * columns
    shape = [*each, *(a.extent(label) for label in free_a), *(b.extent(label) for label in free_b)]
    return _Term(reshape(product, shape), batch + free_a + free_b)
