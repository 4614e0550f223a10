"""Which kernel computes what, and in which order. The second half of fusion.

Kernels are numbered as they are opened, and run in the order of their numbers. A node may be in a
kernel if all that it reads is computed by earlier kernels, or by the same one at the same place. A
reduction, a matrix product or an op that NumPy runs opens a kernel of its own. A pointwise op joins
the last group of its shape, if that is late enough, and opens another otherwise.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from ..ir.graph import Constant, FusedKind, Node, Value
from .kinds import is_blas, is_compiled_reduction, is_source, is_view
from .memory import MAX_INSTRUCTIONS, MAX_OPERANDS, Memory, note


@dataclass(eq=False)
class Kernel:
    """A kernel being gathered: its roots (several only in a group) and what it touches."""

    kind: FusedKind | None  # None: a step of its own (opaque, assembly, guard)
    roots: list[Node]
    arrays: set[Value] = field(default_factory=set)
    weight: int = 0


class Schedule:
    """The kernels of a graph whose memory is decided.

    Attributes:
        kernels: in the order in which they run.
        escaping: values that another kernel than their own reads.
        notes: for each value that travels through memory between two ops, why.
    """

    def __init__(self, memory: Memory) -> None:
        self.memory = memory
        self.kernels: list[Kernel] = []
        self.escaping: set[Value] = set()
        self.notes: list[str] = []
        self._home: dict[Value, int] = {}  # the number of the kernel that computes a value
        self._last_group: dict[tuple[int, ...], int] = {}
        for node in memory.nodes:
            self._place(node)

    def _place(self, node: Node) -> None:
        memory = self.memory
        if any(memory.maker(value) is not None for value in node.outputs):
            return  # computed where it is read
        leaves = self._leaves(node)
        if node in memory.pointwise or is_view(node) or is_source(node):
            number = self._join(node, leaves)
        else:
            kind = FusedKind.REDUCE if is_compiled_reduction(node) else None
            number = self._open(node, FusedKind.MATMUL if is_blas(node) else kind)
        self._home.update((value, number) for value in node.outputs)
        for leaf, at_place in leaves.items():
            if self._home.get(leaf, number) != number:
                self.escaping.add(leaf)
                self.notes.append(
                    note(memory.producers[leaf], node, self.why_not(leaf, node, at_place))
                )

    def _open(self, node: Node, kind: FusedKind | None) -> int:
        self.kernels.append(Kernel(kind, [node]))
        return len(self.kernels) - 1

    def _join(self, node: Node, leaves: dict[Value, bool]) -> int:
        """The number of the group that computes `node`, which joins it."""
        shape = node.outputs[0].type.shape
        number = self._last_group.get(shape)
        weight = self.memory.weight.get(node, 1)
        arrays = {leaf for leaf in leaves if not isinstance(leaf, Constant)}
        arrays |= self.memory.stored.intersection(node.outputs)
        if number is not None and self._fits(number, leaves, arrays, weight):
            self.kernels[number].roots.append(node)
        else:
            number = self._last_group[shape] = self._open(node, FusedKind.LOOP)
        kernel = self.kernels[number]
        kernel.arrays |= self._from_memory(arrays, number)
        kernel.weight += weight
        return number

    def _fits(
        self, number: int, leaves: dict[Value, bool], arrays: set[Value], weight: int
    ) -> bool:
        """Whether a node may be in group `number`: order, places, limits."""
        homes = ((self._home.get(leaf, -1), at_place) for leaf, at_place in leaves.items())
        if not all(home < number or (home == number and at_place) for home, at_place in homes):
            return False
        kernel = self.kernels[number]
        touched = kernel.arrays | self._from_memory(arrays, number)
        return len(touched) <= MAX_OPERANDS and kernel.weight + weight <= MAX_INSTRUCTIONS

    def _from_memory(self, arrays: set[Value], number: int) -> set[Value]:
        stored, home = self.memory.stored, self._home
        return {v for v in arrays if v in stored or home.get(v) != number}

    def _leaves(self, node: Node) -> dict[Value, bool]:
        """What the kernel of `node` reads from memory for it, and whether only at its own place."""
        found: dict[Value, bool] = {}
        shape = node.outputs[0].type.shape if node.outputs else ()
        pointwise = node in self.memory.pointwise
        stack = [(v, pointwise and v.type.shape == shape) for v in node.inputs]
        seen: set[Value] = set()
        while stack:
            value, at_place = stack.pop()
            made = self.memory.maker(value)
            if made is None:
                found[value] = found.get(value, True) and at_place
            elif value not in seen:
                seen.add(value)
                stack.extend((v, False) for v in made.inputs)
        return found

    def why_not(self, leaf: Value, consumer: Node, at_place: bool) -> str:
        """Why `consumer` reads `leaf`, which another kernel computes, from memory."""
        producer = self.memory.producers[leaf]
        kind = self.kernels[self._home[leaf]].kind
        if kind is FusedKind.MATMUL:
            return "a matrix product is a BLAS call"
        if kind is FusedKind.REDUCE:
            return "a reduction ends its kernel"
        if kind is None:
            return f"{producer.op.name} is a step of its own"
        if is_blas(consumer):
            return "a BLAS call reads matrices from memory"
        if is_compiled_reduction(consumer):
            return "other kernels read it too, or the reduction is full"
        if consumer not in self.memory.pointwise:
            return f"{consumer.op.name} is a step of its own"
        made, read = leaf.type.shape, consumer.outputs[0].type.shape
        if made != read:
            return f"it loops over {list(made)}, not {list(read)}"
        if not at_place:
            return "it is read at other places than where it is computed"
        return "another kernel lies between them, or theirs is full"
