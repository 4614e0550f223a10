"""Programs of several Variables: with and without references from outside, bit for bit."""

from __future__ import annotations

import copy
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusejit as fj
from fusejit.backends import strips
from tests.capture.helpers import same
from tests.capture.in_place import numbers, place, variables

Make = Callable[[], tuple[list[fj.Variable], Callable[[Any], Any]]]


def adam() -> tuple[list[fj.Variable], Callable[[Any], Any]]:
    p, m, v = variables(3, 60, 30)
    v.assign(fj.abs(v))
    step = fj.Variable(np.float32(0), name="step")

    def run(x: Any) -> None:
        now = step + 1
        m.assign(0.9 * m + 0.1 * x)
        v.assign(0.999 * v + 0.001 * x * x)
        root = fj.sqrt(v.read()) / fj.sqrt(1 - 0.999**now)
        p.assign_sub(1e-3 / (1 - 0.9**now) * m / (root + 1e-8))
        step.assign(now)

    return [p, m, v, step], run


def swap() -> tuple[list[fj.Variable], Callable[[Any], Any]]:
    a, b = variables(2, 60, 30)

    def run(x: Any) -> None:
        old = a.read()
        a.assign(b)
        b.assign(old)

    return [a, b], run


def crossed() -> tuple[list[fj.Variable], Callable[[Any], Any]]:
    a, b, c = variables(3, 60, 30)

    def run(x: Any) -> Any:
        u, v, w = a * 0.5 + b, b - c * x, fj.sum(a * c, axis=1, keepdims=True) + a
        a.assign(v)
        b.assign(w)
        c.assign(u)
        return fj.sum(c * x)

    return [a, b, c], run


def rows() -> tuple[list[fj.Variable], Callable[[Any], Any]]:
    """Each reads others' rows, reversed, shifted or all of them."""
    a, b, c, d = variables(4, 60, 30)

    def run(x: Any) -> None:
        a.assign(fj.flip(a, axis=0) + x)
        b.assign(fj.concat([b[1:], a[:1]], axis=0) * 0.5)
        c.assign(fj.nn.softmax(c + b))
        d.assign(d - fj.mean(d, axis=0, keepdims=True) * c)

    return [a, b, c, d], run


def state() -> tuple[list[fj.Variable], Callable[[Any], Any]]:
    h, c, w = fj.Variable(numbers(60, 30)), *variables(2, 30, 30)

    def run(x: Any) -> Any:
        h.assign(fj.tanh(h @ w + x))
        w.assign(w - 0.01 * fj.matrix_transpose(h.read()) @ h)
        c.assign(c @ c * 0.1 + w)
        return fj.mean(h * h)

    return [h, c, w], run


def training() -> tuple[list[fj.Variable], Callable[[Any], Any]]:
    w, b, v = fj.Variable(numbers(30, 40)), fj.Variable(numbers(40)), fj.Variable(numbers(40, 8))
    momentum = [fj.Variable(fj.zeros(each.shape), trainable=False) for each in (w, b, v)]

    def run(x: Any) -> Any:
        def loss() -> Any:
            return fj.mean((fj.tanh(x @ w + b) @ v) ** 2)

        value, pairs = fj.implicit_value_and_gradients(loss)()
        for (gradient, variable), m in zip(pairs, momentum, strict=True):
            m.assign(m * 0.9 + gradient)
            variable.assign_sub(m * 0.1)
        return value

    return [w, b, v, *momentum], run


def guarded() -> tuple[list[fj.Variable], Callable[[Any], Any]]:
    """A guard and a Python step between the assignments."""
    a, b = variables(2, 60, 30)

    def run(x: Any) -> Any:
        a.assign(a * 0.5 + x)
        if fj.sum(a) > 0:
            b.assign(fj.sort(b, axis=0) + a)
        else:
            b.assign(b - a)
        return b[0]

    return [a, b], run


def one_value() -> tuple[list[fj.Variable], Callable[[Any], Any]]:
    a, b = variables(2, 60, 30)
    b.assign(a)

    def run(x: Any) -> Any:
        y = a * 0.5 + b + x
        a.assign(y)
        b.assign(y)
        return y

    return [a, b], run


PROGRAMS: list[Make] = [adam, swap, crossed, rows, state, training, guarded, one_value]


def history(make: Make, *, held: bool, calls: int = 5) -> list[Any]:
    """The state after each call, and what was returned. `held`: all earlier values are referred to
    from here, so that nothing is written over."""
    found, body = make()
    f = fj.function(body)
    kept, seen = [], []
    for n in range(calls):
        result = f(fj.constant(numbers(60, 30, seed=50 + n)))
        if held:
            kept.append([each.read() for each in found])
        copies = [each.numpy().copy() for each in found]
        seen.append(([fj.constant(each) for each in copies], copy.copy(result)))
    for tensors, (state, _) in zip(kept, seen, strict=False):
        assert same(tensors, state)
    assert f.num_traces <= 2
    return seen


@pytest.mark.usefixtures("kept_threads")
@pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)
@given(
    cache=st.sampled_from([1, 512, 4096, 1 << 20]),
    parts=st.integers(1, 9),
    chunk=st.sampled_from([0.0, 300.0]),
    count=st.integers(1, 3),
)
@settings(max_examples=4, deadline=None)
def test_the_same_bits_however_it_is_cut(
    make: Make, cache: int, parts: int, chunk: float, count: int
) -> None:
    fj.set_num_threads(count)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(strips, "CACHE", cache)
        patch.setattr(strips, "SHARED", 0.0)
        patch.setattr(strips, "PARTS", parts)
        patch.setattr(strips, "CHUNK", chunk)
        expected, found = history(make, held=True), history(make, held=False)
    for (a, result), (b, other) in zip(expected, found, strict=True):
        assert same(a, b)
        assert same(result, other)


@pytest.mark.parametrize("make", PROGRAMS, ids=lambda make: make.__name__)
def test_what_eager_does(make: Make) -> None:
    state, body = make()
    found = history(make, held=False)
    for n, (values, _) in enumerate(found):
        body(fj.constant(numbers(60, 30, seed=50 + n)))
        for mine, other in zip(state, values, strict=True):
            np.testing.assert_allclose(mine.numpy(), other.numpy(), rtol=2e-4, atol=2e-5)


@pytest.mark.parametrize("make", [adam, training], ids=lambda make: make.__name__)
def test_state_stays_where_it_lies(make: Any) -> None:
    state, body = make()
    f = fj.function(body)
    x = fj.constant(numbers(60, 30, seed=9))
    f(x)
    f(x)
    before = list(map(place, state))
    f(x)
    assert list(map(place, state)) == before
