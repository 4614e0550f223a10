"""Long runs whose memory must stay flat: run in a process of its own by test_bounded.

python -m tests.capture.bounded RUN COUNT
"""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.backends import ready
from fusejit.backends.llvm.eager import MAX_PLANS
from fusejit.backends.llvm.runtime import native_code
from tests.collecting import collect

GROWTH = 20.0
"""MiB that a run may add once it is warm: caches that fill up, and pages that malloc keeps."""


def resident() -> float:
    """MiB of this process in memory."""
    collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 2**20


def shapes() -> Callable[[int], Any]:
    """A new shape at each call: recorded and compiled anew, and the oldest plan is dropped."""
    f = fj.function(lambda x: x * 2.0)
    return lambda n: f(fj.ones((1 + n // 100, 1 + n % 100)))


def eager_shapes() -> Callable[[int], Any]:
    """A new shape at each eager reduction, which has a plan of its own."""
    return lambda n: fj.sum(fj.ones((1 + n // 100, 1 + n % 100)))


def branches() -> Callable[[int], Any]:
    """A new branch at each call, until as many are known as are kept; then eager calls."""
    f = fj.function(lambda x, n: x * float(int(n)))
    x = fj.ones(3)
    return lambda n: f(x, fj.constant(n))


def functions() -> Callable[[int], Any]:
    """A closure made, called on two branches, differentiated and dropped, again and again."""

    def once(n: int) -> None:
        big = fj.Variable(np.zeros(10_000, np.float32))
        f = fj.function(lambda x: fj.sum(x * big) if fj.sum(x) > 0 else fj.sum(x - big))
        for sign in (1.0, -1.0, 1.0):
            f(fj.ones(10_000) * sign)
        fj.implicit_gradients(f)(fj.ones(10_000))

    return once


def step() -> Callable[[int], Any]:
    """A training step that is one plan."""
    one = fj.function(_trainer())
    return lambda n: one()


def taped() -> Callable[[int], Any]:
    """A training step with a tape around a decorated loss."""
    one = _trainer()
    return lambda n: one()


def _trainer() -> Callable[[], Any]:
    random = np.random.default_rng(0)
    w, b = fj.Variable(random.normal(size=(8, 4)).astype("f")), fj.Variable(fj.zeros(4))
    x, y = fj.constant(random.normal(size=(16, 8)).astype("f")), fj.zeros((16, 4))

    @fj.function
    def loss() -> Any:
        return fj.mean((fj.tanh(x @ w + b + fj.random.normal((4,))) - y) ** 2)

    def one() -> Any:
        with fj.GradientTape() as tape:
            value = loss()
        for variable, gradient in zip((w, b), tape.gradient(value, [w, b]), strict=True):
            variable.assign_sub(0.01 * gradient)
        return value

    return one


WARM = {"eager_shapes": MAX_PLANS + 600}
"""Calls until a cache is full; some hundred more, for those that are evaluated before the first."""
RUNS = {f.__name__: f for f in (shapes, eager_shapes, branches, functions, step, taped)}


def main(run: str, count: int) -> None:
    warnings.simplefilter("ignore", fj.EagerWarning)  # of too many branches
    native_code()  # the compiler, 60 MiB, is loaded now and not at some time during the run
    once, warm = RUNS[run](), max(count // 10, 300, WARM.get(run, 0))
    for n in range(warm):
        once(n)
    ready._finish()
    before = resident()
    for n in range(warm, warm + count):
        once(n)
    grown = resident() - before
    print(f"{run}: {count} calls on top of {before:.1f} MiB added {grown:.1f}")
    assert grown < GROWTH, f"{run}: {count} calls added {grown:.1f} MiB"


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
