"""What the tests of Variables that change in place share."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj

SMALL, LARGE = 50, 1 << 17  # the larger one's results are blocks of the pool, and shared by threads
SIZES = pytest.mark.parametrize("size", [SMALL, LARGE])


def numbers(*shape: int, seed: int = 0) -> Any:
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def place(variable: fj.Variable) -> int:
    return int(variable._value._data.ctypes.data)


def variables(count: int, *shape: int) -> list[fj.Variable]:
    return [fj.Variable(numbers(*shape, seed=n), name=f"v{n}") for n in range(count)]


def accumulator(size: int) -> tuple[fj.Variable, Any]:
    """A Variable, and a function that adds its argument; warm."""
    w = fj.Variable(numbers(size), name="w")

    @fj.function
    def add(x: Any) -> None:
        w.assign(w * 0.5 + x)

    for _ in range(2):
        add(fj.constant(numbers(size, seed=1)))
    return w, add
