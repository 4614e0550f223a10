"""Weights averaged over the steps of training: smoother than the last ones, and often better."""

from __future__ import annotations

import contextlib
from collections.abc import Iterable, Iterator

from ..ops.cast import astype
from ..variable import Variable
from .numbers import Numbers, check_fraction, number, unique
from .optimizer import working_dtype


class MovingAverage(Numbers):
    """average = decay * average + (1 - decay) * value, for each Variable, at each `update`.

    Averages start at the values of the Variables, so there is no bias of the first steps to undo.

    Args:
        variables: what to average; those of a network.
        decay: 0.999 looks back about 1,000 steps.
    Example:
        >>> import fusejit as fj
        >>> w = fj.Variable(0.0)
        >>> average = fj.train.MovingAverage([w], decay=0.5)
        >>> _ = w.assign(1.0)
        >>> average.update()
        >>> with average.applied():
        ...     print(float(w))
        0.5
        >>> float(w)
        1.0
    """

    def __init__(self, variables: Iterable[Variable], decay: float = 0.999) -> None:
        check_fraction("MovingAverage", "decay", decay)
        self.decay = number("decay", decay)
        self._variables = list(variables)
        self._averages = [
            Variable(astype(v.read(), working_dtype(v)), name=f"{v.name}/average", trainable=False)
            for v in self._variables
        ]

    def update(self) -> None:
        """Count the current values in. Part of a decorated training step, it costs no kernel."""
        for variable, average in zip(self._variables, self._averages, strict=True):
            decay = astype(self.decay.read(), average.dtype)
            value = astype(variable.read(), average.dtype)
            average.assign(decay * average + (1.0 - decay) * value)

    @contextlib.contextmanager
    def applied(self) -> Iterator[None]:
        """While the block runs, the Variables have their averages as values."""
        values = [variable.read() for variable in self._variables]
        try:
            for variable, average in zip(self._variables, self._averages, strict=True):
                variable.assign(astype(average.read(), variable.dtype))
            yield
        finally:
            for variable, value in zip(self._variables, values, strict=True):
                variable.assign(value)

    def named_variables(self) -> dict[str, Variable]:
        """The decay, and "kernel/average" for the average of kernel."""
        names = unique([f"{variable.name}/average" for variable in self._variables])
        return {**super().named_variables(), **dict(zip(names, self._averages, strict=True))}
