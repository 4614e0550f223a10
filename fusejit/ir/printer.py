"""Graphs as text: deterministic, dense numbers, the user's lines at the right."""

from __future__ import annotations

import re
from typing import Any

import numpy as np

from .graph import FUSED, Constant, Graph, Node, Placed, Value

_COLUMN = 72  # where source lines start; longer code pushes them out


class _Names:
    def __init__(self) -> None:
        self.names: dict[Value, str] = {}
        self.count = 0

    def declare(self, value: Value, wanted: str | None = None) -> str:
        if value not in self.names:
            if wanted is None:
                wanted = str(self.count)
                self.count += 1
            self.names[value] = "%" + wanted
        return self.names[value]

    def use(self, value: Value) -> str:
        if isinstance(value, Constant):
            return _literal(value)
        return self.names.get(value, "%?")


def _literal(constant: Constant) -> str:
    if constant.array.size == 1:
        number = repr(constant.array.reshape(()).item())
        return number if constant.type.shape == () else f"{number}:{constant.type}"
    return f"const:{constant.type}"


def _param(value: Any) -> str:
    if isinstance(value, np.dtype):
        return value.name
    if isinstance(value, bytes):
        return value.hex()
    return re.sub(r"\s*at 0x[0-9a-f]+", "", repr(value))


def format_graph(graph: Graph, source: bool = True) -> str:
    """The text of `graph`; `source=False` leaves the user's lines out, as golden files do."""
    names = _Names()
    inputs = [
        f"{names.declare(v, n)}: {v.type}{f' {v.device}' if isinstance(v, Placed) else ''}"
        for v, n in zip(graph.inputs, graph.input_names, strict=True)
    ]
    results = ", ".join(str(v.type) for v in graph.outputs) or "()"
    lines = [
        f"// {graph.name}: {graph.stage}",
        f"func @{graph.name}({', '.join(inputs)}) -> {results}{' fastmath' * graph.fastmath} {{",
    ]
    lines += _format_nodes(graph.nodes, names, "  ", source)
    ending = "  return " + ", ".join(names.use(v) for v in graph.outputs)
    lines.append(ending.rstrip())
    lines += [f"  assign @{name}, {names.use(value)}" for name, value in graph.effects]
    return "\n".join([*lines, "}"]) + "\n"


def _format_nodes(nodes: tuple[Node, ...], names: _Names, indent: str, source: bool) -> list[str]:
    lines: list[str] = []
    for node in nodes:
        operands = ", ".join(names.use(v) for v in node.inputs)
        if node.op is FUSED:
            body: Graph = node.params["body"]
            inner = _format_body(body, node, names, indent + "  ", source)
            head = _head(node, names, indent)
            lines.append(
                _placed(f"{head}fused<{node.params['kind'].value}> {operands} {{", node, source)
            )
            lines += [*inner, indent + "}"]
            continue
        params = ", ".join(f"{k}={_param(v)}" for k, v in sorted(node.params.items()))
        text = f"{_head(node, names, indent)}{node.op.name} {operands}".rstrip()
        lines.append(_placed(text + (f" {{{params}}}" if params else ""), node, source))
    return lines


def _head(node: Node, names: _Names, indent: str) -> str:
    outputs = ", ".join(f"{names.declare(v)}: {v.type}" for v in node.outputs)
    return f"{indent}{outputs} = " if outputs else indent


def _format_body(body: Graph, node: Node, names: _Names, indent: str, source: bool) -> list[str]:
    for inner, outer in zip(body.inputs, node.inputs, strict=True):
        names.names[inner] = names.use(outer)
    lines = _format_nodes(body.nodes, names, indent, source)
    for inner, outer in zip(body.outputs, node.outputs, strict=True):
        names.names[outer] = names.use(inner)
    return lines


def _placed(text: str, node: Node, source: bool) -> str:
    return f"{text:<{_COLUMN}} // {node.where}" if source and node.where else text
