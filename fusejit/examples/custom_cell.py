"""A recurrent cell of one's own, an LSTM with layer normalisation, on the adding problem.

Each sequence has two rows: numbers, and marks at two places. The answer is the sum of the marked
numbers, so the cell has to remember one of them (Hochreiter and Schmidhuber, 1997, section 5.4).
"""

from __future__ import annotations

from typing import Any

import fusejit as fj

from .common import Bar, Options, compare, picture, smooth, start

LENGTH, BATCH, UNITS = 32, 32, 128


class NormalisedLSTMCell(fj.layers.Cell):
    """An LSTM whose gates and memory are normalised (Ba et al., 2016)."""

    def __init__(self, units: int) -> None:
        super().__init__()
        self.units = units

    def make_variables(self, shape: Any, *_: Any) -> None:
        n = self.units
        self.kernel = self.add_variable("kernel", (shape[-1], 4 * n), "glorot_uniform")
        self.recurrent = self.add_variable("recurrent", (n, 4 * n), "glorot_uniform")
        self.bias = self.add_variable("bias", (4 * n,), "zeros")
        self.scale = self.add_variable("scale", (n,), "ones")

    def initial_state(self, batch: int) -> Any:
        return fj.zeros((batch, self.units)), fj.zeros((batch, self.units))

    def step(self, x: Any, state: Any) -> Any:
        h, c = state
        gates = normalised(x @ self.kernel + h @ self.recurrent) + self.bias
        keep, write, show, new = fj.split(gates, 4, axis=1)
        c = fj.sigmoid(keep + 1.0) * c + fj.sigmoid(write) * fj.tanh(new)
        h = fj.sigmoid(show) * fj.tanh(normalised(c) * self.scale)
        return h, (h, c)


def normalised(x: Any) -> Any:
    """Each row with mean 0 and variance 1."""
    x = x - fj.mean(x, axis=1, keepdims=True)
    return x / fj.sqrt(fj.mean(x * x, axis=1, keepdims=True) + 1e-5)


def sequences() -> tuple[Any, Any]:
    """(x [batch, time, 2], sums [batch, 1]), from the random numbers of fusejit."""
    numbers = fj.random.uniform((BATCH, LENGTH))
    first = fj.one_hot(fj.random.randint(LENGTH // 2, shape=(BATCH,)), LENGTH)
    second = fj.one_hot(fj.random.randint(LENGTH // 2, LENGTH, shape=(BATCH,)), LENGTH)
    marks = first + second
    return fj.stack([numbers, marks], axis=2), fj.sum(numbers * marks, axis=1, keepdims=True)


def main(options: Options) -> float:
    rnn = fj.layers.RNN(NormalisedLSTMCell(UNITS), return_sequences=False)
    model = fj.Sequential([rnn, fj.layers.Dense(1)])
    optimizer = fj.train.AdamOptimizer(2e-3, clip_norm=1.0)

    @fj.function
    def step() -> Any:
        x, y = sequences()  # drawing is part of the plan
        return optimizer.minimize(lambda: fj.mean(fj.square(model(x) - y)))

    history = []
    steps = Bar(range(options.steps), options.steps)
    for _ in steps:
        history.append(float(step()))
        steps.note(f"error {smooth(history[-100:])[-1]:.4f}")
    with picture(options, 1) as ((ax,),):
        ax.semilogy(history, color="lightgray")
        ax.semilogy(smooth(history))
        ax.axhline(1 / 6, linestyle=":", color="black")
        ax.set(xlabel="step", ylabel="squared error", title="dotted: who always answers 1")
    compare(step)
    return smooth(history)[-1]


if __name__ == "__main__":
    start(main, "custom_cell", steps=2000)
