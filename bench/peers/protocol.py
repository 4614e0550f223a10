"""How a peer talks to the runner: JSON, a line each way, over its standard streams.

    {"case": [program, size, mode]}   prepare it and call it once     -> {"first": seconds} or {}
    {"seconds": s}                    call it for about s seconds     -> {"call": seconds}

`{}` says that the peer has no such case. A peer ends when its input does.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import time
from collections.abc import Callable
from typing import Any

from cases import Case

Call = Callable[[], Any]
SAMPLE_SECONDS = 0.002  # a sample is as many calls as this takes, so that the clock does not matter


def serve(prepare: Callable[[Case], Call | None]) -> None:
    """Answer the runner. `prepare` makes the call to time; it returns when the result is there."""
    # Whatever the library prints must not get between the lines of the protocol.
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)
    call: Call | None = None
    for line in sys.stdin:
        request = json.loads(line)
        if "case" in request:
            name, size, mode = request["case"]
            call = prepare(Case(name, tuple(size), mode))
            answer = {} if call is None else {"first": _seconds(call, 1)}
        else:
            assert call is not None
            answer = {"call": measure(call, request["seconds"])}
        print(json.dumps(answer), file=answers)


def measure(call: Call, seconds: float) -> float:
    """The median time of a call, over about `seconds`."""
    once = _seconds(call, 1)
    number = max(1, round(SAMPLE_SECONDS / once))
    samples = max(3, round(seconds / (number * once)))
    return statistics.median(_seconds(call, number) for _ in range(samples))


def _seconds(call: Call, number: int) -> float:
    start = time.perf_counter()
    for _ in range(number):
        call()
    return (time.perf_counter() - start) / number
