"""Placements: the gradients of slices of one value sum to one assembly, without zero fill.

    place(a) + place(b) + place(c)  =  place(a + 0, b + c)      b and c lie at the same place

Adding zero keeps what the sum does to -0.0. It costs nothing inside the loop that computes an
operand. Where no loop does, it is added to the whole assembly at once: a loop for each operand
would be another kernel for another number of them. What lies at one place is added in the order of
the sum, so that every bit is kept.

Terminology
    chain   a placement, then adds, each of the one before it and of another placement (or a chain)
    part    a region, and what is placed there

An unrolled loop makes a chain of as many adds as it has steps. Only the longest that can be one
assembly is rewritten, not each add on the way, so the work is linear (times a logarithm for sorting
where regions begin).
"""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from functools import reduce
from typing import TypeAlias

import numpy as np

from ..frozen import frozen
from ..ir.builder import Builder, constant, rewrite
from ..ir.graph import Graph, Node, Value
from ..ops.arithmetic import add
from ..ops.shape import place_
from .kinds import is_pointwise

Box: TypeAlias = tuple[tuple[int, int], ...]
"""(start, stop) an axis: between which indices a region lies."""
Region: TypeAlias = tuple[tuple[int, int], ...]
"""(start, step) an axis, as `place` has them."""


@frozen(eq=False)
class Part:
    box: Box
    region: Region
    value: Value


Chain: TypeAlias = list[tuple[Value, list[Part]]]
"""The sums so far, each with the parts that it adds to the one before."""


def merge_placements(graph: Graph) -> Graph:
    """Make one assembly of each sum of placements that do not overlap in part."""
    found = _Finder(graph)
    if not found.chosen:
        return graph

    def assembled(
        node: Node, _: tuple[Value, ...], builder: Builder, producers: Mapping[Value, Node]
    ) -> tuple[Value, ...] | None:
        parts = found.chosen.get(node.outputs[0]) if node.op is add else None
        return None if parts is None else _assembly(node, parts, builder, producers)

    return rewrite(graph, assembled, graph.stage)


class _Finder:
    """The sums to rewrite: `chosen`, with all the parts of each."""

    def __init__(self, graph: Graph) -> None:
        self.chosen: dict[Value, list[Part]] = {}
        self._chains: dict[Value, Chain] = {}  # by their last sum
        self._closed: set[Value] = set()
        self._uses = graph.uses()
        self._results = set(graph.results)
        for node in graph.nodes:
            if node.op is place_:
                self._chains[node.outputs[0]] = [(node.outputs[0], _parts(node))]
            elif node.op is add:
                self._add(node)
        for chain in self._chains.values():
            self._close(chain)

    def _add(self, node: Node) -> None:
        (total,) = node.outputs
        known = [v for v in node.inputs if v in self._chains and v.type == total.type]
        if len(known) < 2:
            return
        longer, other = sorted((self._chains[v] for v in known), key=len, reverse=True)
        added = self._close(other)
        if added is None or len({part.box for part in added}) < len(added):
            return
        if len(longer) == 1:
            longer = list(longer)  # a placement may begin several chains
        elif self._only_used_here(longer[-1][0]):
            del self._chains[longer[-1][0]]
        else:
            return
        longer.append((total, added))
        self._chains[total] = longer

    def _only_used_here(self, value: Value) -> bool:
        return len(self._uses[value]) == 1 and value not in self._results

    def _close(self, chain: Chain) -> list[Part] | None:
        """Choose the longest beginning of a chain that can be one assembly; its parts, if that is
        all of it."""
        last, parts = chain[-1]
        if len(chain) == 1:
            return parts
        if last not in self._closed:
            self._closed.add(last)
            ends = range(2, len(chain) + 1)
            count = 1 + bisect_left(ends, True, key=lambda end: _overlap(_joined(chain[:end])))
            if count > 1:
                self.chosen[chain[count - 1][0]] = _joined(chain[:count])
        return self.chosen.get(last)


def _parts(node: Node) -> list[Part]:
    """The parts of a placement."""
    found = []
    for region, value in zip(node.params["ranges"], node.inputs, strict=True):
        ends = [
            (start, start + step * (n - 1))
            for (start, step), n in zip(region, value.type.shape, strict=True)
        ]
        box = tuple([(min(a, b), max(a, b) + 1) for a, b in ends])
        found.append(Part(box, tuple(region), value))
    return found


def _joined(chain: Chain) -> list[Part]:
    return [part for _, parts in chain for part in parts]


def _overlap(parts: Sequence[Part]) -> bool:
    """Whether some regions meet that are not the same.

    Sorted along an axis, regions fall into groups that are apart, and each of these along another.
    """
    groups = [list({(part.box, part.region): part.box for part in parts}.values())]
    before = 0
    while before < len(groups):
        before = len(groups)
        for axis in range(len(parts[0].box)):
            groups = [found for group in groups for found in _apart(group, axis)]
    return any(len(group) > 1 for group in groups)


def _apart(boxes: list[Box], axis: int) -> Iterator[list[Box]]:
    """Groups of boxes between which a plane across `axis` lies."""
    group: list[Box] = []
    end = 0
    for box in sorted(boxes, key=lambda box: box[axis]):
        start, stop = box[axis]
        if group and start >= end:
            yield group
            group = []
        end = max(end, stop) if group else stop
        group.append(box)
    if group:
        yield group


def _assembly(
    node: Node, parts: Sequence[Part], builder: Builder, producers: Mapping[Value, Node]
) -> tuple[Value, ...]:
    def plus(a: Value, b: Value) -> Value:
        return builder.add(add, (a, b), {}, where=node.where)[0]

    (total,) = node.outputs
    zero = constant(np.zeros((), total.type.dtype))
    together: dict[tuple[Box, Region], list[Value]] = {}
    for part in parts:
        together.setdefault((part.box, part.region), []).append(part.value)

    def in_a_loop(value: Value) -> bool:
        return value in producers and is_pointwise(producers[value])

    operands, afterwards = [], False
    for values in together.values():
        if len(values) == len(parts):
            operands.append(reduce(plus, values))  # where all parts lie, the sum adds no zero
        elif len(values) > 1 or in_a_loop(values[0]):
            operands.append(reduce(plus, [*values, zero]))
        else:
            operands.append(values[0])
            afterwards = True
    ranges = tuple(region for _, region in together)
    params = {"shape": total.type.shape, "ranges": ranges}
    whole = builder.add(place_, operands, params, where=node.where)
    return (plus(whole[0], zero),) if afterwards else whole
