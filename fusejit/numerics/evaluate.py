"""The reference evaluator: runs a scalar `Program` with NumPy, one array operation an instruction.

This is the specification that the code generators are tested against, bit for bit: every primitive
is total, as `fusejit.scalar` says, and no warning is raised. Casts from floats to integers, where C
leaves values outside the range (and NaN) undefined, have the result of x86-64's conversions:

    to int32, int64     the least value (the "integer indefinite")
    to int8/16, uint8/16    as int32, then the low bits
    to uint32           as int64, then the low bits
    to uint64           below 2**63 as int64, else x - 2**63 as int64 with the top bit flipped; NaN
                        gives 2**63, 2**64 and above 0
    to bool             x != 0

Arithmetic on bool is not part of the language; and, or, xor, not are.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np

from ..scalar import F32, F64, I32, I64, U32, U64, DType, Instr, Program
from .exact_fma import fma32, fma64

Array: TypeAlias = "np.ndarray[Any, Any]"


def evaluate(program: Program, *arrays: Array) -> tuple[Array, ...]:
    """The results of `program` for every element of `arrays`, which broadcast together."""
    shape = np.broadcast_shapes(*(np.shape(a) for a in arrays))
    last_use = {a: i for i, instr in enumerate(program.instrs) for a in instr.args}
    last_use.update(dict.fromkeys(program.results, len(program.instrs)))
    values: list[Array | None] = []
    with np.errstate(all="ignore"):
        for number, instr in enumerate(program.instrs):
            values.append(_run(instr, [values[a] for a in instr.args], arrays))
            for a in instr.args:
                if last_use[a] == number:
                    values[a] = None
    return tuple(np.broadcast_to(np.asarray(values[r]), shape).copy() for r in program.results)


def _run(instr: Instr, operands: list[Any], arrays: tuple[Array, ...]) -> Array:
    if instr.prim == "arg":
        assert isinstance(instr.imm, int)
        array = np.asarray(arrays[instr.imm])
        if array.dtype != instr.dtype:
            raise TypeError(f"evaluate: argument {instr.imm} is {array.dtype}, not {instr.dtype}")
        return array
    if instr.prim == "const":
        return np.asarray(instr.imm, instr.dtype)
    if instr.prim == "cast":
        return _cast(np.asarray(operands[0]), instr.dtype)
    if instr.prim == "bitcast":
        return np.ascontiguousarray(operands[0]).view(instr.dtype).reshape(np.shape(operands[0]))
    return _FUNCTIONS[instr.prim](*operands)


def _divide(a: Array, b: Array) -> Array:
    """IEEE division of floats; integers floor, with x // 0 == 0 and MIN // -1 == MIN."""
    result: Array = np.true_divide(a, b) if a.dtype.kind == "f" else np.floor_divide(a, b)
    return result


def _fma(a: Array, b: Array, c: Array) -> Array:
    return fma32(a, b, c) if a.dtype == F32 else fma64(a, b, c)


def _mulhi(a: Array, b: Array) -> Array:
    """The upper half of the product: of 64-bit numbers from four products of 32-bit halves."""
    width = 8 * a.dtype.itemsize
    wide_a, wide_b = a.astype(U64), b.astype(U64)
    if width < 64:
        narrow: Array = ((wide_a * wide_b) >> np.uint64(width)).astype(a.dtype)
        return narrow
    shift, mask = np.uint64(32), np.uint64(0xFFFFFFFF)
    a_hi, a_lo = wide_a >> shift, wide_a & mask
    b_hi, b_lo = wide_b >> shift, wide_b & mask
    middle = a_hi * b_lo + ((a_lo * b_lo) >> shift)
    carry = a_lo * b_hi + (middle & mask)
    result: Array = a_hi * b_hi + (middle >> shift) + (carry >> shift)
    return result


def _cast(x: Array, dtype: DType) -> Array:
    """astype, with the table of the module docstring for floats that become integers."""
    if x.dtype.kind != "f" or dtype.kind not in "iu":
        return x.astype(dtype)
    x = x.astype(F64)
    if dtype == U64:
        upper = x >= 2.0**63
        low = _to_signed(np.where(upper, x - 2.0**63, x), I64).view(U64)
        return low ^ (upper.astype(U64) << np.uint64(63))
    if dtype in (I64, U32):
        return _to_signed(x, I64).astype(dtype)
    return _to_signed(x, I32).astype(dtype)


def _to_signed(x: Array, dtype: DType) -> Array:
    """Truncation towards zero to int32 or int64; the least value for what does not fit."""
    bound = 2.0 ** (8 * dtype.itemsize - 1)
    whole = np.trunc(x)
    fits = (whole >= -bound) & (whole < bound)
    result = np.where(fits, whole, 0.0).astype(dtype)
    result[~fits] = np.iinfo(dtype.name).min
    return result


_FUNCTIONS: dict[str, Callable[..., Array]] = {
    "add": np.add,
    "sub": np.subtract,
    "mul": np.multiply,
    "div": _divide,
    "rem": np.remainder,
    "neg": np.negative,
    "abs": np.absolute,
    "fma": _fma,
    "sqrt": np.sqrt,
    "floor": np.floor,
    "ceil": np.ceil,
    "trunc": np.trunc,
    "rint": np.rint,
    "copysign": np.copysign,
    "lt": np.less,
    "le": np.less_equal,
    "eq": np.equal,
    "and": np.bitwise_and,
    "or": np.bitwise_or,
    "xor": np.bitwise_xor,
    "not": np.invert,
    "shl": np.left_shift,
    "shr": np.right_shift,
    "mulhi": _mulhi,
    "select": np.where,
}
