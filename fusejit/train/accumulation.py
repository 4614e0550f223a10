"""Large batches in small pieces: gradients are added up over several calls, then applied once."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

from ..autodiff import implicit_value_and_gradients
from ..errors import FuseJitError
from ..ops.creation import zeros
from ..variable import Variable
from .numbers import Numbers, unique
from .optimizer import Optimizer, Pairs


class Accumulated(Numbers):
    """An optimizer that takes one step for every `every` calls, with the mean of their gradients.

    Memory for one gradient of each Variable more. In a decorated training step both cases, to add
    and to apply, are branches of one recording.

    Args:
        optimizer: what takes the steps.
        every: how many gradients make one step.
    Example:
        >>> import fusejit as fj
        >>> w = fj.Variable(1.0)
        >>> optimizer = fj.train.Accumulated(fj.train.GradientDescentOptimizer(0.1), every=2)
        >>> for gradient in (1.0, 3.0):
        ...     optimizer.apply_gradients([(fj.constant(gradient), w)])
        ...     print(round(float(w), 4))
        1.0
        0.8
    """

    def __init__(self, optimizer: Optimizer, every: int) -> None:
        if every < 1:
            raise FuseJitError(f"Accumulated: expected every >= 1, got {every}.")
        self.optimizer = optimizer
        self.every = every
        self.count = Variable(0, name="count", trainable=False)
        self._variables: list[Variable] = []
        self._sums: list[Variable] = []

    def minimize(self, loss_fn: Callable[[], Any]) -> Any:
        """As `Optimizer.minimize`; the Variables change at every `every`-th call."""
        value, pairs = implicit_value_and_gradients(loss_fn)()
        self.apply_gradients(pairs)
        return value

    def apply_gradients(self, grads_and_vars: Pairs) -> None:
        """Add the gradients up, and apply their mean if this is the last call of `every`."""
        for gradient, variable in grads_and_vars:
            if gradient is not None:
                self._sum_of(variable).assign_add(gradient)
        if self.count.assign_add(1) < self.every:
            return
        self.optimizer.apply_gradients(
            [(s / self.every, v) for s, v in zip(self._sums, self._variables, strict=True)]
        )
        self.count.assign(0)
        for total in self._sums:
            total.assign(zeros(total.shape, dtype=total.dtype))

    def build(self, variables: Iterable[Variable]) -> None:
        """Make all state that `variables` need now rather than at the first call."""
        made: Sequence[Variable] = list(variables)
        for variable in made:
            self._sum_of(variable)
        self.optimizer.build(made)

    def named_variables(self) -> dict[str, Variable]:
        """The optimizer's as "optimizer/...", the count, and "kernel/sum" for that of kernel."""
        names = unique([f"{variable.name}/sum" for variable in self._variables])
        return {**super().named_variables(), **dict(zip(names, self._sums, strict=True))}

    def _sum_of(self, variable: Variable) -> Variable:
        for known, total in zip(self._variables, self._sums, strict=True):
            if known is variable:
                return total
        empty = zeros(variable.shape, dtype=variable.dtype)
        self._sums.append(Variable(empty, name=f"{variable.name}/sum", trainable=False))
        self._variables.append(variable)
        return self._sums[-1]
