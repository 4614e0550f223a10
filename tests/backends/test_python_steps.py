"""Python steps of native plans: views, exceptions, re-entrancy."""

from __future__ import annotations

import threading

import numpy as np
import pytest

from fusejit.backends.llvm.runtime import NativePlan
from fusejit.backends.plan import Opaque, Operand, Step
from fusejit.errors import LoweringError
from tests.backends.plans import Array, Writer, f32, outputs
from tests.collecting import collect

X, Y = f32([0, 1, 2, 3]), f32([1, 2, 3, 4])


# ---- Python steps


def test_python_step_sees_views_of_its_slots() -> None:
    seen: list[Array] = []

    def double(x: Array, c: Array, t: Array, out: Array) -> None:
        seen[:] = [x, c, t, out]
        out[...] = 2 * x + c + t

    w = Writer()
    x, c, t, out = w.input(2, 2), w.constant(f32([1, 2])), w.temporary(2), w.output(2, 2)
    w.loop(lambda a: a, c, t)
    w.python(double, x, c, t, out)
    given = f32([[1, 2], [3, 4]])
    got = outputs(w.load(), given)[0]
    assert got.tolist() == [[4, 8], [8, 12]]
    assert [v.shape for v in seen] == [(2, 2), (2,), (2,), (2, 2)]
    assert [v.flags.writeable for v in seen] == [False, False, True, True]
    assert seen[0].base is given and seen[3].base is got


def test_views_outlive_the_plan() -> None:
    seen: list[Array] = []
    w = Writer()
    x, t, out = w.input(2), w.temporary(1000), w.output(1)
    w.python(lambda *views: seen.extend(views), x, t, w.constant(f32([7])), out)
    plan = w.load()
    plan.run([f32([1, 2])])
    del plan, w
    collect()
    seen[1][...] = 3
    assert seen[0].tolist() == [1, 2] and seen[1].sum() == 3000 and seen[2].tolist() == [7]


def test_an_exception_in_a_python_step_reaches_the_caller() -> None:
    error = ZeroDivisionError("mine")
    fail = [True]

    def call(out: Array) -> None:
        if fail[0]:
            raise error
        out[...] = 5

    w = Writer()
    w.python(call, w.output(1))
    plan = w.load()
    for _ in range(3):
        with pytest.raises(ZeroDivisionError) as caught:
            plan.run([])
        assert caught.value is error
    fail[0] = False
    assert outputs(plan)[0].tolist() == [5]


def test_a_python_step_takes_whole_slots() -> None:
    w = Writer()
    x = w.input(4)
    w.steps.append(Step(Opaque("sort", print), (Operand(x, 4),), (), 1))
    with pytest.raises(LoweringError, match="sort: a Python step takes whole slots"):
        w.load()


def test_a_plan_may_run_itself() -> None:
    plans: list[NativePlan] = []

    def again(x: Array, t: Array, out: Array) -> None:
        out[...] = 0
        if x[0] > 0:
            inner = outputs(plans[0], x - 1)[0]
            out[...] = inner + t

    w = Writer()
    x, t, out = w.input(4), w.temporary(4), w.output(4)
    w.loop(lambda a: a * 10, x, t)
    w.python(again, x, t, out)
    plans.append(w.load())
    assert outputs(plans[0], f32([3, 3, 3, 3]))[0].tolist() == [60] * 4
    assert outputs(plans[0], f32([1, 1, 1, 1]))[0].tolist() == [10] * 4


def test_a_plan_may_run_in_several_threads() -> None:
    barrier = threading.Barrier(4)

    def wait(x: Array, t: Array, out: Array) -> None:
        barrier.wait(10)
        out[...] = t

    w = Writer()
    x, t, out = w.input(100), w.temporary(100), w.output(100)
    w.loop(lambda a: a + 1, x, t)
    w.python(wait, x, t, out)
    plan = w.load()
    results: dict[int, Array] = {}

    def work(i: int) -> None:
        results[i] = outputs(plan, np.full(100, i, np.float32))[0]

    threads = [threading.Thread(target=work, args=(i,)) for i in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert all((results[i] == i + 1).all() for i in range(4))


def test_a_python_step_may_change_the_list_of_inputs() -> None:
    given = [f32(np.arange(1000))]

    def drop(x: Array) -> None:
        given.clear()
        collect()

    w = Writer()
    x, out = w.input(1000), w.output(1000)
    w.python(drop, x)
    w.loop(lambda a: a, x, out)
    result = w.load().run(given)
    assert isinstance(result, list) and result[0][999] == 999
