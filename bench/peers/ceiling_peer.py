"""What one core can do: bytes a second to and from memory, float32 operations a second.

{"seconds": s} -> {"bytes": rate, "flops": rate}, each the best of the ways that are here.
"""

from __future__ import annotations

from typing import Any

import numpy as np

import fusejit as fj
from protocol import Call, Request, answer_each_line, measure

ELEMENTS = 2**24  # arrays of 64 MB: far beyond any cache
ORDER = 1024  # of square matrices: large enough for BLAS to reach its best

a, b, c = (np.full(ELEMENTS, value, np.float32) for value in (1, 2, 3))
m = np.full((ORDER, ORDER), 0.5, np.float32)
t = fj.asarray(m)


@fj.function
def multiply(x: Any) -> Any:
    return x @ x


def fastest(calls: dict[Call, float], seconds: float) -> float:
    """The highest rate of some calls, given how much work each does."""
    return max(work / measure(call, seconds / len(calls)) for call, work in calls.items())


def answer(request: Request) -> Request:
    size, flops = a.nbytes, 2.0 * ORDER**3
    streams: dict[Call, float] = {
        lambda: np.copyto(b, a): 2.0 * size,
        lambda: np.add(a, b, out=c): 3.0 * size,
    }
    products: dict[Call, float] = {lambda: m @ m: flops, lambda: multiply(t): flops}
    return {
        "bytes": fastest(streams, request["seconds"]),
        "flops": fastest(products, request["seconds"]),
    }


if __name__ == "__main__":
    answer_each_line(answer)
