"""The oracle: any graph, at any stage, run node by node with NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..op import Array
from .graph import FUSED, GUARD, Constant, Graph, Node, Value


class GuardFailed(Exception):
    """A guard met other bytes than it expects."""


def interpret(graph: Graph, inputs: Sequence[Array]) -> list[Array]:
    """The results of `graph` (outputs, then effects) for `inputs`."""
    with np.errstate(all="ignore"):
        return fold(graph, list(inputs), _by_numpy, lambda constant: constant.array)


def fold(
    graph: Graph,
    inputs: Sequence[Any],
    apply: Callable[[Node, list[Any]], Sequence[Any]],
    literal: Callable[[Constant], Any],
) -> list[Any]:
    """Run `graph` in any domain: `apply` gives a node's outputs, `literal` a constant's meaning."""
    environment: dict[Value, Any] = dict(zip(graph.inputs, inputs, strict=True))

    def look_up(value: Value) -> Any:
        return literal(value) if isinstance(value, Constant) else environment[value]

    for node in graph.nodes:
        operands = [look_up(v) for v in node.inputs]
        if node.op is FUSED:
            outputs: Sequence[Any] = fold(node.params["body"], operands, apply, literal)
        else:
            outputs = apply(node, operands)
        environment.update(zip(node.outputs, outputs, strict=True))
    return [look_up(v) for v in graph.results]


def _by_numpy(node: Node, operands: list[Array]) -> Sequence[Array]:
    if node.op is GUARD:
        if np.ascontiguousarray(operands[0]).tobytes() != node.params["expected"]:
            raise GuardFailed(node.where)
        return ()
    result = node.op.eager(operands, node.params)
    return [np.asarray(r) for r in result] if isinstance(result, tuple) else [np.asarray(result)]
