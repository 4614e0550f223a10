"""Tensor, the immutable array, and conversion of what users pass.

A Tensor has fixed slots, because native code reads and makes them: `_data` (the ndarray, or what
lies on a GPU), `_tag` (a serial number that a tape gave it) and `_origin` (where the user made it,
resolved when an error asks).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from . import device as devices
from . import dispatch
from .dtypes import TensorType, as_dtype, dtype_of_python
from .errors import DTypeError, FuseJitError, ShapeError, describe_operands
from .op import Array
from .operators import PLAIN, is_number
from .operators import Operators as Operators
from .operators import binary_operator as binary_operator
from .operators import is_operand as is_operand
from .origin import Origin, user_origin, where
from .scalar import DType

_new = object.__new__


class Tensor(Operators):
    """An immutable n-dimensional array.

    Args:
        data: a number, a nested list of numbers, an ndarray or a Tensor; ndarrays are copied.
        dtype: a dtype or its name; by default Python floats give float32, ints int64, and arrays
            keep theirs.
    Example:
        >>> import fusejit as fj
        >>> fj.Tensor([[1.0, 2.0]]).shape
        (1, 2)
    """

    __slots__ = ("__weakref__", "_data", "_origin", "_tag")
    _data: Any
    _tag: int | None
    _origin: Origin | None

    def __new__(cls, data: Any, dtype: object = None) -> Tensor:
        return asarray(data, dtype=dtype)

    @property
    def shape(self) -> tuple[int, ...]:
        shape: tuple[int, ...] = self._data.shape
        return shape

    @property
    def dtype(self) -> DType:
        dtype: DType = self._data.dtype
        return dtype

    @property
    def ndim(self) -> int:
        ndim: int = self._data.ndim
        return ndim

    @property
    def size(self) -> int:
        size: int = self._data.size
        return size

    @property
    def nbytes(self) -> int:
        nbytes: int = self._data.nbytes
        return nbytes

    @property
    def device(self) -> str:
        """Where it lies: "/cpu:0" or "/gpu:N"."""
        return devices.device_of(self._data)

    @property
    def type(self) -> TensorType:
        return TensorType(self._data.dtype, self._data.shape)

    def numpy(self) -> Array:
        """The value as a read-only ndarray: on the CPU it shares memory with the Tensor; of a GPU
        it is a copy, made once what computes the value is done."""
        dispatch.top().observe(self, "array")
        array = devices.on_host(self._data).view()
        array.flags.writeable = False
        return array

    def item(self) -> bool | int | float | complex:
        """The value of a one-element Tensor as a Python number."""
        return self._scalar("item", operator.methodcaller("item"))  # type: ignore[no-any-return]

    def tolist(self) -> Any:
        """The value as nested lists of Python numbers."""
        return self.numpy().tolist()

    def _scalar(self, how: str, convert: Callable[[Any], Any]) -> Any:
        if self._data.size != 1:
            raise ShapeError(
                f"{how}: expected one element, got {self.type}."
                + describe_operands([""], [where(self._origin)])
                + _SCALAR_ADVICE.get(how, "")
            )
        dispatch.top().observe(self, how)
        return convert(devices.on_host(self._data).reshape(()))

    def __bool__(self) -> bool:
        return self._scalar("bool", bool)  # type: ignore[no-any-return]

    def __int__(self) -> int:
        return self._scalar("int", int)  # type: ignore[no-any-return]

    def __float__(self) -> float:
        return self._scalar("float", float)  # type: ignore[no-any-return]

    def __complex__(self) -> complex:
        return self._scalar("item", complex)  # type: ignore[no-any-return]

    def __index__(self) -> int:
        if self._data.dtype.kind not in "iu" or self._data.ndim:
            raise DTypeError(f"index: expected an integer scalar, got {self.type}.")
        return self._scalar("int", int)  # type: ignore[no-any-return]

    def __len__(self) -> int:
        if not self._data.ndim:
            raise ShapeError("len: a scalar Tensor has no length.")
        return self.shape[0]

    def __iter__(self) -> Iterator[Any]:
        if not self._data.ndim:
            raise ShapeError("iteration over a scalar Tensor.")
        return iter([self[i] for i in range(len(self))])

    def __hash__(self) -> int:
        # == is elementwise, so hashing is by identity: a Tensor may be a dict key or a set member.
        return id(self)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        """The value on the CPU, as `numpy` gives it."""
        array = self.numpy()
        return np.array(array, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        dispatch.top().observe(self, "array")
        body = np.array2string(devices.on_host(self._data), separator=", ", prefix="Tensor(")
        where = f", device={self.device}" if self.device != devices.CPU else ""
        return f"Tensor({body}, shape={self.shape}, dtype={self.dtype.name}{where})"

    def __str__(self) -> str:
        dispatch.top().observe(self, "array")
        return str(devices.on_host(self._data))

    def __format__(self, spec: str) -> str:
        return (
            format(self.item(), spec) if spec and self._data.size == 1 else format(str(self), spec)
        )

    def __setitem__(self, key: object, value: object) -> None:
        raise FuseJitError(
            "Tensors are immutable: t[i] = v is not possible. Build a new one, for example with "
            "where(mask, v, t) or concat, or keep state in a Variable."
        )

    def __copy__(self) -> Tensor:
        return self

    def __deepcopy__(self, memo: object) -> Tensor:
        return self

    def __reduce__(self) -> Any:
        dispatch.top().observe(self, "array")
        return asarray, (np.ascontiguousarray(devices.on_host(self._data)),)


PLAIN.add(Tensor)
_SAFE = 65504.0  # the largest float that no floating dtype overflows with
_SCALAR_ADVICE = {"bool": " Reduce it first, with all(...) or any(...)."}


def wrap(array: Any) -> Tensor:
    """A Tensor around an ndarray, NumPy scalar or array on a GPU that nobody else will write."""
    tensor = _new(Tensor)
    if type(array) is not np.ndarray and not hasattr(array, "spec"):  # which those of GPUs have
        array = np.asarray(array)
    tensor._data = array
    tensor._tag = tensor._origin = None
    return tensor


def detached(tensor: Tensor) -> Tensor:
    """The same value as a new Tensor: what a Variable holds is not what was assigned to it."""
    copy = wrap(tensor._data)
    copy._origin = tensor._origin
    return copy


def as_operand(value: Any, dtype: DType | None = None) -> Tensor:
    """A Tensor of whatever an op is given; an ndarray is read where it lies, not copied."""
    if type(value) is Tensor:
        return value
    if isinstance(value, Operators):  # a Variable
        return value.read()  # type: ignore[no-any-return]
    if isinstance(value, np.ndarray):
        tensor = wrap(np.ndarray.view(value, np.ndarray))
    elif isinstance(value, (list, tuple)) and _holds_tensors(value):
        stacked: Tensor = Operators.stacked(value)
        return stacked
    elif is_number(value):
        wanted = dtype or dtype_of_python(value)
        if type(value) is float and not -_SAFE < value < _SAFE:
            with np.errstate(all="ignore"):  # it may overflow to an infinity, as it does natively
                tensor = wrap(np.asarray(value, wanted))
        else:
            tensor = wrap(np.asarray(value, wanted))
    else:
        tensor = wrap(_array_of(value, dtype))
    as_dtype(tensor._data.dtype)  # refuses object, str, datetime64 and the like
    dispatch.top().made(tensor, value)
    return tensor


def _holds_tensors(nested: list[Any] | tuple[Any, ...]) -> bool:
    """Whether a Tensor or Variable is among the items, at any depth."""
    kinds = set(map(type, nested))
    if any(issubclass(kind, Operators) for kind in kinds):
        return True
    return not kinds.isdisjoint((list, tuple)) and any(
        _holds_tensors(item) for item in nested if isinstance(item, (list, tuple))
    )


def _array_of(value: Any, dtype: DType | None) -> Array:
    if isinstance(value, np.generic):
        return np.asarray(value)
    if not isinstance(value, (list, tuple, range)):
        raise DTypeError(
            f"expected a number, a list of numbers or an array, got {type(value).__name__}"
        )
    try:
        array = np.array(value)
    except ValueError as error:
        raise ShapeError(f"a nested list must be rectangular: {error}") from None
    if dtype is None and array.dtype.kind == "f":
        dtype = dtype_of_python(0.0)
    elif dtype is None and array.dtype.kind == "c":
        dtype = dtype_of_python(0j)
    elif dtype is None and not array.size:
        dtype = dtype_of_python(0.0)
    return array if dtype is None else array.astype(dtype)


def asarray(obj: Any, /, *, dtype: object = None, copy: bool | None = None) -> Tensor:
    """A Tensor of `obj`: a number, nested lists, an ndarray, a Tensor, a Variable, or via DLPack.

    Args:
        obj: the data. Nested lists may hold Tensors: they are stacked.
        dtype: a dtype or its name; default as for `Tensor`.
        copy: an ndarray is copied unless copy=False, which shares its memory: then do not write to
        it.
    Example:
        >>> import fusejit as fj
        >>> fj.asarray([1, 2]).dtype
        dtype('int64')
    """
    wanted = None if dtype is None else as_dtype(dtype)
    if isinstance(obj, np.ndarray) and copy is not False:
        owned = wrap(np.array(obj, order="C", subok=False))
        as_dtype(owned._data.dtype)
        dispatch.top().made(owned, obj)
        tensor = owned
    else:
        tensor = as_operand(obj, wanted)
    if tensor._origin is None:
        tensor._origin = user_origin()
    if devices.used and not isinstance(obj, Operators) and tensor.device != devices.current():
        tensor = tensor.to(devices.current())
    if wanted is not None and tensor.dtype != wanted:
        tensor = tensor.astype(wanted)
    return tensor
