"""Long runs leave memory flat, and what is deleted is freed with all that was made for it.

Bounded are, for a function, its trees and branches (`capture.paths`); for the process, one-op plans
and whatever stands under an `lru_cache`. Machine code is not freed: a kernel stays for the process,
which has as many as its programs have kernels that differ in more than sizes and numbers.
"""

from __future__ import annotations

import subprocess
import sys
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import fusejit as fj
from fusejit.backends import ready
from fusejit.capture.function import Function
from tests.capture.helpers import X, same
from tests.collecting import collect

ROOT = Path(__file__).parent.parent.parent
COUNTS = {
    "shapes": 10_000,
    "eager_shapes": 4_000,
    "branches": 2_000,
    "functions": 1_000,
    "step": 10_000,
    "taped": 10_000,
}


@pytest.mark.compiled
@pytest.mark.skipif(sys.platform != "linux", reason="needs /proc")
@pytest.mark.parametrize("run", COUNTS)
def test_memory_is_flat(run: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.capture.bounded", run, str(COUNTS[run])]
    done = subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=300
    )
    assert done.returncode == 0, done.stdout + done.stderr[-2000:]


def branching(w: Any) -> Any:
    return fj.function(lambda x: fj.sum(x * w) if fj.sum(x) > 0 else fj.sum(x - w))


def closures() -> list[Any]:
    """Functions made in a loop, each called on both paths."""
    made = [branching(fj.Variable(fj.ones(3) * float(n))) for n in range(5)]
    for f in made:
        for x in (X, -X, X, -X):
            assert same(f(x), f.eager(x))
    return made


def gradients() -> list[Any]:
    """A function with gradient functions of several kinds and of second order."""
    f = branching(fj.Variable(fj.ones(3)))
    first = fj.gradients_function(f)
    second = fj.gradients_function(lambda x: fj.sum(first(x)[0] * x))
    for x in (X, -X, X, -X):
        f(x), first(x), second(x)
        fj.value_and_gradients_function(f)(x)
        fj.implicit_gradients(f)(x)
    return [f, *f._derived.values()]


class Model:
    def __init__(self) -> None:
        self.w = fj.Variable(fj.ones(3))

    @fj.function
    def call(self, x: Any) -> Any:
        return x * self.w if fj.sum(x) > 0 else x - self.w


def instances() -> list[Any]:
    """Objects whose decorated method was called, also as a bound method that is kept with them."""
    made = [Model() for _ in range(3)]
    for model in made:
        model.bound = model.call
        for x in (X, -X, X, -X):
            assert same(model.bound(x), model.call.__func__.eager(model, x))
    return made


def own_methods() -> list[Any]:
    """A class made in a function, with its decorated method."""

    class Local(Model):
        @fj.function
        def call(self, x: Any) -> Any:
            return x / self.w if fj.sum(x) > 0 else x + self.w

    model = Local()
    for x in (X, -X, X, -X):
        model.call(x)
    return [model, Local, Local.call]


def recursive() -> list[Any]:
    """A function that calls itself."""

    @fj.function
    def f(x: Any, depth: int) -> Any:
        return x if depth == 0 else f(x * 2.0, depth - 1)

    for depth in (0, 3, 0, 3):
        f(X, depth)
    return [f]


@pytest.mark.parametrize("make", [closures, gradients, instances, own_methods, recursive])
def test_what_is_deleted_is_freed(make: Callable[[], list[Any]]) -> None:
    def watched() -> list[weakref.ref[Any]]:
        made = make()
        found = list(made)
        for each in made:
            if isinstance(each, Function) and not fj.config.disable:
                traces = each._calls.traces
                found += [each.eager, *traces, *(trace.runs.native for trace in traces)]
            elif isinstance(each, Model):
                found.append(each.w)
        return [weakref.ref(each) for each in found]

    refs = watched()
    ready._finish()  # what is being compiled is held until then
    collect()
    collect()
    assert [ref() for ref in refs if ref() is not None] == []
