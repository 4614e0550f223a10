"""What all optimizers share: a rule for one Variable becomes a step of all of them.

Everything an optimizer remembers is a Variable: the number of steps, its numbers (see `numbers`),
and for each Variable that it updates the *slots* that its rule asks for, made at the first step.
So a decorated training step commits them with the weights, checkpoints save them by name, and a
learning rate that changes is no reason to record again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, TypeAlias, TypedDict

from ..autodiff import GradientTape, implicit_value_and_gradients
from ..errors import DTypeError, FuseJitError, GradientError
from ..ops.cast import astype
from ..ops.creation import full
from ..scalar import F32, F64, DType
from ..tensor import Tensor
from ..variable import Variable
from .clipping import clip_by_global_norm
from .numbers import Numbers, check_positive, number, unique
from .schedules import Schedule

Pairs: TypeAlias = "Iterable[tuple[Tensor | None, Variable]]"
Rate: TypeAlias = "float | Schedule"


class Common(TypedDict, total=False):
    """What every optimizer takes besides its own numbers; see `Optimizer`."""

    clip_norm: float | None
    weight_decay: float | None
    decays: Callable[[Variable], bool] | None


class Optimizer(Numbers):
    """The base of all optimizers: a subclass defines `slot_names`, `numbers` and `update`.

    Args:
        learning_rate: a number, or a `Schedule`. It is an attribute that can be set at any time.
        clip_norm: the most that the global norm of the gradients may be; None: any.
        weight_decay: before each update a Variable loses rate * weight_decay of its value. That is
            no part of the gradient, and no slot sees it: Loshchilov and Hutter, 2019
            (https://arxiv.org/abs/1711.05101). For an L2 penalty add it to the loss.
        decays: which Variables lose weight; None: all. Often `lambda v: v.ndim > 1`: no biases.
    Raises:
        FuseJitError: a learning rate below 0, or a clip_norm that is not above 0.
    """

    slot_names: tuple[str, ...] = ()
    first_value: float = 0.0  # of each slot
    learning_rate: Any  # a Variable or a Schedule; set it to a number or a Schedule

    def __init__(
        self,
        learning_rate: Rate,
        *,
        clip_norm: float | None = None,
        weight_decay: float | None = None,
        decays: Callable[[Variable], bool] | None = None,
    ) -> None:
        name = type(self).__name__
        self.step = Variable(0, name="step", trainable=False)
        if isinstance(learning_rate, Schedule):
            self.learning_rate = learning_rate
        elif learning_rate >= 0.0:
            self.learning_rate = number("learning_rate", learning_rate)
        else:
            raise FuseJitError(f"{name}: expected learning_rate >= 0, got {learning_rate}.")
        if clip_norm is not None:
            check_positive(name, "clip_norm", clip_norm)
        self.clip_norm = None if clip_norm is None else number("clip_norm", clip_norm)
        self.weight_decay = None if weight_decay is None else number("weight_decay", weight_decay)
        self.decays = decays
        self._variables: list[Variable] = []
        self._slots: list[list[Variable]] = []

    def __setattr__(self, name: str, value: object) -> None:
        if name == "learning_rate" and isinstance(self.__dict__.get(name), Schedule):
            value = number(name, value) if isinstance(value, (int, float)) else value
        super().__setattr__(name, value)

    def numbers(self) -> list[Tensor]:
        """What `update` needs in this step besides the gradient: float64 scalars."""
        return [self.rate()]

    def update(
        self, numbers: Sequence[Tensor], gradient: Tensor, value: Tensor, slots: Sequence[Tensor]
    ) -> tuple[Tensor, ...]:
        """(new value, new slots...) of one Variable; pure, and all of one floating dtype."""
        raise NotImplementedError(f"{type(self).__name__} does not define update.")

    def rate(self) -> Tensor:
        """The learning rate of the coming step (inside of `numbers`: of this one), float64[]."""
        if isinstance(self.learning_rate, Schedule):
            return self.learning_rate.rate(astype(self.step.read(), F64))
        found: Tensor = self.learning_rate.read()
        return found

    def minimize(
        self, loss_fn: Callable[[], Any], variables: Sequence[Variable] | None = None
    ) -> Any:
        """One step downhill: call `loss_fn` under a tape, and apply the gradients.

        Args:
            loss_fn: a function without arguments that returns the loss; of an array the sum counts.
            variables: what to update; by default every trainable Variable that loss_fn reads.
        Returns:
            What loss_fn returned: the loss before the step.
        Raises:
            GradientError: the loss depends on none of the variables.
        Example:
            >>> import fusejit as fj
            >>> w = fj.Variable(2.0)
            >>> optimizer = fj.train.GradientDescentOptimizer(learning_rate=0.25)
            >>> float(optimizer.minimize(lambda: w * w)), float(w)
            (4.0, 1.0)
        """
        if variables is None:
            value, pairs = implicit_value_and_gradients(loss_fn)()
        else:
            with GradientTape() as tape:
                tape.watch(list(variables))
                value = loss_fn()
            pairs = list(zip(tape.gradient(value, list(variables)), variables, strict=True))
        self.apply_gradients(pairs)
        return value

    def apply_gradients(self, grads_and_vars: Pairs) -> None:
        """Update each Variable by its gradient.

        Args:
            grads_and_vars: pairs as `implicit_gradients` returns them. A gradient of None leaves
                its Variable, and what is remembered of it, as they are.
        Raises:
            GradientError: there is no gradient at all.
            DTypeError: a Variable that is not of real floats.
        Example:
            >>> import fusejit as fj
            >>> w = fj.Variable([1.0, 2.0])
            >>> optimizer = fj.train.GradientDescentOptimizer(learning_rate=0.5)
            >>> optimizer.apply_gradients([(fj.constant([1.0, 1.0]), w)])
            >>> w.numpy()
            array([0.5, 1.5], dtype=float32)
        """
        pairs = [(g, v) for g, v in grads_and_vars if g is not None]
        if not pairs:
            raise GradientError(f"{type(self).__name__}: there is no gradient to apply.")
        gradients: Sequence[Tensor | None] = [g for g, _ in pairs]
        if self.clip_norm is not None:
            gradients = clip_by_global_norm(gradients, self.clip_norm.read())
        scalars = self.numbers()
        if self.weight_decay is not None:
            scalars.append(1.0 - self.rate() * self.weight_decay)
        numbers = {  # cast once, not for each variable
            dtype: [astype(scalar, dtype) for scalar in scalars]
            for dtype in dict.fromkeys(working_dtype(variable) for _, variable in pairs)
        }
        for place, (gradient, (_, variable)) in enumerate(zip(gradients, pairs, strict=True)):
            assert gradient is not None
            self._update(numbers, gradient, variable, self._slots_of(variable, place))
        self.step.assign_add(1)

    def build(self, variables: Iterable[Variable]) -> None:
        """Make the slots of `variables` now rather than at the first step.

        Before a checkpoint is restored they must be there.
        """
        for variable in variables:
            self._slots_of(variable, len(self._variables))

    def named_variables(self) -> dict[str, Variable]:
        """All state by name: "step", "learning_rate", and "kernel/mean" for the slots of kernel."""
        found = super().named_variables()
        names = unique([variable.name for variable in self._variables])
        for name, slots in zip(names, self._slots, strict=True):
            for slot_name, slot in zip(self.slot_names, slots, strict=True):
                found[f"{name}/{slot_name}"] = slot
        return found

    @property
    def variables(self) -> list[Variable]:
        """All state, in the order of `named_variables`."""
        return list(self.named_variables().values())

    def _update(
        self,
        numbers: Mapping[DType, Sequence[Tensor]],
        gradient: Tensor,
        variable: Variable,
        slots: Sequence[Variable],
    ) -> None:
        work = working_dtype(variable)
        value, scalars = astype(variable.read(), work), numbers[work]
        if self.weight_decay is not None:
            *scalars, kept = scalars
            if self.decays is None or self.decays(variable):
                value = value * kept
        old = [slot.read() for slot in slots]
        new = self.update(scalars, astype(gradient, work), value, old)
        variable.assign(astype(new[0], variable.dtype))
        for slot, found in zip(slots, new[1:], strict=True):
            slot.assign(found)

    def _slots_of(self, variable: Variable, place: int) -> list[Variable]:
        """Found by identity, and mostly at `place`: gradients come in the same order each time."""
        if not self.slot_names:
            return []
        if place < len(self._variables) and self._variables[place] is variable:
            return self._slots[place]
        for known, slots in zip(self._variables, self._slots, strict=True):
            if known is variable:
                return slots
        made = [self._slot(variable, name) for name in self.slot_names]
        self._variables.append(variable)
        self._slots.append(made)
        return made

    def _slot(self, variable: Variable, name: str) -> Variable:
        value = full(variable.shape, self.first_value, dtype=working_dtype(variable))
        return Variable(value, name=f"{variable.name}/{name}", trainable=False)


def working_dtype(variable: Variable) -> DType:
    """What an update is computed in: float32 for halves, whose steps would round to nothing.

    Raises:
        DTypeError: the Variable is not of real floats.
    """
    if variable.dtype in (F32, F64):
        return variable.dtype
    if variable.dtype.kind not in "biuc":  # float16, and bfloat16, whose kind is V or f
        return F32
    raise DTypeError(f"{variable.name}: optimizers update floats, and this is {variable.type}.")
