"""What a replay could not repeat: the call runs eagerly each time, and says so once."""

from __future__ import annotations

import itertools
import os
import random
import re
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit import dispatch
from fusejit.capture.recorder import Recorder
from fusejit.op import opaque
from tests.capture.helpers import X, one_eager_warning, same

LOG: list[Any] = []


def expect_eager(f: Any, *args: Any, reason: str, where: bool = True) -> None:
    """Every call runs the body; one warning, with file:line and reason."""
    with one_eager_warning() as texts:
        for _ in range(5):
            f(*args)
    assert re.search(reason, texts[0]), texts[0]
    assert re.search(r"\(test_effects\.py:\d+\)", texts[0]) or not where, texts[0]
    assert f.__name__ in texts[0]


def test_print(capsys: pytest.CaptureFixture[str]) -> None:
    @fj.function
    def f(x: Any) -> Any:
        print("here")
        return x * 2.0

    expect_eager(f, X, reason="calls print, an effect")
    assert capsys.readouterr().out == "here\n" * 5


def test_printing_a_tensor(capsys: pytest.CaptureFixture[str]) -> None:
    @fj.function
    def f(x: Any) -> Any:
        print(x * 2.0)
        return x

    expect_eager(f, X, reason="print")
    assert capsys.readouterr().out == "[ 2.  4. -6.]\n" * 5


def test_appending_to_a_list() -> None:
    LOG.clear()

    @fj.function
    def f(x: Any) -> Any:
        LOG.append(x)
        return x * 2.0

    expect_eager(f, X, reason=r"LOG")
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


EFFECTS: dict[str, tuple[Any, str]] = {
    "time.time": (lambda x: x * time.time(), "time"),
    "time.perf_counter": (lambda x: x * time.perf_counter(), "perf_counter"),
    "random.random": (lambda x: x * random.random(), "random"),
    "random.gauss": (lambda x: x * random.gauss(0.0, 1.0), "random"),
    "np.random.normal": (lambda x: x * float(np.random.normal()), "random"),
    "np.random.default_rng": (lambda x: x * float(np.random.default_rng().normal()), "urandom|rng"),
    "a generator object": (lambda x: x * float(RNG.normal()), "Generator"),
    "os.urandom": (lambda x: x * float(os.urandom(1)[0]), "urandom"),
    "os.getenv": (lambda x: x * float(len(str(os.stat(".")))), "stat"),
    "open": (lambda x: x * float(open(os.devnull).closed), "open"),  # noqa: SIM115
    "input iterator": (lambda x: x * float(next(COUNT)), "COUNT"),
    "id": (lambda x: x * float(id(x) % 7), "id"),
    "globals": (lambda x: x * float(len(globals())), "globals"),
    "eval": (lambda x: eval("x * 2.0", {"x": x}), "eval"),
    "set global": (lambda x: x * float(len(NAMES)), "NAMES is a set"),
    "cached": (lambda x: x * cached(3), "cached"),
    "contextvar": (lambda x: x * CONTEXT.get(), "ContextVar|CONTEXT"),
}
RNG = np.random.default_rng(0)
COUNT = itertools.count()
NAMES = {"a", "b"}
CONTEXT: Any = __import__("contextvars").ContextVar("c", default=2.0)


def cached(n: int) -> float:
    return float(n)


cached = __import__("functools").lru_cache(cached)


@pytest.mark.parametrize("name", EFFECTS)
def test_impure_calls(name: str) -> None:
    body, reason = EFFECTS[name]
    expect_eager(fj.function(body), X, reason=reason)


def test_random_numbers_differ_each_time() -> None:
    @fj.function
    def f(x: Any) -> Any:
        return x * random.random()

    with one_eager_warning():
        results = {float(fj.sum(f(fj.ones(1)))) for _ in range(5)}
    random.seed(0)
    assert results == {float(fj.constant(random.random())) for _ in range(5)}


WHOLE: dict[str, Any] = {
    "numpy": lambda x: x * float(x.numpy()[0]),
    "asarray": lambda x: x * float(np.asarray(x)[0]),
    "np.sum": lambda x: x * float(np.sum(np.asarray(x))),
    "tolist": lambda x: x * x.tolist()[0],
    "str": lambda x: x * float(len(str(x))),
    "repr": lambda x: x * float(len(repr(x))),
    "format": lambda x: x * float(len(f"{x}")),
    "copy of ndarray": lambda x: fj.constant(np.array(x)) * x,
}


@pytest.mark.parametrize("name", WHOLE)
def test_a_whole_array_reaches_python(name: str) -> None:
    f = fj.function(WHOLE[name])
    expect_eager(f, X, reason="array reaches Python|numpy.*array")
    for x in (X, X + 1.0, fj.ones(3)):
        assert same(f(x), f.eager(x))


def test_generator_functions_and_expressions_inside() -> None:
    def parts(x: Any) -> Any:
        yield x
        yield x * 2.0

    @fj.function
    def f(x: Any) -> Any:
        return sum(part for part in parts(x)) + sum(x * float(i) for i in range(3))

    for _ in range(3):
        assert same(f(X), f.eager(X))
    assert f.num_traces == 1


def test_a_thread_started_inside() -> None:
    @fj.function
    def f(x: Any) -> Any:
        found: list[Any] = []
        thread = threading.Thread(target=lambda: found.append(1.0))
        thread.start()
        thread.join()
        return x * found[0]

    with one_eager_warning():
        for _ in range(4):
            assert same(f(X), X)


def test_a_tensor_from_outside_of_the_reach() -> None:
    held: dict[int, Any] = {}

    class Hidden(set):  # type: ignore[type-arg]
        def tensor(self) -> Any:
            return held[id(self)]

    hidden = Hidden()
    held[id(hidden)] = X

    @fj.function
    def f(x: Any) -> Any:
        return x + next(iter(BAG))

    BAG.add(X)
    with one_eager_warning():
        for _ in range(4):
            assert same(f(X), X + X)
    BAG.clear()
    BAG.add(X * 2.0)
    assert same(f(X), X + X * 2.0)


BAG: set[Any] = set()


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


def test_a_users_profiler_keeps_its_events_and_its_place() -> None:
    import sys

    @fj.function
    def f(x: Any) -> Any:
        return x * 2.0

    @fj.function
    def fails(x: Any) -> Any:
        raise KeyError("of the body")

    seen: list[str] = []

    def profiler(frame: Any, event: str, arg: Any) -> None:
        if event == "call":
            seen.append(frame.f_code.co_name)

    sys.setprofile(profiler)
    try:
        f(X)
        with pytest.raises(KeyError):
            fails(X)
        assert sys.getprofile() is profiler
    finally:
        sys.setprofile(None)
    assert "f" in seen and "fails" in seen
    with pytest.raises(KeyError):
        fails(X)
    assert sys.getprofile() is None


def test_cprofile_goes_on() -> None:
    import cProfile
    import pstats

    def marker() -> None:
        pass

    f = fj.function(lambda x: x * 2.0)
    profiler = cProfile.Profile()
    profiler.enable()
    for _ in range(3):
        assert same(f(X), X * 2.0)
    marker()
    profiler.disable()
    assert f.num_traces == 1
    names = [name for _, _, name in pstats.Stats(profiler).stats]  # type: ignore[attr-defined]
    assert "marker" in names


def test_no_warning_for_pure_python(recwarn: pytest.WarningsRecorder) -> None:
    import math
    import operator

    @fj.function
    def f(x: Any, sizes: Any = (1, 2)) -> Any:
        names = {"a": 1, "b": 2}
        parts = [x * float(v) for v in names.values()]
        parts.append(x)
        parts.extend(sorted(parts[:1], key=lambda t: t.ndim))
        total = operator.add(parts[0], parts[1]) * math.sqrt(4.0) + abs(-2)
        for i, (a, b) in enumerate(zip(parts, reversed(parts), strict=False)):
            total = total + a * b * float(i)
        return total * len("ab".upper().split("B")) + max(sizes) + sum(sizes)

    for _ in range(3):
        assert same(f(X), f.eager(X))
    assert f.num_traces == 1 and not recwarn.list


def test_an_op_of_the_users_that_is_not_registered_is_watched() -> None:
    def stamped(x: Any) -> Any:
        return x + time.time() * 0

    op = opaque("stamped", numpy=stamped, types=lambda x: x, registered=False)

    @fj.function
    def f(x: Any) -> Any:
        return op(x) * 2.0

    expect_eager(f, X, reason="it runs .*stamped, which it finds at run time")


def test_a_gradient_rule_of_the_users_is_watched() -> None:
    @fj.custom_gradient
    def doubled(x: Any) -> Any:
        return x * 2.0, lambda dy: dy * (2.0 + 0.0 * time.time())

    slope = fj.gradients_function(doubled)

    @fj.function
    def f(x: Any) -> Any:
        return slope(x)[0]

    expect_eager(f, X, reason=r"calls time\.time")


def test_a_recording_keeps_no_temporaries() -> None:
    recorder = Recorder("f")
    recorder.declare(X, "x")
    with dispatch.pushed(recorder):
        temporary = X * 2.0
        result = temporary + 1.0
        gone = weakref.ref(temporary)
        del temporary
    assert gone() is None
    assert recorder.value_of(result) is not None
