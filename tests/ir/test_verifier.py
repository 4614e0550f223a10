"""Each rule of the IR, broken once."""

from __future__ import annotations

import numpy as np
import pytest

import fusejit as fj
from fusejit.dtypes import TensorType
from fusejit.errors import VerifyError
from fusejit.frozen import replace
from fusejit.ir.builder import Builder, constant
from fusejit.ir.graph import FUSED, GUARD, FusedKind, Graph, Node, Value
from fusejit.ir.verifier import verify

VECTOR = TensorType(np.dtype("float32"), (3,))
MATRIX = TensorType(np.dtype("float32"), (2, 3))


def good() -> Graph:
    builder = Builder("f")
    x = builder.input(VECTOR, "x")
    (y,) = builder.add(fj.exp, [x], {}, where="f.py:1")
    (z,) = builder.add(fj.add, [y, constant(np.ones((2, 1), np.float32))], {}, where="f.py:2")
    return builder.finish([z])


def test_a_good_graph_passes() -> None:
    graph = good()
    assert verify(graph) is graph


def test_an_input_twice() -> None:
    graph = good()
    with pytest.raises(VerifyError, match="an input appears twice"):
        verify(replace(graph, inputs=graph.inputs * 2, input_names=("x", "x.1")))


def test_used_before_computed() -> None:
    graph = good()
    with pytest.raises(VerifyError, match=r"add at f\.py:2: an operand is used before"):
        verify(replace(graph, nodes=graph.nodes[::-1]))


def test_computed_twice() -> None:
    graph = good()
    with pytest.raises(VerifyError, match=r"exp at f\.py:1: an output is computed twice"):
        verify(replace(graph, nodes=(graph.nodes[0], *graph.nodes)))


@pytest.mark.parametrize("type", [MATRIX, TensorType(np.dtype("float64"), (3,))])
def test_wrong_type(type: TensorType) -> None:
    graph = good()
    wrong = Node(fj.exp, graph.inputs, (Value(type),), {}, "f.py:1")
    with pytest.raises(VerifyError, match=r"outputs are \['f"):
        verify(replace(graph, nodes=(wrong,), outputs=wrong.outputs))


def test_a_result_from_nowhere() -> None:
    with pytest.raises(VerifyError, match="a result is never computed"):
        verify(replace(good(), outputs=(Value(VECTOR),)))
    with pytest.raises(VerifyError, match="a result is never computed"):
        verify(replace(good(), effects=(("v", Value(VECTOR)),)))


def test_bodies() -> None:
    x = Value(MATRIX)
    body = good()
    fused = Node(FUSED, (x,), (Value(MATRIX),), {"kind": FusedKind.LOOP, "body": body}, "f.py:3")
    graph = Graph("g", (x,), ("x",), (fused,), fused.outputs)
    with pytest.raises(VerifyError, match="the body's inputs do not match"):
        verify(graph)
    broken = replace(body, nodes=body.nodes[::-1])
    bad = replace(fused, params={"kind": FusedKind.LOOP, "body": broken})
    with pytest.raises(VerifyError, match="used before"):
        verify(replace(graph, nodes=(bad,), outputs=bad.outputs))


def test_guards_have_no_outputs() -> None:
    graph = good()
    guard = Node(GUARD, graph.inputs, (Value(VECTOR),), {"expected": b""}, "f.py:4")
    with pytest.raises(VerifyError, match="guard"):
        verify(replace(graph, nodes=(*graph.nodes, guard)))
