"""What never being stale costs: `a + b` on four elements, with so much state to compare.

{"case": a place, "rounds": n} -> {"seconds": {how many values the body reads: [n times]}}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fusejit as fj
from protocol import Request, answer_each_line, time_calls

NUMBER = 2000  # calls in a sample: of 0.1 us to 1 us each
COUNTS = (0, 1, 2, 4, 8, 16)

x = fj.asarray(np.array([0.1, 0.2, 0.3, 0.4], np.float32))

Call = Callable[[], Any]


def reading(expressions: list[str], names: dict[str, Any]) -> Call:
    """A call of a decorated function of `a` and `b` that reads all of these first."""
    source = "def body(a, b):\n" + "".join(f"    {each}\n" for each in expressions)
    exec(source + "    return a + b\n", names)
    return calling(fj.function(names["body"]))


def calling(function: Any) -> Call:
    return lambda: function(x, x)


def of_globals(count: int) -> Call:
    values = {f"g{i}": i for i in range(count)}
    return reading(list(values), dict(values))


def of_attributes(count: int) -> Call:
    class Holder:
        pass

    source = "def call(self, a, b):\n" + "".join(f"    self.a{i}\n" for i in range(count))
    names: dict[str, Any] = {}
    exec(source + "    return a + b\n", names)
    Holder.call = fj.function(names["call"])  # type: ignore[attr-defined]
    holder = Holder()
    vars(holder).update({f"a{i}": i for i in range(count)})
    return calling(holder.call)  # type: ignore[attr-defined]


def of_list_elements(count: int) -> Call:
    return reading([f"items[{i}]" for i in range(count)], {"items": list(range(count))})


def of_variables(count: int) -> Call:
    variables = {f"v{i}": fj.Variable([float(i)] * 4) for i in range(count)}
    return reading([f"{name}.read()" for name in variables], dict(variables))


PLACES = {
    "global ints": of_globals,
    "attributes of self": of_attributes,
    "elements of a list": of_list_elements,
    "Variables": of_variables,
}


def answer(request: Request) -> Request:
    calls = {count: PLACES[request["case"]](count) for count in COUNTS}
    found: dict[int, list[float]] = {count: [] for count in COUNTS}
    for number in range(-1, request["rounds"]):
        for count, call in calls.items():
            seconds = time_calls(call, NUMBER)
            if number >= 0:  # the round before the first warms up
                found[count].append(seconds)
    return {"seconds": found}


if __name__ == "__main__":
    answer_each_line(answer)
