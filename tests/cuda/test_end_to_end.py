"""What users write, on a GPU of each kind: eager and decorated, with gradients and Variables."""

from __future__ import annotations

from typing import Any

import numpy as np

import fusejit as fj

RUNS = 8  # more than it takes until a program is a graph


def lstm(x: Any, h: Any, c: Any, w: Any, u: Any, bias: Any) -> Any:
    gates = x @ w + h @ u + bias
    n = h.shape[1]
    i, f, g, o = (gates[:, k * n : (k + 1) * n] for k in range(4))
    c = fj.sigmoid(f) * c + fj.sigmoid(i) * fj.tanh(g)
    return fj.sigmoid(o) * fj.tanh(c), c


def arrays(rng: np.random.Generator, batch: int = 6, n: int = 20) -> list[np.ndarray]:
    shapes = [(batch, n), (batch, n), (batch, n), (n, 4 * n), (n, 4 * n), (4 * n,)]
    return [rng.normal(size=shape).astype(np.float32) for shape in shapes]


def test_eager_and_decorated(gpus: str, rng: np.random.Generator) -> None:
    given = arrays(rng)
    wanted = lstm(*map(fj.constant, given))
    decorated = fj.function(lstm)
    there = [fj.constant(array).to("gpu") for array in given]
    for function in (lstm, *[decorated] * RUNS):
        for found, expected in zip(function(*there), wanted, strict=True):
            assert found.device == "/gpu:0"
            np.testing.assert_allclose(found.numpy(), expected.numpy(), rtol=2e-5, atol=2e-6)
    assert decorated.num_traces == 1


def test_unrolled_steps_are_a_graph(gpus: str, rng: np.random.Generator) -> None:
    x, h, c, w, u, bias = arrays(rng)
    xs = np.stack([x + k for k in range(12)])

    def unrolled(xs: Any, h: Any, c: Any, w: Any, u: Any, bias: Any) -> Any:
        for t in range(xs.shape[0]):
            h, c = lstm(xs[t], h, c, w, u, bias)
        return h

    wanted = unrolled(*map(fj.constant, (xs, h, c, w, u, bias))).numpy()
    decorated = fj.function(unrolled)
    there = [fj.constant(array).to("gpu") for array in (xs, h, c, w, u, bias)]
    results = [decorated(*there) for _ in range(RUNS)]
    for found in results:
        np.testing.assert_allclose(found.numpy(), wanted, rtol=1e-4, atol=1e-5)


def test_gradients_and_variables(gpus: str, rng: np.random.Generator) -> None:
    x, y = (rng.normal(size=s).astype(np.float32) for s in ((16, 5), (16, 3)))
    start = rng.normal(size=(5, 3)).astype(np.float32)

    def losses(device: str) -> list[float]:
        with fj.device(device):
            weights, inputs, labels = fj.Variable(start), fj.constant(x), fj.constant(y)

        def loss() -> Any:
            logits = inputs @ weights
            each = fj.nn.softmax_cross_entropy_with_logits(labels=labels, logits=logits)
            return fj.mean(each)

        @fj.function
        def step() -> Any:
            value, pairs = fj.implicit_value_and_gradients(loss)()
            for gradient, variable in pairs:
                variable.assign_sub(0.1 * gradient)
            return value

        return [float(step()) for _ in range(RUNS)]

    np.testing.assert_allclose(losses("gpu"), losses("cpu"), rtol=1e-5)


def test_values_that_reach_python_choose_the_branch(gpus: str) -> None:
    @fj.function
    def halve(x: Any) -> Any:
        while fj.sum(x) > 10.0:
            x = x / 2
        return fj.sort(x)

    for scale in (1.0, 8.0, 100.0, 8.0, 1.0):
        array = np.array([3, 1, 2], np.float32) * np.float32(scale)
        found, wanted = halve(fj.constant(array).to("gpu")), halve(fj.constant(array))
        assert (found.numpy() == wanted.numpy()).all()


def test_random_numbers_are_those_of_the_cpu(gpus: str) -> None:
    def draw(device: str) -> np.ndarray:
        fj.random.seed(3)
        with fj.device(device):
            return fj.random.normal((100,)).numpy()

    assert (draw("gpu") == draw("cpu")).all()
