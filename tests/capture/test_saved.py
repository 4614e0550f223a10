"""What a taped call saves: the values of its forward program beyond its results."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.capture.saved import choose
from fusejit.ir.graph import Graph, Value
from tests.passes.graphs import arrays, recorded


def saved(f: Callable[..., Any], *args: Any, read: tuple[str, ...]) -> list[str]:
    """The ops whose results are saved, if the backward part reads the results of ops `read`."""
    graph = recorded(f, *args)
    wanted = {v for n in graph.nodes if n.op.name in read for v in n.outputs}
    return named(graph, choose(graph, wanted))


def named(graph: Graph, values: list[Value]) -> list[str]:
    producers = graph.producers()
    return [producers[v].op.name for v in values]


X, W = arrays((6, 8), (8, 8))


def test_transcendentals_are_saved_and_what_is_cheap_is_not() -> None:
    def gate(x: Any) -> Any:
        z = fj.sigmoid(x)
        return (1.0 - z) * x + (1.0 - z) * z

    assert saved(gate, X, read=("sigmoid",)) == ["sigmoid"]
    assert saved(gate, X, read=("sigmoid", "subtract")) == ["sigmoid"]
    assert saved(gate, X, read=("sigmoid", "subtract", "multiply")) == ["sigmoid"]


def test_inputs_and_results_are_not_saved() -> None:
    def results(x: Any) -> Any:
        y = fj.exp(x)
        return y, y * 2.0

    assert saved(results, X, read=("exp", "multiply")) == []
    assert saved(lambda x: fj.exp(x[1:].T) * 1.5, X, read=("slice", "permute_dims")) == []


def test_views_of_what_is_saved_are_not_saved() -> None:
    def views(x: Any, w: Any) -> Any:
        z = x @ w
        return fj.exp(z[:, 2:]), fj.exp(fj.reshape(z, (8, 6)).T), fj.sum(z)

    graph = recorded(views, X, W)
    read = ("matmul", "slice", "reshape", "permute_dims")
    assert saved(views, X, W, read=read) == ["matmul"]
    assert named(graph, choose(graph, {graph.nodes[1].outputs[0]})) == ["slice"]
    # A transpose is saved as what it is of: nothing is copied for it.
    assert saved(views, X, W, read=("permute_dims",)) == ["matmul"]


def test_small_reductions_are_saved_in_the_place_of_what_is_made_of_them() -> None:
    def shifted(x: Any) -> Any:
        return fj.exp(x - fj.max(x, axis=1, keepdims=True)) * 2.0

    assert saved(shifted, X, read=("subtract",)) == ["max"]
    assert saved(shifted, X, read=("subtract", "exp")) == ["max", "exp"]


def gru(x: Any, h: Any, w: Any, u: Any) -> Any:
    a, b = x @ w, h @ u
    r, z = fj.sigmoid(a[:, :4] + b[:, :4]), fj.sigmoid(a[:, 4:8] + b[:, 4:8])
    n = fj.tanh(a[:, 8:] + r * b[:, 8:])
    return (1.0 - z) * n + z * h


def normalized(x: Any, gain: Any) -> Any:
    centred = x - fj.mean(x, axis=-1, keepdims=True)
    return centred / fj.sqrt(fj.mean(centred * centred, axis=-1, keepdims=True) + 1e-5) * gain


@pytest.mark.parametrize(
    ("f", "shapes"),
    [(gru, ((5, 3), (5, 4), (3, 12), (4, 12))), (normalized, ((5, 8), (8,)))],
)
def test_gradients_are_those_of_eager_calls(f: Any, shapes: Any) -> None:
    args = arrays(*shapes, dtype="float64")
    fused = fj.function(f)
    for _ in range(3):
        with fj.GradientTape(persistent=True) as tape:
            tape.watch(args)
            fast, slow = fj.sum(fused(*args) ** 2), fj.sum(f(*args) ** 2)
        pairs = zip(tape.gradient(fast, args), tape.gradient(slow, args), strict=True)
        for got, expected in pairs:
            np.testing.assert_allclose(got.numpy(), expected.numpy(), rtol=1e-11, atol=1e-12)
