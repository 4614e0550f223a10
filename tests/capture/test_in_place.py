"""Variables that a call assigns change in place, where nobody could see that they do."""

from __future__ import annotations

import copy
import gc
import pickle
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusejit as fj
from fusejit.backends import strips
from tests.backends.plans import leaks
from tests.capture.helpers import same

SMALL, LARGE = 50, 1 << 17  # the larger one's results are blocks of the pool, and shared by threads
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE])


@pytest.fixture(scope="module", autouse=True)
def _native() -> None:
    """Products of a process's first calls may be NumPy's, with other bits."""
    accumulator(SMALL)


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def place(variable: fj.Variable) -> int:
    return int(variable._value._data.ctypes.data)


def accumulator(size: int) -> tuple[fj.Variable, Any]:
    """A Variable, and a function that adds its argument; warm."""
    w = fj.Variable(numbers(size), name="w")

    @fj.function
    def add(x: Any) -> None:
        w.assign(w * 0.5 + x)

    for _ in range(2):
        add(fj.constant(numbers(size, seed=1)))
    return w, add


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


# ---- programs of several Variables: with and without references from outside, bit for bit

Make = Callable[[], tuple[list[fj.Variable], Callable[[Any], Any]]]


def variables(count: int, *shape: int) -> list[fj.Variable]:
    return [fj.Variable(numbers(*shape, seed=n), name=f"v{n}") for n in range(count)]


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


@pytest.fixture
def threads() -> Iterator[None]:
    before = fj.get_num_threads()
    yield
    fj.set_num_threads(before)


@pytest.mark.usefixtures("threads")
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


def test_an_optimizer_works_where_its_state_lies() -> None:
    state, body = adam()
    f = fj.function(body)
    x = fj.constant(numbers(60, 30, seed=9))
    f(x)
    f(x)
    before = list(map(place, state))
    f(x)
    assert list(map(place, state)) == before


def test_a_training_step_does() -> None:
    state, body = training()
    f = fj.function(body)
    x = fj.constant(numbers(60, 30, seed=9))
    f(x)
    f(x)
    before = list(map(place, state))
    f(x)
    assert list(map(place, state)) == before


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


# ---- what may happen between a call's beginning and its first write


def test_somebody_reads_it_during_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """A Python step runs the user's code: here it takes hold of one of two values."""
    a, b = variables(2, SMALL)

    @fj.function
    def f(x: Any) -> Any:
        y = fj.sort(x)
        a.assign(a + y)
        b.assign(b * y)
        return a.read()

    x = fj.constant(numbers(SMALL, seed=5))
    for _ in range(2):
        f(x)
    content, other = a.numpy().copy(), b.numpy().copy()
    sort, taken = np.sort, []

    def spying(*args: Any, **kwargs: Any) -> Any:
        taken.append(a._value)
        return sort(*args, **kwargs)

    before = place(a), place(b)
    monkeypatch.setattr(np, "sort", spying)
    result = f(x)
    monkeypatch.undo()
    assert place(a) != before[0]
    assert place(b) == before[1]
    (tensor,) = taken
    ordered = np.sort(x.numpy())
    np.testing.assert_array_equal(tensor.numpy(), content)
    np.testing.assert_array_equal(a.numpy(), content + ordered)
    np.testing.assert_array_equal(result.numpy(), content + ordered)
    np.testing.assert_array_equal(b.numpy(), other * ordered)


def test_somebody_assigns_it_during_the_call(monkeypatch: pytest.MonkeyPatch) -> None:
    """As many references as before, but the Variable's is not among them."""
    (a,) = variables(1, SMALL)
    f = fj.function(lambda x: a.assign(a + fj.sort(x)))
    x = fj.constant(numbers(SMALL, seed=5))
    for _ in range(3):
        f(x)
    content, sort, taken = a.numpy().copy(), np.sort, []

    def assigning(*args: Any, **kwargs: Any) -> Any:
        taken.append(a._value)
        a._value = fj.zeros(SMALL)
        return sort(*args, **kwargs)

    with monkeypatch.context() as patch:
        patch.setattr(np, "sort", assigning)
        f(x)
    np.testing.assert_array_equal(taken[0].numpy(), content)
    np.testing.assert_array_equal(a.numpy(), content + np.sort(x.numpy()))


def test_an_error_leaves_everything_as_it_was(monkeypatch: pytest.MonkeyPatch) -> None:
    a, b = variables(2, SMALL)

    @fj.function
    def f(x: Any) -> None:
        a.assign(a * 2.0)
        b.assign(b + fj.sort(x))

    x = fj.constant(numbers(SMALL, seed=5))
    for _ in range(3):
        f(x)
    content, other = a.numpy().copy(), b.numpy().copy()

    def failing(*args: Any, **kwargs: Any) -> Any:
        raise RuntimeError("in the middle")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError, match="in the middle"):
        patch.setattr(np, "sort", failing)
        f(x)
    # As after the undecorated body: what was assigned before the error stays.
    np.testing.assert_array_equal(a.numpy(), content * 2.0)
    np.testing.assert_array_equal(b.numpy(), other)
    f(x)
    np.testing.assert_array_equal(a.numpy(), content * 4.0)


def test_a_thread_that_reads_sees_whole_values() -> None:
    """All elements of the Variable are equal after each call, and a value that was read stays."""
    w = fj.Variable(np.zeros(1 << 19, np.float32))
    u = fj.constant(np.ones((256, 256), np.float32))

    @fj.function
    def step() -> Any:
        loss = fj.mean(u @ u @ u @ u)  # long enough to give up the GIL
        w.assign(w + fj.exp(loss * 0.0))
        return loss

    wrong: list[Any] = []
    done = threading.Event()

    def watch() -> None:
        while not done.is_set():
            value = w.numpy()
            first, ends = value[0], (value.min(), value.max())
            if ends != (first, first) or value[-1] != first:
                wrong.append(ends)

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        for _ in range(150):
            step()
    finally:
        done.set()
        watcher.join()
    assert not wrong
    np.testing.assert_array_equal(w.numpy(), 150.0)


def test_threads_do_not_wait_for_long() -> None:
    """In a process of its own, which has no threads of other tests."""
    program = """
        import threading, time
        import numpy as np, fusejit as fj
        from fusejit.backends.llvm import runtime
        runtime.SWITCH = 0.0
        w = fj.Variable(np.ones(1000, np.float32))
        f = fj.function(lambda x: w.assign(w * 0.5 + x))
        x, done = fj.ones(1000), threading.Event()
        def moves():
            before = w._value._data.ctypes.data
            f(x)
            return w._value._data.ctypes.data != before
        for _ in range(500):  # until what compiles in the background has ended
            alone = moves()
            if not alone:
                break
            time.sleep(0.01)
        other = threading.Thread(target=done.wait)
        other.start()
        print(alone, moves())
        done.set()
        """
    source = "\n".join(line[8:] for line in program.splitlines())
    done = subprocess.run([sys.executable, "-c", source], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr) == (0, "False True\n", "")


def test_threads_that_assign() -> None:
    """Calls of several threads, each on its own Variable and with a function in common."""

    @fj.function
    def add(v: Any, x: Any) -> None:
        v.assign(v + x)

    x = fj.constant(np.ones(LARGE, np.float32))
    found = variables(3, LARGE)
    for each in found:
        each.assign(fj.zeros(LARGE))
        add(each, x)

    def work(v: fj.Variable) -> None:
        for _ in range(40):
            add(v, x)

    workers = [threading.Thread(target=work, args=(v,)) for v in found]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    for each in found:
        np.testing.assert_array_equal(each.numpy(), 41.0)


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
    gc.collect()
    assert kept() is None


@SIZES
def test_nothing_leaks(size: int) -> None:
    _, add = accumulator(size)
    x = fj.constant(numbers(size))
    assert not leaks(lambda: add(x), 500)
