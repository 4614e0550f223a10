"""Penalties on large weights: `network.regularization_loss()` is the sum of those of its layers."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

from ..frozen import frozen
from ..ops.arithmetic import abs_, square
from ..ops.reduce import sum as _sum
from ..tensor import Tensor
from ..variable import Variable

Regularizer: TypeAlias = "Callable[[Variable], Tensor]"


@frozen
class L1:
    """scale * sum(|w|): makes weights zero that matter little."""

    scale: float

    def __call__(self, variable: Variable) -> Tensor:
        return self.scale * _sum(abs_(variable))


@frozen
class L2:
    """scale * sum(w**2): keeps weights small.

    Example:
        >>> import fusejit as fj
        >>> float(fj.layers.L2(0.5)(fj.Variable([1.0, 2.0])))
        2.5
    """

    scale: float

    def __call__(self, variable: Variable) -> Tensor:
        return self.scale * _sum(square(variable))
