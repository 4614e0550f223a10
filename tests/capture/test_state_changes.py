"""Python objects that a call changes: eager's effects each time, unless they settle and replay."""

from __future__ import annotations

import re
from typing import Any

import fusejit as fj
from tests.capture.helpers import X, one_eager_warning, same

LOG: list[Any] = []


def test_appending_to_a_list() -> None:
    LOG.clear()

    @fj.function
    def f(x: Any) -> Any:
        LOG.append(x)
        return x * 2.0

    with one_eager_warning() as texts:
        for _ in range(5):
            f(X)
    assert re.search(r"^f .*LOG.*\(test_state_changes\.py:\d+\)", texts[0]), texts[0]
    assert len(LOG) == 5


def test_counting_on_self() -> None:
    class Counter:
        def __init__(self) -> None:
            self.n = 0

        @fj.function
        def step(self, x: Any) -> Any:
            self.n += 1
            return x * float(self.n)

    counter = Counter()
    with one_eager_warning() as texts:
        results = [float(fj.sum(counter.step(fj.ones(2)))) for _ in range(5)]
    assert results == [2.0, 4.0, 6.0, 8.0, 10.0] and counter.n == 5
    assert "the call changes self.n" in texts[0] and "Variable" in texts[0]


def test_a_tensor_kept_on_self() -> None:
    class Cell:
        def __init__(self) -> None:
            self.h = fj.zeros(3)

        @fj.function
        def step(self, x: Any) -> Any:
            self.h = fj.tanh(self.h + x)
            return self.h * 2.0

    cell, expected = Cell(), fj.zeros(3)
    with one_eager_warning() as texts:
        for _ in range(5):
            result = cell.step(X)
            expected = fj.tanh(expected + X)
            assert same(result, expected * 2.0) and same(cell.h, expected)
    assert "a Tensor is stored in self.h" in texts[0]


def test_a_layer_built_at_the_first_call_replays() -> None:
    class Layer:
        def __init__(self) -> None:
            self.w: Any = None

        @fj.function
        def __call__(self, x: Any) -> Any:
            if self.w is None:
                self.w = fj.Variable(x * 0.0 + 2.0)
            return self.w * x

    layer = Layer()
    for _ in range(5):
        assert same(layer(X), X * 2.0)
    f = Layer.__call__
    traces = f.num_traces  # type: ignore[attr-defined]
    layer(X)
    assert f.num_traces == traces <= 3, "it replays"  # type: ignore[attr-defined]


def test_a_layer_built_with_hasattr_replays() -> None:
    class Layer:
        @fj.function
        def __call__(self, x: Any) -> Any:
            if not hasattr(self, "w"):
                self.w = fj.Variable(x * 0.0 + 2.0)
            return self.w * x

    layer = Layer()
    for _ in range(5):
        assert same(layer(X), X * 2.0)
    traces = Layer.__call__.num_traces  # type: ignore[attr-defined]
    layer(X)
    assert Layer.__call__.num_traces == traces <= 3  # type: ignore[attr-defined]


def test_setting_a_global() -> None:
    @fj.function
    def f(x: Any) -> Any:
        global TOTAL
        TOTAL = TOTAL + 1
        return x * float(TOTAL)

    with one_eager_warning() as texts:
        assert [float(f(fj.constant(1.0))) for _ in range(5)] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert "TOTAL" in texts[0]


TOTAL = 0


def test_setting_a_closure_cell() -> None:
    count = 0

    @fj.function
    def f(x: Any) -> Any:
        nonlocal count
        count += 1
        return x * float(count)

    with one_eager_warning() as texts:
        assert [float(f(fj.constant(1.0))) for _ in range(5)] == [1.0, 2.0, 3.0, 4.0, 5.0]
    assert "count" in texts[0]


def test_deleting_an_attribute() -> None:
    class Thing:
        scale = 2.0

    thing = Thing()

    @fj.function
    def f(x: Any) -> Any:
        if "scale" in vars(thing):
            del thing.scale
        return x * thing.scale

    with one_eager_warning():
        for _ in range(4):
            thing.scale = 3.0
            assert same(f(X), X * 2.0) and "scale" not in vars(thing)


def test_changing_a_dict_argument() -> None:
    @fj.function
    def f(state: dict[str, Any], x: Any) -> Any:
        state["h"] = state["h"] + x
        return state["h"] * 1.0

    state, expected = {"h": fj.zeros(3)}, fj.zeros(3)
    with one_eager_warning() as texts:
        for _ in range(5):
            expected = expected + X
            assert same(f(state, X), expected) and same(state["h"], expected)
    assert "state['h']" in texts[0]
