"""Gradients of decorated functions: those of the undecorated ones, recorded and replayed."""

from __future__ import annotations

import threading
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.helpers import X, close

W = fj.Variable([0.5, -1.0, 2.0], name="w")
FROZEN = fj.Variable([1.0, 2.0, 3.0], trainable=False)


def taped(f: Any) -> Callable[..., Any]:
    """`f` behind a plain function: gradient functions of that call f under a tape, whereas those of
    a decorated function are recorded as a whole."""
    return lambda *args: f(*args)


def chain(x: Any) -> Any:
    return fj.sum(fj.tanh(x * x) * fj.exp(-x))


def with_variable(x: Any) -> Any:
    return fj.sum(fj.sigmoid(W * x) * W + FROZEN)


def with_branch(x: Any) -> Any:
    return fj.sum(x * x) if fj.sum(x) > 0 else fj.sum(fj.exp(x))


def with_matmul(x: Any) -> Any:
    return fj.sum(fj.nn.relu(fj.reshape(x, (3, 1)) @ fj.reshape(x, (1, 3))) @ fj.reshape(W, (3, 1)))


def with_slices(x: Any) -> Any:
    return fj.sum(x[1:] * x[:-1]) + fj.max(x) + fj.sum(fj.concat([x, x * 2.0]))


def with_item(x: Any) -> Any:
    return fj.sum(x * float(fj.sum(x)))


def unused_argument(x: Any, y: Any) -> Any:
    return fj.sum(x * 3.0)


def two(x: Any, y: Any) -> Any:
    return fj.sum(fj.sin(x) * y + y * y)


def listed(xs: Any) -> Any:
    return fj.sum(xs[0] * xs[1]["k"])


CASES: list[tuple[Callable[..., Any], tuple[Any, ...]]] = [
    (chain, (X,)),
    (with_variable, (X,)),
    (with_branch, (X,)),
    (with_branch, (X + 3.0,)),
    (with_matmul, (X,)),
    (with_slices, (X,)),
    (with_item, (X,)),
    (unused_argument, (X, X + 1.0)),
    (two, (X, X + 1.0)),
    (two, (X, X)),
    (listed, ([X, {"k": X + 1.0}],)),
]


@pytest.mark.parametrize(("body", "args"), CASES)
def test_gradients_function(body: Any, args: Any) -> None:
    f = fj.function(body)
    expected = fj.gradients_function(body)(*args)
    values = fj.value_and_gradients_function(body)(*args)
    for _ in range(3):
        close(_flat(fj.gradients_function(f)(*args)), _flat(expected))
        close(_flat(fj.value_and_gradients_function(f)(*args)), _flat(values))
        close(_flat(fj.gradients_function(taped(f))(*args)), _flat(expected))
        close(_flat(fj.value_and_gradients_function(taped(f))(*args)), _flat(values))
    f(*args)
    close(_flat(fj.gradients_function(taped(f))(*args)), _flat(expected))
    assert f.num_traces == 1


def _flat(nested: Any) -> list[Any]:
    import optree

    return optree.tree_leaves(nested, none_is_leaf=True)


def test_a_recording_made_without_a_tape_is_differentiated() -> None:
    f = fj.function(chain)
    f(X), f(X)
    close(fj.gradients_function(taped(f))(X), fj.gradients_function(chain)(X))
    assert f.num_traces == 1


@pytest.mark.parametrize("body", [chain, with_matmul, with_slices, with_variable])
def test_second_order(body: Any) -> None:
    f = fj.function(body)

    def second(g: Any) -> Any:
        return fj.gradients_function(lambda x: fj.sum(fj.gradients_function(g)(x)[0] ** 2))

    expected = second(body)(X)
    for _ in range(3):
        close(second(f)(X), expected)


def test_third_order() -> None:
    f = fj.function(lambda x: x**4 + fj.exp(x * 2.0))
    g: Any = f
    for _ in range(3):
        g = (lambda inner: lambda x: fj.gradients_function(inner)(x)[0])(g)
    x = fj.constant(0.5)
    for _ in range(2):
        assert float(g(x)) == pytest.approx(24 * 0.5 + 8 * np.exp(1.0), rel=1e-5)


def test_a_decorated_gradient_of_a_decorated_function() -> None:
    f = fj.function(chain)
    g = fj.function(lambda x: fj.gradients_function(f)(x)[0])
    expected = fj.gradients_function(chain)(X)[0]
    for _ in range(3):
        close(g(X), expected)
    assert g.num_traces == 1
    expected_second = fj.gradients_function(lambda x: fj.gradients_function(chain)(x)[0])(X)
    for _ in range(2):
        close(fj.gradients_function(g)(X), expected_second)


def test_implicit_gradients() -> None:
    f = fj.function(with_variable)
    for step in range(3):
        expected = fj.implicit_value_and_gradients(with_variable)(X)
        for each in (f, taped(f)):
            value, pairs = fj.implicit_value_and_gradients(each)(X)
            close(value, expected[0])
            assert [v for _, v in pairs] == [v for _, v in expected[1]] == [W]
            close([g for g, _ in pairs], [g for g, _ in expected[1]])
        W.assign_add([0.1 * step, 0.2, -0.1])
    assert f.num_traces == 1


def test_tape_with_several_calls_and_sources() -> None:
    f = fj.function(lambda x, y: (fj.sin(x) * y, x + y))

    def run(g: Any) -> list[Any]:
        x, y = fj.constant([1.0, 2.0]), fj.constant([3.0, 4.0])
        with fj.GradientTape(persistent=True) as tape:
            tape.watch(x)
            tape.watch(y)
            a, b = g(x, y)
            c, _ = g(a, b)
            loss = fj.sum(c * c)
        first = tape.gradient(loss, [x, y])
        return [*first, tape.gradient(c, a), tape.gradient(fj.sum(b), [y])[0]]

    expected = run(f.eager)
    for _ in range(3):
        close(run(f), expected)
    assert f.num_traces == 1


def test_an_output_that_is_not_used() -> None:
    f = fj.function(lambda x: (fj.exp(x), fj.sin(x), fj.sum(x)))
    for number in range(3):
        for _ in range(2):
            found = fj.gradients_function(lambda x, n=number: f(x)[n])(X)
            close(found, fj.gradients_function(lambda x, n=number: f.eager(x)[n])(X))


def test_an_argument_returned_and_a_constant_returned() -> None:
    f = fj.function(lambda x: (x, fj.constant([1.0, 2.0, 3.0]), x * x))
    expected = fj.gradients_function(lambda x: fj.sum(x * fj.constant([1.0, 2.0, 3.0]) + x * x))(X)
    for _ in range(3):
        close(fj.gradients_function(lambda x: fj.sum(f(x)[0] * f(x)[1] + f(x)[2]))(X), expected)


def test_int_inputs_and_outputs() -> None:
    f = fj.function(lambda x, n: (x * n, n + 1, fj.argmax(x)))
    n = fj.constant([1, 2, 3])
    for _ in range(3):
        (gradient,) = fj.gradients_function(lambda x: fj.sum(f(x, n)[0]))(X)
        close(gradient, fj.constant([1.0, 2.0, 3.0]))


def test_guards_under_a_tape() -> None:
    f = fj.function(with_branch)
    for x in (X, X + 3.0, X, X + 4.0, X - 1.0):
        close(fj.gradients_function(taped(f))(x), fj.gradients_function(with_branch)(x))
        close(fj.gradients_function(f)(x), fj.gradients_function(with_branch)(x))
    assert f.num_traces == 2


def test_an_unwatched_call_under_a_tape() -> None:
    f = fj.function(chain)
    for _ in range(3):
        with fj.GradientTape() as tape:
            tape.watch(X)
            other = f(X + 0.0 if False else fj.constant([1.0, 2.0, 3.0]))
        assert tape.gradient(other, X) is None


def test_custom_gradient_inside() -> None:
    @fj.custom_gradient
    def clipped(x: Any) -> Any:
        return x * x, lambda dy: dy * 100.0

    f = fj.function(lambda x: fj.sum(clipped(x) + x))
    expected = fj.constant([101.0, 101.0, 101.0])
    for _ in range(3):
        close(fj.gradients_function(f)(X), [expected])
        close(f(X), f.eager(X))
    assert "custom_gradient" in f.explain(X)


def test_an_assignment_under_a_tape() -> None:
    counter = fj.Variable(0.0, trainable=False)

    @fj.function
    def f(x: Any) -> Any:
        counter.assign_add(1.0)
        return fj.sum(x * W * counter)

    for n in range(1, 4):
        (gradient,) = fj.gradients_function(f)(X)
        close(gradient, W * float(n))
        assert float(counter) == n


@pytest.mark.parametrize("trainable", [True, False])
@pytest.mark.parametrize("first", [lambda v, x: v * 3.0, lambda v, x: x * 5.0])
def test_a_variable_that_is_read_after_an_assignment(first: Any, trainable: bool) -> None:
    """To a tape it is the Variable, not what was computed for it."""
    v = fj.Variable(2.0, trainable=trainable)

    @fj.function
    def f(x: Any) -> Any:
        v.assign(first(v, x))
        return v.read() * x

    for g in (f.eager, f, f, f):
        v.assign(2.0)
        x = fj.constant(4.0)
        with fj.GradientTape() as tape:
            tape.watch(x)
            y = g(x) * 1.0
        value = float(v)
        expected = [fj.constant(value), fj.constant(4.0) if trainable else None]
        close(tape.gradient(y, [x, v]), expected)


def test_a_variable_that_is_only_read_after_an_assignment_is_found() -> None:
    v = fj.Variable(2.0)

    @fj.function
    def f(x: Any) -> Any:
        v.assign(x)
        return v * 3.0

    for _ in range(3):
        (found,) = fj.implicit_gradients(lambda: f(fj.constant(4.0)) * 2.0)()
        close(found[0], fj.constant(6.0))


def test_random_numbers_under_a_tape() -> None:
    f = fj.function(lambda x: fj.sum(x * fj.random.normal((3,))))
    fj.random.seed(4)
    expected = [fj.gradients_function(f.eager)(X) for _ in range(3)]
    for each in (f, taped(f)):
        fj.random.seed(4)
        close([fj.gradients_function(each)(X) for _ in range(3)], expected)
    assert f.num_traces == 1


def test_watched_ndarray_argument() -> None:
    f = fj.function(lambda a: fj.sum(fj.exp(a)))
    array = np.array([1.0, 2.0], np.float32)
    for _ in range(3):
        close(fj.gradients_function(f)(array), fj.gradients_function(f.eager)(array))


def test_another_thread_is_not_taped() -> None:
    f = fj.function(chain)
    f(X)
    results: list[Any] = []
    with fj.GradientTape() as tape:
        tape.watch(X)
        thread = threading.Thread(target=lambda: results.append(f(X)))
        thread.start()
        thread.join()
    assert tape.gradient(results[0], X) is None
    close(results[0], chain(X))


def test_numeric_gradients() -> None:
    f = fj.function(lambda x: fj.sum(fj.tanh(x) * fj.log(x * x + 1.0)))
    x = fj.constant(np.array([0.3, -0.7, 1.1]))
    f(x)
    (gradient,) = fj.gradients_function(f)(x)
    for i in range(3):
        step = np.zeros(3)
        step[i] = 1e-6
        slope = (float(f(x + step)) - float(f(x - step))) / 2e-6
        assert float(gradient[i]) == pytest.approx(slope, rel=1e-6, abs=1e-8)
