"""What peers on a GPU answer: as protocol.py has it, but calls return before the device is done.

    {"case": name}      prepare it and call it once      -> {"first": seconds, "result": number}
    {"seconds": s}      calls in a row for about s       -> {"call": seconds, "host": seconds}
    {"copy": bytes}     copy them on the device          -> {"call": seconds}
    {"launches": n}     a program of so many kernels that do nothing -> {"host": seconds for one}
    {"peak": true}      the most memory that arrays took -> {"peak": bytes}

`host` is what a call takes until it returns.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from gpu_cases import by_name
from programs import Function, Unable
from protocol import Call, Peer, Request, answer_each_line, call_of, median

_SAMPLE = 0.01  # seconds between two waits: what waiting takes is not in the result


@dataclass(frozen=True)
class Device:
    """How a library waits for the device; copies and the peak only of those that are asked."""

    peer: Peer
    wait: Callable[[], object]
    copy: Callable[[int], Call] | None = None  # a copy of so many bytes
    peak: Callable[[], int] | None = None
    launches: Callable[[int], Call] | None = None  # of so many kernels that do nothing


def serve(device: Device) -> None:
    """Answer the runner."""
    cases = by_name()
    call: Call | None = None

    def answer(request: Request) -> Request:
        nonlocal call
        if "peak" in request:
            return {"peak": _able(device.peak)()}
        if "copy" in request:
            return _measured(_able(device.copy)(request["copy"]), device, 0.1)
        if "launches" in request:
            number = request["launches"]
            return {"host": _measured(_able(device.launches)(number), device, 0.1)["host"] / number}
        if "seconds" in request:
            assert call is not None
            return _measured(call, device, request["seconds"])
        call = None  # drops the arrays of the last case before making others
        case = cases[request["case"]]
        function: Function = device.peer.function_of(case)
        call = call_of(case, function, device.peer.inputs(case))
        return _first(device, call)

    answer_each_line(answer)


def _able(found: Any) -> Any:
    if found is None:
        raise Unable("this peer is not asked")
    return found


def _first(device: Device, call: Call) -> Request:
    device.wait()
    start = time.perf_counter()
    found = call()
    device.wait()
    seconds = time.perf_counter() - start
    outputs = found if isinstance(found, (tuple, list)) else (found,)
    squares = (float((device.peer.array(x).astype("float64") ** 2).sum()) for x in outputs)
    return {"first": seconds, "result": math.sqrt(sum(squares))}


def _measured(call: Call, device: Device, seconds: float) -> Request:
    """Median times of a call: with the device's work, and until it returns."""
    for _ in range(5):  # graphs are captured, allocators settle
        call()
    once = _sample(call, device, 1)[0]
    number = max(1, min(1000, round(_SAMPLE / once)))
    samples = [
        _sample(call, device, number) for _ in range(max(3, round(seconds / (number * once))))
    ]
    return {"call": median(s for s, _ in samples), "host": median(s for _, s in samples)}


def _sample(call: Call, device: Device, number: int) -> tuple[float, float]:
    device.wait()
    start = time.perf_counter()
    for _ in range(number):
        call()
    returned = time.perf_counter()
    device.wait()
    return (time.perf_counter() - start) / number, (returned - start) / number
