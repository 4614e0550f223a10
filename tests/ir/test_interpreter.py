"""The oracle: graphs run with NumPy agree with eager execution, at each stage."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.frozen import replace
from fusejit.ir.graph import GUARD
from fusejit.ir.interpreter import GuardFailed, interpret
from tests.passes.graphs import arrays, recorded

STAGES = ["recorded", "simplify", "cse", "dce", "regroup", "fuse"]


def mixed(x: Any, w: Any) -> Any:
    h = fj.tanh(fj.matmul(x, w))
    return fj.nn.softmax(h), fj.sum(h, axis=(0, 1)), fj.stack([h, -h])[1, ::2], fj.sort(h)


@pytest.mark.parametrize("stage", STAGES)
def test_stages_agree_with_eager_execution(stage: str) -> None:
    args = arrays((4, 3), (3, 5), dtype="float64")
    found = interpret(recorded(mixed, *args, stage=stage), [a.numpy() for a in args])
    for one, other in zip(found, mixed(*args), strict=True):
        assert (one.dtype, one.shape) == (other.dtype, other.shape)
        np.testing.assert_allclose(one, other.numpy(), rtol=1e-13, atol=1e-15)


def test_variables_and_guards() -> None:
    v = fj.Variable(np.float32(3.0), name="v")

    def step(x: Any) -> Any:
        if fj.sum(x) > 0:
            v.assign(v + fj.sum(x))
        return v * 2.0

    x = fj.constant([1.0, 2.0])
    graph = recorded(step, x)
    values = {"x": x.numpy(), "v": np.float32(3.0)}
    results = interpret(graph, [values[name] for name in graph.input_names])
    assert [float(r) for r in results] == [12.0, 6.0]
    with pytest.raises(GuardFailed):
        interpret(graph, [{**values, "x": -x.numpy()}[name] for name in graph.input_names])
    free = replace(graph, nodes=tuple(n for n in graph.nodes if n.op is not GUARD))
    assert interpret(free, [{**values, "x": -x.numpy()}[name] for name in graph.input_names])
