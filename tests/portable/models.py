"""Functions to save, and a process that has not their source: python -m tests.portable.models."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

import fusejit as fj

ROOT = Path(__file__).parent.parent.parent

READER = """
import sys
import numpy as np
import fusejit as fj
folder, count = sys.argv[1], int(sys.argv[2])
f = fj.load(folder + "/function")
given = np.load(folder + "/given.npz")
args = [fj.asarray(given[f"arr_{i}"]) for i in range(count)]
found = {}
for turn in ("eager", "fused"):
    found[turn] = f(*args).numpy()
assert f.num_traces == 1, f.num_traces
found["gradient"] = fj.gradients_function(f)(*args)[0].numpy()
for number, (gradient, variable) in enumerate(fj.implicit_gradients(f)(*args)):
    found[f"variable{number}"] = gradient.numpy()
found["again"] = f(*args).numpy()
np.savez(folder + "/found.npz", **found)
"""


def elsewhere(f: Any, folder: Path, *args: fj.Tensor) -> dict[str, np.ndarray[Any, Any]]:
    """What a saved function gives in a fresh process that knows nothing of its source."""
    fj.save(f, folder / "function", *args)
    np.savez(folder / "given.npz", *[a.numpy() for a in args])
    command = [sys.executable, "-W", "error", "-c", READER, str(folder), str(len(args))]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return dict(np.load(folder / "found.npz"))


def mlp() -> tuple[Any, fj.Tensor]:
    fj.random.seed(1)
    w1, b1 = fj.Variable(fj.random.normal((12, 16)) * 0.3, name="w1"), fj.Variable(fj.zeros(16))
    w2 = fj.Variable(fj.random.normal((16, 5)) * 0.3, name="w2")

    @fj.function
    def predict(x: fj.Tensor) -> fj.Tensor:
        return fj.nn.softmax(fj.nn.relu(x @ w1 + b1) @ w2)

    return predict, fj.random.normal((8, 12))


def lstm_cell() -> tuple[Any, fj.Tensor]:
    fj.random.seed(2)
    w, b = fj.Variable(fj.random.normal((10 + 8, 32)) * 0.3), fj.Variable(fj.zeros(32))
    first = fj.random.normal((4, 8))

    @fj.function
    def cell(x: fj.Tensor) -> fj.Tensor:
        h, c = first, first
        for step in range(3):
            gates = fj.concat([x[:, step], h], axis=1) @ w + b
            i, f, o, u = fj.split(gates, 4, axis=1)
            c = fj.sigmoid(f + 1.0) * c + fj.sigmoid(i) * fj.tanh(u)
            h = fj.sigmoid(o) * fj.tanh(c)
        return h

    return cell, fj.random.normal((4, 3, 10))


def convolution() -> tuple[Any, fj.Tensor]:
    fj.random.seed(3)
    w, b = fj.Variable(fj.random.normal((9, 4)) * 0.3), fj.Variable(fj.zeros(4))
    v = fj.Variable(fj.random.normal((4 * 9, 3)) * 0.3)

    @fj.function
    def network(x: fj.Tensor) -> fj.Tensor:
        parts = [x[:, i : i + 6, j : j + 6] for i in range(3) for j in range(3)]
        maps = fj.nn.relu(fj.stack(parts, axis=3) @ w + b)
        pooled = fj.max(fj.reshape(maps, (2, 3, 2, 3, 2, 4)), axis=(2, 4))
        return fj.nn.log_softmax(fj.reshape(pooled, (2, 36)) @ v)

    return network, fj.random.normal((2, 8, 8))
