"""Float arguments: parameters of the plan where that is proven, else by value; right both ways."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import X, same

VALUES = [0.1, 2.5, -0.0, 0.0, float("inf"), float("nan"), 1e300, 1e-320, 0.1 + 2**-30]


def scaled(x: Any, s: float) -> Any:
    return x * s


def reflected(x: Any, s: float) -> Any:
    return s - x


def divided(x: Any, s: float) -> Any:
    return fj.tanh(x) / s + fj.exp(s / (x + 9.0))


def twice(x: Any, s: float) -> Any:
    return x * s + (x - s)


def of_a_method_call(x: Any, s: float) -> Any:
    return s * fj.sum(x.astype("float64"), axis=0) + x


def two_parameters(x: Any, s: float, t: float = 3.0) -> Any:
    return (x * s) * t


RUN_TIME = [scaled, reflected, divided, twice, of_a_method_call, two_parameters]


def rebound(x: Any, s: float) -> Any:
    s = s * 2.0
    return x * s


def python_arithmetic(x: Any, s: float) -> Any:
    return x * (s * 0.5)


def with_itself(x: Any, s: float) -> Any:
    return x * (s * s)


def in_a_loop(x: Any, s: float) -> Any:
    for _ in range(3):
        x = x * s
    return x


def in_a_closure(x: Any, s: float) -> Any:
    return (lambda y: y * s)(x)


def returned(x: Any, s: float) -> Any:
    return x * s, s


def compared(x: Any, s: float) -> Any:
    return x * s if s > 0.0 else x + s


def passed_on(x: Any, s: float) -> Any:
    return fj.multiply(x, s)


def as_an_exponent(x: Any, s: float) -> Any:
    return x**s


def in_the_other_branch(x: Any, s: float) -> Any:
    return x * s if x.ndim == 1 else x - s


def looked_up(x: Any, s: float) -> Any:
    return x * s + float(len(locals()))


class Scales:
    """Not a Tensor, and reads what it is given."""

    def __rmul__(self, s: float) -> float:
        return s + 1.0


def given_to_an_object(x: Any, s: float) -> Any:
    return x * (s * Scales())


BY_VALUE = [
    rebound,
    python_arithmetic,
    with_itself,
    in_a_loop,
    in_a_closure,
    returned,
    compared,
    passed_on,
    as_an_exponent,
    in_the_other_branch,
    given_to_an_object,
]


@pytest.mark.parametrize("body", RUN_TIME, ids=lambda b: b.__name__)
@pytest.mark.parametrize("dtype", ["float32", "float64", "int64"])
def test_run_time_parameters(body: Callable[..., Any], dtype: str) -> None:
    f, x = fj.function(body), X.astype(dtype)
    for s in VALUES:
        assert same(f(x, s), body(x, s)), s
    assert f.num_traces == 1 and "by value" not in f.explain(x, 1.0)


@pytest.mark.parametrize("body", BY_VALUE, ids=lambda b: b.__name__)
def test_by_value(body: Callable[..., Any]) -> None:
    f = fj.function(body)
    for s in VALUES:
        for _ in range(2):
            result, expected = f(X, s), body(X, s)
            if body is returned:
                assert np.float64(result[1]).tobytes() == np.float64(expected[1]).tobytes()
                result, expected = result[0], expected[0]
            assert same(result, expected), s
    assert f.num_traces == len(VALUES)
    assert "float arguments taken by value" in f.explain(X, 0.5) and "s: " in f.explain(X, 0.5)


def test_the_same_object_for_two_parameters() -> None:
    f = fj.function(two_parameters)
    for s, t in [(1.5, 1.5), (2.5, 3.5), (2.5, 2.5)]:
        assert same(f(X, s, s if s == t else t), two_parameters(X, s, t))
    assert f.num_traces == 1


CONSTANT = 4.5


def test_a_constant_that_is_the_argument_at_first() -> None:
    def body(x: Any, s: float) -> Any:
        return x * s + CONSTANT

    f = fj.function(body)
    for s in (CONSTANT, 1.5, CONSTANT):
        assert same(f(X, s), body(X, s))
    assert f.num_traces == 1


SHARED = -1.5


def test_a_global_that_is_the_object_of_the_argument() -> None:
    def body(x: Any, s: float = 1.0) -> Any:
        return x * (SHARED or s)

    f = fj.function(body)
    for s in (SHARED, SHARED, 2.0, SHARED, 3.0):
        assert same(f(X, s), body(X, s))


def test_other_types_are_told_apart() -> None:
    f = fj.function(scaled)
    f(X, 2.0)
    for s in (2, True, np.float64(2.0), np.float32(2.0), fj.constant(2.0), 2.0, 3.0):
        for _ in range(2):
            assert same(f(X, s), scaled(X, s)), type(s)


def test_gradients() -> None:
    f = fj.function(divided)
    for s in (0.5, 1.5, 2.5):
        for a, b in zip(
            fj.gradients_function(f, ["x"])(X, s),
            fj.gradients_function(divided, ["x"])(X, s),
            strict=True,
        ):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-6)
    assert f.num_traces == 1


def test_a_schedule_of_a_training_step_records_once() -> None:
    w = fj.Variable(fj.ones(3))

    @fj.function
    def step(x: Any, rate: float) -> Any:
        w.assign_sub((w - x) * rate)
        return fj.sum(w * w)

    for n in range(50):
        expected = w - (w - X) * (1.0 / (n + 2))
        step(X, 1.0 / (n + 2))
        assert same(w.read(), expected)
    assert step.num_traces == 1
