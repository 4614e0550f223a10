"""Every primitive of the scalar language as CUDA C, bit for bit against the reference."""

from __future__ import annotations

import numpy as np
import pytest

from fusejit.backends.base import Access, Loop, Walk
from fusejit.backends.cuda import scalar
from fusejit.backends.cuda.text import Text, literal
from fusejit.backends.llvm import emit as llvm
from fusejit.errors import LoweringError
from fusejit.numerics.evaluate import evaluate
from fusejit.numerics.exponential import exp, sigmoid, tanh
from fusejit.numerics.logarithm import log
from fusejit.numerics.trigonometric import cos, sin
from fusejit.scalar import BOOL, F32, F64, PRIMS, Builder, DType, Instr, Program, cast, trace
from tests.backends.native import DTYPES, edges, random_bits, same_bits
from tests.cuda.kernels import Array, call, needs_emulator

_COMPARISONS = ("lt", "le", "eq")
_PLAIN = [p for p in PRIMS if p not in ("arg", "const", "cast", "bitcast", "select")]


def _programs(dtype: DType) -> dict[str, Program]:
    """A program for each legal primitive on `dtype`, of three arguments."""
    found = {}
    for prim in _PLAIN:
        if scalar.is_legal(prim, dtype):
            b = Builder()
            args = tuple(b.arg(i, dtype).number for i in range(PRIMS[prim]))
            found[prim] = b.finish([b.emit(prim, args, BOOL if prim in _COMPARISONS else dtype)])
    b = Builder()
    x, y, z = (b.arg(i, dtype) for i in range(3))
    condition = b.emit("le", (x.number, z.number), BOOL)
    found["select"] = b.finish([b.emit("select", (condition.number, x.number, y.number), dtype)])
    for prim in ("shl", "shr"):
        if scalar.is_legal(prim, dtype):
            for amount in (0, 3, 8 * dtype.itemsize - 1, 8 * dtype.itemsize):
                by = b.const(amount, dtype)
                found[f"{prim} {amount}"] = b.finish([b.emit(prim, (x.number, by.number), dtype)])
    for other in DTYPES:
        if other != dtype:
            found[f"cast {other}"] = b.finish([cast(x, other)])
        if other != dtype and other.itemsize == dtype.itemsize and BOOL not in (other, dtype):
            found[f"bitcast {other}"] = b.finish([b.emit("bitcast", (x.number,), other)])
    for number, value in enumerate(edges(dtype)):
        found[f"const {number}"] = b.finish([b.const(value.item(), dtype)])
    return found


def _operands(dtype: DType, rng: np.random.Generator) -> list[Array]:
    e = edges(dtype)
    a, b = (v.ravel() for v in np.meshgrid(e, e))
    columns = []
    for column in (a, b, rng.permutation(a)):
        columns.append(np.concatenate([column, random_bits(dtype, 1001, rng), edges(dtype)]))
    return columns


def _check(programs: dict[str, Program], dtype: DType, arrays: list[Array]) -> None:
    """All of them as one kernel: compiling is what these tests spend."""
    b = Builder()
    args = [b.arg(i, dtype) for i in range(3)]
    results = [b.inline(p, args)[0] for p in programs.values()]
    outputs = tuple(Access(r.dtype, Walk.UNIT) for r in results)
    kernel = Loop(1, (Access(dtype, Walk.UNIT),) * 3, outputs, b.finish(results))
    n = arrays[0].size
    found = [np.zeros(n, access.dtype) for access in outputs]
    call(kernel, [*arrays, *found], [n] + [1] * (3 + len(found)))
    for (name, program), got in zip(programs.items(), found, strict=True):
        expected = evaluate(program, *arrays)[0]
        wrong = ~same_bits(got, expected)
        first = np.flatnonzero(wrong)[:1]
        assert not wrong.any(), (
            f"{name} of {dtype}: {wrong.sum()} differ, first {[a[first] for a in arrays]}: "
            f"{got[first]}, expected {expected[first]}"
        )


@needs_emulator
@pytest.mark.parametrize("dtype", DTYPES, ids=str)
def test_every_primitive_has_the_reference_bits(dtype: DType, rng: np.random.Generator) -> None:
    _check(_programs(dtype), dtype, _operands(dtype, rng))


@needs_emulator
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_transcendentals_have_the_reference_bits(dtype: DType, rng: np.random.Generator) -> None:
    functions = {f.__name__: f for f in (exp, log, sin, cos, tanh, sigmoid)}
    programs = {name: trace(lambda x, f=f: f(x), [dtype]) for name, f in functions.items()}
    numbers = np.concatenate([edges(dtype), rng.normal(0, 30, 500)]).astype(dtype)
    _check(programs, dtype, [numbers] * 3)


def test_both_targets_have_the_same_language() -> None:
    for prim in PRIMS:
        if prim not in ("arg", "const"):
            for dtype in DTYPES:
                assert scalar.is_legal(prim, dtype) == llvm.is_legal(prim, dtype), (prim, dtype)


def test_what_the_language_lacks_is_refused() -> None:
    program = Program((Instr("arg", (), F32, 0), Instr("not", (0,), F32)), (1,))
    with pytest.raises(LoweringError, match="no not of float32"):
        scalar.emit(Text(), program, ["x"])


def test_constants_are_exact() -> None:
    assert literal(F32, 1.5) == "0x1.8p+0f"
    assert literal(F64, -0.1) == "(-0x1.999999999999ap-4)"
    assert literal(F32, float("-inf")) == "bits<float>(0xff800000u)"
    assert literal(np.dtype(np.int64), -(2**63)) == "(-9223372036854775807ll - 1)"
    assert literal(np.dtype(np.int32), -5) == "(-5)"
    assert literal(np.dtype(np.uint8), 200) == "(unsigned char)200"
