"""Who keeps what alive in the native runtime, and that nothing is left behind."""

from __future__ import annotations

import functools
import gc
import subprocess
import sys
import weakref
from typing import Any

import numpy as np
import pytest

from fusejit.backends.llvm.callable import install
from fusejit.backends.llvm.checks import (
    Absent,
    Arg,
    Attribute,
    Check,
    Exactly,
    Input,
    Item,
    Kept,
    Key,
    Length,
    Of,
    Same,
)
from fusejit.backends.llvm.runtime import NativePlan, StoppedAt
from fusejit.scalar import F32, cast
from tests.backends.functions import (
    BOTH,
    Function,
    Node,
    Tensor,
    X,
    Y,
    adder,
    entry,
    function,
    tensor,
)
from tests.backends.plans import Array, Writer, add_plan, leaks
from tests.collecting import collect

# ---- the class

# ---- plans


def test_a_plan_is_freed_with_all_it_holds() -> None:
    class Callable:
        def __call__(self, out: Array) -> None:
            out[...] = 1

    step = Callable()
    w = Writer()
    w.python(step, w.output(1))
    plan = w.load()
    plan.run([])
    freed = weakref.ref(plan), weakref.ref(step)
    run = plan.run
    del plan, w, step
    collect()
    assert freed[0]() is None and run([])[0][0] == 1  # type: ignore[index]
    del run
    collect()
    assert freed[1]() is None


def test_a_cycle_through_a_python_step_is_collected() -> None:
    class Node:
        plan: NativePlan

        def step(self, out: Array) -> None:
            out[...] = 1

    node = Node()
    w = Writer()
    w.python(node.step, w.output(1))
    node.plan = w.load()
    freed = weakref.ref(node)
    del node, w
    collect()
    assert freed() is None


def mixed_plan() -> NativePlan:
    w = Writer()
    x, t, out, other = w.input(4), w.temporary(4), w.output(4), w.output(4)
    w.loop(lambda a: a + 1, x, t)
    w.guard(t, (X + 1).tobytes())
    w.python(lambda a, b: np.copyto(b, a), t, out)
    w.loop(lambda a: a, t, other)
    return w.load()


def test_nothing_leaks() -> None:
    plan, fails = mixed_plan(), Writer()

    def error(out: Array) -> None:
        raise ValueError

    fails.python(error, fails.output(4))
    raising = fails.load()

    def round_() -> None:
        plan.run([X])
        plan.run([Y])
        for wrong in ([X, X], [1], [X[:2]]):
            with pytest.raises(TypeError):
                plan.run(wrong)  # type: ignore[arg-type]
        with pytest.raises(ValueError):
            raising.run([])

    before = [sys.getrefcount(value) for value in (X, Y, F32, StoppedAt)]
    assert not leaks(round_, 3000)  # Python 3.12 keeps 18 KB, once
    after = [sys.getrefcount(value) for value in (X, Y, F32, StoppedAt)]
    assert all(abs(a - b) < 20 for a, b in zip(after, before, strict=True)), (before, after)


def test_many_runs_do_not_leak() -> None:
    plan = add_plan()
    before = sys.getrefcount(X)
    assert not leaks(lambda: plan.run([X, Y]), 100_000)
    assert sys.getrefcount(X) == before


def test_importing_the_runtime_does_not_import_llvmlite() -> None:
    code = (
        "import sys, fusejit.backends.llvm.runtime, fusejit.backends.llvm.callable\n"
        "assert 'llvmlite' not in sys.modules and 'scipy_openblas64' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-X", "dev", "-c", code], check=True)


# ---- functions


def test_a_function_is_freed_with_all_it_holds() -> None:
    class Step:
        def __call__(self, x: Array, out: Array) -> None:
            out[...] = x

    step = Step()
    w = Writer()
    w.python(step, w.input(4), w.output(4))
    f = Function()
    install(f, [entry([Check(Arg(0), expect=Input(0))], w.load(), 1)], print)
    f(tensor(X))
    freed = weakref.ref(f), weakref.ref(step)
    del w, step
    gc.disable()
    try:
        del f
        assert freed[0]() is None and freed[1]() is None
    finally:
        gc.enable()


def test_cycles_through_the_native_state_are_collected() -> None:
    f = adder()
    g = function(entry(BOTH, add_plan(), result=functools.partial(max, f)))
    install(f, [entry(BOTH, add_plan(), result=g)], g)
    h = function(entry((*BOTH, Check(Kept([g]), Item(0), Same(g))), add_plan()))
    h(tensor(X), tensor(Y))
    freed = [weakref.ref(x) for x in (f, g, h)]
    del f, g, h
    collect()
    assert [ref() for ref in freed] == [None] * 3


def test_many_calls_do_not_leak() -> None:
    f, x, y = adder(), tensor(X), tensor(Y)
    collect()
    before = [sys.getrefcount(v) for v in (x, x._data, Tensor, f)]
    assert not leaks(lambda: f(x, y), 100_000)
    assert [sys.getrefcount(v) for v in (x, x._data, Tensor, f)] == before


def test_every_way_through_a_call_does_not_leak() -> None:
    world: dict[str, Any] = {"w": 1.5, "n": tensor(Y)}
    node = Node(layers=[world])
    checks = [
        *BOTH,
        Check(Kept(node), Attribute("layers"), Length(1)),
        Check(Of(2), Item(0), Exactly(dict)),
        Check(Of(3), Key("w"), Same(1.5)),
        Check(Arg(0), Attribute("missing"), Absent()),
    ]
    w = Writer()
    a, b, t = w.input(4), w.input(4), w.temporary(4)
    w.guard(a, X.tobytes())
    w.loop(lambda a, b: cast(a + b, F32), a, b, t)
    w.python(lambda t, out: np.copyto(out, t), t, w.output(4))
    w.loop(lambda a: a, t, w.output(4))
    plan = w.load()
    functions = [function(entry(checks, plan, result=r)) for r in ("tuple", list)]
    x, y = tensor(X), tensor(Y)
    slow = [0]

    def round_() -> None:
        for f in functions:
            f(x, y)
            f(y, y)  # the guard in the plan
            f(x, 3)
            f(x, y, key=1)
            world["w"] = 2.5
            f(x, y)
            del world["w"]
            f(x, y)
            world["w"] = float("1.5")
            f(x, y)
            slow[0] += len(f.slow_calls)
            f.slow_calls.clear()

    counted = (x, y, x._data, y._data, Tensor, world, F32)
    collect()
    before = [sys.getrefcount(v) for v in counted]
    assert not leaks(round_, 2_000)
    assert slow[0] == 2_200 * 2 * 5
    after = [sys.getrefcount(v) for v in counted]
    assert after == before


def test_installing_again_and_again_does_not_leak() -> None:
    f, one, two = adder(), entry(BOTH, add_plan()), entry(BOTH, add_plan())

    def round_() -> None:
        install(f, [one, two], f.__call__)
        f(tensor(X), tensor(Y))
        entry(BOTH, one.plan)

    assert not leaks(round_, 2_000)
