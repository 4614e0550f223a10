"""Programs whose Python branches on values, for one library: its name is the argument.

{"case": name, "seconds": s} -> {"call": seconds, each through all arguments of the program}
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import Any

import numpy as np

from protocol import Request, answer_each_line, measure

LIBRARY = sys.argv[1]


def library() -> tuple[Any, Callable[[Any], Any], Callable[[Any], Any]]:
    """Its functions, what makes its arrays, and what decorates."""
    if LIBRARY == "numpy":
        return np, np.asarray, lambda f: f
    if LIBRARY.startswith("torch"):
        import torch

        torch.set_num_threads(1)
        return torch, torch.tensor, torch.compile if LIBRARY == "torch-compile" else lambda f: f
    import fusejit as fj

    return fj, fj.asarray, fj.function if LIBRARY == "fused" else lambda f: f


xp, own, decorate = library()
RANDOM = np.random.default_rng(0)
WEIGHTS = own(RANDOM.standard_normal((64, 64)).astype(np.float32) * np.float32(0.12))


def absolute(x: Any) -> Any:
    return x * 2.0 if x > 0 else -x


def newton(a: Any) -> Any:
    x = a
    while xp.abs(x * x - a) > 1e-5 * a:
        x = 0.5 * (x + a / x)
    return x


def early_exit(h: Any) -> Any:
    for _ in range(20):
        h = xp.tanh(h @ WEIGHTS)
        if xp.sum(xp.abs(h)) < 4.0:
            break
    return h


def collatz(a: Any) -> int:
    steps = 0
    while not a == 1:  # noqa: SIM201, the loop as one writes it
        a = a // 2 if a % 2 == 0 else 3 * a + 1
        steps += 1
    return steps


def _floats(*values: float) -> list[Any]:
    return [own(np.asarray(value, np.float32)) for value in values]


CASES: dict[str, tuple[Callable[[Any], Any], list[Any]]] = {
    "absolute": (absolute, _floats(1.5, -2.0)),
    "newton": (newton, _floats(2.0, 3.0, 10.0, 100.0, 1000.0)),
    "early exit": (
        early_exit,
        [
            own((RANDOM.standard_normal((16, 64)) * scale).astype(np.float32))
            for scale in (0.02, 0.1, 0.5, 2.0)
        ],
    ),
    "collatz": (collatz, [own(np.asarray(n)) for n in range(1, 28)]),
}
made: dict[str, Callable[[Any], Any]] = {}


def answer(request: Request) -> Request:
    body, arguments = CASES[request["case"]]
    f = made.setdefault(request["case"], decorate(body))

    def call() -> Any:
        for argument in arguments:
            f(argument)

    call()  # what is made once is made now
    return {"call": measure(call, request["seconds"]) / len(arguments)}


if __name__ == "__main__":
    answer_each_line(answer)
