"""Building graphs: one node at a time while recording, or by rewriting an existing graph."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ..device import CPU
from ..dtypes import TensorType
from ..frozen import replace
from ..op import Array, Op
from .graph import Constant, Graph, Node, Placed, Value


class Builder:
    """Collects inputs and nodes and freezes them into a Graph."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.inputs: list[Value] = []
        self.input_names: list[str] = []
        self.nodes: list[Node] = []

    def input(self, type: TensorType, name: str, device: str = CPU) -> Value:
        value = Value(type) if device == CPU else Placed(type, device)
        self.inputs.append(value)
        taken = self.input_names.count(name)
        self.input_names.append(f"{name}.{taken}" if taken else name)
        return value

    def add(
        self,
        op: Op,
        inputs: Sequence[Value],
        params: Mapping[str, Any],
        types: Sequence[TensorType] | None = None,
        where: str | None = None,
    ) -> tuple[Value, ...]:
        """Append a node; its output types are inferred unless given."""
        if types is None:
            types = op.infer([v.type for v in inputs], params)
            assert types is not None, f"{op.name}: the output type depends on values"
        outputs = tuple(Value(t) for t in types)
        self.nodes.append(Node(op, tuple(inputs), outputs, dict(params), where))
        return outputs

    def finish(
        self,
        outputs: Sequence[Value],
        effects: Sequence[tuple[str, Value]] = (),
        stage: str = "recorded",
        fastmath: bool = False,
    ) -> Graph:
        return Graph(
            self.name,
            tuple(self.inputs),
            tuple(self.input_names),
            tuple(self.nodes),
            tuple(outputs),
            tuple(effects),
            stage=stage,
            fastmath=fastmath,
        )


def constant(array: Array) -> Constant:
    return Constant(TensorType(array.dtype, array.shape), array)


Rule = Callable[
    [Node, tuple[Value, ...], Builder, Mapping[Value, Node]], "tuple[Value, ...] | None"
]
"""(node, its new inputs, builder, new producers) -> replacement values, or None to keep it."""


def rewrite(graph: Graph, rule: Rule, stage: str) -> Graph:
    """Rebuild `graph`, offering each node to `rule` once, in order: linear in its size."""
    builder = Builder(graph.name)
    builder.inputs, builder.input_names = list(graph.inputs), list(graph.input_names)
    new: dict[Value, Value] = {}
    producers: dict[Value, Node] = {}
    nodes = builder.nodes
    for node in graph.nodes:
        before, renamed = len(nodes), with_inputs(node, new)
        outputs = rule(node, renamed.inputs, builder, producers)
        if outputs is None:
            nodes.append(renamed)
        else:
            new.update(zip(node.outputs, outputs, strict=True))
        for added in nodes[before:]:
            for value in added.outputs:
                producers[value] = added
    return replace(renamed_results(graph, new), nodes=tuple(nodes), stage=stage)


def with_inputs(node: Node, new: Mapping[Value, Value]) -> Node:
    """`node`, reading the values that have come in the place of others."""
    for value in node.inputs:
        if value in new:
            inputs = tuple([new.get(v, v) for v in node.inputs])
            return Node(node.op, inputs, node.outputs, node.params, node.where)
    return node


def renamed_results(graph: Graph, new: Mapping[Value, Value]) -> Graph:
    """`graph` with results that have come in the place of others."""
    return replace(
        graph,
        outputs=tuple([new.get(v, v) for v in graph.outputs]),
        effects=tuple([(name, new.get(v, v)) for name, v in graph.effects]),
    )
