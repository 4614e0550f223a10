"""What must hold for a program whose first calls several threads make at once: eager results."""

from __future__ import annotations

import sys
import threading
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np

import fusejit as fj
from tests.fuzz.checks import Wrong, compare, inputs_of

THREADS, CALLS = 4, 6
DATA = 3
SWITCH = 1e-5
"""Seconds between two switches of threads: Python's 5 ms are as long as a whole recording."""
PATIENCE = 30.0
"""Seconds after which a thread counts as hanging; they take milliseconds."""

Results = list[np.ndarray[Any, Any]]


def check_threads(text: str) -> None:
    """Let each thread call the program with other data first; Wrong or what one raises is a
    finding. Programs that raise or assign are passed over: then it matters who comes first."""
    space: dict[str, Any] = {"__name__": "program"}
    exec(compile(text, "program.py", "exec"), space)
    function, variable = space["f"], space["v0"]
    before = variable.read()
    arguments = [inputs_of(space["INPUTS"], seed) for seed in range(DATA)]
    eager = []
    for given in arguments:
        try:
            eager.append(_results(function, given))
        except Exception:
            return
        if variable.read() is not before:
            return
    decorated = fj.function(function)

    def calls(first: int) -> None:
        for number in range(first, first + CALLS):
            found = _results(decorated, arguments[number % DATA])
            compare(found, eager[number % DATA], f"thread {first}, data {number % DATA}")

    interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            _at_once(calls)
    finally:
        sys.setswitchinterval(interval)


def _results(function: Callable[..., Any], given: Any) -> Results:
    return [np.array(result.numpy()) for result in function(*given)]


def _at_once(calls: Callable[[int], None]) -> None:
    """Run `calls` in all threads; raise what one of them has raised."""
    barrier = threading.Barrier(THREADS)
    errors: list[Exception] = []

    def run(number: int) -> None:
        try:
            barrier.wait()
            calls(number)
        except Exception as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(n,), daemon=True) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(PATIENCE)
    if any(thread.is_alive() for thread in threads):
        raise Wrong("a thread hangs")
    if errors:
        raise errors[0]
