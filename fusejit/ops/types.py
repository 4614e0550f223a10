"""Dtypes by name, and what the array API standard asks about them."""

from __future__ import annotations

from typing import Any

import numpy as np

from ..dtypes import DTYPES, as_dtype, promote
from ..errors import DTypeError
from ..op import broadcast_shapes as common_shape
from ..operators import ArrayLike, is_number
from ..scalar import DType
from ..tensor import asarray

bool_ = DTYPES["bool"]
int8, int16, int32, int64 = (DTYPES[f"int{width}"] for width in (8, 16, 32, 64))
uint8, uint16, uint32, uint64 = (DTYPES[f"uint{width}"] for width in (8, 16, 32, 64))
float16, float32, float64 = (DTYPES[f"float{width}"] for width in (16, 32, 64))
complex64, complex128 = DTYPES["complex64"], DTYPES["complex128"]

_KINDS = {
    "bool": "b",
    "signed integer": "i",
    "unsigned integer": "u",
    "integral": "iu",
    "real floating": "f",
    "complex floating": "c",
    "numeric": "iufc",
}


def _dtype_of(value: Any) -> DType:
    if isinstance(value, (type, str, np.dtype)):
        return as_dtype(value)
    return asarray(value).dtype


def result_type(*arrays_and_dtypes: Any) -> DType:
    """The dtype that an op gives for these operands; Python numbers are weak.

    Example:
        >>> import fusejit as fj
        >>> fj.result_type(fj.int8, fj.float32, 1)
        dtype('float32')
    """
    weak = [value for value in arrays_and_dtypes if is_number(value)]
    strong = [_dtype_of(value) for value in arrays_and_dtypes if not is_number(value)]
    return promote(strong, weak)


def can_cast(source: ArrayLike | DType, target: object, /) -> bool:
    """Whether promotion may turn a dtype, or an array's dtype, into another."""
    return promote([_dtype_of(source), as_dtype(target)]) == as_dtype(target)


def isdtype(dtype: object, kind: object) -> bool:
    """Whether a dtype is of a kind: a dtype, "integral", "real floating", ..., or a tuple."""
    if isinstance(kind, tuple):
        return any(isdtype(dtype, one) for one in kind)
    if isinstance(kind, str) and kind in _KINDS:
        return as_dtype(dtype).kind in _KINDS[kind]
    return as_dtype(dtype) == as_dtype(kind)


def finfo(dtype: Any, /) -> Any:
    """The limits of a float dtype: eps, max, min, smallest_normal, bits."""
    found = _dtype_of(dtype)
    if found.kind not in "fc":
        raise DTypeError(f"finfo: expected a float dtype, got {found.name}.")
    return np.finfo(found.name)


def iinfo(dtype: Any, /) -> Any:
    """The limits of an integer dtype: max, min, bits."""
    found = _dtype_of(dtype)
    if found.kind not in "iu":
        raise DTypeError(f"iinfo: expected an integer dtype, got {found.name}.")
    return np.iinfo(found.name)


def broadcast_shapes(*shapes: tuple[int, ...]) -> tuple[int, ...]:
    """The shape that arrays of these shapes have together; ShapeError if there is none."""
    return common_shape("broadcast_shapes", shapes)
