"""Checks that bind an input of the plan: arrays, floats, and what is found through the world."""

from __future__ import annotations

import weakref

import numpy as np
import pytest

from fusejit.backends.llvm.checks import (
    Arg,
    ArrayInput,
    Attribute,
    Behind,
    Check,
    FloatInput,
    Input,
    Item,
    Kept,
    Key,
    Length,
    Of,
    Same,
)
from fusejit.scalar import F64
from tests.backends.functions import BOTH, Node, Tensor, X, Y, entry, function, is_slow, tensor
from tests.backends.plans import Array, Writer, add_plan
from tests.collecting import collect


def test_array_inputs() -> None:
    w = Writer()
    w.loop(lambda a, b: a + b, w.input(4), w.input(4), w.output(4))
    checks = [Check(Arg(0), expect=ArrayInput(1)), Check(Arg(1), expect=Input(0))]
    f = function(entry(checks, w.load()))
    assert f(X, tensor(Y))._data.tolist() == [1, 3, 5, 7]
    assert is_slow(f, tensor(X), tensor(Y)) and is_slow(f, X.astype(np.float64), tensor(Y))
    assert is_slow(f, np.ma.masked_array(X), tensor(Y)) and is_slow(f, X[::-1], tensor(Y))


def test_float_inputs() -> None:
    w = Writer()
    x, scale, t, out = w.input(4), w.input(dtype=F64), w.temporary(dtype=F64), w.output(dtype=F64)
    w.python(lambda x, scale, t: np.multiply(x[3], scale, out=t), x, scale, t)
    w.loop(lambda a, b: a + b, scale, t, out)
    checks = [Check(Arg(0), expect=Input(0)), Check(Arg(1), expect=FloatInput(1))]
    one = entry(checks, w.load())
    f, given = function(one), tensor(X)
    for number in (0.5, 2.5, -0.0, float("inf")):
        assert f(given, number)._data == 4 * number
    assert np.isnan(f(given, float("nan"))._data)
    for other in (1, True, np.float64(1), "1"):
        assert is_slow(f, given, other) and one.first_miss(given, other) == 1
    with pytest.raises(ValueError, match="no float64"):
        entry([Check(Arg(0), expect=FloatInput(0)), BOTH[1]], add_plan())


def test_inputs_found_through_the_world() -> None:
    class Model:
        def __init__(self) -> None:
            self.layers = [Node(w=tensor(X)), Node(w=tensor(Y))]

    model = Model()
    checks = [
        Check(Behind(weakref.ref(model)), Attribute("layers"), Length(2)),
        Check(Of(0), Item(0)),
        Check(Of(1), Attribute("w"), Input(0)),
        Check(Of(0), Item(1)),
        Check(Of(3), Attribute("w"), Input(1)),
        Check(Of(2), Attribute("_tag"), Same(None)),
    ]
    one = entry(checks, add_plan(), 0)
    f = function(one)
    assert f()._data.tolist() == [1, 3, 5, 7] and one.first_miss() == -1
    model.layers[1].w = tensor(Y * 10)
    assert f()._data.tolist() == [10, 21, 32, 43]
    model.layers[1].w = tensor(Y[:2])
    assert is_slow(f) and one.first_miss() == 4
    del model.layers[0].w
    assert is_slow(f) and one.first_miss() == 2
    model.layers.pop()
    assert is_slow(f) and one.first_miss() == 0
    del model
    assert is_slow(f) and one.first_miss() == 0


def test_an_input_lives_while_the_plan_runs() -> None:
    world = {"w": tensor(np.arange(1000))}

    def drop(x: Array) -> None:
        world.clear()
        collect()

    w = Writer()
    x = w.input(1000)
    w.python(drop, x)
    w.loop(lambda a: a, x, w.output(1000))
    f = function(entry([Check(Kept(world), Key("w"), Input(0))], w.load(), 0))
    assert f()._data[999] == 999 and is_slow(f)


def test_a_check_may_run_user_code_that_calls_back() -> None:
    class Model:
        @property
        def w(self) -> Tensor:
            if not inside:
                inside.append(1)
                assert f(self)._data.tolist() == [0, 2, 4, 6], "in a frame of its own"
                inside.clear()
            return tensor(X)

    inside: list[int] = []
    checks = [
        Check(Arg(0), Attribute("w"), Input(0)),
        Check(Arg(0), Attribute("w"), Input(1)),
    ]
    f = function(entry(checks, add_plan(), 1))
    assert f(Model())._data.tolist() == [0, 2, 4, 6]


def test_checks_must_bind_every_input_once() -> None:
    with pytest.raises(ValueError, match=r"bind inputs \[0\], the plan has 2"):
        entry(BOTH[:1], add_plan())
    with pytest.raises(ValueError, match=r"bind inputs \[0, 0, 1\]"):
        entry((*BOTH, BOTH[0]), add_plan())
    with pytest.raises(ValueError, match="check 0 is not an earlier one"):
        entry([Check(Of(0))], Writer().load(), 0, "tuple")
