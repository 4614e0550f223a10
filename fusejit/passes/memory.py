"""Which values get memory, and which are computed where they are read. The first half of fusion.

A *root* is a node that has a loop: a reduction, a view whose result is stored, or a pointwise op in
a group. Going backwards, every root tells what it reads: an array at its own place, or a *reading*,
that is, a value at some other place of its loop (through views, by broadcasting, in a reduction).
Views and inlined ops pass their readings on to their operands. A pointwise value is

    grouped    if an op of its own shape reads it at its own place: then one loop computes both
    inlined    if all of its readings together compute no more elements than it has, or it is cheap
               to compute again, or a single element, and the kernels that read it stay within the
               limits: then it never gets memory
    grouped    otherwise, for want of a better place; it is stored, and the readings load it

A *light* value, cheap and no wider to read than its operand, is not grouped if it has several
readings: whatever reads it computes it again from the operand, which is then what is stored.

When all this is settled, the operand of a reduction or of a matrix product may lie so that no
stride walks it; it is then computed into memory first, by a copy of the node that makes it.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TypeAlias

from ..frozen import replace
from ..ir.affine import Affine, identity
from ..ir.graph import Constant, Graph, Node, Value
from ..ir.places import Expansion, NotAffine, Place, align, through
from .canonical import blas_strides, reduction_layout
from .kinds import (
    instructions,
    is_blas,
    is_cheap,
    is_compiled_reduction,
    is_pointwise,
    is_source,
    is_view,
    work,
)

MAX_INSTRUCTIONS = 1500
"""Scalar instructions in a kernel: past this, code generation takes over 100 ms and saves nothing,
for the work a load costs is long hidden."""
MAX_OPERANDS = 24
"""Arrays that a kernel touches: beyond the general registers each costs a spilled pointer, and
beyond the hardware's prefetch streams bandwidth drops."""

MAX_REPEATS = 4
"""Places of one kernel or of several that may each compute a cheap value again."""
MAX_CHAIN = 4
"""Cheap ops in a row that are computed again together: more take longer than a load."""
MAX_UNIFORM = 16
"""Instructions on single elements in a kernel. They run before its loop (at worst once a row), in
less time than a step of their own takes; one pow or exp has several times as many."""

Readings: TypeAlias = dict[tuple[Node, Place], int]
"""(root, place in its loop) -> how many times the loop runs. Equal readings are computed once."""


class Memory:
    """The decisions for one graph.

    Attributes:
        nodes: those of the graph, and the copies that were put between them.
        producers: the node that makes each value.
        pointwise: the nodes that loops can compute.
        stored: values that get memory whatever reads them (others do if another kernel reads them).
        inlined: pointwise values that are computed where they are read.
        weight: for each root, the instructions of its op and of all that is inlined into it.
        notes: why operands were copied.
    """

    def __init__(self, graph: Graph) -> None:
        self.producers = graph.producers()
        self.pointwise = {node for node in graph.nodes if is_pointwise(node)}
        self._views = {node for node in graph.nodes if is_view(node)}
        self._gathered = {v for node in graph.nodes if is_source(node) for v in node.outputs}
        self._gathered.update(v for node in self._views for v in node.outputs)
        self.stored: set[Value] = set(graph.results)
        self.inlined: set[Value] = set()
        self.weight: dict[Node, int] = {}
        self.notes: list[str] = []
        self._arrays: dict[Node, set[Value]] = {}  # what the loop of each root touches
        self._uniform: dict[Node, int] = {}  # instructions on single elements, for each root
        self._again: dict[Value, int] = {}  # how many cheap ops in a row are computed again from it
        self._grouped: set[Value] = set()
        self._light: set[Value] = set()  # would be grouped, were it not light
        self._readings: dict[Value, Readings] = {}
        for node in reversed(graph.nodes):
            self._decide(node)
        self.nodes = tuple(self._with_copies(graph.nodes))

    def maker(self, value: Value) -> Node | None:
        """The node that computes `value` where it is read; None if it is read from memory."""
        if value not in self.inlined and value not in self._gathered:
            return None
        return None if value in self.stored else self.producers[value]

    # ---- backwards: grouped, inlined or stored

    def _decide(self, node: Node) -> None:
        if node in self.pointwise:
            readings = self._readings.pop(node.outputs[0], {})
            if self._may_inline(node, readings):
                self._inline(node, readings)
            else:
                self._give_loop(node)
        elif node in self._views:
            self._decide_view(node)
        elif is_compiled_reduction(node):
            self._root(node)
            (operand,) = node.inputs
            self._read(operand, (node, identity(len(operand.type.shape))), operand.type.size)
        elif is_blas(node):
            self._grouped.update(map(self._base, node.inputs))
        elif not is_source(node):
            self.stored.update(node.inputs)

    def _may_inline(self, node: Node, readings: Readings) -> bool:
        (output,) = node.outputs
        if not readings or output in self.stored or output in self._grouped:
            return False
        roots = {root for root, _ in readings}
        return self._pays(node, readings, roots) and all(
            self.weight[root] + instructions(node) <= MAX_INSTRUCTIONS
            and len(self._arrays[root] | _arrays(node)) <= MAX_OPERANDS
            for root in roots
        )

    def _pays(self, node: Node, readings: Readings, roots: set[Node]) -> bool:
        """Whether computing a value where it is read is no more work than storing it."""
        (output,) = node.outputs
        if len(readings) == 1 and output in self._light:
            return False  # one loop computes both anyway
        if sum(readings.values()) <= output.type.size:
            return True
        if output.type.size == 1:
            return all(self._uniform[root] + len(work(node)) <= MAX_UNIFORM for root in roots)
        again = self._again.get(output, 0)
        return len(readings) <= MAX_REPEATS and again < MAX_CHAIN and is_cheap(node)

    def _inline(self, node: Node, readings: Readings) -> None:
        (output,) = node.outputs
        self.inlined.add(output)
        if len(readings) > 1:
            for operand in node.inputs:
                again = self._again.get(output, 0) + 1
                self._again[operand] = max(self._again.get(operand, 0), again)
        for root in {root for root, _ in readings}:
            self.weight[root] += instructions(node)
            self._uniform[root] += len(work(node)) if output.type.size == 1 else 0
            self._arrays[root] -= set(node.outputs)
            self._arrays[root] |= _arrays(node)
        for (root, place), size in readings.items():
            for operand in node.inputs:
                self._read(operand, (root, align(place, operand.type.shape)), size)

    def _give_loop(self, node: Node) -> None:
        self._root(node)
        shape = node.outputs[0].type.shape
        here = identity(len(shape))
        for operand in node.inputs:
            beside = operand.type.shape == shape and not self._is_view(operand)
            if beside and self._is_light(operand):
                self._light.add(operand)
            if beside and operand not in self._light:
                self._grouped.add(operand)
            else:
                reading = (node, align(here, operand.type.shape))
                self._read(operand, reading, node.outputs[0].type.size)

    def _decide_view(self, node: Node) -> None:
        (output,), (operand,) = node.outputs, node.inputs
        readings = self._readings.pop(output, {})
        if output in self.stored:
            self._root(node)
            readings = {(node, identity(len(output.type.shape))): output.type.size}
        if not self._is_computed(operand):
            return
        if _cuts(node):
            self.stored.add(operand)
            return
        for (root, place), size in readings.items():
            inner = through(node, place, False, _rank(root))
            assert not isinstance(inner, Affine), "only what lies in memory is addressed linearly"
            self._read(operand, (root, inner), size)

    def _root(self, node: Node) -> None:
        self.weight[node] = instructions(node)
        self._uniform[node] = 0
        self._arrays[node] = _arrays(node) | set(node.outputs)

    def _read(self, value: Value, reading: tuple[Node, Place], size: int) -> None:
        if self._is_computed(value) and value not in self.stored:
            self._readings.setdefault(value, {})[reading] = size

    def _is_computed(self, value: Value) -> bool:
        node = self.producers.get(value)
        return node in self.pointwise or node in self._views

    def _is_light(self, value: Value) -> bool:
        node = self.producers.get(value)
        if node not in self.pointwise or not is_cheap(node):
            return False
        return all(v.type.dtype.itemsize <= value.type.dtype.itemsize for v in _arrays(node))

    def _is_view(self, value: Value) -> bool:
        return self.producers.get(value) in self._views

    def _base(self, value: Value) -> Value:
        while self._is_view(value):
            (value,) = self.producers[value].inputs
        return value

    # ---- forwards: operands that no stride walks

    def _with_copies(self, nodes: tuple[Node, ...]) -> Iterator[Node]:
        copies: dict[Value, Value] = {}
        for node in nodes:
            if not (is_compiled_reduction(node) or is_blas(node)):
                yield node
                continue
            for operand in node.inputs:
                reason = None if operand in copies else self._not_walked(node, operand)
                if reason is not None:
                    self.notes.append(note(self.producers[operand], node, reason))
                    copy = self._copy(operand, node)
                    copies[operand] = copy.outputs[0]
                    yield copy
            if not copies.keys().isdisjoint(node.inputs):
                before = node
                node = replace(node, inputs=tuple(copies.get(v, v) for v in node.inputs))
                if before in self.weight:
                    self.weight[node] = self.weight[before]
                self.producers.update((v, node) for v in node.outputs)
            yield node

    def _not_walked(self, node: Node, operand: Value) -> str | None:
        """Why the kernel of `node` cannot compute its operand on the fly; None if it can."""
        if self.maker(operand) is None:
            return None
        if is_blas(node):
            found = blas_strides(operand, self._view_maker)
            readable = found is not None and self.maker(found[0]) is None
            return None if readable else "BLAS reads rows or columns of consecutive elements"
        try:
            expansion = Expansion(operand.type.shape, self.maker)
            expansion.evaluate(operand)
            reduction_layout(node).collapse([address for _, address in expansion.reads])
        except NotAffine as reason:
            return str(reason)
        return None

    def _view_maker(self, value: Value) -> Node | None:
        node = self.maker(value)
        return node if node in self._views else None

    def _copy(self, operand: Value, reader: Node) -> Node:
        made = self.producers[operand]
        copy = replace(made, outputs=(Value(operand.type),))
        (fresh,) = copy.outputs
        self.producers[fresh] = copy
        self.stored.add(fresh)
        if made in self.pointwise:
            self.pointwise.add(copy)
        self.weight[copy] = self.weight.get(reader, instructions(made))
        return copy


def _arrays(node: Node) -> set[Value]:
    """What a node reads. Constants are not counted: nearly all are scalars, loaded once a loop."""
    return {v for v in node.inputs if not isinstance(v, Constant)}


def _cuts(view: Node) -> bool:
    """Whether the elements of a view's operand have no place unless they lie in memory."""
    here = identity(len(view.outputs[0].type.shape))
    try:
        through(view, here, False, len(here))
    except NotAffine:  # then it is so at every other place: it is about shapes
        return True
    return False


def _rank(root: Node) -> int:
    """How many indices the loop of a root has."""
    looped = root.inputs[0] if is_compiled_reduction(root) else root.outputs[0]
    return len(looped.type.shape)


def note(producer: Node, consumer: Node, reason: str) -> str:
    """A refusal to fuse, as `explain` shows it."""
    at = f" ({consumer.where})" if consumer.where else ""
    return f"{producer.op.name} | {consumer.op.name}{at}: {reason}"
