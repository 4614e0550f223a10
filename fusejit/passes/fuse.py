"""Fuse: gather ops into kernels. One kernel = one loop nest, or one reduction, or one BLAS call.

A reduction of rows may store what the loop before it would have: then the two are one kernel.

Terminology
    pointwise   an elementwise op that has a scalar program for its dtypes
    gathered    computed by the kernel that reads it: views, sources (arange), inlined ops
    group       pointwise ops over one index space that become one loop, with several outputs

Algorithm, linear in the graph
    1. `memory`, backwards: which values are stored, which are inlined where they are read.
    2. `schedule`, forwards: a number for each kernel, a kernel for each op that is not gathered.
    3. Here: each kernel as a fused node with its body, or as the bare node if nothing was gathered.

Every edge that stays a trip through memory has its reason, kept in the graph's notes.
"""

from __future__ import annotations

from collections.abc import Sequence

from ..frozen import replace
from ..ir.graph import FUSED, Constant, Graph, Node, Value
from .memory import Memory
from .schedule import Kernel, Schedule


def fuse(graph: Graph) -> Graph:
    """Gather the nodes of `graph` into kernels."""
    memory = Memory(graph)
    schedule = Schedule(memory)
    kept = memory.stored | schedule.escaping
    nodes = [_emit(kernel, kept, memory) for kernel in schedule.kernels]
    notes = (*graph.notes, *memory.notes, *schedule.notes)
    alive = tuple(node for node in nodes if node is not None)
    return replace(graph, nodes=alive, notes=notes, stage="after fuse")


def _emit(kernel: Kernel, kept: set[Value], memory: Memory) -> Node | None:
    """The node of a kernel; None if nobody reads what it computes."""
    first = next(iter(kernel.roots))
    if kernel.kind is None:
        return first
    outputs = [v for node in kernel.roots for v in node.outputs if v in kept]
    if not outputs:
        return None
    nodes, inputs = _body(outputs, kernel, memory)
    if len(nodes) == 1 and tuple(outputs) == nodes[0].outputs:
        return nodes[0]
    names = tuple(f"i{i}" for i in range(len(inputs)))
    body = Graph("body", tuple(inputs), names, tuple(nodes), tuple(outputs), stage="fused")
    params = {"kind": kernel.kind, "body": _renamed(body)}
    return Node(FUSED, tuple(inputs), tuple(outputs), params, first.where)


def _body(
    outputs: Sequence[Value], kernel: Kernel, memory: Memory
) -> tuple[list[Node], list[Value]]:
    """The nodes inside a kernel, operands before users, and what it reads from memory."""
    members = {v: node for node in kernel.roots for v in node.outputs}
    order: dict[Node, None] = {}
    inputs: dict[Value, None] = {}
    stack = [(v, False) for v in reversed(outputs)]
    while stack:
        value, ready = stack.pop()
        node = members.get(value) or memory.maker(value)
        if node is None:
            if not isinstance(value, Constant):
                inputs[value] = None
        elif ready:
            order[node] = None
        elif node not in order:
            stack.append((value, True))
            stack.extend((v, False) for v in reversed(node.inputs))
    return list(order), list(inputs)


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
