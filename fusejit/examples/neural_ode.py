"""A network as the right side of a differential equation learns a spiral (Chen et al., 2018)."""

from __future__ import annotations

from typing import Any

import numpy as np

import fusejit as fj

from .common import Bar, Options, compare, picture, smooth, start

TIMES, INTERVAL, BATCH, PIECE = 200, 0.05, 64, 10
SPIRAL = np.array([[-0.1, -2.0], [2.0, -0.1]], np.float32)


class Field(fj.Network):
    """dy/dt [batch, 2] at y [batch, 2]."""

    def __init__(self) -> None:
        super().__init__()
        self.hidden = fj.layers.Dense(64, activation="tanh")
        self.output = fj.layers.Dense(2)

    def call(self, y: Any) -> Any:
        return self.output(self.hidden(y**3))


def true_field(y: Any) -> Any:
    return y**3 @ SPIRAL


def solve(field: Any, y: Any, steps: int) -> Any:
    """Values [steps + 1, batch, 2] from y on, by Runge and Kutta's method of order 4."""
    found = [y]
    for _ in range(steps):
        a = field(y)
        b = field(y + 0.5 * INTERVAL * a)
        c = field(y + 0.5 * INTERVAL * b)
        d = field(y + INTERVAL * c)
        y = y + INTERVAL / 6 * (a + 2.0 * b + 2.0 * c + d)
        found.append(y)
    return fj.stack(found)


def main(options: Options) -> float:
    model = Field()
    optimizer = fj.train.AdamOptimizer(fj.train.CosineDecay(1e-2, options.steps))

    @fj.function
    def step() -> Any:
        starts = fj.random.uniform((BATCH, 2), -2.0, 2.0)
        truth = solve(true_field, starts, PIECE)
        return optimizer.minimize(lambda: fj.mean(fj.abs(solve(model, starts, PIECE) - truth)))

    history = []
    steps = Bar(range(options.steps), options.steps)
    for _ in steps:
        history.append(float(step()))
        steps.note(f"error {smooth(history[-100:])[-1]:.4f}")
    error = draw(model, options)
    print(f"Along {TIMES} steps of a spiral it is off by {error:.3f} in the mean.")
    compare(step)
    return error


def draw(model: Field, options: Options) -> float:
    """The spiral, what the network makes of its start alone, and the field that it has learned."""
    begun = fj.constant([[2.0, 0.0]])
    truth, found = [solve(f, begun, TIMES).numpy()[:, 0] for f in (true_field, model)]
    grid = np.stack(np.meshgrid(*[np.linspace(-2, 2, 17, dtype=np.float32)] * 2), axis=-1)
    arrows = model(grid.reshape(-1, 2)).numpy().reshape(grid.shape)
    with picture(options, 2) as ((left, right),):
        left.plot(*truth.T, label="true")
        left.plot(*found.T, "--", label="learned")
        left.legend()
        length = np.linalg.norm(arrows, axis=-1) + 1e-6
        right.quiver(*grid.T, *(arrows / length[..., None]).T)
        right.set_title("the learned field's direction")
    return float(np.abs(found - truth).mean())


if __name__ == "__main__":
    start(main, "neural_ode", steps=4000)
