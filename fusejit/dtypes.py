"""Dtypes are NumPy's; here are their short names, the type of a value, promotion, and what ops take
and give."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from .config import config
from .errors import DTypeError
from .frozen import frozen
from .scalar import BOOL, F32, F64, I64, DType

# float16, bfloat16 and complex are eager-only: no kernel is made for them, NumPy runs them.
_INTEGERS = ("bool", "int8", "int16", "int32", "int64", "uint8", "uint16", "uint32", "uint64")
_FLOATING = ("float16", "float32", "float64", "complex64", "complex128")
DTYPES: dict[str, DType] = {name: np.dtype(name) for name in (*_INTEGERS, *_FLOATING)}
_CANONICAL = {dtype: dtype for dtype in DTYPES.values()}
COMPILED = frozenset(
    d for d in DTYPES.values() if d.kind in "biu" or d.name in ("float32", "float64")
)


@cache
def bfloat16() -> DType:
    """NumPy knows it through ml_dtypes only, with kind "V" and promotion rules of its own.

    It is not in DTYPES, which lists what follows NumPy's rules, and loaded when it is first asked
    for, which takes 4 ms.
    """
    import ml_dtypes

    found: DType = np.dtype(ml_dtypes.bfloat16)
    return found


def is_bfloat16(dtype: DType) -> bool:
    """Whether it is that dtype."""
    return dtype.kind == "V" and dtype == bfloat16()


def kind_of(dtype: DType) -> str:
    """NumPy's letter for the kind of a dtype; bfloat16 is a float."""
    return "f" if dtype.kind == "V" else dtype.kind


def short_name(dtype: DType) -> str:
    """f32, i64, u8, bool, c64: as types are printed."""
    if is_bfloat16(dtype):
        return "bf16"
    return "bool" if dtype == BOOL else f"{dtype.kind}{dtype.itemsize * 8}"


@frozen
class TensorType:
    """What is known of a value before it exists."""

    dtype: DType
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.dtype.itemsize

    def __str__(self) -> str:
        return f"{short_name(self.dtype)}[{','.join(map(str, self.shape))}]"


def as_dtype(dtype: object) -> DType:
    """A supported dtype from a dtype, its name, or a Python type; DTypeError otherwise."""
    if dtype is float:
        return default_float()
    if isinstance(dtype, np.dtype) and dtype in _CANONICAL:
        return _CANONICAL[dtype]  # dtype.name, below, takes 2 us
    if isinstance(dtype, str) and dtype == "bfloat16":  # NumPy may not know the name yet
        return bfloat16()
    try:
        found = np.dtype(dtype)  # type: ignore[call-overload]
    except TypeError:
        found = None
    if found is not None and is_bfloat16(found):
        return bfloat16()
    if found is None or found.name not in DTYPES or not found.isnative:
        known = ", ".join((*DTYPES, "bfloat16"))
        raise DTypeError(f"no such dtype: {dtype!r}; there are {known}")
    return DTYPES[found.name]


def default_float() -> DType:
    """The dtype of Python floats: float32, unless config.default_float says otherwise."""
    return DTYPES[config.settings.default_float]


def dtype_of_python(value: object) -> DType:
    """The dtype that a Python number has when it stands alone."""
    if isinstance(value, bool):
        return BOOL
    if isinstance(value, int):
        return I64
    if isinstance(value, float):
        return default_float()
    if isinstance(value, complex):
        return DTYPES["complex64" if default_float() != F64 else "complex128"]
    raise DTypeError(f"not a number: {value!r}")


def _kind_rank(dtype: DType) -> int:
    return "bifc".index(dtype.kind)


def promote(dtypes: Sequence[DType], weak: Iterable[bool | int | float | complex] = ()) -> DType:
    """NumPy 2's promotion: arrays by dtype; Python numbers only raise the kind, never the width."""
    numbers = list(weak)
    if not dtypes:  # numbers alone: the default dtype of the highest kind among them
        return max((dtype_of_python(number) for number in numbers), key=_kind_rank)
    if not numbers and dtypes.count(dtypes[0]) == len(dtypes):
        return as_dtype(dtypes[0])  # nearly always
    for dtype in dtypes:
        if dtype.kind == "V":
            return _promote_bfloat16(dtypes, numbers)
    return as_dtype(np.result_type(*dtypes, *numbers))


def _promote_bfloat16(dtypes: Sequence[DType], numbers: Sequence[complex]) -> DType:
    """bfloat16 with itself, bool and Python numbers stays; with float16 or integers it is float32,
    the smallest float that holds both ranges; otherwise the wider type wins."""
    narrow = (np.dtype(np.float16), *(DTYPES[name] for name in _INTEGERS[1:]))
    others = [F32 if d in narrow else d for d in dtypes if d != BOOL and d.kind != "V"]
    imaginary = [n for n in numbers if isinstance(n, complex)]
    if not others and not imaginary:
        return bfloat16()
    return as_dtype(np.result_type(F32, *others, *imaginary))


# ---- what an elementwise op takes and gives


@frozen
class DTypeRule:
    """Which dtypes an elementwise op takes and what it gives.

    Operands are promoted to one dtype (after `leading`, whose dtypes are fixed). Integers become
    float64 where `floating`, as in NumPy. `kinds` are the NumPy kind letters then allowed.
    """

    kinds: str = "biufc"
    floating: bool = False
    operand: DType | None = None  # operands are cast to this, whatever they are
    result: DType | None = None  # None: the promoted dtype
    leading: tuple[DType, ...] = ()
    magnitude: bool = False  # complex operands give floats of half the size

    def common(self, name: str, promoted: DType) -> DType:
        """The dtype the operands are cast to; DTypeError if the op does not take it."""
        common = self.operand or promoted
        if self.floating and common.kind in "biu":
            common = F64
        if kind_of(common) not in self.kinds:
            wanted = ", ".join(_KIND_NAMES[kind] for kind in self.kinds)
            raise DTypeError(f"{name}: expected {wanted}, got {promoted.name}")
        return common


_KIND_NAMES = {"b": "bool", "i": "integers", "u": "unsigned", "f": "floats", "c": "complex"}

SAME = DTypeRule()
NUMERIC = DTypeRule(kinds="iufc")
REAL = DTypeRule(kinds="biuf")
ORDERED = DTypeRule(kinds="iuf")
MAGNITUDE = DTypeRule(magnitude=True)
COMPLEX = DTypeRule(kinds="c")
COMPLEX_PART = DTypeRule(kinds="c", magnitude=True)
FLOATING = DTypeRule(kinds="fc", floating=True)
REAL_FLOATING = DTypeRule(kinds="f", floating=True)
INTEGRAL = DTypeRule(kinds="biu")
SHIFTS = DTypeRule(kinds="iu")
COMPARES = DTypeRule(result=BOOL)
SIGN_BITS = DTypeRule(kinds="f", floating=True, result=BOOL)
ORDERS = DTypeRule(kinds="biuf", result=BOOL)
LOGICAL = DTypeRule(operand=BOOL, result=BOOL)
SELECTS = DTypeRule(leading=(BOOL,))
