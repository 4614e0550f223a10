"""Loop and Reduce kernels: every walk, rank and size, and the documented order of reductions."""

from __future__ import annotations

import ctypes
import mmap
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest

from fusejit.backends.base import (
    BLOCK,
    BLOCK_ROWS,
    LANES,
    Access,
    Form,
    Loop,
    Reduce,
    Walk,
)
from fusejit.backends.llvm.target import Target
from fusejit.numerics.evaluate import evaluate
from fusejit.numerics.exponential import exp
from fusejit.scalar import (
    BOOL,
    F32,
    F64,
    I32,
    I64,
    U64,
    DType,
    Expr,
    Program,
    cast,
    select,
    trace,
)
from tests.backends.native import DTYPES, RUNNABLE, Array, call, random_bits, same_bits

TARGETS = list(RUNNABLE.values())
_IDS = list(RUNNABLE)
_INNER_STRIDES = {Walk.UNIT: (1,), Walk.SPLAT: (0,), Walk.STRIDED: (2, 5, -3)}


def _view(shape: tuple[int, ...], access: Access, rng: np.random.Generator) -> Array:
    """An array of this shape in fresh memory, whose last axis moves as `access` says."""
    inner = int(rng.choice(_INNER_STRIDES[access.walk]))
    strides = [inner]
    reach = abs(inner) * max(shape[-1], 1) + 3
    for extent in reversed(shape[:-1]):
        strides.insert(0, reach)
        reach = reach * max(extent, 1) + 1
    memory = random_bits(access.dtype, reach + 8, rng)
    if access.dtype.kind == "f":
        memory = rng.normal(0, 3, memory.size).astype(access.dtype)
    size = access.dtype.itemsize
    start = abs(inner) * max(shape[-1] - 1, 0) * (inner < 0)
    steps = tuple(s * size for s in strides)
    return np.ndarray(shape, access.dtype, memory, start * size, steps)


def _strides(array: Array) -> list[int]:
    return [s // array.itemsize for s in array.strides]


def _indices(shape: tuple[int, ...], first: int, steps: list[int]) -> Array:
    grid = np.indices(shape, dtype=np.int64)
    return np.asarray(first + sum((g * s for g, s in zip(grid, steps, strict=True)), np.int64(0)))


def _four_walks(dtype: DType) -> Program:
    def scalar(u: Expr, s: Expr, t: Expr, i: Expr) -> tuple[Expr, ...]:
        halved = s * s + 1  # depends on the SPLAT operand alone
        return (u + halved) * t + cast(i, dtype), t < halved, halved

    return trace(scalar, [dtype, dtype, dtype, I64])


def _kernel(rank: int, dtype: DType) -> Loop:
    walks = (Walk.UNIT, Walk.SPLAT, Walk.STRIDED)
    inputs = (*(Access(dtype, w) for w in walks), Access(I64, Walk.INDEX))
    outputs = (Access(dtype, Walk.UNIT), Access(BOOL, Walk.STRIDED), Access(dtype, Walk.STRIDED))
    return Loop(rank, inputs, outputs, _four_walks(dtype))


_SHAPES = {
    1: [(0,), (1,), (3,), (15,), (16,), (17,), (64,), (131,), (1000,)],
    2: [(0, 5), (5, 0), (1, 1), (3, 7), (5, 64), (2, 300)],
    3: [(2, 0, 3), (2, 3, 37), (4, 1, 1)],
    4: [(1, 2, 3, 4), (2, 2, 1, 70), (2, 2, 0, 1)],
}


@pytest.mark.parametrize("dtype", [F32, F64, I32, np.dtype(np.uint8)], ids=str)
@pytest.mark.parametrize("rank", _SHAPES)
@pytest.mark.parametrize("target", TARGETS, ids=_IDS)
def test_every_walk_at_every_rank(
    target: Target, rank: int, dtype: DType, rng: np.random.Generator
) -> None:
    kernel = _kernel(rank, dtype)
    for shape in _SHAPES[rank]:
        inputs = [_view(shape, a, rng) for a in kernel.inputs[:3]]
        first, steps = -7, [int(s) for s in rng.integers(-3, 4, rank)]
        outputs = [_view(shape, a, rng) for a in kernel.outputs]
        surroundings = [np.array(o.base) for o in outputs]
        meta = [*shape, *(s for i in inputs for s in _strides(i)), *steps]
        meta += [s for o in outputs for s in _strides(o)]
        call(kernel, [*inputs, first, *outputs], meta, 0, shape[0], target)
        expected = evaluate(kernel.program, *inputs, _indices(shape, first, steps))
        for got, want, before in zip(outputs, expected, surroundings, strict=True):
            assert same_bits(got, want.reshape(shape)).all(), (shape, got, want)
            got[...] = np.ndarray(shape, got.dtype, before, _offset(got), got.strides)
            assert np.array_equal(np.asarray(got.base), before, equal_nan=got.dtype.kind == "f")


def _offset(view: Array) -> int:
    base: Any = view.base
    return int(view.__array_interface__["data"][0] - base.__array_interface__["data"][0])


@pytest.mark.parametrize("target", TARGETS, ids=_IDS)
def test_a_part_of_the_outermost_axis(target: Target, rng: np.random.Generator) -> None:
    unit = Access(F32, Walk.UNIT)
    program = trace(lambda x: x * 2.0, [F32])
    x = rng.normal(size=(7, 33)).astype(np.float32)
    for rank, count, meta in ((1, 231, [231, 1, 1]), (2, 7, [7, 33, 33, 1, 33, 1])):
        out = np.zeros_like(x)
        call(Loop(rank, (unit,), (unit,), program), [x, out], meta, count // 3, count // 2, target)
        rows = 231 // count
        expected = np.zeros(231, np.float32)
        part = slice(count // 3 * rows, count // 2 * rows)
        expected[part] = 2 * x.ravel()[part]
        assert np.array_equal(out.ravel(), expected)


@pytest.mark.parametrize("dtype", DTYPES, ids=str)
@pytest.mark.parametrize("target", TARGETS, ids=_IDS)
def test_an_output_may_reuse_its_inputs_memory(
    target: Target, dtype: DType, rng: np.random.Generator
) -> None:
    unit = Access(dtype, Walk.UNIT)
    program = trace(lambda x, y: (select(x < y, y, x), x.eq(y)), [dtype, dtype])
    kernel = Loop(1, (unit, unit), (unit, Access(BOOL, Walk.UNIT)), program)
    for n in (1, 5, 63, 64, 65, 300):
        x, y = random_bits(dtype, n, rng), random_bits(dtype, n, rng)
        larger, equal = evaluate(program, x, y)
        same = np.zeros(n, bool)
        call(kernel, [x, y, x, same], [n, 1, 1, 1, 1], 0, n, target)
        assert same_bits(x, larger).all() and np.array_equal(same, equal)


@pytest.mark.parametrize("target", TARGETS, ids=_IDS)
def test_programs_without_varying_inputs_fill(target: Target) -> None:
    program = trace(lambda x, y: (x.builder.const(2.5, F32), x + y), [F32, F32])
    splat, unit = Access(F32, Walk.SPLAT), Access(F32, Walk.UNIT)
    kernel = Loop(1, (splat, splat), (unit, unit), program)
    a, b, c = np.float32([1.0]), np.empty(77, np.float32), np.empty(77, np.float32)
    call(kernel, [a, a, b, c], [77, 0, 0, 1, 1], 0, 77, target)
    assert (b == 2.5).all() and (c == 2.0).all()


def _before_a_wall(dtype: DType, n: int) -> Array:
    """An array whose last element ends where readable memory does."""
    page = mmap.PAGESIZE
    memory = mmap.mmap(-1, 2 * page)
    address = ctypes.addressof(ctypes.c_char.from_buffer(memory))
    libc = ctypes.CDLL(None)
    assert libc.mprotect(ctypes.c_void_p(address + page), ctypes.c_size_t(page), 0) == 0
    return np.ndarray((n,), dtype, memory, page - n * dtype.itemsize)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="mprotect is called directly")
@pytest.mark.parametrize("dtype", [F32, F64, I32, np.dtype(np.int8), BOOL], ids=str)
@pytest.mark.parametrize("target", TARGETS, ids=_IDS)
def test_nothing_beyond_the_end_is_touched(target: Target, dtype: DType) -> None:
    unit = Access(dtype, Walk.UNIT)
    choose = trace(lambda x, y: select(x < y, x, y), [dtype, dtype])
    identical, first = trace(lambda x: x, [dtype]), np.zeros(1, dtype)
    row = Reduce(Form.ROW, (unit,), unit, identical, choose, 1)
    column = Reduce(Form.COLUMN, (unit,), unit, identical, choose, 1)
    for n in (1, 7, 31, 33, 65, 130):
        x, y, out = (_before_a_wall(dtype, n) for _ in range(3))
        x[...] = 1
        call(Loop(1, (unit, unit), (unit,), choose), [x, y, out], [n, 1, 1, 1], 0, n, target)
        assert not out.any()
        call(row, [y, first], [1, n, n, 1, 1], 0, 1, target)
        assert not first.any()
        call(column, [y, out], [1, 1, n, n, n, 1, n, 1], 0, 1, target)
        assert not out.any()


def test_an_unused_input_is_not_read() -> None:
    unit = Access(F32, Walk.UNIT)
    program = trace(lambda x, y: y + 1.0, [F32, F32])
    x, out = np.ones(5, np.float32), np.empty(5, np.float32)
    call(Loop(1, (unit, unit), (unit,), program), [0, x, out], [5, 1, 1, 1], 0, 5)
    assert (out == 2.0).all()


# Reductions


def _add(dtype: DType) -> Program:
    return trace(lambda a, b: a + b, [dtype, dtype])


def _largest(dtype: DType) -> Program:
    """The larger one; NaN wins."""
    return trace(lambda a, b: select((b < a) | ~a.eq(a), a, b), [dtype, dtype])


def _either(dtype: DType) -> Program:
    return trace(lambda a, b: a | b, [dtype, dtype])


def _row_model(kernel: Reduce, values: Array) -> Array:
    """values[kept, reduced], combined in the order of `Reduce`'s docstring."""
    kept, length = values.shape
    lanes = np.full((kept, LANES), kernel.identity, values.dtype)
    for start in range(0, length, BLOCK):
        block = np.full((kept, LANES), kernel.identity, values.dtype)
        for first in range(start, min(start + BLOCK, length), LANES):
            part = values[:, first : min(first + LANES, length, start + BLOCK)]
            width = part.shape[1]
            block[:, :width] = evaluate(kernel.combine, block[:, :width], part)[0]
        lanes = evaluate(kernel.combine, lanes, block)[0]
    while lanes.shape[1] > 1:
        half = lanes.shape[1] // 2
        lanes = evaluate(kernel.combine, lanes[:, :half], lanes[:, half:])[0]
    return lanes[:, 0]


def _column_model(kernel: Reduce, values: Array) -> Array:
    """values[kept, reduced, columns], likewise."""
    kept, length, columns = values.shape
    total = np.full((kept, columns), kernel.identity, values.dtype)
    for start in range(0, length, BLOCK_ROWS):
        block = np.full((kept, columns), kernel.identity, values.dtype)
        for row in range(start, min(start + BLOCK_ROWS, length)):
            block = evaluate(kernel.combine, block, values[:, row])[0]
        total = evaluate(kernel.combine, total, block)[0]
    return total


def _check(kernel: Reduce, shape: tuple[int, ...], rng: np.random.Generator) -> None:
    """All targets give the bits of the model."""
    inputs = [_view(shape, a, rng) for a in kernel.inputs]
    values = evaluate(kernel.program, *inputs)[0].reshape(shape)
    row = kernel.form is Form.ROW
    expected = _row_model(kernel, values) if row else _column_model(kernel, values)
    for target in TARGETS:
        out = _view(expected.shape, kernel.output, rng)
        meta = [*shape, *(s for i in inputs for s in _strides(i)), *_strides(out)]
        middle = shape[0] // 2  # two parts, as two threads would run it
        call(kernel, [*inputs, out], meta, 0, middle, target)
        call(kernel, [*inputs, out], meta, middle, shape[0], target)
        assert same_bits(out, expected).all(), (target, shape, out, expected)


_REDUCTIONS: dict[str, tuple[DType, Any, Any]] = {
    "sum f32": (F32, _add, 0.0),
    "sum f64": (F64, _add, 0.0),
    "sum i32": (I32, _add, 0),
    "sum u64": (U64, _add, 0),
    "max f32": (F32, _largest, -np.inf),
    "max i8": (np.dtype(np.int8), _largest, -128),
    "max u64": (U64, _largest, 0),
    "any": (BOOL, _either, False),
    "or u16": (np.dtype(np.uint16), _either, 0),
}
_ROW_LENGTHS = [0, 1, LANES - 1, LANES, LANES + 1, 3 * LANES + 7, BLOCK - 1, BLOCK, BLOCK + 1]
_ROW_LENGTHS += [2 * BLOCK + LANES + 5]
_COLUMN_SHAPES = [
    (2, r, c)
    for r, c in product((0, 1, BLOCK_ROWS - 1, BLOCK_ROWS, BLOCK_ROWS + 1, 300), (1, 7, 64, 150))
]


@pytest.mark.parametrize("name", _REDUCTIONS)
def test_rows_combine_in_the_documented_order(name: str, rng: np.random.Generator) -> None:
    dtype, combine, identity = _REDUCTIONS[name]
    identical = trace(lambda x: x, [dtype])
    unit = (Access(dtype, Walk.UNIT),)
    for walk in (Walk.UNIT, Walk.STRIDED):
        output = Access(dtype, walk)
        kernel = Reduce(Form.ROW, unit, output, identical, combine(dtype), identity)
        for length in _ROW_LENGTHS:
            _check(kernel, (3, length), rng)


@pytest.mark.parametrize("name", _REDUCTIONS)
def test_columns_combine_in_the_documented_order(name: str, rng: np.random.Generator) -> None:
    dtype, combine, identity = _REDUCTIONS[name]
    identical = trace(lambda x: x, [dtype])
    unit = Access(dtype, Walk.UNIT)
    kernel = Reduce(Form.COLUMN, (unit,), unit, identical, combine(dtype), identity)
    for shape in _COLUMN_SHAPES:
        _check(kernel, shape, rng)


@pytest.mark.parametrize("form", Form, ids=lambda f: f.value)
@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
def test_reductions_of_programs_and_all_walks(
    form: Form, dtype: DType, rng: np.random.Generator
) -> None:
    """Long programs keep fewer lanes in registers than short ones: the bits must not change."""

    def scalar(u: Expr, s: Expr, t: Expr) -> Expr:
        return exp(u - s) * t + s * s

    inputs = tuple(Access(dtype, w) for w in (Walk.UNIT, Walk.SPLAT, Walk.STRIDED))
    program = trace(scalar, [dtype] * 3)
    walk = Walk.STRIDED
    kernel = Reduce(form, inputs, Access(dtype, walk), program, _add(dtype), 0.0)
    if form is Form.ROW:
        for length in (0, 1, 70, BLOCK + 100):
            _check(kernel, (2, length), rng)
    else:
        for shape in ((2, 0, 3), (1, 130, 1), (3, 200, 75)):
            _check(kernel, shape, rng)


@pytest.mark.parametrize("form", Form, ids=lambda f: f.value)
def test_a_reduction_over_indices(form: Form) -> None:
    """A sum of arange: no input has memory."""
    index, out = Access(I64, Walk.INDEX), np.zeros(2, np.int64)
    unit = Access(I64, Walk.UNIT)
    kernel = Reduce(form, (index,), unit, trace(lambda i: i * i, [I64]), _add(I64), 0)
    meta = [2, 100, 1000, 1, 1] if form is Form.ROW else [1, 100, 2, 0, 1, 1000, 0, 1]
    for target in TARGETS:
        call(kernel, [5, out], meta, 0, meta[0], target)
        steps = 5 + np.arange(100)
        assert out.tolist() == [(steps**2).sum(), ((steps + 1000) ** 2).sum()]
