"""Common subexpressions and dead code."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

from ..frozen import replace
from ..ir.builder import Builder, rewrite
from ..ir.graph import GUARD, Constant, Graph, Node, Value


def cse(graph: Graph) -> Graph:
    """Compute equal things once: the same op on the same operands. All ops are pure."""
    seen: dict[Hashable, Node] = {}

    def first(
        node: Node, inputs: tuple[Value, ...], builder: Builder, _: Mapping[Value, Node]
    ) -> Any:
        if node.op is GUARD:
            return None
        params = tuple(sorted(node.params.items())) if node.params else ()
        # repr tells 0 from False and 0.0 from -0.0, which are equal keys.
        text = repr(params) if params else ""
        earlier = seen.setdefault((node.op, *map(_identity, inputs), params, text), node)
        return None if earlier is node else earlier.outputs

    return rewrite(graph, first, "after cse")


def _identity(value: Value) -> Hashable:
    if isinstance(value, Constant):
        return (value.type, value.array.tobytes())
    return value


def dce(graph: Graph) -> Graph:
    """Drop what no result and no guard needs."""
    live = set(graph.results)
    kept = []
    for node in reversed(graph.nodes):
        if node.op is GUARD or not live.isdisjoint(node.outputs):
            kept.append(node)
            live.update(node.inputs)
    return replace(graph, nodes=tuple(reversed(kept)), stage="after dce")
