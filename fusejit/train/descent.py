"""Optimizers that go along the gradient itself, or along its sign."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Unpack

from ..ops.arithmetic import sign
from ..tensor import Tensor
from .numbers import check_fraction, number
from .optimizer import Common, Optimizer, Rate


class GradientDescentOptimizer(Optimizer):
    """value -= rate * gradient."""

    def __init__(self, learning_rate: Rate, **common: Unpack[Common]) -> None:
        super().__init__(learning_rate, **common)

    def update(
        self, numbers: Sequence[Tensor], gradient: Tensor, value: Tensor, slots: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        (rate,) = numbers
        return (value - rate * gradient,)


class MomentumOptimizer(Optimizer):
    """velocity = momentum * velocity + gradient; value -= rate * velocity.

    With `nesterov` the step looks ahead: value -= rate * (gradient + momentum * velocity), as
    Sutskever et al., 2013 (https://proceedings.mlr.press/v28/sutskever13.html) write it and PyTorch
    computes it.
    """

    slot_names = ("velocity",)

    def __init__(
        self,
        learning_rate: Rate,
        momentum: float = 0.9,
        *,
        nesterov: bool = False,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        check_fraction("MomentumOptimizer", "momentum", momentum)
        self.momentum = number("momentum", momentum)
        self.nesterov = nesterov

    def numbers(self) -> list[Tensor]:
        return [self.rate(), self.momentum.read()]

    def update(
        self, numbers: Sequence[Tensor], gradient: Tensor, value: Tensor, slots: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        rate, momentum = numbers
        velocity = momentum * slots[0] + gradient
        direction = gradient + momentum * velocity if self.nesterov else velocity
        return value - rate * direction, velocity


class LionOptimizer(Optimizer):
    """value -= rate * sign(mean of gradients).

    Chen et al., 2023 (https://arxiv.org/abs/2302.06675), algorithm 2: one slot, and steps of the
    same size in every element, so the rate is some 3 to 10 times smaller than Adam's.
    """

    slot_names = ("mean",)

    def __init__(
        self,
        learning_rate: Rate = 1e-4,
        betas: tuple[float, float] = (0.9, 0.99),
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        for beta in betas:
            check_fraction("LionOptimizer", "betas", beta)
        self.beta1, self.beta2 = number("beta1", betas[0]), number("beta2", betas[1])

    def numbers(self) -> list[Tensor]:
        return [self.rate(), self.beta1.read(), self.beta2.read()]

    def update(
        self, numbers: Sequence[Tensor], gradient: Tensor, value: Tensor, slots: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        rate, beta1, beta2 = numbers
        (mean,) = slots
        direction = sign(beta1 * mean + (1.0 - beta1) * gradient)
        return value - rate * direction, beta2 * mean + (1.0 - beta2) * gradient
