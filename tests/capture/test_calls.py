"""Calls: every way to pass arguments and to return results does what Python does."""

from __future__ import annotations

import copy
import functools
import inspect
import os
import pickle
import subprocess
import sys
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import ARRAY, Mode, Pair, Point, X, Y, follows, same

# ---- arguments


@pytest.mark.parametrize(
    ("body", "args", "traces"),
    [
        (lambda xs: xs[0] * xs[1], [([X, Y],), ([Y, X],), ([X, X],)], 1),
        (lambda xs: xs[0] * xs[1][0], [((X, (Y,)),), ((Y, (X,)),)], 1),
        (lambda d: d["a"] * 2.0 + d["b"], [({"a": X, "b": Y},), ({"a": Y, "b": X},)], 1),
        (lambda d: sum(d.values()), [({"a": X, "b": Y},), ({"a": Y},)], 2),
        (lambda p: p.x - p.y, [(Point(X, Y),), (Point(Y, X),)], 1),
        (lambda p: p.left - p.right, [(Pair(X, Y),), (Pair(Y, X),)], 1),
        (lambda x, y: x if y is None else x + y, [(X, None), (X, Y), (Y, None)], 2),
        (lambda x, n: x * n, [(X, 2), (X, 2.0), (X, True), (X, 1), (X, 3)], 5),
        (lambda x, n: x * n, [(X, 0.0), (X, -0.0), (X, float("nan"))], 1),
        (lambda x, axis: fj.sum(x, axis=axis), [(X, 0), (X, None), (X, (0,))], 3),
        (lambda x, mode: mode.apply(x), [(X, Mode.SCALE), (X, Mode.SHIFT)], 2),
        (lambda x, f: f(x), [(X, fj.exp), (X, fj.tanh), (X, abs)], 3),
        (lambda x, name: getattr(fj, name)(x), [(X, "exp"), (X, "tanh")], 2),
        (lambda x, dtype: x.astype(dtype), [(X, "float64"), (X, np.dtype("int32"))], 2),
        (lambda x, s: x[s], [(X, slice(0, 2)), (X, slice(1, 3))], None),
        (lambda x: fj.exp(x), [(ARRAY,), (ARRAY * 2,), (ARRAY.astype("float64"),), (X,)], 3),
        (lambda x: fj.sum(x), [(fj.ones((2, 3)),), (fj.ones((3, 2)),), (fj.ones(6),)], 3),
        (
            lambda x: x.T * 2.0,
            [(fj.arange(6.0).reshape(2, 3).T,), (fj.arange(6.0).reshape(3, 2),)],
            1,
        ),
    ],
)
def test_arguments(body: Any, args: list[Any], traces: int | None) -> None:
    f = fj.function(body)
    follows(f, args, len(args) if traces is None else traces)


def test_partials_as_arguments() -> None:
    @fj.function
    def f(x: Any, g: Any) -> Any:
        return g(x)

    def scale(x: Any, by: Any) -> Any:
        return x * by

    for by in (2.0, 3.0, Y):
        g = functools.partial(scale, by=by)
        for _ in range(2):
            assert same(f(X, g), f.eager(X, g))


def test_lambdas_made_at_each_call() -> None:
    @fj.function
    def f(x: Any, g: Any) -> Any:
        return g(x)

    for k in (2.0, 3.0, 2.0):
        assert same(f(X, lambda x, k=k: x * k), X * k)


def test_keywords_defaults_and_stars() -> None:
    @fj.function
    def f(a: Any, b: Any = Y, /, *rest: Any, scale: float = 1.0, **named: Any) -> Any:
        total = a * scale - b
        for part in rest:
            total = total + part
        for name, part in named.items():
            total = total * part + float(len(name))
        return total

    calls: list[tuple[tuple[Any, ...], dict[str, Any]]] = [
        ((X,), {}),
        ((X, X), {}),
        ((X, Y, X), {}),
        ((X, Y, X, X), {"scale": 2.0}),
        ((X,), {"k": Y, "longer": X}),
        ((X,), {"longer": X, "k": Y}),
    ]
    for _ in range(3):
        for args, kwargs in calls:
            assert same(f(*args, **kwargs), f.eager(*args, **kwargs)), (args, kwargs)
    assert f.num_traces <= len(calls)


@pytest.mark.parametrize(
    ("args", "kwargs"),
    [((), {}), ((X, X, X), {}), ((X,), {"z": 1}), ((X,), {"x": X}), ((), {"y": X})],
)
def test_wrong_arguments_raise_what_python_raises(args: Any, kwargs: Any) -> None:
    @fj.function
    def f(x: Any, y: Any = 1.0) -> Any:
        return x * y

    f(X)
    with pytest.raises(TypeError) as expected:
        f.eager(*args, **kwargs)
    with pytest.raises(TypeError) as found:
        f(*args, **kwargs)
    assert str(found.value) == str(expected.value)


def test_the_same_object_twice() -> None:
    @fj.function
    def f(x: Any, y: Any) -> Any:
        return x - 1.0 if x is y else x * y

    for _ in range(3):
        for args in [(X, Y), (X, X), (Y, Y), (Y, X)]:
            assert same(f(*args), f.eager(*args))


# ---- methods and decorated functions


class Model:
    scale = 2.0

    def __init__(self, w: Any) -> None:
        self.w = w

    @fj.function
    def call(self, x: Any) -> Any:
        return x * self.w * self.scale

    @classmethod
    @fj.function
    def of_class(cls, x: Any) -> Any:
        return x * cls.scale

    @staticmethod
    @fj.function
    def of_none(x: Any) -> Any:
        return x * 3.0


class Derived(Model):
    scale = 5.0


def test_methods() -> None:
    for _ in range(3):
        for model in (Model(X), Model(Y), Derived(X)):
            assert same(model.call(X), X * model.w * model.scale)
            assert same(model.of_class(X), X * model.scale)
            assert same(type(model).of_class(X), X * model.scale)
            assert same(model.of_none(X), X * 3.0) and same(Model.of_none(X), X * 3.0)
            assert same(Model.call(model, X), X * model.w * model.scale)


def test_overridden_methods_and_super() -> None:
    class Base:
        def act(self, x: Any) -> Any:
            return x * 2.0

        @fj.function
        def run(self, x: Any) -> Any:
            return self.act(x) + 1.0

    class Child(Base):
        def act(self, x: Any) -> Any:
            return super().act(x) * 10.0

    for _ in range(2):
        for thing in (Base(), Child()):
            assert same(thing.run(X), thing.act(X) + 1.0)


def test_a_decorated_function_that_calls_another_is_one_plan() -> None:
    @fj.function
    def inner(x: Any) -> Any:
        return fj.tanh(x) * 2.0

    @fj.function
    def outer(x: Any) -> Any:
        return inner(x) + inner(x + 1.0)

    results = [outer(X), outer(Y), outer(X)]
    assert inner.num_traces == 0 and outer.num_traces == 1
    assert same(results, [outer.eager(X), outer.eager(Y), outer.eager(X)])
    assert "in 1 kernel;" in outer.explain(X)


def test_recursion_of_a_decorated_function() -> None:
    @fj.function
    def power(x: Any, n: int) -> Any:
        return x * 1.0 if n == 1 else x * power(x, n - 1)

    for _ in range(3):
        assert same(power(X, 3), X * (X * (X * 1.0))) and same(power(X, 1), X)
    assert power.num_traces == 2


def test_functions_without_source() -> None:
    space: dict[str, Any] = {"fj": fj}
    exec(
        "@fj.function\ndef f(x): return fj.exp(x) * 2.0\ng = fj.function(lambda x: x + 1.0)", space
    )
    follows(space["f"], [(X,), (Y,)], 1)
    follows(space["g"], [(X,), (Y,)], 1)


def test_python_dash_c() -> None:
    code = (
        "import fusejit as fj\n"
        "k = 2.0\n"
        "@fj.function\n"
        "def f(x): return fj.exp(x) * k\n"
        "a = [float(f(fj.constant(0.0))) for _ in range(3)]\n"
        "k = 3.0\n"
        "print(a, float(f(fj.constant(0.0))), f.num_traces)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code], capture_output=True, text=True, check=True
    )
    assert done.stdout == "[2.0, 2.0, 2.0] 3.0 2\n" and not done.stderr


# ---- the function object


def documented(x: Any, *, scale: float = 2.0) -> Any:
    """Scale x."""
    return x * scale


decorated = fj.function(documented)


@fj.function
def at_top(x: Any) -> Any:
    return fj.exp(x) * 2.0


def call_at_top(value: float) -> tuple[float, int]:
    results = [float(at_top(fj.constant(value))) for _ in range(3)]
    assert len(set(results)) == 1
    return results[0], at_top.num_traces


def test_signature_docstring_and_name() -> None:
    assert inspect.signature(decorated) == inspect.signature(documented)
    assert decorated.__doc__ == "Scale x." and decorated.__name__ == "documented"
    assert decorated.__wrapped__ is documented and decorated.eager is documented  # type: ignore[attr-defined]
    assert callable(decorated) and "documented" in repr(decorated)


def test_copies_are_the_function_itself() -> None:
    assert copy.copy(at_top) is at_top and copy.deepcopy({"f": at_top})["f"] is at_top
    assert pickle.loads(pickle.dumps(at_top)) is at_top


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes(method: str) -> None:
    expected, _ = call_at_top(1.0)
    with ProcessPoolExecutor(1, mp_context=get_context(method)) as pool:
        assert pool.submit(call_at_top, 1.0).result(timeout=60)[0] == expected
        assert pool.submit(at_top, X).result(timeout=60).numpy().tolist() == at_top(X).tolist()


@pytest.mark.parametrize(
    "kind", ["async", "generator", "async generator", "class", "int", "static"]
)
def test_what_cannot_be_decorated(kind: str) -> None:
    async def coroutine(x: Any) -> Any:
        return x

    def generator(x: Any) -> Any:
        yield x

    async def async_generator(x: Any) -> Any:
        yield x

    things = {
        "async": coroutine,
        "generator": generator,
        "async generator": async_generator,
        "class": Model,
        "int": 3,
        "static": staticmethod(documented),
    }
    with pytest.raises(fj.CaptureError):
        fj.function(things[kind])  # type: ignore[call-overload]


def test_decorating_twice_is_decorating_once() -> None:
    assert fj.function(at_top) is at_top
    assert same(fj.function()(lambda x: x * 2.0)(X), X * 2.0)


def test_environment_switch() -> None:
    code = (
        "import fusejit as fj\n"
        "@fj.function\n"
        "def f(x):\n"
        "    print('body')\n"
        "    return x * 2.0\n"
        "print([float(f(fj.constant(1.0))) for _ in range(2)], f.num_traces)\n"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        env={**os.environ, "FUSEJIT_DISABLE": "1"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == "body\nbody\n[2.0, 2.0] 0\n" and not done.stderr
