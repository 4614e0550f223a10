"""Optimizers that divide the step in each element by how large its gradients have been."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Unpack

from ..errors import FuseJitError
from ..ops.arithmetic import sqrt
from ..tensor import Tensor
from ..variable import Variable
from .numbers import check_fraction, check_positive, number
from .optimizer import Common, Optimizer, Rate


class AdagradOptimizer(Optimizer):
    """square += gradient**2; value -= rate * gradient / (sqrt(square) + epsilon).

    Duchi et al., 2011 (https://jmlr.org/papers/v12/duchi11a.html), figure 1.
    """

    slot_names = ("square",)

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        *,
        initial_square: float = 0.0,
        epsilon: float = 1e-10,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        if initial_square < 0.0:
            raise FuseJitError(f"AdagradOptimizer: initial_square is {initial_square}, below 0.")
        self.first_value = initial_square
        self.epsilon = number("epsilon", epsilon)

    def numbers(self) -> list[Tensor]:
        return [self.rate(), self.epsilon.read()]

    def update(
        self, numbers: Sequence[Tensor], gradient: Tensor, value: Tensor, slots: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        rate, epsilon = numbers
        square = slots[0] + gradient * gradient
        return value - rate * (gradient / (sqrt(square) + epsilon)), square


class RMSPropOptimizer(Optimizer):
    """square = decay * square + (1 - decay) * gradient**2; steps are divided by its root.

    Hinton's lecture 6e of 2012; `centered` (Graves, 2013, https://arxiv.org/abs/1308.0850, equation
    40) subtracts the square of the mean gradient; `momentum` sums steps as MomentumOptimizer does.
    """

    def __init__(
        self,
        learning_rate: Rate = 1e-2,
        decay: float = 0.99,
        *,
        momentum: float | None = None,
        centered: bool = False,
        epsilon: float = 1e-8,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        check_fraction("RMSPropOptimizer", "decay", decay)
        check_fraction("RMSPropOptimizer", "momentum", momentum or 0.0)
        self.decay = number("decay", decay)
        self.momentum = number("momentum", momentum or 0.0)
        self.epsilon = number("epsilon", epsilon)
        names = ("square", "mean" if centered else "", "velocity" if momentum is not None else "")
        self.slot_names = tuple(name for name in names if name)

    def numbers(self) -> list[Tensor]:
        return [self.rate(), self.decay.read(), self.momentum.read(), self.epsilon.read()]

    def update(
        self, numbers: Sequence[Tensor], gradient: Tensor, value: Tensor, slots: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        rate, decay, momentum, epsilon = numbers
        square = decay * slots[0] + (1.0 - decay) * (gradient * gradient)
        spread, new = square, [square]
        if "mean" in self.slot_names:
            mean = decay * slots[1] + (1.0 - decay) * gradient
            spread = square - mean * mean
            new.append(mean)
        direction = gradient / (sqrt(spread) + epsilon)
        if "velocity" in self.slot_names:
            direction = momentum * slots[-1] + direction
            new.append(direction)
        return value - rate * direction, *new


class AdamOptimizer(Optimizer):
    """Steps along a running mean of the gradient, divided by the root of one of its square.

    Kingma and Ba, 2015 (https://arxiv.org/abs/1412.6980), algorithm 1: both means start at zero,
    and are divided by what a mean of ones would be by now.
    """

    slot_names = ("mean", "square")

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        epsilon: float = 1e-8,
        **common: Unpack[Common],
    ) -> None:
        super().__init__(learning_rate, **common)
        for beta in betas:
            check_fraction(type(self).__name__, "betas", beta)
        check_positive(type(self).__name__, "epsilon", epsilon)
        self.beta1, self.beta2 = number("beta1", betas[0]), number("beta2", betas[1])
        self.epsilon = number("epsilon", epsilon)

    def numbers(self) -> list[Tensor]:
        beta1, beta2 = self.beta1.read(), self.beta2.read()
        count = self.step.read() + 1
        rate = self.rate() / (1.0 - beta1**count)
        return [rate, beta1, beta2, sqrt(1.0 - beta2**count), self.epsilon.read()]

    def update(
        self, numbers: Sequence[Tensor], gradient: Tensor, value: Tensor, slots: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        rate, beta1, beta2, root, epsilon = numbers
        mean = beta1 * slots[0] + (1.0 - beta1) * gradient
        square = beta2 * slots[1] + (1.0 - beta2) * (gradient * gradient)
        return value - rate * (mean / (sqrt(square) / root + epsilon)), mean, square


class AdamWOptimizer(AdamOptimizer):
    """Adam, and weights that decay by themselves: value *= 1 - rate * weight_decay.

    Loshchilov and Hutter, 2019 (https://arxiv.org/abs/1711.05101), algorithm 2, whose schedule
    multiplier is the learning rate here, as in PyTorch.
    """

    def __init__(
        self,
        learning_rate: Rate = 1e-3,
        betas: tuple[float, float] = (0.9, 0.999),
        *,
        epsilon: float = 1e-8,
        weight_decay: float = 1e-2,
        clip_norm: float | None = None,
        decays: Callable[[Variable], bool] | None = None,
    ) -> None:
        super().__init__(
            learning_rate,
            betas,
            epsilon=epsilon,
            weight_decay=weight_decay,
            clip_norm=clip_norm,
            decays=decays,
        )
