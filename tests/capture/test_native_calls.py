"""Calls that enter natively: no Python runs, and the result is that of the undecorated function."""

from __future__ import annotations

import gc
import sys
import threading
import warnings
from collections import OrderedDict, namedtuple
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.backends.plans import leaks
from tests.capture.helpers import ARRAY, X, same

Y = fj.constant([0.5, -1.0, 4.0])
Point = namedtuple("Point", ["x", "y"])
W = fj.Variable([1.0, 2.0, 3.0], name="w")
COUNT = fj.Variable([0.0, 0.0, 0.0], trainable=False, name="count")
SORTED = fj.constant([3.0, 1.0, 2.0])


def frames(call: Callable[[], Any]) -> list[str]:
    """The Python functions that a call runs, itself aside."""
    seen: list[str] = []
    mine = call.__code__

    def profile(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code is not mine:
            seen.append(frame.f_code.co_qualname)

    sys.setprofile(profile)
    try:
        call()
    finally:
        sys.setprofile(None)
    return seen


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
        _close(f(*args, **kwargs), expected)
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
    gc.collect()
    before = [sys.getrefcount(v) for v in counted]
    assert not leaks(round_, 30_000)
    after = [sys.getrefcount(v) for v in counted]
    assert all(abs(a - b) < 100 for a, b in zip(after, before, strict=True)), (before, after)


def test_threads_do_not_wait_for_a_tape_elsewhere() -> None:
    f = fj.function(plain)
    expected = plain(X, Y)
    f(X, Y), f(X, b=Y)
    started, stop, wrong = threading.Event(), threading.Event(), []

    def differentiate() -> None:
        with fj.GradientTape() as tape:
            tape.watch(X)
            started.set()
            stop.wait(20)

    def call() -> None:
        wrong.extend(r for r in (f(X, b=Y) for _ in range(2000)) if not same(r, expected))

    taping = threading.Thread(target=differentiate)
    taping.start()
    started.wait(20)
    callers = [threading.Thread(target=call) for _ in range(3)]
    try:
        assert frames(lambda: f(X, b=Y))[0] == "Calls.handled"
        assert "Calls.miss" not in frames(lambda: f(X, b=Y))
        for thread in callers:
            thread.start()
        for thread in callers:
            thread.join()
    finally:
        stop.set()
        taping.join()
    assert not wrong and f.num_traces == 1


# ---- gradients


def loss(x: Any, scale: Any = 2.0) -> Any:
    return fj.sum(fj.tanh(x) * W * scale)


@pytest.mark.parametrize(
    "make",
    [
        fj.gradients_function,
        fj.value_and_gradients_function,
        fj.implicit_gradients,
        fj.implicit_value_and_gradients,
    ],
)
def test_gradient_functions_of_decorated_functions_are_native(make: Any) -> None:
    f = fj.function(loss)
    gradient, expected = make(f), make(loss)(X)
    for _ in range(3):
        _close(gradient(X), expected)
    assert frames(lambda: gradient(X)) == ["_replayed.<locals>.call"]
    _close(make(f)(X), expected)
    assert frames(lambda: make(f)(X))[-1] == "_replayed.<locals>.call"
    decorated = fj.function(make(loss))
    for _ in range(3):
        _close(decorated(X), expected)
    assert frames(lambda: decorated(X)) == []


def _close(a: Any, b: Any) -> None:
    import optree

    found, wanted = optree.tree_leaves(a), optree.tree_leaves(b)
    assert len(found) == len(wanted)
    for x, y in zip(found, wanted, strict=True):
        if isinstance(y, fj.Tensor):
            np.testing.assert_allclose(x.numpy(), y.numpy(), rtol=2e-5, atol=1e-6)
        else:
            assert x is y


def test_a_call_under_a_tape_is_one_entry() -> None:
    f = fj.function(lambda x: fj.sum(fj.tanh(x) * W + fj.exp(x)))

    def run(g: Any) -> Any:
        with fj.GradientTape(persistent=True) as tape:
            tape.watch(X)
            y = g(X)
        return tape, y

    f(X)
    for _ in range(3):
        tape, y = run(f)
        assert len(tape._entries) == 1 and "Calls.miss" not in frames(lambda: run(f))
        other, z = run(f.eager)
        _close([y, *tape.gradient(y, [X, W])], [z, *other.gradient(z, [X, W])])
    assert f.num_traces == 1


def test_gradients_with_numbers_record_once() -> None:
    f = fj.function(lambda x, scale: fj.sum(x * x * scale))
    gradient = fj.gradients_function(f, params=[0])
    for n in range(8):
        _close(gradient(X, float(n)), [X * 2.0 * float(n)])
        _close(fj.gradients_function(f)(float(n), X)[1:], [fj.constant([float(n) ** 2] * 3)])
    assert f.num_traces <= 2


def test_implicit_gradients_of_a_method() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = fj.Variable([1.0, 2.0, 3.0], name="w")

        @fj.function
        def loss(self, x: Any) -> Any:
            return fj.sum(x * self.w)

    one, two = Model(), Model()
    for _ in range(3):
        for model in (one, two):
            ((gradient, variable),) = fj.implicit_gradients(model.loss)(X)
            assert variable is model.w and same(gradient, X)
            value, pairs = fj.implicit_value_and_gradients(model.loss)(X)
            assert pairs[0][1] is model.w and same(value, fj.sum(X * model.w))


# ---- what changes at every call


def test_a_value_that_always_changes_is_named_once() -> None:
    f = fj.function(lambda x, n: x * n)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(80):
            assert same(f(X, n), X * n)
    (warning,) = caught
    assert warning.category is fj.RecompileWarning and warning.filename == __file__
    assert "n was 31, now 32" in str(warning.message) and "Variable" in str(warning.message)


def test_a_changing_attribute_is_named() -> None:
    class Owner:
        step = 0

    owner = Owner()
    f = fj.function(lambda x: x * float(owner.step))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        for n in range(40):
            owner.step = n
            assert same(f(X), X * float(n))
    (warning,) = caught
    assert ".step was 31, now 32" in str(warning.message)


def test_new_shapes_do_not_warn() -> None:
    f = fj.function(lambda x: x + 1.0)
    for n in range(1, 40):
        assert f(fj.ones(n)).shape == (n,)


def test_guards_are_no_kernels() -> None:
    f = fj.function(lambda x: x * 2.0 if fj.sum(x) > 0.0 else x)
    f(X + 5.0)
    page = f.explain(X + 5.0)
    numbered = [line for line in page.splitlines() if line[:3].strip().isdigit()]
    assert f"in {len(numbered)} kernel" in page and "guard" not in "".join(numbered)


def test_ops_say_what_they_do() -> None:
    assert fj.exp.__doc__ is not None and fj.exp.__doc__.startswith("exp(x)")
    assert type(fj.exp).__doc__ is not None and type(fj.exp).__doc__.startswith("One output")
