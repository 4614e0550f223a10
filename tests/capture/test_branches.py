"""Never baked: a value that reaches Python decides anew in each call."""

from __future__ import annotations

from typing import Any

import pytest

import fusejit as fj
from tests.capture.helpers import X, follows, same


def scalar(value: float) -> fj.Tensor:
    return fj.constant(value)


@fj.function
def by_bool(x: Any) -> Any:
    return x * 2.0 if x > 0 else -x


@fj.function
def by_and_or(x: Any, y: Any) -> Any:
    if x > 0 and y > 0:
        return x + y
    if x > 1 or not y > -1:
        return x - y
    return x * y


@fj.function
def by_min_max(x: Any, y: Any) -> Any:
    return min(x, y) * 3.0 + max(x, y)


@fj.function
def by_sorted(x: Any, y: Any, z: Any) -> Any:
    low, middle, high = sorted([x, y, z], key=float)
    return low + 2.0 * middle + 4.0 * high


@fj.function
def by_conditional_value(x: Any, y: Any) -> Any:
    return (x or y) + 1.0


@fj.function
def by_equality(x: Any, y: Any) -> Any:
    if x == y:
        return x
    return x - y if x != 3.0 else y


@fj.function
def by_early_exit(x: Any) -> Any:
    for step in range(5):
        x = x * 2.0
        if x > 10.0:
            return x + float(step)
    return x


PAIRS = [
    (scalar(a), scalar(b)) for a, b in [(1, 2), (2, 1), (-1, 3), (3, -1), (-2, -2), (0, 0), (2, -4)]
]


@pytest.mark.parametrize("f", [by_bool, by_early_exit], ids=lambda f: f.__name__)
def test_python_branches_on_one_tensor(f: Any) -> None:
    follows(
        f,
        [(scalar(v),) for v in (1.0, -1.0, 3.0, 0.5, 20.0, 0.0, -0.0)],
        f.num_traces or {"by_bool": 2, "by_early_exit": 5}[f.__name__],
    )


@pytest.mark.parametrize(
    "f", [by_and_or, by_min_max, by_conditional_value, by_equality], ids=lambda f: f.__name__
)
def test_python_branches_on_two_tensors(f: Any) -> None:
    for _ in range(3):
        for pair in PAIRS:
            assert same(f(*pair), f.eager(*pair))
    made = f.num_traces
    for pair in PAIRS:
        f(*pair)
    assert f.num_traces == made <= len(PAIRS)


def test_sorted() -> None:
    orders = [(1.0, 2.0, 3.0), (3.0, 1.0, 2.0), (2.0, 3.0, 1.0), (2.0, 2.0, 1.0)]
    follows(by_sorted, [tuple(map(scalar, order)) for order in orders], 4)


@pytest.mark.parametrize(
    "convert", [int, float, bool, complex, fj.Tensor.item, fj.Tensor.__index__]
)
def test_a_number_taken_from_a_tensor_is_no_constant(convert: Any) -> None:
    @fj.function
    def f(x: Any, n: Any) -> Any:
        return x * convert(n)

    calls = [(X, fj.constant(n)) for n in (0, 1, 2, 3, -5)]
    follows(f, calls, 2 if convert is bool else 5)


def test_an_item_that_is_nan_or_minus_zero() -> None:
    @fj.function
    def f(x: Any, n: Any) -> Any:
        return x * float(n)

    follows(f, [(X, scalar(v)) for v in (float("nan"), 0.0, -0.0, float("inf"))], 4)


def test_loops_by_value() -> None:
    @fj.function
    def f(x: Any, n: Any) -> Any:
        for _ in range(int(n)):
            x = x * 2.0
        k = 0
        while fj.sum(x) > 3.0:
            x = x / 2.0
            k += 1
        return x, k

    calls = [(X + 3.0, fj.constant(n)) for n in (0, 3, 1)]
    for _ in range(2):
        for args in calls:
            assert same(f(*args), f.eager(*args))
    assert f.num_traces == 3


def test_collatz() -> None:
    @fj.function
    def steps(a: Any) -> int:
        counter = 0
        while not fj.equal(a, 1):
            if fj.equal(a % 2, 0):  # noqa: SIM108
                a = a // 2
            else:
                a = 3 * a + 1
            counter += 1
        return counter

    follows(steps, [(fj.constant(n),) for n in (12, 7, 1, 6)], 4)


def test_recursion_by_value() -> None:
    def power(x: Any, n: Any) -> Any:
        return x if n <= 1 else x * power(x, n - 1)

    follows(fj.function(power), [(X, fj.constant(n)) for n in (1, 4, 2)], 3)


def test_an_exception_raised_on_a_value() -> None:
    state = fj.Variable(1.0)

    @fj.function
    def f(x: Any) -> Any:
        state.assign_add(1.0)
        if x < 0:
            raise ValueError(f"negative: {float(x)}")
        return x + state

    assert float(f(scalar(1.0))) == 3.0
    for value in (-1.0, -2.0, -1.0):
        before = float(state)
        with pytest.raises(ValueError, match=f"negative: {value}"):
            f(scalar(value))
        assert float(state) == before + 1.0, "what ran before the raise has happened"
    assert float(f(scalar(1.0))) == float(state) + 1.0
    assert f.num_traces == 1, "a branch that raises is not kept"


def test_exceptions_caught_inside() -> None:
    @fj.function
    def f(x: Any) -> Any:
        try:
            if x < 0:
                raise ValueError("negative")
            return x * 2.0
        except ValueError:
            return x * 3.0

    follows(f, [(scalar(v),) for v in (1.0, -1.0)], 2)


def test_an_error_of_an_op_is_the_eager_error() -> None:
    @fj.function
    def f(x: Any, y: Any) -> Any:
        return x + y

    for _ in range(2):
        with pytest.raises(fj.ShapeError, match=r"f32\[3\].*f32\[2\]"):
            f(X, fj.constant([1.0, 2.0]))
    assert same(f(X, X), X + X)


def test_a_replay_does_not_run_the_body() -> None:
    import sys

    @fj.function
    def f(x: Any) -> Any:
        return x * 2.0 if fj.sum(x) > 0 else x

    entered = []
    f(X + 3.0)
    sys.setprofile(lambda frame, event, arg: entered.append(frame.f_code))
    try:
        f(X + 3.0)
    finally:
        sys.setprofile(None)
    assert f.eager.__code__ not in entered


def test_a_branch_on_what_a_variable_holds() -> None:
    switch = fj.Variable(1.0)

    @fj.function
    def f(x: Any) -> Any:
        return x * 2.0 if switch > 0 else x * 3.0

    for value in (1.0, -1.0, 2.0, -2.0):
        switch.assign(value)
        assert same(f(X), f.eager(X))
    assert f.num_traces == 2
