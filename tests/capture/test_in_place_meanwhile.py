"""Variables in place: what may happen between a call's beginning and its first write."""

from __future__ import annotations

import subprocess
import sys
import threading
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from tests.capture.in_place import LARGE, SMALL, numbers, place, variables


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
