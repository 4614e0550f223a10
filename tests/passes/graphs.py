"""Recorded functions for the tests of passes and of the IR."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.eager import run
from fusejit.ir.graph import FUSED, Constant, Graph, Node
from fusejit.ir.interpreter import fold
from fusejit.ir.printer import format_graph

Array = Any


def arrays(*shapes: tuple[int, ...], dtype: str = "float32") -> list[fj.Tensor]:
    rng = np.random.default_rng(3)
    return [fj.constant(np.asarray(rng.normal(size=shape)).astype(dtype)) for shape in shapes]


def recorded(f: Callable[..., Any], *args: Any, stage: str = "recorded") -> Graph:
    """The graph of a call f(*args) after a stage."""
    return fj.function(f).graph(*args, stage=stage)


def text(graph: Graph) -> str:
    """As golden files have it: without source lines, and with what the fuser has to say."""
    notes = "".join(
        f"// {note.partition(' (')[0]}: {note.rpartition('): ')[2]}\n"
        for note in dict.fromkeys(graph.notes)
    )
    return format_graph(graph, source=False) + notes


def eagerly(graph: Graph, *args: Any) -> list[Array]:
    """The results of a graph, each node run as eager execution runs it."""

    def apply(node: Node, operands: list[Array]) -> list[Array]:
        result = run(node.op, operands, node.params)
        return [np.asarray(r) for r in (result if isinstance(result, tuple) else (result,))]

    return fold(graph, [np.asarray(a) for a in args], apply, _array)


def _array(constant: Constant) -> Array:
    return constant.array


def names(graph: Graph) -> list[str]:
    """What each node is: an op's name, or the kind of a kernel."""
    return [n.params["kind"].value if n.op is FUSED else n.op.name for n in graph.nodes]


def bits(results: list[Array]) -> list[tuple[Any, ...]]:
    return [(r.dtype, r.shape, r.tobytes()) for r in results]
