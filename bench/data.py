"""Datasets beside the loop over NumPy arrays that one would write instead: examples a second.

python bench/data.py
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fusejit as fj
from fusejit.data import Dataset

EXAMPLES, FEATURES, ROUNDS = 20_000, 784, 9
X = np.random.default_rng(0).random((EXAMPLES, FEATURES), np.float32)
Y = np.arange(EXAMPLES) % 10


def numpy_loop(n: int) -> Iterator[tuple[Any, Any]]:
    order = np.random.default_rng(0).permutation(EXAMPLES)
    for start in range(0, EXAMPLES, n):
        rows = order[start : start + n]
        yield fj.asarray(X[rows]), fj.asarray(Y[rows])


def datasets(n: int) -> dict[str, Callable[[], Any]]:
    """Ways to the same: every example once, in random order, in batches of n Tensors."""
    rows = Dataset.from_tensor_slices((X, Y))
    whole = rows.shuffle(EXAMPLES, seed=0).batch(n)
    buffered = rows.shuffle(1000, seed=0).batch(n)
    single = rows.map(lambda x, y: (x, y)).shuffle(1000, seed=0).batch(n)
    return {
        "NumPy loop": lambda: numpy_loop(n),
        "shuffle(all).batch": lambda: whole,
        "shuffle(all).batch.prefetch": lambda: whole.prefetch(),
        "shuffle(1000).batch": lambda: buffered,
        "map(each).shuffle.batch": lambda: single,
    }


def main() -> None:
    for n in (32, 256):
        found: dict[str, list[float]] = {name: [] for name in datasets(n)}
        for _ in range(ROUNDS):  # taking turns
            for name, make in datasets(n).items():
                began = time.perf_counter()
                count = sum(x.shape[0] for x, _ in make())
                found[name].append(count / (time.perf_counter() - began))
        base = statistics.median(found["NumPy loop"])
        print(f"batches of {n} x {FEATURES} float32:")
        for name, rates in found.items():
            rate = statistics.median(rates)
            print(f"  {name:30}{rate:12,.0f} examples/s  {rate / base:5.2f} of the NumPy loop")


if __name__ == "__main__":
    main()
