"""Fuse: gather ops into kernels. One kernel = one loop nest, or one reduction, or one BLAS call.

Terminology
    pointwise   an elementwise op that has a scalar program for its dtypes
    stored      a value that gets memory: something reads it that cannot compute it on the fly
    inlined     a pointwise value that only others compute with: it is recomputed where it is read, if
                all reads together touch no more elements than it has (a matrix cut into four gates, a
                reduction's operand), so no element is computed twice
    group       pointwise ops over one index space that become one loop, with several outputs

Algorithm, linear in the graph
    1. From the results backwards, decide what is stored and what is inlined.
    2. Forwards, number the kernels. A pointwise op must come after the kernels that store what it
       reads; it may be in the *same* kernel as an operand that it reads at its own place. It joins the
       last group of its shape if that is late enough, and starts a new one otherwise. Kernels in the
       order of their numbers are therefore a valid schedule.
    3. Emit each kernel: a fused node with its body, or the bare node if nothing was gathered.

Every edge that stays a trip through memory has its reason from `why_not`, kept in the graph's notes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from ..dtypes import COMPILED
from ..ir.affine import identity
from ..ir.graph import FUSED, Constant, FusedKind, Graph, Node, Value
from ..ir.places import Expansion, NotAffine, through
from ..op import Contraction, Elementwise, Reduction, Source, View
from .canonical import blas_strides, reduction_layout

MAX_INSTRUCTIONS = 1500
"""Scalar instructions in a kernel: past this, code generation takes over 100 ms and saves nothing, for
the work a load costs is long hidden."""
MAX_OPERANDS = 24
"""Arrays that a group touches: beyond the general registers each costs a spilled pointer, and beyond
the hardware's prefetch streams bandwidth drops."""


def is_pointwise(node: Node) -> bool:
    """Whether the node is an elementwise op that compiles for its dtypes."""
    op = node.op
    return isinstance(op, Elementwise) and op.program(_dtypes(node), node.params) is not None


def is_view(node: Node) -> bool:
    """Whether the node is a view that kernels look through (NumPy runs it for dtypes without code)."""
    return isinstance(node.op, View) and COMPILED.issuperset(_dtypes(node))


def is_compiled_reduction(node: Node) -> bool:
    return isinstance(node.op, Reduction) and COMPILED.issuperset(_dtypes(node))


def _dtypes(node: Node) -> tuple[object, ...]:
    return tuple(v.type.dtype for v in node.inputs)  # type: ignore[return-value]


@dataclass(eq=False)
class Kernel:
    """A kernel being gathered: its root nodes (several only in a group) and what it touches."""

    kind: FusedKind | None  # None: a node that is a step of its own (opaque, assembly, guard)
    roots: list[Node] = field(default_factory=list)
    operands: set[Value] = field(default_factory=set)
    instructions: int = 0


def fuse(graph: Graph) -> Graph:
    """Gather the nodes of `graph` into kernels."""
    return _Fuser(graph).run()


class _Fuser:
    def __init__(self, graph: Graph) -> None:
        self.graph = graph
        self.producers = graph.producers()
        self.uses = graph.uses()
        self.pointwise = {node for node in graph.nodes if is_pointwise(node)}
        self.stored: set[Value] = set(graph.results)
        self.inlined: set[Value] = set()
        self.kernels: list[Kernel] = []
        self.home: dict[Value, int] = {}  # stored value, or member of a group -> kernel number
        self.escaping: set[Value] = set()
        self.notes: list[str] = []

    def run(self) -> Graph:
        for node in reversed(self.graph.nodes):
            self._decide(node)
        last_group: dict[tuple[int, ...], int] = {}
        for node in self.graph.nodes:
            self._place(node, last_group)
        nodes = tuple(self._emit(number, kernel) for number, kernel in enumerate(self.kernels))
        return replace(
            self.graph, nodes=nodes, notes=(*self.graph.notes, *self.notes), stage="after fuse"
        )

    # ---- 1. what is stored, what is inlined

    def _decide(self, node: Node) -> None:
        if is_view(node):
            self._decide_view(node)
        elif node in self.pointwise:
            if self._may_inline(node.outputs[0]):
                self.inlined.add(node.outputs[0])
        elif is_compiled_reduction(node):
            if not self._reads_by_strides(node):
                self.stored.update(node.inputs)
        elif self._is_blas(node):
            for operand in node.inputs:
                self.stored.add(self._blas_base(operand) or operand)
        elif not isinstance(node.op, Source):
            self.stored.update(node.inputs)

    def _decide_view(self, node: Node) -> None:
        operand = node.inputs[0]
        if node.outputs[0] not in self.stored and node.outputs[0] not in self.uses:
            return
        try:
            rank = len(node.outputs[0].type.shape)
            through(node, identity(rank), False, rank)
        except NotAffine:
            if not self._is_leaf(operand):
                self.stored.add(operand)

    def _is_leaf(self, value: Value) -> bool:
        node = self.producers.get(value)
        return node is None or not (is_view(node) or node in self.pointwise)

    def _may_inline(self, value: Value) -> bool:
        """Whether every read of `value` is on the fly, and together they read each element once."""
        if value in self.stored:
            return False
        reads, moved = 0, False
        for consumer, size, through_view in self._readers(value, value.type.size, False):
            if consumer in self.pointwise:
                moved |= through_view or consumer.outputs[0] in self.inlined
                if not through_view and consumer.outputs[0] not in self.inlined:
                    return False
            elif not is_compiled_reduction(consumer):
                return False
            else:
                moved = True
            reads += size
        return moved and reads <= value.type.size

    def _readers(self, value: Value, size: int, moved: bool) -> Iterator[tuple[Node, int, bool]]:
        """(node, elements it reads, whether through a view) for each reader, views followed."""
        for node in self.uses.get(value, ()):
            output = node.outputs[0] if node.outputs else None
            if is_view(node) and output is not None and output not in self.stored:
                yield from self._readers(output, output.type.size, True)
            elif is_view(node):
                yield node, size, True
            else:
                wider = (
                    output is not None
                    and node in self.pointwise
                    and output.type.shape != value.type.shape
                )
                elements = output.type.size if wider and output is not None else size
                yield node, elements, moved or wider

    def _reads_by_strides(self, node: Node) -> bool:
        """Whether the operand of a reduction can be computed inside its loop; notes why not."""
        (operand,) = node.inputs
        if self._is_leaf(operand):
            return True
        try:
            layout = reduction_layout(node)
            expansion = Expansion(operand.type.shape, self._producer_unless_stored)
            expansion.evaluate(operand)
            layout.collapse([address for _, address in expansion.reads])
        except NotAffine as reason:
            self._note(self.producers[operand], node, str(reason))
            return False
        return True

    def _producer_unless_stored(self, value: Value) -> Node | None:
        node = self.producers.get(value)
        if (
            node is None
            or value in self.stored
            or not (is_view(node) or isinstance(node.op, Source) or node in self.pointwise)
        ):
            return None
        return node

    def _is_blas(self, node: Node) -> bool:
        return isinstance(node.op, Contraction) and node.outputs[0].type.dtype.name in (
            "float32",
            "float64",
        )

    def _blas_base(self, operand: Value) -> Value | None:
        """The stored value that `operand` is a strided matrix of; None if it must be copied first."""
        base = operand
        while base in self.producers and is_view(self.producers[base]):
            base = self.producers[base].inputs[0]
        made = self.producers.get(base)
        if base is operand or (made is not None and isinstance(made.op, Source)):
            return None
        return base if blas_strides(operand, self._view_producer) is not None else None

    def _view_producer(self, value: Value) -> Node | None:
        node = self.producers.get(value)
        return node if node is not None and is_view(node) else None

    # ---- 2. which kernel

    def _place(self, node: Node, last_group: dict[tuple[int, ...], int]) -> None:
        output = node.outputs[0] if node.outputs else None
        gathered = is_view(node) or isinstance(node.op, Source) or node in self.pointwise
        if output is not None and gathered:
            if output in self.inlined or (output not in self.stored and node not in self.pointwise):
                return
            number = self._join(node, output, last_group)
        else:
            kind = FusedKind.REDUCE if is_compiled_reduction(node) else None
            kind = FusedKind.MATMUL if self._is_blas(node) else kind
            number = self._new(kind, node)
        self.home.update((value, number) for value in node.outputs)
        for leaf, _ in self._leaves(node):
            if self.home.get(leaf, -1) != number:
                self.escaping.add(leaf)

    def _new(self, kind: FusedKind | None, node: Node) -> int:
        self.kernels.append(Kernel(kind, [node], set(self._operands(node))))
        return len(self.kernels) - 1

    def _join(self, node: Node, output: Value, last_group: dict[tuple[int, ...], int]) -> int:
        shape = output.type.shape
        number = last_group.get(shape)
        operands = set(self._operands(node))
        cost = self._cost(node)
        if number is not None:
            kernel = self.kernels[number]
            operands = {v for v in operands if v in self.stored or self.home.get(v, -1) != number}
            refusals = [
                r
                for r in (
                    self.why_not(node, leaf, at_place, number)
                    for leaf, at_place in self._leaves(node)
                )
                if r
            ]
            full = (
                len(kernel.operands | operands) > MAX_OPERANDS
                or kernel.instructions + cost > MAX_INSTRUCTIONS
            )
            if not refusals and not full:
                kernel.roots.append(node)
                kernel.operands |= operands
                kernel.instructions += cost
                return number
            if full and not refusals:
                self._note(
                    kernel.roots[-1], node, f"the kernel is full ({len(kernel.operands)} arrays)"
                )
        for leaf, at_place in self._leaves(node):
            reason = self.why_not(node, leaf, at_place, number if number is not None else -1)
            if reason and leaf in self.producers:
                self._note(self.producers[leaf], node, reason)
        last_group[shape] = self._new(FusedKind.LOOP, node)
        self.kernels[-1].instructions = cost
        return last_group[shape]

    def why_not(self, consumer: Node, leaf: Value, at_place: bool, number: int) -> str | None:
        """Why `consumer` cannot be in kernel `number`, as far as it reads `leaf`; None if it can."""
        home = self.home.get(leaf, -1)
        if home < number:
            return None
        producer = self.producers.get(leaf)
        if producer is None:
            return None
        kernel = self.kernels[home]
        if kernel.kind is FusedKind.MATMUL:
            return "a matrix product is a BLAS call"
        if kernel.kind is FusedKind.REDUCE:
            return "a reduction ends its kernel"
        if kernel.kind is None:
            return f"{producer.op.name} is a step of its own"
        if leaf.type.shape != consumer.outputs[0].type.shape:
            return (
                f"it loops over {list(leaf.type.shape)}, not {list(consumer.outputs[0].type.shape)}"
            )
        if not at_place:
            return "it is read at other places than where it is computed"
        if home > number:
            return "another kernel lies between them"
        return None

    def _leaves(self, node: Node) -> list[tuple[Value, bool]]:
        """What the kernel of `node` reads for it, and whether at the loop's own place."""
        found: dict[Value, bool] = {}
        rank_shape = node.outputs[0].type.shape if node.outputs else ()
        own = not isinstance(node.op, View)
        stack = [(v, own and v.type.shape == rank_shape) for v in node.inputs]
        seen: set[tuple[Value, bool]] = set()
        while stack:
            value, at_place = stack.pop()
            if (value, at_place) in seen:
                continue
            seen.add((value, at_place))
            made = self.producers.get(value)
            if (
                made is not None
                and value not in self.stored
                and (is_view(made) or isinstance(made.op, Source))
            ) or (value in self.inlined and made is not None):
                stack.extend((v, False) for v in made.inputs)
            else:
                found[value] = found.get(value, True) and at_place
        return list(found.items())

    def _operands(self, node: Node) -> Iterator[Value]:
        # Constants are not counted: nearly all are scalars, loaded once for the whole loop.
        yield from (leaf for leaf, _ in self._leaves(node) if not isinstance(leaf, Constant))
        yield from (v for v in node.outputs if v in self.stored)

    def _cost(self, node: Node) -> int:
        if not isinstance(node.op, Elementwise):
            return 1
        program = node.op.program(_dtypes(node), node.params)  # type: ignore[arg-type]
        return 1 if program is None else len(program.instrs)

    def _note(self, producer: Node, consumer: Node, reason: str) -> None:
        at = f" ({consumer.where})" if consumer.where else ""
        self.notes.append(f"{producer.op.name} | {consumer.op.name}{at}: {reason}")

    # ---- 3. emission

    def _emit(self, number: int, kernel: Kernel) -> Node:
        if kernel.kind is None:
            return kernel.roots[0]
        outputs = [
            v
            for node in kernel.roots
            for v in node.outputs
            if v in self.stored or v in self.escaping
        ]
        if not outputs:  # computed for nothing but keeps its place: dead code was already dropped
            outputs = list(kernel.roots[-1].outputs)
        members = {v: node for node in kernel.roots for v in node.outputs}
        body, inputs = self._body(outputs, members, kernel)
        if len(body) == 1 and tuple(outputs) == body[0].outputs:
            return body[0]
        graph = Graph(
            "body",
            tuple(inputs),
            tuple(f"i{i}" for i in range(len(inputs))),
            tuple(body),
            tuple(outputs),
            stage="fused",
        )
        where = kernel.roots[0].where
        fresh = tuple(outputs)
        return Node(
            FUSED, tuple(inputs), fresh, {"kind": kernel.kind, "body": _renamed(graph)}, where
        )

    def _body(
        self, outputs: Sequence[Value], members: dict[Value, Node], kernel: Kernel
    ) -> tuple[list[Node], list[Value]]:
        """The nodes inside a kernel, operands before users, and what it reads from memory."""
        order: list[Node] = []
        inputs: dict[Value, None] = {}
        done: set[Node] = set()
        stack: list[tuple[Value, bool]] = [(v, False) for v in reversed(outputs)]
        while stack:
            value, ready = stack.pop()
            node = members.get(value) or self._gathered(value, kernel)
            if node is None:
                if not isinstance(value, Constant):
                    inputs[value] = None
            elif ready:
                if node not in done:
                    done.add(node)
                    order.append(node)
            elif node not in done:
                stack.append((value, True))
                stack.extend((v, False) for v in reversed(node.inputs))
        return order, list(inputs)

    def _gathered(self, value: Value, kernel: Kernel) -> Node | None:
        """The producer of `value`, if this kernel computes it on the fly."""
        if value in self.stored or (value not in self.inlined and self._is_leaf(value)):
            node = self.producers.get(value)
            return (
                node
                if node is not None and isinstance(node.op, Source) and value not in self.stored
                else None
            )
        node = self.producers[value]
        return (
            node if is_view(node) or isinstance(node.op, Source) or value in self.inlined else None
        )


def _renamed(body: Graph) -> Graph:
    """`body` with values of its own, so that each value of the outer graph has one producer."""
    new = {v: Value(v.type) for v in body.inputs}
    nodes = []
    for node in body.nodes:
        outputs = tuple(Value(v.type) for v in node.outputs)
        inputs = tuple(new.get(v, v) for v in node.inputs)
        nodes.append(Node(node.op, inputs, outputs, node.params, node.where))
        new.update(zip(node.outputs, outputs, strict=True))
    return replace(
        body,
        inputs=tuple(new[v] for v in body.inputs),
        nodes=tuple(nodes),
        outputs=tuple(new[v] for v in body.outputs),
    )
