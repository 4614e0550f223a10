"""The intermediate representation: a pure, typed, straight-line graph in SSA form.

    graph  := func @name(%input: type, ...) -> types {
                  node* return values [assign @variable, value]* }
    node   := %output: type, ... = op operands {params}          // file:line of the user
            | %output: type, ... = fused<kind> operands { node* } one kernel, its body shown
    operand := %value | literal                                   a constant, where it is used
    type   := f32[64,10]                                          dtype and extents
            | f32[64,10] /gpu:0                                   of an input that is not on the CPU

Nothing here is ever changed: a pass builds another graph. Values are compared by identity. A read
of a Variable is an input and its last assignment an `effect`, committed when the whole graph has
run; so order needs no edges. A guard is a node without outputs: it stops the run if its operand
differs.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from enum import Enum
from typing import Any

from ..dtypes import TensorType
from ..frozen import frozen
from ..op import Array, Op


@frozen(eq=False)
class Value:
    """One array of the graph."""

    type: TensorType


@frozen(eq=False)
class Placed(Value):
    """An input that does not lie on the CPU. Of other values their nodes say, see `ir.devices`."""

    device: str


@frozen(eq=False)
class Constant(Value):
    """A value known when the graph was made: a Python number or list in the user's code."""

    array: Array


@frozen(eq=False)
class Node:
    """One op applied to values."""

    op: Op
    inputs: tuple[Value, ...]
    outputs: tuple[Value, ...]
    params: Mapping[str, Any]
    where: str | None = None


class FusedKind(Enum):
    """What a fused node becomes: which kernel, or a BLAS call whose operands are views."""

    LOOP = "loop"
    REDUCE = "reduce"
    MATMUL = "matmul"


@frozen(eq=False)
class Graph:
    """A function of arrays."""

    name: str
    inputs: tuple[Value, ...]
    input_names: tuple[str, ...]
    nodes: tuple[Node, ...]
    outputs: tuple[Value, ...]
    effects: tuple[tuple[str, Value], ...] = ()
    notes: tuple[str, ...] = ()
    """What passes have to say: each refusal to fuse, with its reason."""
    stage: str = "recorded"
    fastmath: bool = False
    """Whether a product and the sum that reads it may be rounded once, and a GPU be quicker yet."""

    @property
    def results(self) -> tuple[Value, ...]:
        """Outputs, then the values that variables get."""
        return (*self.outputs, *(value for _, value in self.effects))

    def producers(self) -> dict[Value, Node]:
        """The node that makes each value (inputs and constants have none)."""
        return {value: node for node in self.nodes for value in node.outputs}

    def uses(self) -> dict[Value, list[Node]]:
        """The nodes that read each value; one entry an operand."""
        found: dict[Value, list[Node]] = {}
        for node in self.nodes:
            for value in node.inputs:
                found.setdefault(value, []).append(node)
        return found

    def __str__(self) -> str:
        from .printer import format_graph

        return format_graph(self)


@frozen(eq=False, kw_only=True)
class GuardOp(Op):
    """Stops a replay whose operand has other bytes than `expected`, a parameter."""

    def infer(
        self, types: Sequence[TensorType], params: Mapping[str, Any]
    ) -> tuple[TensorType, ...]:
        return ()


@frozen(eq=False, kw_only=True)
class FusedOp(Op):
    """Several ops as one kernel. Parameters: kind (FusedKind) and body (Graph)."""

    def infer(
        self, types: Sequence[TensorType], params: Mapping[str, Any]
    ) -> tuple[TensorType, ...]:
        return tuple(value.type for value in params["body"].outputs)


def _not_eager(*arrays: Array, **params: Any) -> Any:
    raise NotImplementedError("this op exists in graphs only")


GUARD = GuardOp(name="guard", numpy=_not_eager, registered=False)
FUSED = FusedOp(name="fused", numpy=_not_eager, variadic=True, registered=False)


def walk(graph: Graph) -> Iterator[Node]:
    """All nodes, those inside fused bodies included."""
    for node in graph.nodes:
        yield node
        if node.op is FUSED:
            yield from walk(node.params["body"])
