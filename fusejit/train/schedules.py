"""Learning rates that change as training goes on: functions of the number of steps taken.

Each is made of ops on the optimizer's own step Variable, so a decorated training step computes it
and replays. What a schedule was made with are Variables as well: set `schedule.initial = 0.1` in
the middle of training, and nothing is recorded again.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

from ..errors import FuseJitError
from ..ops.arithmetic import divide
from ..ops.choose import clip, minimum, where
from ..ops.rounding import floor
from ..ops.transcendental import pow as _pow
from ..ops.trigonometric import cos
from ..tensor import Tensor
from ..variable import Variable
from .numbers import Numbers, check_positive, number


class Schedule(Numbers):
    """A learning rate for each step: subclass and define `rate`.

    Example:
        >>> import fusejit as fj
        >>> class Halving(fj.train.Schedule):
        ...     def rate(self, step):
        ...         return 0.1 * 0.5**step
        >>> optimizer = fj.train.GradientDescentOptimizer(learning_rate=Halving())
        >>> [float(optimizer.learning_rate.rate(fj.constant(n, dtype="float64"))) for n in (0, 1)]
        [0.1, 0.05]
    """

    def rate(self, step: Tensor) -> Tensor:
        """The learning rate, float64[], after `step` steps: float64[], 0 for the first one."""
        raise NotImplementedError(f"{type(self).__name__} does not define rate(step).")


class Constant(Schedule):
    """Always the same rate."""

    def __init__(self, value: float) -> None:
        self.value = number("value", value)

    def rate(self, step: Tensor) -> Tensor:
        return self.value.read()


class StepDecay(Schedule):
    """initial * factor ** (step // every): `factor` times as much after each `every` steps."""

    def __init__(self, initial: float, every: int, factor: float = 0.1) -> None:
        check_positive("StepDecay", "every", every)
        self.initial = number("initial", initial)
        self.every = number("every", every)
        self.factor = number("factor", factor)

    def rate(self, step: Tensor) -> Tensor:
        return self.initial * _pow(self.factor, floor(divide(step, self.every)))


class ExponentialDecay(Schedule):
    """initial * factor ** (step / every): as StepDecay, without steps."""

    def __init__(self, initial: float, every: int, factor: float = 0.1) -> None:
        check_positive("ExponentialDecay", "every", every)
        self.initial = number("initial", initial)
        self.every = number("every", every)
        self.factor = number("factor", factor)

    def rate(self, step: Tensor) -> Tensor:
        return self.initial * _pow(self.factor, divide(step, self.every))


class CosineDecay(Schedule):
    """From `initial` to `final` along half a cosine in `steps` steps; `final` from then on.

    Loshchilov and Hutter, 2017 (https://arxiv.org/abs/1608.03983), equation 5, without restarts.
    """

    def __init__(self, initial: float, steps: int, final: float = 0.0) -> None:
        check_positive("CosineDecay", "steps", steps)
        self.initial = number("initial", initial)
        self.steps = number("steps", steps)
        self.final = number("final", final)

    def rate(self, step: Tensor) -> Tensor:
        done = minimum(divide(step, self.steps), 1.0)
        return self.final + (self.initial - self.final) * (0.5 * (1.0 + cos(math.pi * done)))


class WarmUp(Schedule):
    """From nearly 0 to what `then` begins with, in `steps` equal steps; then `then` from its start.

    Args:
        steps: how many steps it takes; the first has 1 / steps of the rate.
        then: a schedule, or the rate that is kept.
    """

    def __init__(self, steps: int, then: Schedule | float) -> None:
        check_positive("WarmUp", "steps", steps)
        self.steps = number("steps", steps)
        self.then = then if isinstance(then, Schedule) else Constant(then)

    def rate(self, step: Tensor) -> Tensor:
        share = clip(divide(step + 1.0, self.steps), 0.0, 1.0)
        later = step - self.steps
        return share * self.then.rate(where(later > 0.0, later, 0.0))


class Piecewise(Schedule):
    """rates[0] until boundaries[0] steps have been taken, then rates[1], and so on.

    Args:
        boundaries: numbers of steps that grow.
        rates: one more than there are boundaries.
    Raises:
        FuseJitError: their numbers do not fit, or boundaries do not grow.
    """

    def __init__(self, boundaries: Sequence[int], rates: Sequence[float]) -> None:
        if len(rates) != len(boundaries) + 1:
            counts = f"{len(rates)} rates and {len(boundaries)} boundaries"
            raise FuseJitError(f"Piecewise: expected one rate more than boundaries, got {counts}.")
        if list(boundaries) != sorted(set(boundaries)):
            raise FuseJitError(f"Piecewise: expected boundaries that grow, got {boundaries}.")
        self.boundaries = Variable(list(boundaries), trainable=False, dtype="float64")
        self.rates = Variable(list(rates), trainable=False, dtype="float64")

    def rate(self, step: Tensor) -> Tensor:
        bounds, rates = self.boundaries.read(), self.rates.read()
        found = rates[0]
        for i in range(bounds.shape[0]):
            found = where(step >= bounds[i], rates[i + 1], found)
        return found
