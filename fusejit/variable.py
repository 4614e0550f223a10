"""Variable: the one kind of mutable state, a named cell that holds a Tensor."""

from __future__ import annotations

import itertools
from typing import Any

from . import device as devices
from . import dispatch
from .dtypes import TensorType
from .errors import DeviceError, DTypeError, ShapeError
from .operators import PLAIN
from .scalar import DType
from .tensor import Operators, Tensor, asarray, detached

serials = itertools.count()
"""Numbers Variables as they are made: a recording tells by them which ones it made itself."""


class Variable(Operators):
    """A value that can be assigned; tapes watch it if it is trainable.

    A decorated function reads a Variable's current value at each call and commits its assignments
    when the call is complete. Shape, dtype and device are fixed by the first value; inside a block
    of `fj.device` that is on the device of the block.

    Args:
        value: the initial value, anything that `asarray` takes.
        name: a name for messages and checkpoints; "Variable" if none is given.
        trainable: whether `implicit_gradients` and optimizers care about it.
        dtype: default as for `asarray`.
    Example:
        >>> import fusejit as fj
        >>> w = fj.Variable([1.0, 2.0], name="w")
        >>> _ = w.assign_add([1.0, 1.0])
        >>> w.numpy()
        array([2., 3.], dtype=float32)
    """

    __slots__ = ("__weakref__", "_serial", "_value", "name", "trainable")
    _value: Tensor
    _serial: int  # greater than those of all Variables made before

    def __init__(
        self, value: Any, *, name: str = "Variable", trainable: bool = True, dtype: object = None
    ) -> None:
        self._serial = next(serials)
        tensor = asarray(value, dtype=dtype)
        if devices.current() != devices.CPU:
            tensor = tensor.to(devices.current())
        self._value = detached(tensor)
        self.name = name
        self.trainable = trainable

    def read(self) -> Tensor:
        """The current value, as an immutable Tensor."""
        return dispatch.top().read(self)

    def assign(self, value: Any) -> Variable:
        """Replace the value; ShapeError, DTypeError or DeviceError if it does not fit. Returns the
        Variable."""
        tensor = asarray(
            value, dtype=self.dtype if not isinstance(value, (Tensor, Variable)) else None
        )
        if devices.used and tensor.device != self.device:
            tensor = self._brought(tensor, value)
        if tensor.shape != self.shape:
            raise ShapeError(f"assign to {self.name}: expected {self.type}, got {tensor.type}.")
        if tensor.dtype != self.dtype:
            raise DTypeError(f"assign to {self.name}: expected {self.type}, got {tensor.type}.")
        dispatch.top().assign(self, tensor)
        return self

    def _brought(self, tensor: Tensor, value: object) -> Tensor:
        """A new value from elsewhere: Python data and single numbers are copied."""
        if isinstance(value, (Tensor, Variable)) and tensor.ndim:
            raise DeviceError(
                f"assign to {self.name}: it is on {self.device}, the value on {tensor.device}; "
                f"assign value.to({self.device!r})."
            )
        return tensor.to(self.device)

    def assign_add(self, delta: Any) -> Variable:
        """Add `delta` to the value. Returns the Variable."""
        return self.assign(self.read() + delta)

    def assign_sub(self, delta: Any) -> Variable:
        """Subtract `delta` from the value. Returns the Variable."""
        return self.assign(self.read() - delta)

    @property
    def type(self) -> TensorType:
        return self._value.type

    @property
    def shape(self) -> tuple[int, ...]:
        return self._value.shape

    @property
    def dtype(self) -> DType:
        return self._value.dtype

    @property
    def ndim(self) -> int:
        return self._value.ndim

    @property
    def size(self) -> int:
        return self._value.size

    @property
    def device(self) -> str:
        return self._value.device

    def numpy(self) -> Any:
        """The current value as a read-only ndarray; a later assign does not change it."""
        return self.read().numpy()

    def item(self) -> bool | int | float | complex:
        return self.read().item()

    def tolist(self) -> Any:
        return self.read().tolist()

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Any:
        return self.read().__array__(dtype, copy)

    def __bool__(self) -> bool:
        return bool(self.read())

    def __int__(self) -> int:
        return int(self.read())

    def __float__(self) -> float:
        return float(self.read())

    def __index__(self) -> int:
        return self.read().__index__()

    def __len__(self) -> int:
        return len(self._value)

    def __iter__(self) -> Any:
        return iter(self.read())

    def __hash__(self) -> int:
        return id(self)

    def __repr__(self) -> str:
        return f"<Variable {self.name}: {self.read()!r}>"


PLAIN.add(Variable)
