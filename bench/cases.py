"""What is measured: programs that NumPy, fusejit, JAX and PyTorch all run as they stand.

Each program is made from a library's sigmoid and tanh; the rest is operators, slices and methods
that the libraries share.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Function = Callable[..., Any]


@dataclass(frozen=True)
class Case:
    """One row. `mode`: "forward"; "gradient" of the sum of squares; "step": gradient and update."""

    program: str
    size: tuple[int, ...]
    mode: str = "forward"

    def __str__(self) -> str:
        sizes = "x".join(f"{n:.0e}".replace("e+0", "e") if n >= 1000 else str(n) for n in self.size)
        return f"{self.program} {self.mode} {sizes}"


_CELL_SIZES = [(1, 128), (16, 128), (64, 256)]
CASES = [
    Case("add", (4,)),
    *[Case("gates", (10**k,)) for k in range(3, 8)],
    *[
        Case(cell, size, mode)
        for cell in ("lstm", "gru")
        for mode in ("forward", "gradient")
        for size in _CELL_SIZES
    ],
    Case("sequence", (16, 16, 128), "step"),
]


def program(name: str, sigmoid: Function, tanh: Function) -> Function:
    """The program of a case, in the library that `sigmoid` and `tanh` come from."""

    def add(a: Any, b: Any) -> Any:
        return a + b

    def gates(a: Any, b: Any, c: Any, d: Any) -> Any:
        return sigmoid(a * b + c) * tanh(d)

    def lstm(x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any) -> tuple[Any, Any]:
        z = x @ w + h @ u + bias
        n = h.shape[1]
        keep = sigmoid(z[:, :n])
        write = sigmoid(z[:, n : 2 * n])
        show = sigmoid(z[:, 2 * n : 3 * n])
        c = keep * c + write * tanh(z[:, 3 * n :])
        return show * tanh(c), c

    def gru(x: Any, h: Any, w: Any, u: Any, bias: Any) -> Any:
        n = h.shape[1]
        a, b = x @ w + bias, h @ u
        update = sigmoid(a[:, :n] + b[:, :n])
        reset = sigmoid(a[:, n : 2 * n] + b[:, n : 2 * n])
        return update * h + (1 - update) * tanh(a[:, 2 * n :] + reset * b[:, 2 * n :])

    def sequence(w: Any, u: Any, bias: Any, xs: Any, y: Any) -> Any:
        h = c = 0 * y
        for t in range(xs.shape[0]):
            h, c = lstm(xs[t], h, c, w, u, bias)
        return h - y

    return {"add": add, "gates": gates, "lstm": lstm, "gru": gru, "sequence": sequence}[name]


def loss(program: Function) -> Function:
    """The sum of squares of all that a program returns."""

    def total(*operands: Any) -> Any:
        found = program(*operands)
        outputs = found if isinstance(found, tuple) else (found,)
        return sum((y * y).sum() for y in outputs)

    return total


PARAMETERS = 3  # of `sequence`: its first operands, which a step updates
LEARNING_RATE = 0.01


def operands(case: Case) -> list[np.ndarray[Any, Any]]:
    """The same float32 numbers for every library."""
    shapes: dict[str, Callable[..., list[tuple[int, ...]]]] = {
        "add": lambda n: [(n,)] * 2,
        "gates": lambda n: [(n,)] * 4,
        "lstm": lambda b, n: [(b, n)] * 3 + [(n, 4 * n)] * 2 + [(4 * n,)],
        "gru": lambda b, n: [(b, n)] * 2 + [(n, 3 * n)] * 2 + [(3 * n,)],
        "sequence": lambda t, b, n: [(n, 4 * n)] * 2 + [(4 * n,), (t, b, n), (b, n)],
    }
    rng = np.random.default_rng(0)
    # Scaled as weights are: sums over an axis of n elements stay near 1.
    return [
        rng.standard_normal(shape, np.float32) / np.float32(np.sqrt(shape[0]))
        for shape in shapes[case.program](*case.size)
    ]
