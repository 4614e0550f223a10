"""Tensor, the immutable array; conversion of what users pass; and eager execution.

A Tensor has fixed slots, because native code reads and makes them: `_data` (the ndarray), `_tag` (a
serial number that a tape gave it) and `_origin` (where the user made it, resolved when an error
asks).
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from . import device as devices
from . import dispatch
from .dtypes import TensorType, as_dtype, default_float, dtype_of_python, promote
from .errors import DTypeError, FuseJitError, ShapeError, describe_operands
from .op import Array, Contraction, Elementwise, Op, View
from .operators import NUMBERS, PLAIN, is_number
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
    _data: Array
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
        return self._data.ndim

    @property
    def size(self) -> int:
        return self._data.size

    @property
    def nbytes(self) -> int:
        return self._data.nbytes

    @property
    def device(self) -> str:
        return "/cpu:0"

    @property
    def type(self) -> TensorType:
        return TensorType(self._data.dtype, self._data.shape)

    def numpy(self) -> Array:
        """The value as a read-only ndarray that shares memory with the Tensor."""
        dispatch.top().observe(self, "array")
        array = self._data.view()
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
        return convert(self._data.reshape(()))

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
        array = self.numpy()
        return np.array(array, dtype=dtype, copy=copy)

    def __repr__(self) -> str:
        dispatch.top().observe(self, "array")
        body = np.array2string(self._data, separator=", ", prefix="Tensor(")
        return f"Tensor({body}, shape={self.shape}, dtype={self.dtype.name})"

    def __str__(self) -> str:
        dispatch.top().observe(self, "array")
        return str(self._data)

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
        return asarray, (np.ascontiguousarray(self._data),)


PLAIN.add(Tensor)
_ONLY_TENSORS = frozenset({Tensor})
_SAFE = 65504.0  # the largest float that no floating dtype overflows with
_SCALAR_ADVICE = {"bool": " Reduce it first, with all(...) or any(...)."}


def wrap(array: Any) -> Tensor:
    """A Tensor around an ndarray (or NumPy scalar) that nobody else will write."""
    tensor = _new(Tensor)
    tensor._data = array if type(array) is np.ndarray else np.asarray(array)
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
        tensor = wrap(value.view(np.ndarray))
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
    if wanted is not None and tensor.dtype != wanted:
        tensor = tensor.astype(wanted)
    return tensor


class Eager(dispatch.Bottom):
    """The bottom of the stack: converts, promotes, and runs one op at a time."""

    def call(self, op: Op, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        top = dispatch.top()
        # What a registered op does to Tensors is pure by contract, wherever it was declared.
        if top is not self and op.registered and PLAIN.issuperset(map(type, operands)):
            return top.trusted(self._call, op, operands, params)
        return self._call(op, operands, params)

    def _call(self, op: Op, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        try:
            outputs = dispatch.top().apply(op, convert(op, operands), params)
        except FuseJitError as error:
            _add_origins(error, operands)
            raise
        return outputs[0] if len(outputs) == 1 else outputs

    def apply(
        self, op: Op, inputs: tuple[Tensor, ...], params: Mapping[str, Any]
    ) -> tuple[Tensor, ...]:
        arrays = [t._data for t in inputs]
        try:
            result = run(op, arrays, params)
        except FuseJitError:
            raise
        except (ValueError, TypeError, IndexError, np.linalg.LinAlgError):
            op.infer([t.type for t in inputs], params)  # says it better, if it is about shapes
            raise
        outputs = tuple(map(wrap, result)) if isinstance(result, tuple) else (wrap(result),)
        origin = user_origin()
        for output in outputs:
            output._origin = origin
        return outputs

    def observe(self, tensor: Tensor, how: str) -> None:
        pass

    def made(self, tensor: Tensor, source: object) -> None:
        pass

    def read(self, variable: Any) -> Tensor:
        return variable._value  # type: ignore[no-any-return]

    def assign(self, variable: Any, value: Tensor) -> None:
        variable._value = detached(value)


def run(op: Op, arrays: list[Array], params: Mapping[str, Any]) -> Any:
    """One op on arrays: by NumPy where that is bit-exact, else as a kernel of one op."""
    if getattr(op, "exact", True) and not isinstance(op, Contraction):
        result = _by_numpy(op, arrays, params)
        return _private(result, arrays[0]) if isinstance(op, View) else result
    compiled = devices.backend("cpu")
    if compiled is None:
        return _by_numpy(op, arrays, params)
    return compiled.apply(op, arrays, params)


@np.errstate(all="ignore")  # a `with` block takes 0.9 us, this 0.5
def _by_numpy(op: Op, arrays: list[Array], params: Mapping[str, Any]) -> Any:
    return op.by_numpy(arrays, params)


def _private(view: Array, operand: Array) -> Array:
    """`view`, or a copy if its memory may be the user's own ndarray, which can change under it.

    Views of arrays that fusejit made are marked read-only, as proof.
    """
    if is_borrowed(operand):
        return view.copy()
    view.flags.writeable = False
    return view


def is_borrowed(array: Array) -> bool:
    """Whether `array` may be memory that the user can write: a writable view of another ndarray.

    What fusejit made owns its memory, or has a block of the output pool as its base.
    """
    return bool(array.flags.writeable) and isinstance(array.base, np.ndarray)


def convert(op: Op, operands: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Operands as Tensors of one dtype, where the kind of op asks for one."""
    if len(operands) != len(op.inputs) and not op.variadic:
        raise ShapeError(f"{op.name}: expected {len(op.inputs)} operands, got {len(operands)}.")
    if isinstance(op, Elementwise):
        return _promoted(op, operands)
    return tuple(map(as_operand, operands))


def _promoted(op: Elementwise, operands: tuple[Any, ...]) -> tuple[Tensor, ...]:
    if _ONLY_TENSORS.issuperset(map(type, operands)):
        kinds = [v._data.dtype for v in operands]
        if _takes(op, *kinds):
            return operands
    strong = [v if type(v) is Tensor or is_number(v) else as_operand(v) for v in operands]
    kinds = [v._data.dtype if type(v) is Tensor else _kind_of_number(v) for v in strong]
    wanted = _wanted(op, default_float(), *kinds)
    try:
        return tuple([_cast(v, dtype) for v, dtype in zip(strong, wanted, strict=True)])
    except OverflowError:
        numbers = [v for v in strong[len(op.dtype.leading) :] if type(v) is not Tensor]
        raise DTypeError(f"{op.name}: {numbers[0]} does not fit {wanted[-1].name}.") from None


def _kind_of_number(value: Any) -> type:
    found = type(value)
    return found if found in NUMBERS else next(k for k in NUMBERS if isinstance(value, k))


@lru_cache(maxsize=4096)  # as below; most operands need no cast, and to see that takes 0.2 us
def _takes(op: Elementwise, *dtypes: DType) -> bool:
    """Whether operands of these dtypes stay as they are. Without Python numbers among them, no
    setting matters."""
    return _wanted(op, default_float(), *dtypes) == dtypes


@lru_cache(maxsize=4096)  # ops x dtypes is some hundreds; promotion takes 5 us, this 0.3
def _wanted(op: Elementwise, number: DType, *kinds: DType | type) -> tuple[DType, ...]:
    """The dtypes to cast operands to, from those of arrays and the classes of Python numbers.

    Of a number only its class counts. `number` is the default dtype of floats, a setting.
    """
    fixed = op.dtype.leading
    ours = kinds[len(fixed) :]
    arrays = [kind for kind in ours if isinstance(kind, np.dtype)]
    common = op.dtype.common(op.name, promote(arrays, [k() for k in ours if isinstance(k, type)]))
    return (*fixed, *[common] * len(ours))


def _cast(value: Any, dtype: DType) -> Tensor:
    if type(value) is not Tensor:
        return as_operand(value, dtype)
    return value if value._data.dtype == dtype else value.astype(dtype)


def _add_origins(error: FuseJitError, operands: tuple[Any, ...]) -> None:
    tensors = [v for v in operands if type(v) is Tensor]
    text = str(error)
    if tensors and " made at " not in text:
        origins = describe_operands([""] * len(tensors), [where(t._origin) for t in tensors])
        types = ", ".join(str(t.type) for t in tensors)
        error.args = (
            f"{text} Got {types}.{origins}"
            if text.endswith(".")
            else f"{text}; got {types}.{origins}",
        )


dispatch.install_bottom(Eager())
