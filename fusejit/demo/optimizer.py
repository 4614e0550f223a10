"""Adam, written with Variables, and gradient clipping."""

from __future__ import annotations

from collections.abc import Sequence

import fusejit as fj


def clip_by_global_norm(gradients: Sequence[fj.Tensor], limit: float) -> list[fj.Tensor]:
    """The gradients scaled down, all alike, so that together they are no longer than `limit`."""
    norm = fj.sqrt(sum(fj.sum(g * g) for g in gradients))
    scale = limit / fj.maximum(norm, limit)
    return [g * scale for g in gradients]


class Adam:
    """Kingma and Ba, 2015: steps scaled by running means of the gradient and of its square."""

    def __init__(
        self,
        variables: Sequence[fj.Variable],
        learning_rate: float = 1e-3,
        decays: tuple[float, float] = (0.9, 0.999),
        epsilon: float = 1e-8,
    ) -> None:
        self.variables = variables
        self.learning_rate = learning_rate
        self.decays = decays
        self.epsilon = epsilon
        self.steps = fj.Variable(0.0, name="steps", trainable=False)
        self.means = [_zeros_like(variable, "mean") for variable in variables]
        self.squares = [_zeros_like(variable, "square") for variable in variables]

    def apply(self, gradients: Sequence[fj.Tensor]) -> None:
        """One step: `gradients` in the order of the variables."""
        a, b = self.decays
        steps = self.steps.assign_add(1.0)
        # Both means start at zero; this undoes the bias of the first steps.
        rate = self.learning_rate * fj.sqrt(1.0 - b**steps) / (1.0 - a**steps)
        slots = zip(self.variables, gradients, self.means, self.squares, strict=True)
        for variable, gradient, mean, square in slots:
            mean.assign(a * mean + (1.0 - a) * gradient)
            square.assign(b * square + (1.0 - b) * gradient * gradient)
            variable.assign_sub(rate * mean / (fj.sqrt(square) + self.epsilon))


def _zeros_like(variable: fj.Variable, what: str) -> fj.Variable:
    return fj.Variable(fj.zeros(variable.shape), name=f"{variable.name}: {what}", trainable=False)
