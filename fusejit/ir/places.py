"""From ops to loops: which element of which array each iteration reads, and the code between.

A *place* is one affine expression of the loop's indices for each axis of a value. Views turn the
place of their result into the place of their operand, so they cost nothing inside a kernel; an
elementwise op asks for its operands at its own place. `Expansion` follows this down to *leaves*
(arrays in memory, and iotas) and joins the scalar programs on the way into one.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, TypeAlias

from ..op import Elementwise, Source, View
from ..scalar import Builder, Expr, Program
from .affine import Affine, identity, linear, zero
from .graph import Node, Value

Place: TypeAlias = tuple[Affine, ...]
Read: TypeAlias = "tuple[Value, Place | Affine]"
"""A value and where it is read."""
Shape: TypeAlias = tuple[int, ...]
Part: TypeAlias = tuple[Any, ...]
"""A piece of scalar code: (dtype, number of the argument), or (Program, parts it is applied to)."""


class NotAffine(Exception):
    """A view whose elements cannot be found by strides; str() is the reason."""


def through(node: Node, place: Place, operand_is_leaf: bool, rank: int) -> Place | Affine:
    """Where a view's operand is read if its result is read at `place`, in a loop of `rank` indices.

    A leaf under a reshape is addressed by the linear number of its element, which always exists.
    """
    op, (operand,) = node.op, node.inputs
    assert isinstance(op, View)
    shape = operand.type.shape
    if op.index is not None:
        found = op.index(place, shape, **node.params)
        return tuple(found)
    result = node.outputs[0].type.shape
    if operand_is_leaf:
        return linear(place, result, rank)
    return _unreshape(place, result, shape, rank)


def _unreshape(place: Place, result: Shape, operand: Shape, rank: int) -> Place:
    """Cut both shapes into groups of axes with equal products; each group must split, not merge."""
    found: list[Affine] = []
    i = 0
    for extent in operand:
        if extent == 1:
            found.append(zero(rank))
            continue
        index, covered = zero(rank), 1
        while covered < extent and i < len(result):
            index = index * result[i] + place[i]
            covered *= result[i]
            i += 1
        if covered != extent:
            raise NotAffine(
                f"reshape {list(operand)} to {list(result)} cuts across axes of a computed value"
            )
        found.append(index)
    return tuple(found)


def align(place: Place, shape: Shape) -> Place:
    """The place of an operand of `shape` under broadcasting to the shape that `place` is for."""
    kept = place[len(place) - len(shape) :]
    if 1 not in shape:
        return kept
    return tuple(p * 0 if n == 1 else p for p, n in zip(kept, shape, strict=True))


def operand_places(
    node: Node, place: Place, is_leaf: Callable[[Value], bool], rank: int
) -> list[Read]:
    """What `node` (a view or an elementwise op) reads to give its result at `place`."""
    if isinstance(node.op, View):
        (operand,) = node.inputs
        return [(operand, through(node, place, is_leaf(operand), rank))]
    return [(v, align(place, v.type.shape)) for v in node.inputs]


class Expansion:
    """Scalar code over the index space `shape`, and the leaves it reads.

    `producer` gives the node that computes a value inside the kernel, or None for a leaf in memory.
    `reads` maps (leaf, address in elements) to the number of the program's argument, in order.
    """

    def __init__(self, shape: Shape, producer: Callable[[Value], Node | None]) -> None:
        self.shape = shape
        self.reads: dict[tuple[Value, Affine], int] = {}
        self.producer = producer
        self._parts: list[Part] = []
        self._known: dict[Read, int] = {}

    def is_leaf(self, value: Value) -> bool:
        node = self.producer(value)
        return node is None or isinstance(node.op, Source)

    def evaluate(self, value: Value, place: Place | None = None) -> int:
        """The number of the part that computes `value` at `place` (at the loop's own indices if
        None)."""
        start = (value, identity(len(self.shape)) if place is None else place)
        # An explicit stack: fused chains may be deeper than Python's. What waits for its operands
        # lies there with them, and below them.
        stack: list[tuple[Read, tuple[Node, list[Read]] | None]] = [(start, None)]
        while stack:
            key, waiting = stack.pop()
            if key in self._known:
                continue
            if waiting is not None:
                node, operands = waiting
                self._known[key] = self._apply(node, [self._known[o] for o in operands])
                continue
            made = self.producer(key[0])
            if made is None or isinstance(made.op, Source):
                self._known[key] = self._leaf(*key)
                continue
            assert not isinstance(key[1], Affine), "only leaves are addressed linearly"
            operands = operand_places(made, key[1], self.is_leaf, len(self.shape))
            stack.append((key, (made, operands)))
            stack.extend([(operand, None) for operand in operands])
        return self._known[start]

    def _leaf(self, value: Value, place: Place | Affine) -> int:
        rank = len(self.shape)
        address = place if isinstance(place, Affine) else linear(place, value.type.shape, rank)
        number = self.reads.setdefault((value, address), len(self.reads))
        return self._part(value.type.dtype, number)

    def _apply(self, node: Node, operands: Sequence[int]) -> int:
        if not isinstance(node.op, Elementwise):
            return operands[0]
        program = node.op.program(tuple(v.type.dtype for v in node.inputs), node.params)
        assert program is not None, f"{node.op.name} has no scalar program here"
        return self._part(program, *operands)

    def _part(self, *part: Any) -> int:
        self._parts.append(part)
        return len(self._parts) - 1

    def program(self, results: Sequence[int]) -> Program:
        """The code of the parts with these numbers."""
        return _joined(tuple(self._parts), tuple(results))


# The same for every size of the arrays, so a new size costs a look-up where joining the 90
# instructions of an LSTM's gates takes 0.4 ms. An entry takes some 10 KB.
@lru_cache(maxsize=1024)
def _joined(parts: tuple[Part, ...], results: tuple[int, ...]) -> Program:
    builder = Builder()
    exprs: list[Expr] = []
    for code, *operands in parts:
        if isinstance(code, Program):
            exprs.append(builder.inline(code, [exprs[n] for n in operands])[0])
        else:
            exprs.append(builder.arg(operands[0], code))
    return builder.finish([exprs[n] for n in results])
