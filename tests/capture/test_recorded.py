"""`f.graphs()`: every recorded path as data."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.capture.recorded import Equal, Group, Operand
from fusejit.ir.interpreter import interpret
from tests.collecting import collect

pytestmark = pytest.mark.compiled


def test_each_path_is_there_with_its_graph() -> None:
    w = fj.Variable([1.0, 2.0], name="w")
    shift = fj.constant([0.5, 0.5])

    @fj.function
    def f(x: fj.Tensor, options: Any) -> Any:
        if fj.sum(x) > 0.0:
            w.assign_sub(x)
        return x * w + shift, options["mode"], w

    x = fj.constant([3.0, 4.0])
    for sign in (1.0, -1.0):
        f(x * sign, {"mode": "a", "pair": (1, x)})
    negative, positive = f.graphs()
    assert positive.assigned == (w,)
    assert negative.assigned == ()
    assert positive.graph.effects[0][0] == "w"
    for path in (positive, negative):
        assert [s for s in path.inputs if s is not None] in ([w, shift], [shift, w])
        argument = path.arguments["x"]
        assert isinstance(argument, Operand)
        assert path.inputs[argument.position] is None
        options = path.arguments["options"]
        assert isinstance(options, Group)
        assert options.keys == ("mode", "pair")
        assert isinstance(options.items[0], Equal)
        assert options.items[0].value == "a"
        result = path.result
        assert isinstance(result, Group)
        assert isinstance(result.items[2], Equal)
        assert result.items[2].value is w


def test_the_graph_of_a_path_computes_what_the_call_did() -> None:
    w = fj.Variable([2.0, 3.0])
    f = fj.function(lambda x, scale: fj.tanh(x * w) * scale)
    x = fj.constant([0.1, -0.2])
    expected = f(x, 2.5).numpy()
    (path,) = f.graphs()
    positions = {p.position: n for n, p in path.arguments.items() if isinstance(p, Operand)}
    given = {"x": x.numpy(), "scale": np.float64(2.5)}
    arrays = [
        source.numpy() if source is not None else given[positions[number]]
        for number, source in enumerate(path.inputs)
    ]
    (found,) = interpret(path.graph, arrays)
    np.testing.assert_allclose(found, expected, rtol=1e-6)


def test_floats_are_told_from_arrays() -> None:
    f = fj.function(lambda x, s: x * s)
    f(fj.constant([1.0]), 2.0)
    f(fj.constant([1.0]), fj.constant(2.0))
    kinds = [[p.number for p in path.arguments.values()] for path in f.graphs()]
    assert kinds == [[False, False], [False, True]]


def test_the_first_arguments_may_be_bound() -> None:
    class Scale:
        def __init__(self, by: float) -> None:
            self.w = fj.Variable([by])

        @fj.function
        def call(self, x: fj.Tensor) -> fj.Tensor:
            return x * self.w

    two, three = Scale(2.0), Scale(3.0)
    for scale in (two, three):
        scale.call(fj.constant([1.0]))
    (path,) = Scale.call.graphs(two)
    assert [s for s in path.inputs if s is not None] == [two.w]
    with pytest.raises(fj.CaptureError, match="self is a Scale"):
        Scale.call.graphs()


def test_paths_of_what_is_no_more_are_left_out() -> None:
    settings = {"k": 2.0}
    f = fj.function(lambda x: x * settings["k"])
    f(fj.constant([1.0]))
    assert len(f.graphs()) == 1
    settings["k"] = 3.0
    assert f.graphs() == []
    f(fj.constant([1.0]))
    settings["k"] = 2.0
    assert len(f.graphs()) == 1

    holder = [fj.Variable(1.0)]
    g = fj.function(lambda x: x + holder[0])
    g(fj.constant(1.0))
    assert len(g.graphs()) == 1
    holder[0] = fj.Variable(1.0)
    collect()
    assert g.graphs() == []
