"""The native entry of decorated functions: the class, calls, results, the slow path."""

from __future__ import annotations

import copy
import functools
import gc
import weakref
from typing import Any

import numpy as np
import pytest

from fusejit.backends.llvm import abi
from fusejit.backends.llvm.callable import install
from fusejit.backends.llvm.checks import Arg, Check, Input, Referent
from fusejit.backends.llvm.native import NativeCallable, enable_vectorcall, uninstall
from fusejit.backends.llvm.results import Leaf, Output, Result
from tests.backends.functions import (
    ACTIVE,
    BOTH,
    Function,
    Tensor,
    X,
    Y,
    adder,
    entry,
    function,
    is_slow,
    tensor,
)
from tests.backends.plans import Array, Writer, add_plan
from tests.collecting import collect

# ---- the class


def test_instances_are_ordinary_objects() -> None:
    f: Any = Function()
    assert f(1, b=2) == "slow" and f.slow_calls == [((1,), {"b": 2})]
    f.note = 1
    assert f.__dict__["note"] == 1 and gc.is_tracked(f) and weakref.ref(f)() is f
    assert callable(f) and isinstance(f, NativeCallable) and hash(f) == hash(f)


def test_methods() -> None:
    class Owner:
        method = Function()

    owner: Any = Owner()
    assert owner.method(1) == "slow" and owner.method.__self__ is owner
    assert Owner.method.slow_calls == [((owner, 1), {})]
    install(Owner.method, [entry(BOTH, add_plan())], Owner.method.__call__)
    assert Owner.method(tensor(X), tensor(Y))._data.tolist() == [1, 3, 5, 7]
    assert owner.method(tensor(X)) == "slow"


def test_native_methods_get_self() -> None:
    class Owner:
        method = Function()

    owner: Any = Owner()
    w = Writer()
    w.loop(lambda a: a + 1, w.input(4), w.output(4))
    checks = (
        Check(Arg(0), expect=Referent(weakref.ref(owner), type(owner))),
        Check(Arg(1), expect=Input(0)),
    )
    install(Owner.method, [entry(checks, w.load())], Owner.method.__call__)
    assert owner.method(tensor(X))._data.tolist() == [1, 2, 3, 4]
    bound = owner.method
    assert bound(tensor(X))._data.tolist() == [1, 2, 3, 4]
    assert Owner().method(tensor(X)) == "slow"


def test_subclasses_use_their_own_call() -> None:
    class Sub(Function):
        def __call__(self, *args: Any, **kwargs: Any) -> Any:
            return "sub"

    sub = Sub()
    assert sub(1) == "sub" and not install(sub, [entry(BOTH, add_plan())], print)
    assert sub(tensor(X), tensor(Y)) == "sub"
    assert enable_vectorcall(Sub) and install(sub, [entry(BOTH, add_plan())], print)
    assert sub(tensor(X), tensor(Y))._data.tolist() == [1, 3, 5, 7]


def test_only_native_callables_can_be_entered() -> None:
    assert not enable_vectorcall(int)
    with pytest.raises(TypeError, match="NativeCallable"):
        uninstall(print)  # type: ignore[arg-type]


def test_wraps_and_copies_do_no_harm() -> None:
    f, g = adder(), adder()
    functools.update_wrapper(g, f)
    f.__dict__.clear()
    del f
    collect()
    assert g(tensor(X), tensor(Y))._data.tolist() == [1, 3, 5, 7]
    with pytest.raises(TypeError):
        copy.copy(g)


def test_without_native_calls(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(abi, "why_not_native", lambda: "because")

    class Other(NativeCallable):
        def __call__(self) -> int:
            return 1

    assert not enable_vectorcall(Other) and not install(Other(), [entry(BOTH, add_plan())], print)
    assert Other()() == 1


# ---- calls


def test_a_call() -> None:
    f, x, y = adder(), tensor(X), tensor(Y)
    result = f(x, y)
    assert type(result) is Tensor and result._data.tolist() == [1, 3, 5, 7]
    assert result._tag is None and result._origin is None and weakref.ref(result)() is result
    assert gc.is_tracked(result) and not f.slow_calls
    assert f(*[x, y])._data.tolist() == [1, 3, 5, 7]
    assert next(map(f, [x], [y]))._data.tolist() == [1, 3, 5, 7]


def test_what_takes_the_slow_path() -> None:
    f, x, y = adder(), tensor(X), tensor(Y)
    assert is_slow(f) and is_slow(f, x) and is_slow(f, x, y, y)
    assert is_slow(f, x, y, key=1) and is_slow(f, x, y=y)
    assert is_slow(f, x, X) and is_slow(f, None, y) and is_slow(f, x, tensor(X[:3]))
    assert is_slow(f, x, tensor(X, np.float64)) and is_slow(f, x, tensor([X]))
    empty = Tensor()
    assert is_slow(f, x, empty)
    odd = tensor(X)
    odd._data = np.zeros(8, np.float32)[::2]
    assert is_slow(f, x, odd)
    odd._data = "no array"  # type: ignore[assignment]
    assert is_slow(f, x, odd)

    class Sub(Tensor):
        __slots__ = ()

    sub = Sub()
    sub._data = X
    assert is_slow(f, x, sub) and not is_slow(f, x, y)


def test_an_active_handler_takes_every_call() -> None:
    f, x, y = adder(), tensor(X), tensor(Y)
    ACTIVE.value = 1
    try:
        assert is_slow(f, x, y)
    finally:
        ACTIVE.value = 0
    assert not is_slow(f, x, y)


def test_entries_are_tried_in_order() -> None:
    f = function(*(entry(BOTH, add_plan(size)) for size in (2, 3, 4)))
    for size in (2, 3, 4):
        x = tensor(np.arange(size))
        assert f(x, x)._data.tolist() == [2 * i for i in range(size)]
    assert is_slow(f, tensor([1]), tensor([1]))


def test_install_replaces_and_uninstall_removes() -> None:
    f, x = adder(), tensor(X)
    w = Writer()
    w.loop(lambda a, b: a * b, w.input(4), w.input(4), w.output(4))
    install(f, [entry(BOTH, w.load())], f.__call__)
    assert f(x, x)._data.tolist() == [0, 1, 4, 9]
    uninstall(f)
    assert is_slow(f, x, x)
    uninstall(f)
    assert not install(f, [], f.__call__) and is_slow(f, x, x)


def test_results() -> None:
    w = Writer()
    x = w.input(2)
    w.loop(lambda a: a + 1, x, w.output(2))
    w.loop(lambda a: a * 2, x, w.output(2))
    plan, checks = w.load(), (Check(Arg(0), expect=Input(0)),)
    given = tensor([3, 4])
    first, second = function(entry(checks, plan, 1, "tuple"))(given)
    assert first._data.tolist() == [4, 5] and second._data.tolist() == [6, 8]

    def finish(outputs: list[Any]) -> Any:
        return {"sum": outputs[0], "rest": outputs[1:]}

    result = function(entry(checks, plan, 1, finish))(given)
    assert result["sum"]._data.tolist() == [4, 5] and len(result["rest"]) == 1
    with pytest.raises(ValueError, match="there are 2 outputs, no output 2"):
        entry(checks, plan, 1, Result((Output(2),), Leaf(0)))
    with pytest.raises(ValueError, match="there are 1 results, no result 1"):
        entry(checks, plan, 1, Result((Output(0),), Leaf(1)))
    nothing = function(entry((), Writer().load(), 0, "tuple"))
    assert nothing() == ()


def test_an_exception_in_finish_reaches_the_caller() -> None:
    def finish(outputs: list[Any]) -> None:
        raise KeyError("mine")

    f = function(entry(BOTH, add_plan(), result=finish))
    for _ in range(3):
        with pytest.raises(KeyError, match="mine"):
            f(tensor(X), tensor(Y))
    assert not f.slow_calls


def test_exceptions_of_the_slow_path_and_of_python_steps() -> None:
    f = Function()

    def slow(*args: Any) -> None:
        raise LookupError(*args)

    def step(x: Array) -> None:
        raise FloatingPointError("step")

    w = Writer()
    w.python(step, w.input(4))
    install(f, [entry([Check(Arg(0), expect=Input(0))], w.load(), 1, "tuple")], slow)
    with pytest.raises(LookupError, match="7"):
        f(7)
    for _ in range(3):  # nothing is committed yet: the slow path runs the body, which raises it
        with pytest.raises(LookupError, match="Tensor"):
            f(tensor(X))


def test_an_interrupt_of_a_python_step_is_not_retried() -> None:
    def step(x: Array) -> None:
        raise KeyboardInterrupt

    w = Writer()
    w.python(step, w.input(4))
    f = function(entry([Check(Arg(0), expect=Input(0))], w.load(), 1, "tuple"))
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            f(tensor(X))
    assert not f.slow_calls and not is_slow(adder(), tensor(X), tensor(Y))


def test_endless_recursion_is_an_error() -> None:
    f = Function()
    install(f, [entry(BOTH, add_plan())], lambda *args: f(*args))
    with pytest.raises(RecursionError):
        f(1, 2)
    assert f(tensor(X), tensor(Y))._data.tolist() == [1, 3, 5, 7]


def test_a_guard_in_the_plan_goes_to_the_slow_path() -> None:
    w = Writer()
    x = w.input(4)
    w.guard(x, X.tobytes())
    w.loop(lambda a: a + 1, x, w.output(4))
    f = function(entry([Check(Arg(0), expect=Input(0))], w.load(), 1))
    assert f(tensor(X))._data.tolist() == [1, 2, 3, 4]
    assert is_slow(f, tensor(Y)) and not is_slow(f, tensor(X))


def test_a_plan_in_use_runs_again_in_another_frame() -> None:
    functions: list[Function] = []
    depth = []

    def step(x: Array, out: Array) -> None:
        depth.append(x[0])
        if len(depth) % 3:
            functions[0](tensor(x + 1.0))
        out[...] = x

    w = Writer()
    w.python(step, w.input(4), w.output(4))
    functions.append(function(entry([Check(Arg(0), expect=Input(0))], w.load(), 1)))
    given = tensor(X)
    for _ in range(2):
        assert functions[0](given)._data.tolist() == X.tolist()
    assert depth == [X[0], X[0] + 1, X[0] + 2] * 2


def test_a_call_may_replace_what_it_runs_on() -> None:
    f = Function()
    count = [0]

    def slow(*args: Any) -> str:
        count[0] += 1
        refresh()
        collect()
        return "slow"

    def step(x: Array, out: Array) -> None:
        refresh()
        collect()
        out[...] = x

    def refresh() -> None:
        w = Writer()
        w.python(step, w.input(4), w.output(4))
        checks = [Check(Arg(0), expect=Input(0))]
        install(f, [entry(checks, w.load(), 1, finish)], lambda *args: slow(*args))

    def finish(outputs: list[Any]) -> Any:
        uninstall(f)
        refresh()
        collect()
        return outputs[0]

    refresh()
    for _ in range(5):
        assert f(tensor(X))._data.tolist() == X.tolist() and f(3) == "slow"
    assert count == [5]
