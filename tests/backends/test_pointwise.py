"""Elementwise ops that run without a plan: the bits of a plan, and none made for a new size."""

from __future__ import annotations

import numpy as np
import pytest

from fusejit.backends.llvm.eager import CpuBackend, one_op_plan
from fusejit.op import OPS, Array, Elementwise

INEXACT = [
    op
    for op in OPS.values()
    if isinstance(op, Elementwise) and not op.exact and op.scalar and op.sample is None
]
SHAPES: list[tuple[int, ...]] = [(), (1,), (7,), (1, 1), (3, 5), (17, 128), (2, 3, 4)]


def operands(op: Elementwise, shapes: list[tuple[int, ...]]) -> list[Array]:
    rng = np.random.default_rng(0)
    return [np.asarray(rng.uniform(*op.domain, shape), np.float32) for shape in shapes]


def by_plan(op: Elementwise, arrays: list[Array]) -> Array:
    plan = one_op_plan(op, arrays, {})
    assert plan is not None
    found: list[Array] = plan.run([np.ascontiguousarray(a) if a.ndim else a for a in arrays])
    return found[0]


def assert_same(found: Array, wanted: Array) -> None:
    assert (found.dtype, found.shape) == (wanted.dtype, wanted.shape)
    assert found.tobytes() == wanted.tobytes()


@pytest.mark.parametrize("op", INEXACT, ids=lambda op: op.name)
def test_all_sizes_have_the_bits_of_a_plan_and_take_none(op: Elementwise) -> None:
    backend = CpuBackend()
    for shape in SHAPES:
        arrays = operands(op, [shape] * len(op.inputs))
        assert_same(backend.apply(op, arrays, {}), by_plan(op, arrays))
    assert not backend._plans


def test_single_elements_are_read_where_they_lie() -> None:
    power, backend = OPS["pow"], CpuBackend()
    assert isinstance(power, Elementwise)
    for shapes in ([(5, 3), ()], [(), (5, 3)], [(1, 1), ()]):
        arrays = operands(power, shapes)
        assert_same(backend.apply(power, arrays, {}), by_plan(power, arrays))
    assert not backend._plans


def test_what_does_not_fit_takes_a_plan() -> None:
    power, backend = OPS["pow"], CpuBackend()
    assert isinstance(power, Elementwise)
    for shapes in ([(5, 3), (3,)], [(5, 1), (1, 3)], [(0, 3), (0, 3)], [(600, 600), (600, 600)]):
        arrays = operands(power, shapes)
        assert_same(backend.apply(power, arrays, {}), by_plan(power, arrays))
    assert len(backend._plans) == 4


@pytest.mark.parametrize("order", ["reversed", "transposed", "part"])
def test_strided_operands_are_laid_out_first(order: str) -> None:
    exp, backend = OPS["exp"], CpuBackend()
    whole = np.linspace(-3, 3, 60, dtype=np.float32).reshape(6, 10)
    array = {"reversed": whole[::-1], "transposed": whole.T, "part": whole[:, 3:7]}[order]
    assert_same(backend.apply(exp, [array], {}), backend.apply(exp, [array.copy()], {}))


def test_dtypes_are_told_apart() -> None:
    exp, backend = OPS["exp"], CpuBackend()
    for dtype in (np.float32, np.float64, np.float32):
        found = backend.apply(exp, [np.ones(3, dtype)], {})
        assert found.dtype == dtype
        assert np.allclose(found, np.e)
