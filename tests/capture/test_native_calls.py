"""Calls that enter natively: no Python runs, and the result is that of the undecorated function."""

from __future__ import annotations

import sys
from collections import OrderedDict
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.backends.plans import leaks
from tests.capture.helpers import ARRAY, Point, X, Y, close, frames, same
from tests.collecting import collect

COUNT = fj.Variable([0.0, 0.0, 0.0], trainable=False, name="count")

W = fj.Variable([1.0, 2.0, 3.0], name="w")
SORTED = fj.constant([3.0, 1.0, 2.0])


def plain(a: Any, b: Any = Y) -> Any:
    return a * 2.0 + b


def keyword_only(a: Any, *, b: Any, c: Any = Y) -> Any:
    return a - b + c


def positional_only(a: Any, b: Any = X, /, **rest: Any) -> Any:
    return a - b + sum(rest.values()) * 1.0


def starred(*parts: Any) -> Any:
    return parts[0] - parts[-1] * float(len(parts))


def everything(a: Any, b: Any = Y, *rest: Any, scale: Any = X, **named: Any) -> Any:
    total = a - b * scale
    for part in rest:
        total = total * part
    for part in named.values():
        total = total + part
    return total


FORMS: list[tuple[Any, tuple[Any, ...], dict[str, Any]]] = [
    (plain, (X, Y), {}),
    (plain, (X,), {}),
    (plain, (X,), {"b": X}),
    (plain, (), {"b": X, "a": Y}),
    (plain, (), {"a": Y}),
    (keyword_only, (X,), {"b": Y}),
    (keyword_only, (X,), {"c": X, "b": Y}),
    (positional_only, (X,), {"a": Y, "c": Y}),
    (positional_only, (Y, Y), {}),
    (starred, (X, Y, X), {}),
    (starred, (X,), {}),
    (everything, (X,), {}),
    (everything, (X, Y, X, Y), {"scale": Y, "k": X, "z": Y}),
    (everything, (), {"z": X, "b": X, "a": Y}),
    (lambda xs: xs[0] - xs[1][0], ([X, (Y,)],), {}),
    (lambda d: d["a"] - d["b"]["c"], ({"a": X, "b": {"c": Y}},), {}),
    (lambda p: p.x - p.y, (Point(X, Y),), {}),
    (lambda x, s: x * s, (X, 1.5), {}),
    (lambda x, n, flag: x * n if flag else x, (X, 3, True), {}),
    (lambda x, mode: x * 2.0 if mode == "double" else x, (X, "double"), {}),
    (lambda a, b: fj.add(a, b), (ARRAY, ARRAY), {}),
    (lambda x: x + W, (X,), {}),
    (lambda x: (x + 1.0, [x * 2.0, {"b": x, "a": x - 1.0}], None, "text", 3), (X,), {}),
    (lambda x: x, (X,), {}),
    (lambda x: [x, x], (X,), {}),
    (lambda x: (x + 1.0,) * 2, (X,), {}),
    (lambda x: fj.constant([1.0, 2.0]), (X,), {}),
    (lambda a: fj.asarray(a), (ARRAY,), {}),
    (lambda x: W.read(), (X,), {}),
    (lambda x: (), (X,), {}),
    (lambda x: W, (X,), {}),
    (lambda x: (x * W, W), (X,), {}),
]


@pytest.mark.parametrize(("body", "args", "kwargs"), FORMS)
def test_a_form_of_call_is_native(body: Any, args: Any, kwargs: Any) -> None:
    f = fj.function(body)
    expected = body(*args, **kwargs)
    for _ in range(3):
        close(f(*args, **kwargs), expected)
    assert frames(lambda: f(*args, **kwargs)) == [] and f.num_traces == 1


def test_methods_are_native() -> None:
    class Model:
        def __init__(self, w: Any) -> None:
            self.w = w

        @fj.function
        def call(self, x: Any, by: Any = Y) -> Any:
            return x * self.w - by

    models = Model(X), Model(Y)
    for _ in range(2):
        for model in models:
            assert same(model.call(X), X * model.w - Y)
            assert same(model.call(by=X, x=Y), Y * model.w - X)
    for model in models:
        assert frames(lambda m=model: m.call(X)) == []
        assert frames(lambda m=model: m.call(by=X, x=Y)) == []
        assert same(model.call(by=X, x=Y), Y * model.w - X)


def test_results_that_python_nests() -> None:
    f = fj.function(lambda x: Point(x + 1.0, OrderedDict(b=x, a=x * 2.0)))
    for _ in range(3):
        result = f(X)
        assert type(result) is Point and list(result.y) == ["b", "a"]
        assert same(result.x, X + 1.0) and result.y["b"] is X
    assert not any("Calls" in name or "miss" in name for name in frames(lambda: f(X)))


def test_identity_of_results() -> None:
    f = fj.function(lambda x, y: (x, y, x + y, W))
    f(X, Y)
    x, y, total, w = f(X, Y)
    assert x is X and y is Y and w is W and total is not f(X, Y)[2]
    g = fj.function(lambda x: [x + 1.0] * 2)
    for _ in range(3):
        first, second = g(X)
        assert first is second
    array = ARRAY.copy()
    h = fj.function(lambda a: fj.asarray(a))
    for _ in range(3):
        kept = h(array)
        array += 1.0
        assert not np.array_equal(kept.numpy(), array)


def test_assignments_are_native_and_committed_once() -> None:
    def body(x: Any) -> Any:
        COUNT.assign_add(x)
        return COUNT * 2.0

    f = fj.function(body)
    COUNT.assign([0.0, 0.0, 0.0])
    for n in range(1, 6):
        assert same(f(X), X * float(n) * 2.0) and same(COUNT.read(), X * float(n))
    assert frames(lambda: f(X)) == []
    held = COUNT.read()
    f(X)
    assert held is not COUNT.read() and same(held, X * 6.0)


def test_defaults_are_read_at_each_call() -> None:
    def body(x: Any, y: Any = X, *, z: Any = X) -> Any:
        return x + y * z

    f = fj.function(body)
    for _ in range(2):
        assert same(f(X), X + X * X)
    body.__defaults__ = (Y,)
    for _ in range(3):
        assert same(f(X), X + Y * X)
    assert body.__kwdefaults__ is not None
    body.__kwdefaults__["z"] = Y
    for _ in range(3):
        assert same(f(X), X + Y * Y)
    assert frames(lambda: f(X)) == []
    body.__defaults__ = None
    with pytest.raises(TypeError, match="missing 1 required positional argument: 'y'"):
        f(X)


def test_keywords_that_are_not_interned() -> None:
    f = fj.function(plain)
    f(X, b=Y)
    name = "".join(["b", ""])[:1]
    assert same(f(X, **{name: X}), plain(X, X))
    g = fj.function(everything)
    long = "".join(["sca", "le"])
    for _ in range(3):
        assert same(g(X, **{long: Y}), everything(X, scale=Y))


def test_other_signatures_are_native_too() -> None:
    f = fj.function(plain)
    sizes = [fj.ones(n) for n in range(1, 7)]
    for x in sizes:
        f(x, x)
    for x in sizes:
        assert same(f(x, x), plain(x, x)) and frames(lambda x=x: f(x, b=x)) == []
    assert f.num_traces == len(sizes)


def test_a_branch_that_was_recorded_is_native() -> None:
    def body(x: Any) -> Any:
        return x * 2.0 if fj.sum(x) > 0.0 else x - 1.0

    f = fj.function(body)
    calls = (X + 1.0, X - 1.0, X + 2.0, X - 2.0)
    for x in calls * 2:
        assert same(f(x), body(x))
    for x in calls:
        assert frames(lambda x=x: f(x)) == []
    assert f.num_traces == 2


def test_steps_that_numpy_runs_need_no_dispatch() -> None:
    f = fj.function(lambda x: fj.sort(x) * 2.0)
    for _ in range(3):
        assert same(f(SORTED), fj.sort(SORTED) * 2.0)
    assert not [name for name in frames(lambda: f(SORTED)) if name.startswith("Calls")]


def test_an_error_in_a_step_is_that_of_the_body() -> None:
    def body(x: Any) -> Any:
        COUNT.assign_add([1.0, 1.0, 1.0])
        return fj.linalg.cholesky(x)

    f = fj.function(body)
    good, bad = fj.constant([[2.0, 0.0], [0.0, 2.0]]), fj.constant([[-2.0, 0.0], [0.0, 2.0]])
    for _ in range(3):
        COUNT.assign([0.0, 0.0, 0.0])
        assert same(f(good), fj.linalg.cholesky(good)) and COUNT.tolist() == [1.0] * 3
    COUNT.assign([0.0, 0.0, 0.0])
    for n in range(1, 4):
        with pytest.raises(np.linalg.LinAlgError):
            f(bad)
        assert COUNT.tolist() == [float(n)] * 3  # eager's effects up to the raise
    assert same(f(good), fj.linalg.cholesky(good))


def test_many_calls_leave_nothing_behind() -> None:
    def body(x: Any, d: Any, *rest: Any, k: Any = Y, **named: Any) -> Any:
        COUNT.assign(x)
        return {"a": [x, d["v"] + k, W], "b": (rest[0] * named["z"], None, "text")}

    f = fj.function(body)
    d = {"v": Y}
    gradient = fj.gradients_function(fj.function(lambda x: fj.sum(x * x * W)))

    def round_() -> None:
        f(X, d, X, z=Y)
        f(k=X, x=Y, d=d) if False else f(Y, d, Y, z=X, k=X)
        gradient(X)

    counted = (X, Y, W, COUNT, d, None, fj.Tensor)
    round_(), round_()
    collect()
    before = [sys.getrefcount(v) for v in counted]
    assert not leaks(round_, 30_000)
    after = [sys.getrefcount(v) for v in counted]
    assert all(abs(a - b) < 100 for a, b in zip(after, before, strict=True)), (before, after)


def test_guards_are_no_kernels() -> None:
    f = fj.function(lambda x: x * 2.0 if fj.sum(x) > 0.0 else x)
    f(X + 5.0)
    page = f.explain(X + 5.0)
    numbered = [line for line in page.splitlines() if line[:3].strip().isdigit()]
    assert f"in {len(numbered)} kernel" in page and "guard" not in "".join(numbered)
