"""What does not grow: compilations with sizes and numbers, memory with signatures."""

from __future__ import annotations

import functools
import os
import signal
import sys
import threading
import time
import weakref
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.backends import ready
from fusejit.backends.llvm.jit import statistics
from fusejit.capture.reach import Snapshot
from tests.capture.helpers import X, same
from tests.collecting import collect

pytestmark = pytest.mark.usefixtures("no_object_cache")


def test_a_thousand_floats_compile_once() -> None:
    f = fj.function(lambda x, s: fj.tanh(x * s + 1.0))
    f(X, 0.25)
    compiled = f.num_compiles
    for n in range(1000):
        s = 0.5 + n / 7.0
        assert n % 97 or same(f(X, s), f.eager(X, s))
        f(X, s)
    assert f.num_traces == 1 and f.num_compiles == compiled


def test_a_hundred_floats_by_value_compile_once() -> None:
    f = fj.function(lambda x, s: fj.tanh(x * (s + 1.0)))
    f(X, 0.25)
    compiled = f.num_compiles
    with pytest.warns(fj.RecompileWarning, match="because a value that it reads changes: s was"):
        for n in range(100):
            s = 0.5 + n / 7.0
            assert same(f(X, s), f.eager(X, s))
    assert f.num_traces == 101 and f.num_compiles == compiled and len(f.signatures()) <= 64


def test_batch_sizes_compile_at_most_twice() -> None:
    f = fj.function(lambda x, w: fj.sum(fj.tanh(x @ w) * 2.0 + 1.0, axis=1))
    w = fj.random.normal((5, 4))
    compiled = []
    for batch in range(1, 301):
        x = fj.ones((batch, 5)) * float(batch)
        found = f(x, w)
        if batch % 50 == 0:
            assert same(found, f.eager(x, w))
        compiled.append(f.num_compiles)
    assert compiled[-1] <= 2 * len(set(_kernels(f, fj.ones((300, 5)), w)))
    assert compiled[-1] == compiled[1], "none after the second size"


def _kernels(f: Any, *args: Any) -> list[str]:
    return [line for line in f.llvm(*args).splitlines() if line.startswith("define ")]


def cell(x: Any, h: Any, c: Any, w: Any, u: Any, b: Any) -> Any:
    i, f, o, g = fj.split(x @ w + h @ u + b, 4, axis=1)
    c = fj.sigmoid(f + 1.0) * c + fj.sigmoid(i) * fj.tanh(g)
    return fj.sigmoid(o) * fj.tanh(c), c


def parameters() -> tuple[Any, ...]:
    return fj.ones((3, 16)) * 0.1, fj.ones((4, 16)) * 0.2, fj.zeros(16)


def state() -> tuple[Any, Any]:
    return fj.zeros((2, 4)), fj.zeros((2, 4)) + 0.0


def test_the_pointwise_part_of_an_lstm_cell_is_one_kernel() -> None:
    f = fj.function(cell)
    args = (fj.ones((2, 3)), *state(), *parameters())
    np.testing.assert_allclose(f(*args)[0].numpy(), cell(*args)[0].numpy(), rtol=1e-6)
    assert "in 3 kernels" in f.explain(*args), f.explain(*args)


def unrolled(steps: int) -> tuple[Any, tuple[Any, ...]]:
    def run(xs: Any, h: Any, c: Any, w: Any, u: Any, b: Any) -> Any:
        for t in range(xs.shape[0]):
            h, c = cell(xs[t], h, c, w, u, b)
        return fj.sum(h)

    return fj.function(run), (fj.ones((steps, 2, 3)), *state(), *parameters())


def _distinct(f: Any, args: Any) -> int:
    return len(set(_kernels(f, *args)))


def test_unrolling_compiles_the_same_kernels() -> None:
    found = []
    for steps in (5, 500):
        f, args = unrolled(steps)
        began = time.perf_counter()
        f(*args)
        assert time.perf_counter() - began < 20.0
        found.append(_distinct(f, args))
    assert found[0] == found[1] <= 4


def test_unrolling_compiles_the_same_kernels_backwards() -> None:
    compiled = []
    for steps in (5, 20, 30):
        f, args = unrolled(steps)
        before = statistics().num_compiles
        gradient = fj.gradients_function(f)(*args)
        ready._finish()  # what compiles in the background counts as well
        compiled.append(statistics().num_compiles - before)
        expected = fj.gradients_function(f.eager)(*args)
        for a, b in zip(gradient, expected, strict=True):
            np.testing.assert_allclose(a.numpy(), b.numpy(), rtol=2e-4, atol=1e-6)
    assert compiled[1] <= 4 and compiled[2] == 0, compiled


# ---- memory


def _dies(make: Any) -> bool:
    collect()
    refs = make()
    ready._finish()  # what is being compiled is held until then
    collect()
    collect()
    return all(ref() is None for ref in refs)


def test_a_deleted_function_is_freed() -> None:
    def make() -> list[Any]:
        big = fj.Variable(fj.ones(3))
        f = fj.function(lambda x: x * big)
        f(X), f(X), fj.gradients_function(f)(X)
        return [weakref.ref(f), weakref.ref(f.eager), weakref.ref(big)]

    assert _dies(make)


def test_an_object_with_a_decorated_method_is_freed() -> None:
    class Model:
        def __init__(self) -> None:
            self.w = fj.Variable(fj.ones(3))
            self.layers = [Part(), Part()]

        @fj.function
        def call(self, x: Any) -> Any:
            for layer in self.layers:
                x = layer(x)
            return x * self.w

    class Part:
        def __call__(self, x: Any) -> Any:
            return x * 2.0

    def make() -> list[Any]:
        model = Model()
        for _ in range(3):
            model.call(X)
        return [weakref.ref(model), weakref.ref(model.w)]

    assert _dies(make)
    assert _dies(make), "also when the method's plans live on"


def test_arguments_are_not_kept() -> None:
    f = fj.function(lambda x, parts: x * parts[0])

    def make() -> list[Any]:
        x, part = X + 1.0, X + 2.0
        f(x, [part]), f(x, [part])
        return [weakref.ref(x), weakref.ref(part)]

    assert _dies(make)


def test_many_signatures_keep_memory_bounded() -> None:
    f = fj.function(lambda x, n: x * float(n) + fj.sum(x))

    def resident() -> int:
        with open("/proc/self/statm") as file:
            return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")

    if not os.path.exists("/proc/self/statm"):
        pytest.skip("needs /proc")
    for n in range(100):
        f(fj.ones(n + 1), n)
    collect()
    before = resident()
    for n in range(100, 500):
        f(fj.ones(n + 1), n)
    collect()
    assert len(f.signatures()) <= 64
    assert resident() - before < 20 * 2**20


# ---- settings


def test_no_recompile() -> None:
    f = fj.function(lambda x, n: x * n)
    f(X, 2)
    with fj.no_recompile():
        assert same(f(X, 2), X * 2)
        with pytest.raises(fj.RecompileError, match=r"n was 2, now 3"):
            f(X, 3)
        with pytest.raises(fj.RecompileError, match=r"x was f32\[3\], now f32\[2\]"):
            f(X[1:], 2)
    assert same(f(X, 3), X * 3)


def test_clear_caches() -> None:
    f = fj.function(lambda x: x * 2.0)
    f(X)
    fj.clear_caches()
    assert not f.signatures() and same(f(X), X * 2.0) and f.num_traces == 2


def test_default_float_is_honoured() -> None:
    f = fj.function(lambda: fj.constant(1.5) * fj.zeros(2))
    assert f().dtype == np.float32
    with fj.config.override(default_float="float64"):
        assert f().dtype == np.float64 and f().dtype == np.float64
    assert f().dtype == np.float32


def test_disable_as_a_setting() -> None:
    f = fj.function(lambda x: x * 2.0)
    f(X)
    with fj.config.override(disable=True):
        for _ in range(3):
            assert same(f(X), X * 2.0)
        assert f.num_traces == 1
    assert same(f(X), X * 2.0)


# ---- threads and signals


def _in_threads(work: Any, count: int = 8) -> None:
    errors: list[BaseException] = []
    barrier = threading.Barrier(count)

    def run(number: int) -> None:
        try:
            barrier.wait(timeout=30)
            work(number)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,)) for n in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert not errors, errors
    assert not any(thread.is_alive() for thread in threads)


def test_threads_record_and_call_the_same_function() -> None:
    f = fj.function(lambda x: fj.tanh(x) * 2.0 if fj.sum(x) > 0 else x - 1.0)

    def work(number: int) -> None:
        for n in range(20):
            x = X + float(number * n % 7)
            assert same(f(x), f.eager(x))

    _in_threads(work)


def test_threads_with_functions_of_their_own_and_tapes() -> None:
    def work(number: int) -> None:
        f = fj.function(lambda x: fj.sum(fj.exp(x * float(number) * 0.1)))
        expected = fj.gradients_function(f.eager)(X)[0].numpy()
        for _ in range(5):
            np.testing.assert_allclose(
                fj.gradients_function(f)(X)[0].numpy(), expected, rtol=1e-5, atol=1e-7
            )
            f(X)

    _in_threads(work)


def test_a_body_that_waits_for_a_thread_that_calls_it() -> None:
    def body(x: Any, deep: bool) -> Any:
        if deep:
            thread = threading.Thread(target=f, args=(x, False))
            thread.start()
            thread.join(timeout=10)
            if thread.is_alive():  # an assert would make the body reach all of pytest
                raise RuntimeError("the thread waits for this call")
        return x * 2.0

    f = fj.function(body)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        assert same(f(X, True), X * 2.0)


def test_an_interrupt_while_recording_leaves_the_function_usable() -> None:
    before = signal.signal(signal.SIGINT, signal.default_int_handler)  # a shell may ignore it
    interrupt = True

    @fj.function
    def f(x: Any) -> Any:
        y = x * 2.0
        if interrupt:
            signal.raise_signal(signal.SIGINT)
        return y + 1.0

    with pytest.raises(KeyboardInterrupt):
        f(X)
    signal.signal(signal.SIGINT, before)
    interrupt = False
    assert sys.getprofile() is None and next(fj.dispatch.handlers(), None) is None
    for _ in range(3):
        assert same(f(X), X * 2.0 + 1.0)
    assert f.num_traces == 1


# ---- the cost of looking


class Layer:
    def __init__(self) -> None:
        self.w = fj.Variable(fj.ones((4, 4)))
        self.b = fj.Variable(fj.zeros(4))
        self.activation = fj.tanh
        self.options = {"bias": True, "name": "layer"}

    def __call__(self, x: Any) -> Any:
        y = x @ self.w
        return self.activation(y + self.b) if self.options["bias"] else self.activation(y)


class Network:
    def __init__(self, count: int) -> None:
        self.layers = [Layer() for _ in range(count)]

    @fj.function
    def call(self, x: Any) -> Any:
        return functools.reduce(lambda y, layer: layer(y), self.layers, x)


def _look(f: Any, *args: Any) -> tuple[int, int]:
    """Python calls that a snapshot makes, and its checks."""
    calls = [0]

    def count(frame: Any, event: str, arg: Any) -> None:
        calls[0] += event == "call"

    sys.setprofile(count)
    try:
        leaves = Snapshot(f.eager, args, [f"a{n}" for n in range(len(args))])
    finally:
        sys.setprofile(None)
    return calls[0], len(leaves.checks)


def test_a_snapshot_is_linear() -> None:
    x = fj.ones((2, 4))
    calls, checks = _look(Network.call, Network(10), x)
    more_calls, more_checks = _look(Network.call, Network(100), x)
    assert more_checks < 11 * checks
    assert more_calls < 11 * calls
    net = Network(10)
    assert same(net.call(x), net.call(x))


def test_a_snapshot_of_a_long_chain_is_linear() -> None:
    class Link:
        def __init__(self, rest: Any) -> None:
            self.rest = rest
            self.scale = 2.0

    def chain(length: int) -> Any:
        link = None
        for _ in range(length):
            link = Link(link)
        return link

    f = fj.function(lambda x, link: x * link.scale * link.rest.scale)
    calls, _ = _look(f, X, chain(50))
    more_calls, _ = _look(f, X, chain(500))
    assert more_calls < 11 * calls
    assert same(f(X, chain(500)), X * 4.0)
