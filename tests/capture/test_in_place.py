"""Variables that a call assigns change in place, where nobody could see that they do."""

from __future__ import annotations

import copy
import pickle
import threading
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.backends.plans import leaks
from tests.capture.in_place import LARGE, SIZES, SMALL, accumulator, numbers, place
from tests.collecting import collect


@SIZES
def test_nothing_moves(size: int) -> None:
    w, add = accumulator(size)
    x, expected = fj.constant(numbers(size, seed=2)), w.numpy().copy()
    before = place(w)
    for _ in range(5):
        add(x)
        expected = expected * np.float32(0.5) + x.numpy()
        assert place(w) == before
        np.testing.assert_array_equal(w.numpy(), expected)
    assert add.num_traces == 1


HOLDERS: dict[str, Callable[[fj.Variable], Any]] = {
    "the Tensor": lambda w: w.read(),
    "an array": lambda w: w.numpy(),
    "the array behind it": lambda w: w.numpy().base,
    "part of an array": lambda w: w.numpy()[3:],
    "np.asarray": lambda w: np.asarray(w.read()),
    "DLPack": lambda w: np.from_dlpack(w.read()),
    "a buffer": lambda w: memoryview(w.numpy()),
    "a view": lambda w: fj.reshape(w.read(), (1, -1)),
    "another Variable": lambda w: fj.Variable(w),
    "a copy of the Tensor": lambda w: copy.deepcopy(w.read()),
    "a closure": lambda w: (lambda t: lambda: t)(w.read()),
}


@SIZES
@pytest.mark.parametrize("holder", HOLDERS)
def test_who_holds_the_value_keeps_it(size: int, holder: str) -> None:
    w, add = accumulator(size)
    held = HOLDERS[holder](w)
    seen = w.read()
    content = seen.numpy().copy()
    del seen
    x, before = fj.constant(numbers(size, seed=2)), place(w)
    add(x)
    assert place(w) != before
    value = held() if callable(held) else held
    value = value.read() if isinstance(value, fj.Variable) else value
    found = np.asarray(value).reshape(-1)
    np.testing.assert_array_equal(found, content[-len(found) :])
    after = place(w)
    add(x)
    assert place(w) == after
    np.testing.assert_array_equal(np.asarray(value).reshape(-1), found)
    del held, value, found


@SIZES
def test_a_weak_reference_sees_no_change(size: int) -> None:
    w, add = accumulator(size)
    tensor, array = weakref.ref(w.read()), weakref.ref(w.numpy().base)
    assert tensor() is not None
    content = w.numpy().copy()
    add(fj.constant(numbers(size, seed=2)))
    assert tensor() is None
    assert array() is None or (array() == content).all()


@SIZES
def test_memory_of_the_user(size: int) -> None:
    mine = numbers(size)
    content = mine.copy()
    w = fj.Variable(fj.asarray(mine, copy=False))

    @fj.function
    def double() -> None:
        w.assign(w * 2.0)

    for n in range(1, 5):
        double()
        np.testing.assert_array_equal(w.numpy(), content * np.float32(2.0**n))
    np.testing.assert_array_equal(mine, content)


@SIZES
@pytest.mark.parametrize("kind", [bytes, bytearray])
def test_memory_of_something_else(size: int, kind: Any) -> None:
    w, add = accumulator(size)
    stored = kind(numbers(size).tobytes())
    content = bytes(stored)
    w.assign(fj.asarray(np.frombuffer(stored, np.float32), copy=False))
    for _ in range(3):
        add(fj.constant(numbers(size, seed=2)))
    assert stored == content


@SIZES
def test_memory_that_may_not_be_written(size: int) -> None:
    w, add = accumulator(size)
    w.numpy().base.flags.writeable = False
    before = place(w)
    add(fj.constant(numbers(size, seed=2)))
    assert place(w) != before


def test_a_block_that_is_held_by_itself() -> None:
    w, add = accumulator(LARGE)
    held = w.numpy()
    add(fj.constant(numbers(LARGE, seed=1)))  # so its value is now in a block of the pool
    del held
    before, block = place(w), w.numpy().base.base
    add(fj.constant(numbers(LARGE, seed=2)))
    assert block is not None
    assert place(w) != before


@SIZES
def test_results_stay(size: int) -> None:
    """What a call returns, be it the value that was or the one that is, no later call changes."""
    w = fj.Variable(numbers(size))

    @fj.function
    def step(x: Any) -> Any:
        old = w + 0.0
        unread = w.read()
        w.assign(w * 0.5 + x)
        return old, unread, w.read(), w * 1.0

    x, expected, kept = fj.constant(numbers(size, seed=1)), w.numpy().copy(), []
    for _ in range(4):
        was, expected = expected, expected * np.float32(0.5) + x.numpy()
        kept.append((step(x), was, expected))
    for found, was, new in kept:
        for tensor, content in zip(found, (was, was, new, new), strict=True):
            np.testing.assert_array_equal(tensor.numpy(), content)


def test_under_a_tape_nothing_is_written_over() -> None:
    w, add = accumulator(SMALL)
    x = fj.constant(numbers(SMALL, seed=2))
    value = w.numpy().copy()
    with fj.GradientTape(persistent=True) as tape:
        loss = fj.sum(w * w * x)
        add(x)
        later = fj.sum(w * w * x)
    (gradient,) = tape.gradient(loss, [w])
    np.testing.assert_allclose(gradient.numpy(), 2 * value * x.numpy(), rtol=1e-6)
    (gradient,) = tape.gradient(later, [w])
    changed = value * np.float32(0.5) + x.numpy()
    assert gradient is not None
    np.testing.assert_array_equal(w.numpy(), changed)


def test_a_tape_that_has_seen_the_value() -> None:
    """The tape is closed, so calls are native again; what it knows is still used."""
    w, add = accumulator(SMALL)
    x, value = fj.constant(numbers(SMALL, seed=2)), w.numpy().copy()
    with fj.GradientTape() as tape:
        loss = fj.sum(w * w * x)
    add(x)
    (gradient,) = tape.gradient(loss, [w])
    np.testing.assert_allclose(gradient.numpy(), 2 * value * x.numpy(), rtol=1e-6)


def test_a_tape_in_another_thread() -> None:
    w, add = accumulator(SMALL)
    x, opened, done = fj.constant(numbers(SMALL, seed=2)), threading.Event(), threading.Event()

    def differentiate() -> None:
        with fj.GradientTape():
            opened.set()
            done.wait()

    other = threading.Thread(target=differentiate)
    other.start()
    opened.wait()
    try:
        before, expected = place(w), w.numpy() * np.float32(0.5) + x.numpy()
        add(x)
        assert place(w) != before
        np.testing.assert_array_equal(w.numpy(), expected)
    finally:
        done.set()
        other.join()


@SIZES
def test_what_another_function_packed_of_it(size: int) -> None:
    rows = size // 25
    w = fj.Variable(numbers(25, rows))
    x = fj.constant(numbers(40, 25, seed=1))
    predict = fj.function(lambda x: x @ w)

    @fj.function
    def train() -> None:
        w.assign(w * 0.5)

    for _ in range(4):
        for _ in range(2):
            np.testing.assert_allclose(
                predict(x).numpy(), x.numpy() @ w.numpy(), rtol=1e-3, atol=1e-4
            )
        train()
        train()


def test_a_value_that_is_another_argument_too() -> None:
    w, add = accumulator(SMALL)
    for _ in range(3):
        value = w.numpy().copy()
        add(w.read())
        np.testing.assert_array_equal(w.numpy(), value * np.float32(0.5) + value)
        value = w.numpy().copy()
        add(w)
        np.testing.assert_array_equal(w.numpy(), value * np.float32(0.5) + value)


def test_a_value_that_is_returned_is_not_even_tried() -> None:
    w = fj.Variable(numbers(SMALL))

    @fj.function
    def f() -> Any:
        old = w.read()
        w.assign(w * 2.0)
        return old

    for _ in range(3):
        f()
    assert "take the memory" not in str(f._calls.traces[0].program.plan)
    _, add = accumulator(SMALL)
    assert "take the memory" in str(add._calls.traces[0].program.plan)


def test_switched_off() -> None:
    with fj.config.override(no_reuse=True):
        w, add = accumulator(SMALL)
        before = place(w)
        add(fj.constant(numbers(SMALL)))
        assert place(w) != before


def test_recorded_again_in_place() -> None:
    """Values that were written in place are what the next recording starts from."""
    w = fj.Variable(numbers(SMALL))

    @fj.function
    def f(x: Any, factor: int) -> None:
        w.assign(w * float(factor) + x)

    expected, x = w.numpy().copy(), fj.constant(numbers(SMALL, seed=1))
    for factor in (1, 1, 1, 2, 2, 2, 1, 3, 3):
        f(x, factor)
        expected = expected * np.float32(factor) + x.numpy()
        np.testing.assert_array_equal(w.numpy(), expected)


def test_pickled_and_deleted() -> None:
    w, add = accumulator(SMALL)
    text = pickle.dumps(w.read())
    content = w.numpy().copy()
    add(fj.constant(numbers(SMALL)))
    np.testing.assert_array_equal(pickle.loads(text).numpy(), content)
    kept = weakref.ref(w._value)
    del w, add
    collect()
    assert kept() is None


@SIZES
def test_nothing_leaks(size: int) -> None:
    _, add = accumulator(size)
    x = fj.constant(numbers(size))
    assert not leaks(lambda: add(x), 500)
