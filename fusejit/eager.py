"""Eager execution, the bottom of the stack of handlers: promotes operands, runs one op at a time.

Importing it installs the handler; `ops` does.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import numpy as np

from . import device as devices
from . import dispatch
from .config import config
from .dtypes import default_float, promote
from .errors import DTypeError, FuseJitError, ShapeError, describe_operands
from .nonfinite import refuse_non_finite
from .op import Array, Contraction, Elementwise, Op, View
from .operators import NUMBERS, PLAIN, Operators, is_number
from .origin import user_origin, where
from .scalar import DType
from .tensor import Tensor, as_operand, detached, wrap

_ONLY_TENSORS = frozenset({Tensor})


class Eager(dispatch.Bottom):
    """The bottom of the stack: converts, promotes, and runs one op at a time."""

    def call(self, op: Op, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        top = dispatch.top()
        try:
            # What a registered op does to Tensors is pure by contract, wherever it was declared.
            if top is not self and op.registered and PLAIN.issuperset(map(type, operands)):
                return top.trusted(self._call, op, operands, params)
            return self._call(op, operands, params)
        except FuseJitError as error:  # it ends here: behind are ten more lines of fusejit's own
            raise error.with_traceback(None) from error.__cause__

    def _call(self, op: Op, operands: tuple[Any, ...], params: dict[str, Any]) -> Any:
        try:
            inputs = convert(op, operands)
            if devices.used and not op.anywhere:
                inputs = _together(op, inputs, operands)
            outputs = dispatch.top().apply(op, inputs, params)
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
            _say_better(op, inputs, params)
            raise
        results = result if isinstance(result, tuple) else (result,)
        if config.settings.debug_nans:
            refuse_non_finite(op, arrays, results)
        outputs = tuple(map(wrap, results))
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


def _say_better(op: Op, inputs: tuple[Tensor, ...], params: Mapping[str, Any]) -> None:
    """Raise what op says of its operands' types, if it is about these; NumPy's own error knows
    neither op nor operands."""
    try:
        op.infer([t.type for t in inputs], params)
    except FuseJitError as error:
        raise error from None


def run(op: Op, arrays: list[Array], params: Mapping[str, Any]) -> Any:
    """One op on arrays: by NumPy where that is bit-exact, else as a kernel of one op."""
    if devices.used:
        device = _device(op, arrays, params)
        if device != devices.CPU:
            apply = devices.gpus().apply
            if op.registered:  # what the backend does, to compile and to copy, is no part of a call
                return dispatch.top().trusted(apply, op, arrays, params, device)
            return apply(op, arrays, params, device)
    if getattr(op, "exact", True) and not isinstance(op, Contraction):
        if isinstance(op, View):
            return _private(op.by_numpy(arrays, params), arrays[0])
        return _by_numpy(op, arrays, params)
    compiled = devices.backend("cpu")
    if compiled is None:
        return _by_numpy(op, arrays, params)
    return compiled.apply(op, arrays, params)


def _device(op: Op, arrays: list[Array], params: Mapping[str, Any]) -> str:
    """Where one op runs; a copy to the CPU where it comes from."""
    if op.anywhere:
        places = list(map(devices.device_of, arrays))
        return next((place for place in places if place != devices.CPU), op.device(places, params))
    return op.device((devices.common(op.name, arrays),), params)


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
    if type(array) is not np.ndarray:
        return False
    return bool(array.flags.writeable) and isinstance(array.base, np.ndarray)


def convert(op: Op, operands: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Operands as Tensors of one dtype, where the kind of op asks for one."""
    if len(operands) != len(op.inputs) and not op.variadic:
        raise ShapeError(f"{op.name}: expected {len(op.inputs)} operands, got {len(operands)}.")
    if isinstance(op, Elementwise):
        return _promoted(op, operands)
    return tuple(map(as_operand, operands))


def _together(op: Op, inputs: tuple[Tensor, ...], operands: tuple[Any, ...]) -> tuple[Tensor, ...]:
    """Operands on one device: Python data and single numbers go where the others are.

    A Python number is left on the CPU beside an operand that says where the op runs. What is left
    there otherwise is refused when the op runs.
    """
    pairs = list(zip(inputs, operands, strict=True))
    places = [t.device for t, given in pairs if isinstance(given, Operators)]
    target = op.device(places or (devices.current(),), {})
    if target == devices.CPU:
        return inputs
    return tuple(
        [
            t.to(target)
            if t.device == devices.CPU and _goes_along(t, given, target in places)
            else t
            for t, given in pairs
        ]
    )


def _goes_along(tensor: Tensor, given: object, beside: bool) -> bool:
    """Whether an operand on the CPU is to be copied to the device of the others."""
    if is_number(given):
        return not beside
    return not tensor.ndim or not isinstance(given, Operators)


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
