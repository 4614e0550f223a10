"""A program that uses everything: run in a process of its own, under other settings, by test_modes.

python -X dev -W error -m tests.capture.everything
"""

from __future__ import annotations

import faulthandler
import multiprocessing
import os
import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import fusejit as fj
from tests.capture.helpers import close, same
from tests.collecting import collect

X = fj.constant(np.linspace(-1.0, 1.5, 24, dtype=np.float32).reshape(4, 6))


def chain(x: Any) -> Any:
    """Values decide, eight ways."""
    for n in range(3):
        x = fj.tanh(x) * 2.0 if fj.sum(x) > float(n) else fj.exp(-x) + x
    return x, fj.sum(x, axis=0)


def inputs() -> list[Any]:
    return [X * a + b for a in (1.0, -1.0, 0.2) for b in (-1.0, 0.0, 0.3)]


def agree(f: Any) -> None:
    for _ in range(3):
        for x in inputs():
            assert same(f(x), f.eager(x))


def branches() -> None:
    agree(fj.function(chain))


def training() -> None:
    """Variables, random numbers, tapes outside and inside; the same states as eager execution."""

    def train(decorate: Callable[[Any], Any]) -> list[Any]:
        fj.random.seed(3)
        w, b = fj.Variable(fj.random.normal((6, 3))), fj.Variable(fj.zeros(3))

        @decorate
        def loss(x: Any) -> Any:
            noise = fj.random.normal((4, 3))
            return fj.mean(fj.square(fj.nn.softmax(x @ w + b) - noise))

        @decorate
        def step(x: Any) -> Any:
            for gradient, variable in fj.implicit_gradients(loss)(x):
                variable.assign_sub(0.1 * gradient)

        for x in inputs():
            with fj.GradientTape() as tape:
                value = loss(x)
            for variable, gradient in zip((w, b), tape.gradient(value, [w, b]), strict=True):
                variable.assign_sub(0.1 * gradient)
            step(x)
        f = decorate(lambda x: fj.sum(x @ w))
        return [w.read(), b.read(), *fj.gradients_function(f)(X)]

    close(train(fj.function), train(lambda f: f))


def threads() -> None:
    """Eight threads meet functions of their own and a common one, for the first time, at once."""
    shared, barrier, errors = fj.function(chain), threading.Barrier(8), list[BaseException]()

    def work(number: int) -> None:
        own = fj.function(lambda x: fj.sum(x * float(number)) if fj.sum(x) > 0 else fj.max(x))
        try:
            barrier.wait(timeout=60)
            for _ in range(3):
                for x in inputs()[number % 3 :]:
                    for f in (shared, own):
                        assert same(f(x), f.eager(x))
                    with fj.GradientTape() as tape:
                        tape.watch(x)
                        y = own(x)
                    with fj.GradientTape() as other:
                        other.watch(x)
                        z = own.eager(x)
                    close(tape.gradient(y, x), other.gradient(z, x))
                assert next(fj.dispatch.handlers(), None) is None
        except BaseException as error:
            errors.append(error)

    all_of_them = [threading.Thread(target=work, args=(n,)) for n in range(8)]
    for thread in all_of_them:
        thread.start()
    for thread in all_of_them:
        thread.join()
    if errors:
        raise errors[0]


def forks() -> None:
    """Children of a process that has compiled, and is compiling, call, branch and compile."""
    if not hasattr(os, "fork"):
        return
    known = fj.function(chain)
    known(X), known(X)
    fresh = fj.function(lambda x: fj.cumulative_sum(x * 3.0 - 1.0, axis=1))
    for _ in range(3):
        fresh(X)  # compiles in the background
        child = os.fork()
        if child == 0:
            status = 1
            try:
                agree(known)
                agree(fresh)
                agree(fj.function(lambda x: fj.log1p(fj.abs(x)) * 2.0))
                status = 0
            finally:
                os._exit(status)
        assert os.waitpid(child, 0)[1] == 0
        fresh = fj.function(lambda x: fj.min(x * 3.0 - 1.0, axis=1))
    agree(known)
    agree(fresh)


def spawned() -> None:
    """What a process started by multiprocessing does."""
    branches()
    training()


def spawn() -> None:
    process = multiprocessing.get_context("spawn").Process(target=spawned)
    process.start()
    process.join()
    assert process.exitcode == 0
    process.close()


def eagerly() -> None:
    """What cannot be replayed runs, with one warning."""
    seen: list[float] = []

    @fj.function
    def f(x: Any) -> Any:
        seen.append(1.0)
        return x * 2.0

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", fj.EagerWarning)
        for _ in range(4):
            assert same(f(X), X * 2.0)
    assert len(seen) == 4


PARTS = (branches, training, eagerly, threads, forks, spawn)


def main() -> None:
    faulthandler.dump_traceback_later(150, exit=True)
    failures: list[str] = []
    sys.unraisablehook = lambda what: failures.append(f"{what.exc_value!r} in {what.object!r}")
    threading.excepthook = lambda what: failures.append(f"{what.exc_value!r} in {what.thread!r}")
    for part in PARTS:
        part()
        fj.clear_caches()
        collect()
    assert not failures, failures
    faulthandler.cancel_dump_traceback_later()


if __name__ == "__main__":
    main()
