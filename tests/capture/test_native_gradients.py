"""Gradients of decorated functions, and calls while a tape is open, are native too."""

from __future__ import annotations

import threading
from typing import Any

import pytest

import fusejit as fj
from tests.capture.helpers import X, Y, close, frames, same

W = fj.Variable([1.0, 2.0, 3.0], name="w")


def test_threads_do_not_wait_for_a_tape_elsewhere() -> None:
    f = fj.function(lambda a, b: a * 2.0 + b)
    expected = f.eager(X, Y)
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
        close(gradient(X), expected)
    assert frames(lambda: gradient(X)) == ["_replayed.<locals>.call"]
    close(make(f)(X), expected)
    assert frames(lambda: make(f)(X))[-1] == "_replayed.<locals>.call"
    decorated = fj.function(make(loss))
    for _ in range(3):
        close(decorated(X), expected)
    assert frames(lambda: decorated(X)) == []


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
        close([y, *tape.gradient(y, [X, W])], [z, *other.gradient(z, [X, W])])
    assert f.num_traces == 1


def test_gradients_with_numbers_record_once() -> None:
    f = fj.function(lambda x, scale: fj.sum(x * x * scale))
    gradient = fj.gradients_function(f, params=[0])
    for n in range(8):
        close(gradient(X, float(n)), [X * 2.0 * float(n)])
        close(fj.gradients_function(f)(float(n), X)[1:], [fj.constant([float(n) ** 2] * 3)])
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
