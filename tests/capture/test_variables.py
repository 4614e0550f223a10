"""Variables and random numbers inside decorated functions: the state that eager code leaves."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import X, one_eager_warning, same

Make = Callable[[], tuple[Any, list[fj.Variable]]]


def counting() -> tuple[Any, list[fj.Variable]]:
    v = fj.Variable(fj.zeros(3))
    return lambda x: v.assign_add(x).read() * 1.0, [v]


def in_order() -> tuple[Any, list[fj.Variable]]:
    v = fj.Variable(fj.ones(3))

    def f(x: Any) -> Any:
        before = v.read()
        v.assign(v * 2.0)
        between = v + x
        v.assign_sub(x)
        v.assign(v * between)
        return before, between, v.read(), v * 1.0

    return f, [v]


def swapping() -> tuple[Any, list[fj.Variable]]:
    a, b = fj.Variable(fj.ones(3), name="a"), fj.Variable(fj.zeros(3), name="b")

    def f(x: Any) -> Any:
        old = a.read()
        a.assign(b + x)
        b.assign(old)
        return a - b

    return f, [a, b]


def assigning_an_argument() -> tuple[Any, list[fj.Variable]]:
    v = fj.Variable(fj.ones(3))

    def f(x: Any) -> Any:
        v.assign(x)
        return v * 2.0

    return f, [v]


def assigning_a_constant() -> tuple[Any, list[fj.Variable]]:
    v = fj.Variable(fj.ones(3))

    def f(x: Any) -> Any:
        v.assign([1.0, 2.0, 3.0])
        return None

    return f, [v]


def in_a_branch() -> tuple[Any, list[fj.Variable]]:
    v = fj.Variable(0.0)

    def f(x: Any) -> Any:
        if v > 2.0:
            v.assign(-3.0)
            return x * 2.0
        v.assign_add(1.0)
        return x * v

    return f, [v]


def both_from_one() -> tuple[Any, list[fj.Variable]]:
    a, b = fj.Variable(fj.ones(3), name="a"), fj.Variable(fj.zeros(3), name="b")

    def f(x: Any) -> Any:
        y = x + a
        a.assign(y)
        b.assign(y)
        return y

    return f, [a, b]


def in_lists() -> tuple[Any, list[fj.Variable]]:
    variables = [fj.Variable(fj.ones(3) * float(n), name=f"v{n}") for n in range(3)]

    def f(x: Any) -> Any:
        for v in variables:
            v.assign(v * x + 1.0)
        return sum(v.read() for v in variables)

    return f, variables


def random_numbers() -> tuple[Any, list[fj.Variable]]:
    def f(x: Any) -> Any:
        noise = fj.random.normal((3,)) + fj.random.uniform((3,))
        return x + noise * fj.random.bernoulli(0.5, (3,))

    return f, []


MAKERS: list[Make] = [
    counting,
    in_order,
    swapping,
    assigning_an_argument,
    assigning_a_constant,
    in_a_branch,
    both_from_one,
    in_lists,
    random_numbers,
]


@pytest.mark.parametrize("make", MAKERS, ids=lambda m: m.__name__)
def test_state_and_results_follow_eager(make: Make) -> None:
    eager, eager_state = make()
    body, state = make()
    f = fj.function(body)
    inputs = [X, X + 1.0, X * 0.5, X, X, X - 2.0, X]
    fj.random.seed(5)
    expected = []
    for x in inputs:
        expected.append((eager(x), [v.read() for v in eager_state], fj.random.state.read()))
    fj.random.seed(5)
    for x, (result, values, stream) in zip(inputs, expected, strict=True):
        assert same(f(x), result)
        assert same([v.read() for v in state], values)
        assert same(fj.random.state.read(), stream)
    assert f.num_traces <= (4 if make is in_a_branch else 1)


def test_seeding_between_calls() -> None:
    f = fj.function(lambda: fj.random.normal((4,)))
    draws = []
    for seed in (1, 2, 1):
        fj.random.seed(seed)
        draws.append([f(), f()])
    assert same(draws[0], draws[2]) and not same(draws[0], draws[1])
    assert not same(draws[0][0], draws[0][1])
    fj.random.seed(1)
    assert same([f.eager(), f.eager()], draws[0]) and f.num_traces == 1


def test_seeding_inside() -> None:
    @fj.function
    def f(x: Any) -> Any:
        fj.random.seed(3)
        return x + fj.random.normal((3,))

    with one_eager_warning():
        results = [f(X) for _ in range(3)]
    assert same(results[0], results[2]) and same(results[0], f.eager(X))


def test_an_exception_after_an_assignment() -> None:
    v = fj.Variable(0.0)

    @fj.function
    def f(x: Any, fail: bool) -> Any:
        v.assign_add(1.0)
        if fail:
            raise KeyError("after the assignment")
        return x + v

    for n in range(1, 5):
        if n % 2:
            with pytest.raises(KeyError, match="after the assignment"):
                f(X, True)
        else:
            assert same(f(X, False), X + float(n))
        assert float(v) == float(n)


def test_a_variable_given_as_an_argument() -> None:
    @fj.function
    def f(v: Any, x: Any) -> Any:
        v.assign_add(x)
        return v * 2.0

    a, b = fj.Variable(fj.ones(3)), fj.Variable(fj.zeros(3))
    for _ in range(3):
        for v in (a, b):
            expected = v + X
            assert same(f(v, X), expected * 2.0) and same(v.read(), expected)


def test_two_variables_with_one_value() -> None:
    shared = fj.ones(3)
    a, b = fj.Variable(shared), fj.Variable(shared)

    @fj.function
    def f(x: Any) -> Any:
        a.assign(a + x)
        return a - b + shared * x

    for n in range(1, 4):
        assert same(f(X), X * float(n) + X)
    assert f.num_traces == 1


def train(decorate: Callable[[Any], Any]) -> tuple[list[float], list[Any], Any]:
    w, b = fj.Variable(fj.zeros((2, 1)), name="w"), fj.Variable(fj.zeros(1), name="b")
    momentum = fj.Variable(fj.zeros((2, 1)), trainable=False)
    x = fj.constant(np.linspace(-1, 1, 16, dtype="float32").reshape(8, 2))
    y = fj.constant(np.arange(8, dtype="float32").reshape(8, 1))

    def step(x: Any, y: Any) -> Any:
        def loss() -> Any:
            return fj.mean((x @ w + b - y) ** 2)

        value, pairs = fj.implicit_value_and_gradients(loss)()
        for gradient, variable in pairs:
            if variable is w:
                momentum.assign(momentum * 0.9 + gradient)
                gradient = momentum.read()
            variable.assign_sub(gradient * 0.1)
        return value

    f = decorate(step)
    losses = [float(f(x, y)) for _ in range(8)]
    return losses, [w.read(), b.read(), momentum.read()], f


def test_a_whole_training_step_is_one_plan() -> None:
    losses, state, _ = train(lambda f: f)
    fused_losses, fused_state, f = train(fj.function)
    np.testing.assert_allclose(fused_losses, losses, rtol=1e-5)
    for a, b in zip(state, fused_state, strict=True):
        np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=1e-5, atol=1e-6)
    assert f.num_traces == 1 and losses[-1] < losses[0]


def test_a_variable_made_inside_is_new_each_time() -> None:
    @fj.function
    def f(x: Any) -> Any:
        v = fj.Variable(x)
        v.assign_add(1.0)
        return v * 2.0

    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        for _ in range(4):
            assert same(f(X), (X + 1.0) * 2.0)
            assert same(f(X * 2.0), (X * 2.0 + 1.0) * 2.0)


def test_a_variable_that_is_gone_before_the_plan_is_made() -> None:
    @fj.function
    def f(x: Any, v: Any) -> Any:
        v.assign(x)
        return v

    for _ in range(3):
        assert same(f(X, fj.Variable(fj.zeros(3))).read(), X)
