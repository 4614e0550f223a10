"""Reduce kernels as CUDA C: every form, extent and walk, in an order that extents decide."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest

from fusejit.backends.base import Access, Form, Reduce, Walk
from fusejit.backends.cuda.cuts import (
    LANES_FROM,
    MANY_ROWS,
    PART,
    PART_ROWS,
    PARTS,
    WARP_ROW,
    lanes_of,
    part_of,
    team_of,
)
from fusejit.backends.cuda.emulation import Order
from fusejit.backends.cuda.loops import THREADS
from fusejit.backends.cuda.program import Limits
from fusejit.backends.cuda.reductions import DEPTH, VECTOR
from fusejit.backends.plan import Operand, Step
from fusejit.scalar import F32, F64, I64, DType, trace
from tests.cuda.kernels import LIMITS, Array, call, needs_emulator

pytestmark = needs_emulator

_ROWS = [(3, 0), (3, 1), (1, 5), (300, 3), (7, 129), (3, WARP_ROW + 1), (2, 5000), (1, 2 * PART)]
_COLUMNS = [(1, 0, 3), (1, 5, 3), (2, LANES_FROM, 40), (1, 300, 70), (1, 2 * PART_ROWS + 1, 5)]


def _sum(form: Form, dtype: DType, walk: Walk = Walk.UNIT, stored: bool = False) -> Reduce:
    also = (Access(dtype, Walk.UNIT),) if stored else ()
    program = trace(lambda x: (x + 1, x * 2) if stored else x + 1, [dtype])
    combine = trace(lambda a, x: a + x, [dtype, dtype])
    return Reduce(form, (Access(dtype, walk),), Access(dtype, Walk.UNIT), program, combine, 0, also)


def _in_order(values: Array) -> Array:
    """The documented order for rows, by NumPy."""
    n = values.shape[1]
    if n >= 2 * PART and len(values) < MANY_ROWS:
        parts = [_in_order(values[:, start : start + PART]) for start in range(0, n, PART)]
        return _in_order(np.stack(parts, 1))
    team = team_of(n)
    count = team * VECTOR
    total = np.zeros((len(values), count), values.dtype)
    for start in range(0, n, count * DEPTH):
        part = np.zeros_like(total)
        for place in range(start, min(n, start + count * DEPTH), count):
            found = values[:, place : place + count]
            part[:, : found.shape[1]] += found
        total += part
    each = total.reshape(len(values), team, VECTOR)
    lanes = (each[..., 0] + each[..., 1]) + (each[..., 2] + each[..., 3])
    warps = lanes.reshape(len(values), max(1, team // 32), min(team, 32))
    while warps.shape[2] > 1:
        half = warps.shape[2] // 2
        warps = warps[..., :half] + warps[..., half:]
    return reduce(np.add, np.moveaxis(warps[..., 0], 1, 0))


def _rows(kernel: Reduce, x: Array, order: Order, limits: Limits = LIMITS) -> Array:
    kept, reduced = x.shape
    out = np.full(kept, 7, x.dtype)
    steps = [s // x.itemsize for s in x.strides]
    call(kernel, [x, out], [kept, reduced, *steps, 1], order, limits)
    return out


@pytest.mark.parametrize("dtype", [F32, F64], ids=str)
@pytest.mark.parametrize("shape", _ROWS, ids=str)
def test_rows_are_added_in_the_documented_order(
    shape: tuple[int, int], dtype: DType, rng: np.random.Generator
) -> None:
    x = rng.normal(size=shape).astype(dtype)
    expected = _in_order(x + dtype.type(1))
    for order in Order:
        assert np.array_equal(_rows(_sum(Form.ROW, dtype), x, order), expected)
    assert np.array_equal(_rows(_sum(Form.ROW, dtype), x, order, Limits(132, 49152)), expected)


def test_the_order_does_not_depend_on_strides(rng: np.random.Generator) -> None:
    for shape in _ROWS[1:]:
        x = rng.normal(size=shape).astype(np.float32)
        expected = _rows(_sum(Form.ROW, F32), x, Order.FORWARD)
        apart = np.repeat(x, 3, axis=1)[:, ::3]
        shifted = np.concatenate([x[:, :1], x], axis=1)[:, 1:]
        turned = np.ascontiguousarray(x.T).T
        strided = _sum(Form.ROW, F32, Walk.STRIDED)
        assert np.array_equal(_rows(strided, apart, Order.REVERSE), expected)
        assert np.array_equal(_rows(_sum(Form.ROW, F32), shifted, Order.REVERSE), expected)
        if shape[0] > 1:
            assert np.array_equal(_rows(strided, turned, Order.SHUFFLED), expected)


@pytest.mark.parametrize("shape", _COLUMNS, ids=str)
def test_columns(shape: tuple[int, int, int], rng: np.random.Generator) -> None:
    x = rng.integers(-9, 9, shape)  # integers, so that the order is another test's
    kept, _, columns = shape
    for order in Order:
        out = np.full((kept, columns), 7)
        meta = [*shape, *(s // 8 for s in x.strides), columns, 1]
        call(_sum(Form.COLUMN, I64), [x, out], meta, order)
        assert np.array_equal(out, (x + 1).sum(1))


@pytest.mark.parametrize("shape", _COLUMNS[1:], ids=str)
def test_columns_have_the_same_bits_in_any_order_of_threads(
    shape: tuple[int, int, int], rng: np.random.Generator
) -> None:
    x = rng.normal(size=shape).astype(np.float32)
    meta = [*shape, *(s // 4 for s in x.strides), shape[2], 1]
    found = []
    for order in Order:
        out = np.full((shape[0], shape[2]), 7, np.float32)
        call(_sum(Form.COLUMN, F32), [x, out], meta, order)
        found.append(out.tobytes())
        assert np.allclose(out, (x.astype(np.float64) + 1).sum(1), rtol=1e-5)
    assert len(set(found)) == 1


@pytest.mark.parametrize("form", list(Form))
@pytest.mark.parametrize("reduced", [5, 64, 3 * PART])
def test_what_is_stored_beside(form: Form, reduced: int, rng: np.random.Generator) -> None:
    x = rng.normal(size=(2, reduced)).astype(np.float32)
    beside, out = np.zeros_like(x), np.zeros(2, np.float32)
    if form is Form.ROW:
        meta = [2, reduced, reduced, 1, reduced, 1, 1]
        call(_sum(form, F32, stored=True), [x, beside, out], meta)
    else:
        x, beside = np.ascontiguousarray(x.T), np.zeros((reduced, 2), np.float32)
        meta = [1, reduced, 2, 0, 2, 1, 0, 2, 1, 2, 1]
        call(_sum(form, F32, stored=True), [x, beside, out], meta)
    assert np.array_equal(beside, x * 2)
    assert np.allclose(out, (x + 1).sum(1 if form is Form.ROW else 0), rtol=1e-4)


def test_teams_are_warps_at_most_or_blocks() -> None:
    assert [team_of(n) for n in (0, 4, 5, 16, 17, 100, 128, WARP_ROW)] == [
        1,
        1,
        2,
        4,
        8,
        32,
        32,
        32,
    ]
    assert team_of(WARP_ROW + 1) == THREADS
    assert (lanes_of(LANES_FROM - 1), lanes_of(LANES_FROM)) == (1, 8)


def test_a_grid_never_has_more_parts_than_it_can() -> None:
    kernel, unit = _sum(Form.COLUMN, F32), Operand(0)
    for rows in (2 * PART_ROWS, PARTS * PART_ROWS, 100 * PARTS * PART_ROWS + 1):
        step = Step(kernel, (unit, Operand(1)), (1, rows, 2, 0, 2, 1, 2, 1), 1)
        assert -(-rows // part_of(step)) <= PARTS
        assert part_of(step) % PART_ROWS == 0


def test_few_long_rows_are_cut_by_extents_alone(rng: np.random.Generator) -> None:
    kernel, limits = _sum(Form.ROW, F32), Limits(132, 49152)
    for shape, count in (((1, 2 * PART - 1), 1), ((1, 2 * PART), 2), ((3, 3 * PART + 1), 2)):
        x = rng.normal(size=shape).astype(np.float32)
        meta = [*shape, shape[1], 1, 1]
        launches = call(kernel, [x, np.zeros(shape[0], np.float32)], meta, limits=limits)
        assert len(launches) == count
        assert launches[0].grid[1] == (-(-shape[1] // PART) if count > 1 else 1)
