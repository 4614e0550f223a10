"""Which kernel computes what, and in which order. The second half of fusion.

Kernels are numbered as they are opened, and run in the order of their numbers. A node may be in a
kernel if all that it reads is computed by earlier kernels, or by the same one at the same place. A
reduction, a matrix product or an op that NumPy runs opens a kernel of its own. A pointwise op joins
the last group of its shape, if that is late enough, and opens another otherwise.

So an op joins the earliest group that it can, though it may be needed late: the backward part of a
program has many that could run in the forward part. Where less memory is moved then, such an op
*sinks* into the group that reads it.

At last, the reduction of a group's rows *takes in* that group, if they may run as one: it stores
what the loop would have, and adds it up while it is in registers, as a softmax its exponentials.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeAlias

from ..ir.graph import GUARD, Constant, FusedKind, Node, Value
from ..ir.places import Expansion, NotAffine
from ..op import Assembly
from .canonical import reduction_layout
from .kinds import is_blas, is_compiled_reduction, is_source, is_view, size_in_bytes
from .memory import MAX_INSTRUCTIONS, MAX_OPERANDS, Memory, note

MAX_CHAIN = 8
"""Ops that sink together: enough for any derivative, and it keeps the pass linear."""
MIN_ROW = 128
"""Elements of a row from which on a reduction takes in the loop before it. It goes over the end of
a row with all its lanes, a loop only with as many as there are: a softmax of rows of 256 gains 5 %
and a log_softmax 20 %, of rows of 64 they lose 4 % and gain 5 %, and of rows of 16 a softmax loses
30 %."""

Reads: TypeAlias = dict[Value, dict[int, int]]
"""How many nodes of each kernel, by its number, read a value."""


@dataclass(eq=False)
class Kernel:
    """A kernel being gathered: its roots (several only in a group, after the reduction that took it
    in, if one did) and what it touches."""

    kind: FusedKind | None  # None: a step of its own (opaque, assembly, guard)
    roots: dict[Node, None]
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
        self._number: dict[Node, int] = {}  # of the kernel that a node is in
        self._last_group: dict[tuple[int, ...], int] = {}
        placed = [n for n in memory.nodes if all(memory.maker(v) is None for v in n.outputs)]
        self._leaves_of = {node: self._leaves(node) for node in placed}
        self._apart = self._read_apart()
        for node in placed:
            self._place(node)
        self._sink_all(placed)
        self._apart_because: dict[Node, str] = {}  # the reductions that took in no group, and why
        self._assembled = {v for n in placed if isinstance(n.op, Assembly) for v in n.inputs}
        for node in placed:
            if is_compiled_reduction(node):
                self._take_in(node)
        for node in placed:
            self._tell(node)
        self.kernels = [kernel for kernel in self.kernels if kernel.roots]

    def _read_apart(self) -> set[Value]:
        """Values that need memory whatever is grouped: an op that cannot be in their loop reads
        them."""
        found = set(self.memory.stored)
        for node, leaves in self._leaves_of.items():
            grouped = node in self.memory.pointwise
            found.update(leaf for leaf, at_place in leaves.items() if not (grouped and at_place))
        return found

    def _home(self, value: Value) -> int:
        """The number of the kernel that computes a value so far; -1 if none does."""
        node = self.memory.producers.get(value)
        return -1 if node is None else self._number.get(node, -1)

    def _place(self, node: Node) -> None:
        memory = self.memory
        if node in memory.pointwise or is_view(node) or is_source(node):
            self._number[node] = self._join(node, self._leaves_of[node])
        else:
            kind = FusedKind.REDUCE if is_compiled_reduction(node) else None
            self._number[node] = self._open(node, FusedKind.MATMUL if is_blas(node) else kind)
        if node.op is GUARD:
            self._last_group.clear()  # what comes after a guard is not computed before it

    def _tell(self, node: Node) -> None:
        """Note which of the leaves of `node` travel through memory, and why."""
        for leaf, at_place in self._leaves_of[node].items():
            if self._home(leaf) not in (-1, self._number[node]):
                self.escaping.add(leaf)
                self.notes.append(
                    note(self.memory.producers[leaf], node, self.why_not(leaf, node, at_place))
                )

    def _open(self, node: Node, kind: FusedKind | None) -> int:
        self.kernels.append(Kernel(kind, {node: None}))
        return len(self.kernels) - 1

    def _join(self, node: Node, leaves: dict[Value, bool]) -> int:
        """The number of the group that computes `node`, which joins it."""
        shape = node.outputs[0].type.shape
        number = self._last_group.get(shape)
        weight = self.memory.weight.get(node, 1)
        arrays = {leaf for leaf in leaves if not isinstance(leaf, Constant)}
        arrays |= self._apart.intersection(node.outputs)
        if number is not None and self._fits(number, leaves, arrays, weight):
            self.kernels[number].roots[node] = None
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
        homes = ((self._home(leaf), at_place) for leaf, at_place in leaves.items())
        if not all(home < number or (home == number and at_place) for home, at_place in homes):
            return False
        kernel = self.kernels[number]
        touched = kernel.arrays | self._from_memory(arrays, number)
        return len(touched) <= MAX_OPERANDS and kernel.weight + weight <= MAX_INSTRUCTIONS

    def _from_memory(self, arrays: set[Value], number: int) -> set[Value]:
        return {v for v in arrays if v in self._apart or self._home(v) != number}

    # ---- sinking

    def _sink_all(self, placed: list[Node]) -> None:
        """Users before what they use, so that these can follow."""
        reads: Reads = {}
        for node, leaves in self._leaves_of.items():
            number = self._number[node]
            for leaf in leaves:
                of_leaf = reads.setdefault(leaf, {})
                of_leaf[number] = of_leaf.get(number, 0) + 1
        for node in reversed(placed):
            target = self._only_reader(node, reads)
            if target is not None:
                chain, counts = self._chain(node, reads)
                if self._moves_less(chain, counts, target, reads):
                    for each in chain:
                        self._sink(each, target, reads)

    def _only_reader(self, node: Node, reads: Reads) -> int | None:
        """The number of a later group that alone reads what `node` computes."""
        if node not in self.memory.pointwise:
            return None
        (value,) = node.outputs
        homes = reads.get(value, ())
        if value in self._apart or len(homes) != 1 or self._number[node] in homes:
            return None
        return next(iter(homes))

    def _chain(self, node: Node, reads: Reads) -> tuple[list[Node], dict[Value, int]]:
        """`node` and the ops of its group that only serve it, and how many of these read a leaf."""
        number, chain = self._number[node], [node]
        leaves: dict[Value, int] = {}
        for each in chain:
            for leaf in self._leaves_of[each]:
                leaves[leaf] = leaves.get(leaf, 0) + 1
                serves = self._is_local(leaf, number, reads) and leaves[leaf] == reads[leaf][number]
                if serves and len(chain) < MAX_CHAIN:
                    chain.append(self.memory.producers[leaf])
                    del leaves[leaf]
        return chain, leaves

    def _is_local(self, value: Value, number: int, reads: Reads) -> bool:
        """Whether kernel `number` computes a value that no other reads."""
        return self._home(value) == number and value not in self._apart and len(reads[value]) == 1

    def _moves_less(
        self,
        chain: list[Node],
        leaves: dict[Value, int],
        target: int,
        reads: Reads,
    ) -> bool:
        """Whether `chain` may be in group `target`, and moves fewer bytes there."""
        number, kernel = self._number[chain[0]], self.kernels[target]
        saved = 2 * size_in_bytes(chain[0].outputs[0])
        for leaf, count in leaves.items():
            size = size_in_bytes(leaf)
            saved -= size * (target not in reads[leaf])
            saved -= size * self._is_local(leaf, number, reads)
            saved += size * (self._home(leaf) != number and reads[leaf].get(number) == count)
        arrays = {leaf for leaf in leaves if not isinstance(leaf, Constant)}
        weight = sum(self.memory.weight[node] for node in chain)
        fits = len(kernel.arrays | arrays) <= MAX_OPERANDS
        return fits and kernel.weight + weight <= MAX_INSTRUCTIONS and saved > 0

    def _sink(self, node: Node, target: int, reads: Reads) -> None:
        number, kernel = self._number[node], self.kernels[target]
        for leaf in self._leaves_of[node]:
            counts = reads[leaf]
            counts[target] = counts.get(target, 0) + 1
            counts[number] -= 1
            if not counts[number]:
                del counts[number]
        del self.kernels[number].roots[node]
        kernel.roots[node] = None
        kernel.arrays |= {leaf for leaf in self._leaves_of[node] if not isinstance(leaf, Constant)}
        kernel.weight += self.memory.weight[node]
        self._number[node] = target

    # ---- reductions of rows

    def _take_in(self, node: Node) -> None:
        """Let a reduction run in the place of the last loop that it reads, as one with it."""
        number = max(map(self._home, self._leaves_of[node]), default=-1)
        reason = "nothing but inputs" if number < 0 else self._why_apart(node, number)
        if reason is not None:
            self._apart_because[node] = reason
            return
        loop, alone = self.kernels[number], self.kernels[self._number[node]]
        loop.kind, loop.roots = FusedKind.REDUCE, {node: None, **loop.roots}
        alone.roots = {}
        self._number[node] = number
        self.escaping.update(node.outputs)  # it ends the rows, so it is what others read

    def _why_apart(self, node: Node, number: int) -> str | None:
        """Why a reduction cannot run as one with a loop, of which it is the last to be ready."""
        leaves, loop = self._leaves_of[node], self.kernels[number]
        if loop.kind is not FusedKind.LOOP:
            return "another kernel lies between them"
        if not all(at_place for leaf, at_place in leaves.items() if self._home(leaf) == number):
            return "it is read at other places than where it is computed"
        reason = _why_no_rows(node)
        if reason is not None:
            return reason
        if any(not self._assembled.isdisjoint(root.outputs) for root in loop.roots):
            return "its loop stores into an array that is joined from several"
        arrays = loop.arrays | {leaf for leaf in leaves if not isinstance(leaf, Constant)}
        weight = loop.weight + self.memory.weight.get(node, 1)
        if len(arrays) >= MAX_OPERANDS or weight > MAX_INSTRUCTIONS:
            return "their kernel would be full"
        return self._why_not_walked(node, loop)

    def _why_not_walked(self, node: Node, loop: Kernel) -> str | None:
        """Why a reduction cannot walk what a loop reads; None if it can."""
        members = {v: root for root in (node, *loop.roots) for v in root.outputs}
        (operand,) = node.inputs
        expansion = Expansion(operand.type.shape, lambda v: members.get(v) or self.memory.maker(v))
        for value in (operand, *(v for root in loop.roots for v in root.outputs)):
            expansion.evaluate(value)
        try:
            reduction_layout(node).collapse([address for _, address in expansion.reads])
        except NotAffine as reason:
            return str(reason)
        return None

    # ---- what is read from memory

    def _leaves(self, node: Node) -> dict[Value, bool]:
        """What the kernel of `node` reads from memory for it, and whether only at its own place."""
        found: dict[Value, bool] = {}
        reduces = is_compiled_reduction(node)
        looped = node.inputs if reduces else node.outputs
        shape = looped[0].type.shape if looped else ()
        stack = [(node, reduces or node in self.memory.pointwise)]
        seen = set(stack)
        while stack:
            reader, here = stack.pop()
            for value in reader.inputs:
                at_place = here and value.type.shape == shape
                made = self.memory.maker(value)
                if made is None:
                    found[value] = found.get(value, True) and at_place
                    continue
                step = (made, at_place and made in self.memory.pointwise)
                if step not in seen:
                    seen.add(step)
                    stack.append(step)
        return found

    def why_not(self, leaf: Value, consumer: Node, at_place: bool) -> str:
        """Why `consumer` reads `leaf`, which another kernel computes, from memory."""
        producer = self.memory.producers[leaf]
        kind = self.kernels[self._home(leaf)].kind
        if kind is FusedKind.MATMUL:
            return "a matrix product is a BLAS call"
        if kind is FusedKind.REDUCE:
            return "a reduction ends its kernel"
        if kind is None:
            return f"{producer.op.name} is a step of its own"
        if is_blas(consumer):
            return "a BLAS call reads matrices from memory"
        if is_compiled_reduction(consumer):
            return self._apart_because.get(consumer, "another kernel lies between them")
        if consumer not in self.memory.pointwise:
            return f"{consumer.op.name} is a step of its own"
        made, read = leaf.type.shape, consumer.outputs[0].type.shape
        if made != read:
            return f"it loops over {list(made)}, not {list(read)}"
        if not at_place:
            return "it is read at other places than where it is computed"
        return "another kernel lies between them, or theirs is full"


def _why_no_rows(node: Node) -> str | None:
    """Why a reduction is not one of rows that take in a loop; None if it is."""
    try:
        layout = reduction_layout(node)
    except NotAffine as reason:
        return str(reason)
    kept, reduced, _ = layout.extents
    if layout.has_columns or kept < 2:
        return "only rows, and several of them, are reduced where they are computed"
    if reduced < MIN_ROW:
        return f"rows of less than {MIN_ROW} elements are reduced by themselves"
    return None
