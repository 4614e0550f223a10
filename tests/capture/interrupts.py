"""Calls that are interrupted at random moments: run in a process of its own by test_interrupts.

    python -m tests.capture.interrupts KIND COUNT signals|entries

signals: a timer sends one, whose handler is that of Ctrl-C, at a moment drawn from the time that
the call takes. entries: KeyboardInterrupt is raised where a Python function begins, drawn from all
that the call enters: one of the few places at which CPython looks whether there was a signal, and
so the precise way to what a timer hits once in thousands of calls.

KeyboardInterrupt reaches the caller or comes just after the call, and then everything must be as if
the call had been made, or as if it had not; also while the traceback keeps frames alive, as in an
interactive session. Not tried, as no Python code can do anything about it: an interrupt before the
first line of a tape's `__exit__`, and one in `__del__` or in the callback of a weak reference,
which CPython prints and drops.
"""

from __future__ import annotations

import contextlib
import faulthandler
import gc
import inspect
import itertools
import random
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

import fusejit as fj
from fusejit import dispatch
from fusejit.config import config

CLOSING = fj.GradientTape.__exit__.__code__
UNTRIED = ("__del__", "_remove")
"""See above; the last is WeakSet's callback."""

MOST = 8
"""Times the calls asked for, at most, to have a quarter of them interrupted: how long a call takes
is a guess where other tests run beside this one."""

numbers = itertools.count()


@dataclass
class Scenario:
    """A call that may be interrupted; `states` are what `variables` may hold afterwards."""

    call: Callable[[], object]
    variables: list[fj.Variable]
    states: list[list[Any]]
    works: Callable[[], None]


def model() -> tuple[Any, list[fj.Variable]]:
    """A function that assigns two Variables and branches; a new one, with kernels of its own."""
    variables = [fj.Variable(fj.zeros(40), name=name) for name in "ab"]
    first, second = variables
    shape = next(numbers)  # of the expression: how its operations follow each other

    @fj.function
    def f(x: Any) -> Any:
        y = fj.tanh(x) * 2.0
        for bit in range(12):
            y = y + x if shape >> bit & 1 else y * x
        if fj.sum(x) > 0:
            y = y - 1.0
        first.assign(first + y)
        second.assign(second * 0.5 + fj.abs(y))
        return fj.sum(y)

    return f, variables


X = fj.constant(np.linspace(-1.0, 1.5, 40, dtype=np.float32))


def works(f: Any, variables: list[fj.Variable]) -> None:
    """Calls on both paths do what the body does."""
    for x in (X, -X, X, -X):
        found = []
        for g in (f, f.eager):
            for variable in variables:
                variable.assign(fj.ones(40))
            found.append([g(x).numpy(), *(v.numpy() for v in variables)])
        for fused, eager in zip(*found, strict=True):
            assert fused.tobytes() == eager.tobytes()


def outcomes(f: Any, variables: list[fj.Variable], *xs: Any) -> list[list[Any]]:
    """What the Variables hold before the calls, and after each."""
    before = [v._value for v in variables]
    states = [[v.numpy() for v in variables]]
    for x in xs:
        f.eager(x)
        states.append([v.numpy() for v in variables])
    for variable, value in zip(variables, before, strict=True):
        variable._value = value
    return states


def by_the_body(made: Scenario) -> Scenario:
    """Where the body runs as Python, the Variables are assigned one by one."""
    before, after = made.states
    made.states.append([after[0], before[1]])
    return made


def checked(made: Scenario) -> Scenario:
    """Under FUSEJIT_CHECK every call runs the body as well."""
    return by_the_body(made) if config.settings.check else made


def scenario(f: Any, variables: list[fj.Variable], *xs: Any, settle: bool = False) -> Scenario:
    def call() -> None:
        for x in xs:
            f(x)
        if settle:
            assert f._calls.traces

    states = outcomes(f, variables, *xs)
    return Scenario(call, variables, states, lambda: works(f, variables))


def capture() -> Scenario:
    """A first call, which runs the body."""
    f, variables = model()
    return by_the_body(scenario(f, variables, X))


def compile() -> Scenario:
    """What follows a first call: the plan, its kernels, its entry."""
    f, variables = model()
    f(X)
    return checked(scenario(f, variables, X, settle=True))


def graft() -> Scenario:
    """Another branch of a function that is known."""
    f, variables = model()
    f(X), f(X)
    return by_the_body(scenario(f, variables, -X, settle=True))


_W = fj.constant(np.random.default_rng(0).normal(size=(160, 160)).astype(np.float32) * 0.1)
_a, _b = fj.Variable(fj.zeros((160, 160)), name="a"), fj.Variable(fj.zeros((160, 160)), name="b")


@fj.function
def _long(x: Any) -> Any:
    for _ in range(60):
        x = fj.tanh(x @ _W)
    _a.assign(_a + x)
    _b.assign(_b - x)
    return x


def replay() -> Scenario:
    """A long plan, which gives up the interpreter lock."""
    _a.assign(fj.zeros((160, 160))), _b.assign(fj.zeros((160, 160)))
    for _ in range(2):
        expected = _long(_W).numpy()
    before = [_a.numpy(), _b.numpy()]
    states = [before, [before[0] + expected, before[1] - expected]]

    def check() -> None:
        assert _long(_W).numpy().tobytes() == expected.tobytes()

    return checked(Scenario(lambda: _long(_W), [_a, _b], states, check))


def tape() -> Scenario:
    """Steps under a tape: the call, its forward, its backward, and the update."""
    w, count = fj.Variable(fj.ones(40), name="w"), fj.Variable(0.0, name="n", trainable=False)
    shape = next(numbers)

    @fj.function
    def loss(x: Any) -> Any:
        count.assign(count + 1.0)
        y = fj.exp(x * w)
        for bit in range(10):
            y = y + x if shape >> bit & 1 else y * x
        return fj.sum(y)

    def gradient(f: Any) -> Any:
        with fj.GradientTape() as tape:
            value = f(X)
        return tape.gradient(value, w)

    def call() -> None:
        for _ in range(3):
            gradient(loss)

    def check() -> None:
        for _ in range(3):
            found, expected = gradient(loss).numpy(), gradient(loss.eager).numpy()
            np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)

    states = [[np.ones(40, np.float32), np.float32(n)] for n in range(4)]
    return Scenario(call, [w, count], states, check)


KINDS = {f.__name__: f for f in (capture, compile, graft, replay, tape)}


def on_signal(number: int, frame: Any) -> None:
    """The handler of Ctrl-C, but for the moment that is not tried: see above."""
    if frame.f_code is not CLOSING or frame.f_lineno != CLOSING.co_firstlineno:
        signal.default_int_handler(number, frame)


def by_signal(call: Callable[[], object], after: float) -> KeyboardInterrupt | None:
    """Make a call with the signal on its way; by what it was interrupted."""
    try:
        signal.setitimer(signal.ITIMER_REAL, max(1e-6, after))
        call()
    except KeyboardInterrupt as interrupt:
        return interrupt
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
    return None


def at_entry(call: Callable[[], object], number: float) -> KeyboardInterrupt | None:
    """Make a call that is interrupted at the entry of this number; by what it was."""
    left = int(number)

    def trace(frame: Any, event: str, arg: Any) -> None:
        nonlocal left
        code = frame.f_code
        if code is CLOSING or code.co_name in UNTRIED or code.co_flags & inspect.CO_GENERATOR:
            return  # a generator that is closed is no entry
        left -= 1
        if left == 0:
            raise KeyboardInterrupt

    sys.settrace(trace)
    try:
        call()
    except KeyboardInterrupt as interrupt:
        return interrupt
    finally:
        sys.settrace(None)
    return None


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def is_clean() -> None:
    """Nothing is left of a call in what a process has only one of."""
    left = (sys.getprofile(), next(dispatch.handlers(), None), dispatch.handlers_active.value)
    assert left == (None, None, 0), left
    for _ in range(1000):  # what compiles in the background has switched it off, for a while
        if gc.isenabled():
            return
        time.sleep(0.01)
    raise AssertionError("the garbage collector is left switched off")


def entries(call: Callable[[], object]) -> int:
    """How many functions a call enters."""
    count = 0

    def trace(frame: Any, event: str, arg: Any) -> None:
        nonlocal count
        count += 1

    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(None)
    return count


def main(kind: str, count: int, how: str) -> None:
    faulthandler.dump_traceback_later(200, exit=True)
    signal.signal(signal.SIGALRM, on_signal)
    draw = random.Random(f"{kind} {how}")
    measure, interrupt = {"signals": (timed, by_signal), "entries": (entries, at_entry)}[how]
    takes = min(measure(KINDS[kind]().call) for _ in range(5))
    met = tried = 0
    while tried < count or (met < count / 4 and tried < MOST * count):
        made = KINDS[kind]()
        tried += 1
        began, hit = time.perf_counter(), None
        with contextlib.suppress(KeyboardInterrupt):  # it may come after the call
            hit = interrupt(made.call, draw.uniform(0.0, 1.05 * takes))
        if how == "signals" and hit is None:  # a machine that was busy meanwhile is quicker now
            takes = min(takes, time.perf_counter() - began)
        met += hit is not None
        is_clean()
        found = [v.numpy() for v in made.variables]
        states = [[a.tobytes() for a in state] for state in made.states]
        assert [a.tobytes() for a in found] in states, (found, made.states)
        made.works()
    assert met >= count / 4, f"{met} of {tried} calls were interrupted"
    print(f"{kind}, {how}: {met} of {tried} interrupted, in {takes:.3g}")


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), sys.argv[3])
