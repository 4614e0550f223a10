"""Every primitive of the scalar language as LLVM code, bit for bit against the reference."""

from __future__ import annotations

import re

import numpy as np
import pytest

from fusejit.backends.base import Access, Loop, Walk
from fusejit.backends.llvm import jit
from fusejit.backends.llvm.emit import is_legal
from fusejit.backends.llvm.target import Target
from fusejit.errors import LoweringError
from fusejit.numerics.evaluate import evaluate
from fusejit.numerics.exponential import exp, sigmoid, tanh
from fusejit.scalar import (
    BOOL,
    F32,
    F64,
    I32,
    I64,
    PRIMS,
    Builder,
    DType,
    Expr,
    Instr,
    Program,
    cast,
    trace,
)
from tests.backends.native import (
    AVX512,
    DTYPES,
    NEON,
    RUNNABLE,
    SSE2,
    TARGETS,
    Array,
    call,
    edges,
    random_bits,
    same_bits,
)

_COMPARISONS = ("lt", "le", "eq")
_PLAIN = [p for p in PRIMS if p not in ("arg", "const", "cast", "bitcast", "select")]
_CALLS = re.compile(r"^\s*(call|bl)\s.*$", re.MULTILINE)


def _programs(dtype: DType) -> dict[str, Program]:
    """A program for each legal primitive on `dtype`, of three arguments."""
    found = {}
    for prim in _PLAIN:
        if is_legal(prim, dtype):
            b = Builder()
            args = tuple(b.arg(i, dtype).number for i in range(PRIMS[prim]))
            found[prim] = b.finish([b.emit(prim, args, BOOL if prim in _COMPARISONS else dtype)])
    b = Builder()
    x, y, z = (b.arg(i, dtype) for i in range(3))
    condition = b.emit("le", (x.number, z.number), BOOL)
    picked = b.emit("select", (condition.number, x.number, y.number), dtype)
    found["select"] = b.finish([picked])
    found["const"] = b.finish([b.const(1, dtype)])
    for other in DTYPES:
        if other != dtype:
            found[f"cast {other}"] = b.finish([cast(x, other)])
        if other != dtype and other.itemsize == dtype.itemsize and BOOL not in (other, dtype):
            found[f"bitcast {other}"] = b.finish([b.emit("bitcast", (x.number,), other)])
    return found


def _joined(programs: list[Program], dtype: DType) -> Loop:
    """One kernel with an output for each program: compiling is what these tests spend."""
    b = Builder()
    args = [b.arg(i, dtype) for i in range(3)]
    results: list[Expr] = [b.inline(p, args)[0] for p in programs]
    outputs = tuple(Access(r.dtype, Walk.UNIT) for r in results)
    return Loop(1, (Access(dtype, Walk.UNIT),) * 3, outputs, b.finish(results))


def _operands(dtype: DType, rng: np.random.Generator) -> list[Array]:
    e = edges(dtype)
    a, b = (v.ravel() for v in np.meshgrid(e, e))
    columns = []
    for column in (a, b, rng.permutation(a)):
        columns.append(np.concatenate([column, random_bits(dtype, 1001, rng), edges(dtype)]))
    return columns


def _run(kernel: Loop, arrays: list[Array], target: Target, step: int) -> list[Array]:
    n = arrays[0].size
    outputs = [np.zeros(n, o.dtype) for o in kernel.outputs]
    meta = [n] + [1] * (len(arrays) + len(outputs))
    for begin in range(0, n, step):
        call(kernel, [*arrays, *outputs], meta, begin, min(begin + step, n), target)
    return outputs


def _exact_products(arrays: list[Array]) -> Array:
    """Where float64 fma without the instruction is documented to be exact."""
    a, b, c = arrays
    with np.errstate(all="ignore"):
        size = np.abs(a * b)
        mild = np.abs(a) + np.abs(b) + np.abs(c) <= 2.0**1000
        return (size >= 2.0**-900) & (size <= 2.0**1000) & mild


def _moderate(arrays: list[Array]) -> Array:
    """Where the software fma serves float64's remainder."""
    sizes = [np.abs(a) for a in arrays[:2]]
    return np.logical_and.reduce([(s >= 2.0**-800) & (s <= 2.0**990) for s in sizes])


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", RUNNABLE)
def test_every_primitive_has_the_reference_bits(
    name: str, dtype: DType, rng: np.random.Generator
) -> None:
    target, programs = RUNNABLE[name], _programs(dtype)
    arrays = _operands(dtype, rng)
    kernel = _joined(list(programs.values()), dtype)
    whole = _run(kernel, arrays, target, arrays[0].size)
    # Three at a time, every element runs in the code for what is left over.
    tails = _run(kernel, arrays, target, 3)
    for place, (prim, program) in enumerate(programs.items()):
        expected = evaluate(program, *arrays)[0]
        checked = np.ones(expected.shape, bool)
        if prim == "fma" and dtype == F64 and not target.has_fma:
            checked = _exact_products(arrays)
        if prim == "rem" and dtype == F64 and not target.has_fma:
            checked = _moderate(arrays)
        for kind, got in (("vector", whole[place]), ("tail", tails[place])):
            wrong = checked & ~same_bits(got, expected)
            first = np.flatnonzero(wrong)[:1]
            assert not wrong.any(), (
                f"{prim} of {dtype} ({kind}): {wrong.sum()} differ, first "
                f"{[a[first] for a in arrays]}: {got[first]}, expected {expected[first]}"
            )


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("name", [*TARGETS, "neon"])
def test_no_primitive_calls_a_library(name: str, dtype: DType) -> None:
    target = TARGETS.get(name, NEON)
    kernel = _joined(list(_programs(dtype).values()), dtype)
    text = jit.assembly(jit.generate(kernel, target), target)
    assert _CALLS.findall(text) == []


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", [*TARGETS, "neon"])
def test_transcendental_programs_call_no_library(name: str, dtype: DType) -> None:
    target = TARGETS.get(name, NEON)
    program = trace(lambda x, y, z: sigmoid(x * y + z) * tanh(exp(y)), [dtype] * 3)
    text = jit.assembly(jit.generate(_joined([program], dtype), target), target)
    assert _CALLS.findall(text) == []


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("name", RUNNABLE)
def test_transcendentals_agree_on_all_targets(
    name: str, dtype: DType, rng: np.random.Generator
) -> None:
    program = trace(lambda x, y, z: (sigmoid(x), tanh(y), exp(z)), [dtype] * 3)
    outputs = (Access(dtype, Walk.UNIT),) * 3
    kernel = Loop(1, (Access(dtype, Walk.UNIT),) * 3, outputs, program)
    arrays = [np.concatenate([edges(dtype), rng.normal(0, 30, 500)]).astype(dtype)] * 3
    results = _run(kernel, arrays, RUNNABLE[name], arrays[0].size)
    for got, expected in zip(results, evaluate(program, *arrays), strict=True):
        assert same_bits(got, expected).all()


def test_a_product_and_a_sum_are_not_contracted() -> None:
    program = trace(lambda x, y, z: x * y + z, [F32] * 3)
    for target in (AVX512, SSE2, NEON):
        text = jit.assembly(jit.generate(_joined([program], F32), target), target)
        assert "fmadd" not in text and "fmla" not in text


def test_shifts_by_constants_are_one_instruction() -> None:
    program = trace(lambda x, y, z: (x << 3) + (x >> 31), [I32] * 3)
    text = jit.generate(_joined([program], I32), AVX512)
    assert "shl <64 x i32> %x0.v, splat (i32 3)" in text and "icmp ult <64 x i32>" not in text


def test_what_the_language_lacks_is_an_error_with_a_name() -> None:
    bad = Program((Instr("arg", (), I64, 0), Instr("sqrt", (0,), I64)), (1,))
    unit = Access(I64, Walk.UNIT)
    with pytest.raises(LoweringError, match=r"loop of rank 1 over 1 inputs.*no sqrt of int64"):
        jit.compile_kernel(Loop(1, (unit,), (unit,), bad))
