"""The recorder: a handler that turns what a call executes into a graph, as it executes eagerly."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from .. import dispatch
from ..autodiff.custom import CustomGradient
from ..autodiff.tags import is_differentiable, next_tag
from ..device import on_host
from ..dtypes import TensorType
from ..frozen import replace
from ..ir.builder import Builder, constant
from ..ir.graph import GUARD, Graph, Value
from ..op import Op, SingleOp
from ..ops.cast import astype_
from ..ops.compare import not_equal
from ..origin import user_frame, user_origin, where
from ..scalar import F64
from ..tensor import Tensor, wrap
from ..variable import Variable, serials
from .floats import Floats
from .purity import Watch


class Recorder(dispatch.Handler):
    """Collects ops, guards, reads and assignments of one call.

    `refusal` is the first reason why the recording cannot stand for the call; the call itself goes
    on, eagerly, as it would have.
    """

    def __init__(self, name: str, floats: Floats | None = None, fastmath: bool = False) -> None:
        self.floats = floats
        self.watch: Watch | None = None
        self.builder = Builder(name)
        self._fastmath = fastmath
        self.refusal: tuple[str, str] | None = None
        self.untaped: str | None = None
        self.variables: dict[Variable, int] = {}  # read before any assignment -> plan input
        self.read_as: dict[Variable, Tensor] = {}
        self.assigned: dict[Variable, Tensor] = {}
        self._began = next(serials)
        self._values: dict[int, Value] = {}  # what is kept, by id
        self._made: dict[int | None, Value] = {}  # made during the call, by tag: see `_name`
        self._numbers: dict[int, Value] = {}  # float arguments that ops were given -> input
        self._declared: dict[int, tuple[Tensor, str]] = {}
        self._inputs: set[int] = set()
        self._arrays: dict[int, Value | None] = {}
        self._kept: list[object] = []  # ids stay unique

    def finish(self, outputs: Sequence[Value], effects: Sequence[tuple[str, Value]] = ()) -> Graph:
        """What was recorded."""
        return self.builder.finish(outputs, effects, fastmath=self._fastmath)

    # ---- what exists before the call

    def declare(self, tensor: Tensor, name: str) -> None:
        """A Tensor that exists before the call; it becomes an input when it is first used."""
        self._declared.setdefault(id(tensor), (tensor, name))

    def add_input(self, tensor: Tensor, name: str) -> Value:
        """Make a Tensor the next input."""
        value = self.builder.input(tensor.type, _identifier(name), tensor.device)
        self._bind(tensor, value)
        self._inputs.add(id(tensor))
        return value

    def add_array(self, array: np.ndarray[Any, Any], seen_as: object, name: str) -> None:
        """Declare an ndarray argument; ops will be given the object `seen_as`."""
        value = self.builder.input(TensorType(array.dtype, array.shape), _identifier(name))
        self._arrays[id(seen_as)] = value
        self._kept.append(seen_as)

    def add_guarded_array(self, array: np.ndarray[Any, Any]) -> None:
        """Declare an ndarray whose bytes are guarded: where an op reads it, it is a constant."""
        self._arrays[id(array)] = None
        self._kept.append(array)

    def value_of_float(self, argument: int) -> Value:
        """The input that stands for a float argument."""
        return self._numbers[argument]

    def take_back_floats(self, arguments: Sequence[Any], proven: set[int]) -> None:
        """Make constants of the float arguments that turned out to be more than operands."""
        back = {v: n for n, v in self._numbers.items() if n not in proven}
        if not back:
            return
        constants: dict[Value, Value] = {
            value: constant(np.array(arguments[number])) for value, number in back.items()
        }
        kept = [i for i, value in enumerate(self.builder.inputs) if value not in back]
        self.builder.inputs = [self.builder.inputs[i] for i in kept]
        self.builder.input_names = [self.builder.input_names[i] for i in kept]
        self.builder.nodes = [
            replace(n, inputs=tuple(constants.get(v, v) for v in n.inputs))
            for n in self.builder.nodes
        ]
        made, known = self._made, self._values
        made.update({tag: constants[v] for tag, v in made.items() if v in constants})
        known.update({key: constants[v] for key, v in known.items() if v in constants})
        positions = {value: number for number, value in enumerate(self.builder.inputs)}
        self.variables = {
            variable: positions[self._values[id(tensor)]]
            for variable, tensor in self.read_as.items()
        }

    def is_input(self, tensor: Tensor) -> bool:
        """Whether this very object was declared as an input."""
        return id(tensor) in self._inputs

    def uses(self, variable: Variable) -> bool:
        """Whether the call has read or assigned a Variable."""
        return variable in self.read_as or variable in self.assigned

    def made_inside(self) -> list[str]:
        """The names of the Variables in use that this very call has made."""
        used = {**self.read_as, **self.assigned}
        return [variable.name for variable in used if variable._serial > self._began]

    def value_of(self, tensor: Tensor) -> Value | None:
        """The value that a Tensor is in the graph; None if it comes from elsewhere."""
        value = self._made.get(tensor._tag) or self._values.get(id(tensor))
        if value is None and id(tensor) in self._declared:
            value = self.add_input(*self._declared[id(tensor)])
        return value

    def value_of_array(self, seen_as: object) -> Value | None:
        """The input that stands for an ndarray argument."""
        return self._arrays[id(seen_as)]

    def _bind(self, tensor: Tensor, value: Value) -> None:
        self._values[id(tensor)] = value
        self._kept.append(tensor)

    def _name(self, tensor: Tensor, value: Value) -> None:
        """Bind a Tensor that was just made. It goes by its tag, which is unique even after it is
        gone: to keep it would keep the memory of every temporary of the call."""
        if tensor._tag is None:
            tensor._tag = next_tag()
        self._made[tensor._tag] = value

    def refuse(self, reason: str, at: str | None = None) -> None:
        """This call cannot be replayed, because ..."""
        if self.refusal is None:
            self.refusal = (reason, at or where(user_origin()) or "?")

    # ---- the handler

    def trusted(self, function: Callable[..., Any], *args: Any) -> Any:
        return function(*args) if self.watch is None else self.watch.looking_away(function, *args)

    def apply(
        self, op: Op, inputs: tuple[Tensor, ...], params: Mapping[str, Any]
    ) -> tuple[Tensor, ...]:
        outputs = self.below.apply(op, inputs, params)
        if self.refusal is not None:
            return outputs
        known = [v for v in map(self.value_of, inputs) if v is not None]
        if len(known) < len(inputs):
            lost = next(t for t in inputs if self.value_of(t) is None)
            self.refuse(
                f"{op.name} reads a Tensor made at {where(lost._origin)}, "
                "outside of this call's reach"
            )
            return outputs
        if isinstance(op, CustomGradient):
            # Its results are its first operands; differentiating the recording would lose the rule.
            self.untaped = "it uses a custom_gradient"
            made: tuple[Value, ...] = tuple(known[: len(outputs)])
        elif not isinstance(op, SingleOp) and op.infer([v.type for v in known], params) is None:
            self.refuse(f"the shape of {op.name}'s result depends on values")
            return outputs
        else:
            types = [t.type for t in outputs]
            at = where((outputs and outputs[0]._origin) or user_origin())
            made = self.builder.add(op, known, params, types, at)
        for tensor, value in zip(outputs, made, strict=True):
            self._name(tensor, value)
        return outputs

    def observe(self, tensor: Tensor, how: str) -> None:
        self.below.observe(tensor, how)
        if self.refusal is not None:
            return
        value = self.value_of(tensor)
        if value is None:
            self.refuse("the value of a Tensor from outside of this call's reach reaches Python")
        elif how == "array":
            self.refuse("a whole array reaches Python, which cannot be guarded")
        else:
            self._guard(value, np.ascontiguousarray(on_host(tensor._data)), how)

    def _guard(self, value: Value, array: np.ndarray[Any, Any], how: str) -> None:
        """Go on only where the value is as it is now; for `bool` its truth is enough."""
        at = where(user_origin())
        if how == "bool" and array.dtype != np.bool_:
            zero = constant(np.zeros(array.shape, array.dtype))
            (value,) = self.builder.add(not_equal, (value, zero), {}, None, at)
            array = array != 0
        self.builder.add(GUARD, (value,), {"expected": array.tobytes(), "how": how}, (), at)

    def made(self, tensor: Tensor, source: object) -> None:
        self.below.made(tensor, source)
        if isinstance(source, np.ndarray):
            if id(source) not in self._arrays:
                self.refuse("an op is given an ndarray that is made during the call")
                return
            value = self._arrays[id(source)]
        else:
            value = None
            if isinstance(source, (list, tuple)):
                self._check_nested(source)
            elif type(source) is float and self.floats is not None:
                value = self._float(tensor, source)
        self._name(tensor, constant(np.array(on_host(tensor._data))) if value is None else value)

    def _float(self, tensor: Tensor, source: float) -> Value | None:
        """The run-time value of a float argument, cast as eager execution has cast it."""
        assert self.floats is not None
        frame = user_frame(self.floats.code)
        number = None if frame is None else self.floats.met(frame.f_code, frame.f_lasti, source)
        if number is None or tensor.dtype.kind != "f":
            return None
        if number not in self._numbers:
            self._numbers[number] = self.builder.input(TensorType(F64, ()), f"float{number}")
        value = self._numbers[number]
        if tensor.dtype == F64:
            return value
        types = (tensor.type,)
        (value,) = self.builder.add(
            astype_, (value,), {"dtype": tensor.dtype}, types, where(user_origin())
        )
        return value

    def _check_nested(self, source: Iterable[object]) -> None:
        for item in source:
            if isinstance(item, np.ndarray) and self._arrays.get(id(item), item) is not None:
                self.refuse("an op is given an ndarray inside of a list")
            elif isinstance(item, (list, tuple)):
                self._check_nested(item)

    def read(self, variable: Variable) -> Tensor:
        tensor = self.below.read(variable)
        if variable in self.assigned and is_differentiable(variable.dtype):
            # To a tape this is the Variable again; the recording goes on with what was assigned.
            self.untaped = f"it reads {variable.name} after assigning it"
        if self.refusal is not None or variable in self.assigned:
            return tensor
        if variable not in self.variables:
            self.variables[variable] = len(self.builder.inputs)
            value = self.builder.input(tensor.type, _identifier(variable.name), tensor.device)
            self.read_as[variable] = alias(tensor)
            self._bind(self.read_as[variable], value)
        return self.read_as[variable]

    def assign(self, variable: Variable, value: Tensor) -> None:
        known = self.value_of(value)
        self.below.assign(variable, value)
        if known is None:
            self.refuse(f"{variable.name} is assigned a Tensor from outside of this call's reach")
            return
        self.assigned[variable] = variable._value  # what later reads return
        self._bind(variable._value, known)


def alias(tensor: Tensor) -> Tensor:
    """Another Tensor of the same memory. The recorder tells Tensors apart by identity, and one
    object may be an argument, a second argument and a Variable's value at the same time."""
    other = wrap(tensor._data)
    other._tag, other._origin = tensor._tag, tensor._origin
    return other


def _identifier(path: str) -> str:
    """A path as an IR name: letters, digits, dots and underscores."""
    return "".join(c if c.isalnum() or c in "._" else "_" for c in path).strip("_") or "x"
