"""How a peer talks to the runner: JSON, a line each way, over its standard streams.

    {"case": name}      prepare it and call it once      -> {"first": seconds, "result": number}
    {"seconds": s}      call it for about s seconds      -> {"call": seconds}
    {"resize": name}    call it once at this case's size -> {"first": ..., "result": ...}
    {"again": true}     call it once more                -> {"again": seconds}
    {"memory": [small, large]}    one warm call          -> {"peak": bytes}

A peer that has no such case answers {}, one that fails {"error": why}. `result` is the norm of all
that the call returned: the peers must agree on it. A peer ends when its input does. Nothing slow is
imported here: the time from the start of a process to its first answer is measured too.
"""

from __future__ import annotations

import json
import math
import os
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any

from cases import Case, by_name
from programs import Function, Unable, operands

Call = Callable[[], Any]
Request = dict[str, Any]
SAMPLE_SECONDS = 0.002  # a sample is as many calls as this takes, so that the clock does not matter


@dataclass(frozen=True)
class Peer:
    """A library. Functions return when their results are there."""

    function_of: Callable[[Case], Function]  # of one argument an operand; or raises
    own: Callable[[Any], Any]  # an array of the library from NumPy's
    array: Callable[[Any], Any]  # back to NumPy
    watched: Callable[[Any], Any] | None = None  # likewise `own`, if gradients are taken of it
    kept: Callable[[Any], Any] | None = None  # if calls replace it; each default is the one before

    def inputs(self, case: Case) -> list[Any]:
        watched = case.shape.parameters if case.mode in ("gradient", "step") else ()
        replaced = replaced_by(case)
        found = []
        for i, array in enumerate(operands(case)):
            make = self.watched if self.watched and i in watched else self.own
            make = self.kept if self.kept and i in replaced else make
            found.append(make(array))
        return found


def replaced_by(case: Case) -> tuple[int, ...]:
    """The operands that the first results of a call replace for the next one."""
    return {"step": case.shape.parameters, "update": (0, 1, 2, 4)}.get(case.mode, ())


def call_of(case: Case, function: Function, inputs: list[Any]) -> Call:
    """A call on `inputs`, some of which its results replace, unless they are those very objects."""
    replaced = replaced_by(case)
    if not replaced:
        return lambda: function(*inputs)

    def call() -> Any:
        found = function(*inputs)
        for at, value in zip(replaced, found, strict=False):  # a step returns its loss as well
            inputs[at] = value
        return found

    return call


def serve(peer: Peer) -> None:
    """Answer the runner."""
    cases = by_name()
    function: Function | None = None
    call: Call | None = None

    def answer(request: Request) -> Request:
        nonlocal function, call
        if "memory" in request:
            return _memory(peer, *(cases[name] for name in request["memory"]))
        if "again" in request:
            assert call is not None
            return {"again": time_calls(call, 1)}
        if "seconds" in request:
            assert call is not None
            return {"call": measure(call, request["seconds"])}
        call = None  # drops the arrays of the last case before making others
        if "case" in request:
            function = peer.function_of(cases[request["case"]])
        assert function is not None
        case = cases[request.get("case") or request["resize"]]
        call = call_of(case, function, peer.inputs(case))
        return _first(peer, call)

    answer_each_line(answer)


def answer_each_line(answer: Callable[[Request], Request]) -> None:
    """Read requests until there are no more; whatever goes wrong is an answer too."""
    # Whatever the library prints must not get between the lines of the protocol.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    for line in sys.stdin:
        try:
            found = answer(json.loads(line))
        except Unable:
            found = {}
        except Exception as error:
            found = {"error": f"{type(error).__name__}: {error}"[:300]}
        print(json.dumps(found), file=answers)


def measure(call: Call, seconds: float) -> float:
    """The median time of a call, over about `seconds`."""
    number = calls_in_a_sample(call)
    samples = max(1, round(seconds / (number * time_calls(call, number))))
    return median(time_calls(call, number) for _ in range(samples))


def calls_in_a_sample(call: Call) -> int:
    once = min(time_calls(call, 1) for _ in range(2))
    return max(1, round(SAMPLE_SECONDS / once))


def median(values: Iterable[float]) -> float:
    """The middle one, or the lower of two."""
    ordered = sorted(values)
    return ordered[(len(ordered) - 1) // 2]


def time_calls(call: Call, number: int) -> float:
    """Seconds for one of `number` calls in a row."""
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number


def _first(peer: Peer, call: Call) -> Request:
    start = time.perf_counter()
    found = call()
    seconds = time.perf_counter() - start
    outputs = found if isinstance(found, (tuple, list)) else (found,)
    squares = (float((peer.array(x).astype("float64") ** 2).sum()) for x in outputs)
    return {"first": seconds, "result": math.sqrt(sum(squares))}


def _memory(peer: Peer, small: Case, large: Case) -> Request:
    """The most memory that a warm call at a large size has, inputs included.

    The compiler and its kernels are in the memory that is subtracted: they are loaded by calls at a
    small size. Linux can be told to forget the highest mark so far.
    """
    function = peer.function_of(large)
    first = call_of(small, function, peer.inputs(small))
    for _ in range(3):
        first()
    before = _status("VmRSS")
    call = call_of(large, function, peer.inputs(large))
    call()
    with open("/proc/self/clear_refs", "w") as file:
        file.write("5")
    call()
    return {"peak": _status("VmHWM") - before}


def _status(name: str) -> int:
    """A line of /proc/self/status, in bytes."""
    with open("/proc/self/status") as file:
        found = next(line for line in file if line.startswith(name + ":"))
    return 1024 * int(found.split()[1])
