"""Loop kernels as CUDA C: every walk, rank and size, aligned or not, in 32 bits and in 64."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from fusejit.backends.base import Access, Loop, Walk
from fusejit.backends.cuda import loops
from fusejit.backends.cuda.emulation import Order
from fusejit.backends.cuda.operands import NARROW
from fusejit.backends.cuda.program import Limits
from fusejit.backends.plan import Operand, Step
from fusejit.numerics.evaluate import evaluate
from fusejit.scalar import BOOL, F32, F64, I32, I64, DType, Expr, Program, cast, trace
from tests.backends.native import random_bits, same_bits
from tests.cuda.kernels import LIMITS, Array, call, needs_emulator, strides

pytestmark = needs_emulator

_INNER_STRIDES = {Walk.UNIT: (1,), Walk.SPLAT: (0,), Walk.STRIDED: (2, 5, -3)}
_SHAPES = {
    1: [(1,), (3,), (16,), (17,), (64,), (131,), (1000,)],
    2: [(1, 1), (3, 7), (5, 64), (2, 300)],
    3: [(2, 3, 37), (4, 1, 1), (2, 3, 16)],
    4: [(1, 2, 3, 4), (2, 2, 1, 70)],
}


def _view(shape: tuple[int, ...], access: Access, shift: int, rng: np.random.Generator) -> Array:
    """An array in fresh memory, `shift` elements from where 16 bytes begin, with gaps between rows
    that are multiples of that if `shift` is 0; its last axis moves as `access` says."""
    inner = int(rng.choice(_INNER_STRIDES[access.walk]))
    steps = [inner]
    reach = -(-(abs(inner) * shape[-1] + 1) // 16) * 16 + shift
    for extent in reversed(shape[:-1]):
        steps.insert(0, reach)
        reach *= extent
    size = access.dtype.itemsize
    memory = random_bits(access.dtype, reach + 64, rng)
    if access.dtype.kind == "f":
        memory = rng.normal(0, 3, memory.size).astype(access.dtype)
    start = abs(inner) * (shape[-1] - 1) * (inner < 0) * size
    start += -(memory.ctypes.data + start) % 16 + shift * size
    return np.ndarray(shape, access.dtype, memory, start, tuple(s * size for s in steps))


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


@pytest.mark.parametrize("shift", [0, 1], ids=["aligned", "shifted"])
@pytest.mark.parametrize("dtype", [F32, F64, I32, np.dtype(np.uint8)], ids=str)
@pytest.mark.parametrize("rank", _SHAPES)
def test_every_walk_at_every_rank(
    rank: int, dtype: DType, shift: int, rng: np.random.Generator
) -> None:
    kernel = _kernel(rank, dtype)
    for shape in _SHAPES[rank]:
        inputs = [_view(shape, a, shift, rng) for a in kernel.inputs[:3]]
        first, steps = -7, [int(s) for s in rng.integers(-3, 4, rank)]
        outputs = [_view(shape, a, shift, rng) for a in kernel.outputs]
        surroundings = [np.array(o.base) for o in outputs]
        meta = [*shape, *(s for i in inputs for s in strides(i)), *steps]
        meta += [s for o in outputs for s in strides(o)]
        order = list(Order)[shape[-1] % 3]
        call(kernel, [*inputs, first, *outputs], meta, order)
        expected = evaluate(kernel.program, *inputs, _indices(shape, first, steps))
        for got, want, before in zip(outputs, expected, surroundings, strict=True):
            assert same_bits(got, want.reshape(shape)).all(), (shape, got, want)
            got[...] = np.ndarray(shape, got.dtype, before, _offset(got), got.strides)
            assert np.array_equal(np.asarray(got.base), before, equal_nan=got.dtype.kind == "f")


def _offset(view: Array) -> int:
    base: Any = view.base
    return int(view.__array_interface__["data"][0] - base.__array_interface__["data"][0])


def _flat(dtype: DType, *dtypes: DType) -> Loop:
    accesses = [Access(each, Walk.UNIT) for each in (dtype, *dtypes)]
    program = trace(lambda *xs: sum((cast(x, dtype) for x in xs[1:]), xs[0]), [dtype, *dtypes])
    return Loop(1, tuple(accesses), (accesses[0],), program)


def _width(kernel: Loop, size: int, *offsets: int) -> int:
    count = len(kernel.inputs) + 1
    places = tuple(map(Operand, range(count), offsets or (0,) * count))
    return loops.loop_width(Step(kernel, places, (size, *(1,) * count), size))


def test_sixteen_bytes_at_a_time_where_all_operands_are_aligned() -> None:
    i8 = np.dtype(np.int8)
    assert _width(_flat(F32), 100) == 4
    assert _width(_flat(F32), 103) == 4  # three are left over
    assert _width(_flat(F64), 100) == 2
    assert _width(_flat(i8), 100) == 16
    assert _width(_flat(F32, i8), 100) == 4  # 16 bytes and 4
    assert _width(_flat(F32, i8), 100, 0, 4, 0) == 4
    assert _width(_flat(F32, i8), 100, 0, 2, 0) == 1
    assert _width(_flat(F32), 100, 8, 0) == 1


def test_an_output_may_be_an_input(rng: np.random.Generator) -> None:
    x = rng.normal(size=1003).astype(np.float32)
    expected = x * 2
    unit = Access(F32, Walk.UNIT)
    kernel = Loop(1, (unit,), (unit,), trace(lambda x: x * 2.0, [F32]))
    call(kernel, [x, x], [x.size, 1, 1], Order.SHUFFLED)
    assert np.array_equal(x, expected)


def test_the_grid_is_made_for_the_device() -> None:
    def grid(size: int, sms: int) -> int:
        step = Step(_flat(F32), (Operand(0), Operand(1)), (size, 1, 1), size)
        return loops.launch(step, Limits(sms, 48 * 1024)).grid[0]

    assert grid(1, 132) == 1
    assert grid(4 * 256, 132) == 1
    assert grid(4 * 256 + 4, 132) == 2
    assert grid(10**8, 132) == 132 * loops.BLOCKS
    assert grid(10**8, 20) == 20 * loops.BLOCKS


def test_places_in_64_bits_where_32_do_not_hold_them() -> None:
    unit = Access(F32, Walk.UNIT)
    kernel = Loop(2, (unit,), (unit,), trace(lambda x: x, [F32]))

    def text(far: int) -> str:
        step = Step(kernel, (Operand(0), Operand(1)), (2, 4, far, 1, 4, 1), 2)
        return loops.launch(step, LIMITS).source.text

    assert "typedef int Index;" in text(NARROW - 8)
    assert "typedef long long Index;" in text(NARROW)


def test_wide_places_give_the_same(rng: np.random.Generator) -> None:
    source = loops.loop_source(_kernel(2, F32), 4, False)
    assert "typedef long long Index;" in source.text
    unit = Access(F32, Walk.UNIT)
    kernel = Loop(2, (unit,), (unit,), trace(lambda x: x + 1.0, [F32]))
    x, y = rng.normal(size=(2, 64)).astype(np.float32)
    call(kernel, [x, y], [1, 64, 2**40, 1, 2**40, 1])
    assert np.array_equal(y, x + 1)
