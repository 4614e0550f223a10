"""Whether a step of a file may be run: by the kind of its op, for no op by its name.

Ops are applied as a recording has them, past the functions that users call, which would look at
their arguments. So all that these promise is looked at again: kernels read and write where the
parameters say, and what those say wrongly would be memory that is not theirs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Any, NoReturn

import numpy as np

from ..dtypes import TensorType
from ..errors import FileError, FuseJitError
from ..ir.affine import Affine, identity
from ..op import Assembly, Contraction, Elementwise, Op, Reduction, Source, View
from ..opdoc import parameters
from ..scalar import DType
from .program import Step

MAX_AXES = 32  # of a value: what a kernel keeps for each operand lies on its stack
_TRIED = 4096
"""Elements up to which an op that NumPy runs is tried on zeros: what it makes of its parameters is
its own affair."""


def refuse(reason: str) -> NoReturn:
    """Stop reading a file."""
    raise FileError(reason)


def infer(step: Step, types: Sequence[TensorType], limit: int) -> tuple[TensorType, ...]:
    """What a step makes of operands of these types.

    Raises:
        FileError: it is not what its op takes, or an output takes more bytes than `limit`.
    """
    op, params = step.op, step.params
    try:
        if set(params) != set(parameters(op)):
            refuse(f"expected the parameters {sorted(parameters(op))}, got {sorted(params)}")
        if len(types) != len(op.inputs) and not (op.variadic and types):
            refuse(f"expected {len(op.inputs)} operands, got {len(types)}")
        _check(op, types, params)
        found = op.infer(types, params)
        if found is None:
            refuse("its result depends on values")
        for each in found:
            _check_type(each, limit)
        if not isinstance(op, (Elementwise, View, Source)):
            _try(op, types, params, found)
    except FuseJitError as error:
        raise FileError(f"{op.name}: {error}") from None
    except Exception as error:  # what the functions of a record raise is not known here
        raise FileError(f"{op.name} does not take this ({type(error).__name__}: {error})") from None
    return found


def _check(op: Op, types: Sequence[TensorType], params: Mapping[str, Any]) -> None:
    dtypes = [t.dtype for t in types]
    match op:
        case Elementwise():
            _check_dtypes(op, dtypes, params)
        case Reduction():
            _check_axes(types[0], params["axes"])
            op.dtype.common(op.name, dtypes[0])
            if type(params["keepdims"]) is not bool:
                refuse("keepdims is neither true nor false")
        case View():
            _check_view(op, types[0], params)
        case Assembly() | Contraction():
            if len(set(dtypes)) > 1:
                refuse(f"expected one dtype, got {', '.join(map(str, dtypes))}")
            if isinstance(op, Assembly):
                _check_regions(op, types, params)
        case Source():
            _check_extents(params["shape"])


def _check_dtypes(op: Elementwise, dtypes: Sequence[DType], params: Mapping[str, Any]) -> None:
    """That the operands have been promoted already, and that there is code for them, if any."""
    fixed = op.dtype.leading
    rest = dtypes[len(fixed) :]
    if tuple(dtypes[: len(fixed)]) != fixed or len(set(rest)) != 1:
        refuse(f"expected operands of one dtype, got {', '.join(map(str, dtypes))}")
    if op.dtype.common(op.name, rest[0]) != rest[0]:
        refuse(f"{rest[0]} is to be promoted before")
    if "dtype" in params and not isinstance(params["dtype"], np.dtype):
        refuse("expected a dtype")
    op.program(tuple(dtypes), params)


def _check_axes(operand: TensorType, axes: Sequence[int]) -> None:
    rank = len(operand.shape)
    numbers = all(type(axis) is int and 0 <= axis < rank for axis in axes)
    if not numbers or any(a >= b for a, b in pairwise(axes)):
        refuse(f"axes {axes} of an operand of {rank}")


def _check_view(op: View, operand: TensorType, params: Mapping[str, Any]) -> None:
    """That every element of the result is one of the operand's."""
    shape = op.shape(operand.shape, **params)
    _check_extents(shape)
    if op.index is None:  # the same elements under another shape
        if TensorType(operand.dtype, tuple(shape)).size != operand.size:
            refuse(f"{operand} has other elements than {list(shape)}")
        return
    stand_in = np.broadcast_to(np.zeros((), operand.dtype), operand.shape)  # takes no memory
    if np.shape(op.numpy(stand_in, **params)) != tuple(shape):
        refuse(f"its result is not {list(shape)}")
    places = op.index(identity(len(shape)), operand.shape, **params)
    if len(places) != len(operand.shape):
        refuse("its operand has another number of axes")
    if 0 in shape:
        return
    for place, extent in zip(places, operand.shape, strict=True):
        low, high = _range(place, shape)
        if low < 0 or high >= extent:
            refuse(f"elements {low} to {high} of {extent}")


def _range(place: Affine, shape: Sequence[int]) -> tuple[int, int]:
    """The least and the greatest value over all indices of a shape."""
    if not all(type(c) is int for c in (place.constant, *place.coefficients)):
        refuse("expected whole numbers")
    ends = [c * (n - 1) for c, n in zip(place.coefficients, shape, strict=True)]
    low = place.constant + sum(end for end in ends if end < 0)
    return low, place.constant + sum(end for end in ends if end > 0)


def _check_regions(op: Assembly, types: Sequence[TensorType], params: Mapping[str, Any]) -> None:
    """That every operand lies inside of the result, and, where the op says so, they fill it."""
    shape, regions = op.regions([t.shape for t in types], **params)
    _check_extents(shape)
    for each, region in zip(types, regions, strict=True):
        for (start, step), n, extent in zip(region, each.shape, shape, strict=True):
            last = start + step * (n - 1)
            if not all(type(number) is int for number in (start, step)) or step == 0:
                refuse("expected whole numbers")
            if n and not (0 <= start < extent and 0 <= last < extent):
                refuse(f"elements {start} to {last} of {extent}")
    whole = TensorType(types[0].dtype, tuple(shape))
    if sum(t.size for t in types) > whole.size or (
        op.covers and sum(t.size for t in types) < whole.size
    ):
        refuse(f"its operands do not fill {whole}")


def _check_extents(shape: Sequence[int]) -> None:
    if not isinstance(shape, tuple) or not all(type(n) is int and n >= 0 for n in shape):
        refuse(f"expected a shape, got {shape!r:.60}")


def _check_type(found: TensorType, limit: int) -> None:
    _check_extents(found.shape)
    if len(found.shape) > MAX_AXES:
        refuse(f"a result of {len(found.shape)} axes")
    if found.nbytes > limit:
        refuse(f"a result of {found.nbytes} bytes, more than the limit of {limit}")


def _try(
    op: Op, types: Sequence[TensorType], params: Mapping[str, Any], found: Sequence[TensorType]
) -> None:
    """Run the op on zeros, if that is quick, and compare what comes out with what it says."""
    if isinstance(op, Reduction):  # of any size: the dtype is in doubt
        types = [TensorType(t.dtype, (1,) * len(t.shape)) for t in types]
        found = op.infer(types, params)
    if sum(t.size for t in (*types, *found)) > _TRIED:
        return
    try:
        with np.errstate(all="ignore"):
            result = op.by_numpy([np.zeros(t.shape, t.dtype) for t in types], params)
    except np.linalg.LinAlgError:
        return  # of zeros there is no inverse; of what is computed there may be
    results = result if isinstance(result, tuple) else (result,)
    made = [TensorType(np.asarray(r).dtype, np.shape(r)) for r in results]
    if made != list(found):
        refuse(f"it makes {', '.join(map(str, made))} instead of {', '.join(map(str, found))}")
