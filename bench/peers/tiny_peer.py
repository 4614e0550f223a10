"""What decorating costs: one op on four elements, against the decorated function of that op.

{"case": an op, "rounds": n} -> {"eager": [n times], "fused": [n times]}
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

import fusejit as fj
from protocol import Request, answer_each_line, time_calls

NUMBER = 2000  # calls in a sample: of 0.2 us to 10 us each

x = fj.asarray(np.array([0.1, 0.2, 0.3, 0.4], np.float32))
square = fj.asarray(np.eye(2, dtype=np.float32))

OPS: dict[str, tuple[Callable[..., Any], Callable[..., Any], tuple[Any, ...]]] = {
    "add": (fj.add, lambda a, b: fj.add(a, b), (x, x)),
    "multiply": (fj.multiply, lambda a, b: fj.multiply(a, b), (x, x)),
    "tanh": (fj.tanh, lambda a: fj.tanh(a), (x,)),
    "sum": (fj.sum, lambda a: fj.sum(a), (x,)),
    "matmul": (fj.matmul, lambda a, b: fj.matmul(a, b), (square, square)),
}


def answer(request: Request) -> Request:
    op, body, operands = OPS[request["case"]]
    function = fj.function(body)
    calls = {"eager": lambda: op(*operands), "fused": lambda: function(*operands)}
    found: dict[str, list[float]] = {name: [] for name in calls}
    for number in range(-1, request["rounds"]):
        for name, call in calls.items():
            seconds = time_calls(call, NUMBER)
            if number >= 0:  # the round before the first warms up
                found[name].append(seconds)
    return found


if __name__ == "__main__":
    answer_each_line(answer)
