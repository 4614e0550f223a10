"""Ways to lower a convolution to what there is: times of values and gradients, eager and fused.

    windows   a strided slice for each place in the window, joined, and one product ("im2col")
    places    a product for each place in the window, added up
    gather    the windows by index, and one product

`fj.nn.convolution` is the first. Run it as `python bench/convolution.py`; it takes half a minute.
"""

from __future__ import annotations

import functools
import statistics
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

import fusejit as fj

# (batch, extent, channels, window, filters)
CASES = [(32, 28, 1, 3, 16), (32, 28, 1, 5, 32), (32, 14, 16, 3, 32), (16, 32, 32, 3, 64)]
REPEATS = 15


def slices(x: Any, window: int) -> Iterator[Any]:
    """What the windows see at each place in them."""
    count = x.shape[1] - window + 1
    for i in range(window):
        for j in range(window):
            yield x[:, i : i + count, j : j + count]


def places(x: Any, kernel: Any) -> Any:
    window, _, channels, filters = kernel.shape
    matrices = fj.reshape(kernel, (-1, channels, filters))
    total: Any = 0.0
    for number, part in enumerate(slices(x, window)):
        total = total + fj.reshape(part, (-1, channels)) @ matrices[number]
    count = x.shape[1] - window + 1
    return fj.reshape(total, (x.shape[0], count, count, filters))


def gather(x: Any, kernel: Any) -> Any:
    window, _, channels, filters = kernel.shape
    batch, extent, count = x.shape[0], x.shape[1], x.shape[1] - window + 1
    # Arrays of indices, all ops: a decorated function computes them as well.
    first = fj.reshape(fj.arange(count), (count, 1)) + fj.arange(window)
    rows = fj.reshape(first, (count, 1, window, 1)) * extent
    columns = fj.reshape(first, (1, count, 1, window))
    seen = fj.take(
        fj.reshape(x, (batch, extent * extent, channels)),
        fj.reshape(rows + columns, (-1,)),
        axis=1,
    )
    matrix = fj.reshape(kernel, (-1, filters))
    product = fj.reshape(seen, (batch * count * count, -1)) @ matrix
    return fj.reshape(product, (batch, count, count, filters))


WAYS = {"windows": fj.nn.convolution, "places": places, "gather": gather}


def milliseconds(run: Callable[[], object]) -> float:
    """The median; the first calls, which record and compile, do not count."""
    for _ in range(3):
        run()
    times = []
    for _ in range(REPEATS):
        started = time.perf_counter()
        run()
        times.append(time.perf_counter() - started)
    return 1e3 * statistics.median(times)


def main() -> None:
    """Print a table of milliseconds."""
    fj.set_num_threads(1)
    rng = np.random.default_rng(0)
    print(f"{'images, window, filters':34}{'way':9}{'value':>16}{'gradients':>18}   (eager, fused)")
    for batch, extent, channels, window, filters in CASES:
        x = fj.asarray(rng.normal(size=(batch, extent, extent, channels)), dtype="float32")
        kernel = fj.asarray(rng.normal(size=(window, window, channels, filters)), dtype="float32")
        expected = fj.nn.convolution(x, kernel)
        for name, way in WAYS.items():
            assert fj.allclose(way(x, kernel), expected, atol=1e-3)
            gradients = fj.gradients_function(lambda x, k, way=way: fj.mean(fj.square(way(x, k))))
            times = [
                milliseconds(functools.partial(f, x, kernel))
                for plain in (way, gradients)
                for f in (plain, fj.function(lambda x, k, plain=plain: plain(x, k)))
            ]
            case = f"{list(x.shape)}, {window} x {window}, {filters}"
            print(f"{case:34}{name:9}" + "".join(f"{t:9.2f}" for t in times), flush=True)


if __name__ == "__main__":
    main()
