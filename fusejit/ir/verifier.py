"""The rules of the IR, checked: after each pass in tests and under FUSEJIT_VERIFY=1."""

from __future__ import annotations

from ..errors import VerifyError
from .graph import FUSED, Constant, Graph, Node, Value


def verify(graph: Graph) -> Graph:
    """`graph` itself; VerifyError names the first node that breaks a rule, and the rule."""
    known: set[Value] = set(graph.inputs)
    if len(known) != len(graph.inputs):
        raise VerifyError(f"{graph.name} ({graph.stage}): an input appears twice")
    for node in graph.nodes:
        _verify_node(graph, node, known)
        known.update(node.outputs)
    for value in graph.results:
        if value not in known and not isinstance(value, Constant):
            raise VerifyError(f"{graph.name} ({graph.stage}): a result is never computed")
    return graph


def _verify_node(graph: Graph, node: Node, known: set[Value]) -> None:
    context = f"{graph.name} ({graph.stage}): {node.op.name} at {node.where}"
    for value in node.inputs:
        if value not in known and not isinstance(value, Constant):
            raise VerifyError(f"{context}: an operand is used before it is computed")
    for value in node.outputs:
        if value in known:
            raise VerifyError(f"{context}: an output is computed twice")
    expected = node.op.infer([v.type for v in node.inputs], node.params)
    found = tuple(v.type for v in node.outputs)
    if expected is not None and tuple(expected) != found:
        raise VerifyError(
            f"{context}: outputs are {[*map(str, found)]}, not {[*map(str, expected)]}"
        )
    if node.op is FUSED:
        body: Graph = node.params["body"]
        verify(body)
        if [v.type for v in body.inputs] != [v.type for v in node.inputs]:
            raise VerifyError(f"{context}: the body's inputs do not match the operands")
