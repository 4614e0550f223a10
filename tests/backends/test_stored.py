"""Reductions that store what they reduce: the same bits as a loop and a reduction one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.backends.base import Access, Form, Loop, Reduce, Walk
from fusejit.backends.llvm.eager import load_plan
from fusejit.backends.lower import lower
from fusejit.backends.reducing import PART, Reducing
from fusejit.backends.storage import Stream, row_major
from fusejit.backends.windows import windows
from fusejit.dtypes import TensorType
from fusejit.ir.builder import Builder
from fusejit.ir.graph import FUSED, FusedKind
from fusejit.numerics.exponential import exp
from fusejit.op import OPS
from fusejit.scalar import BOOL, F32, F64, DType, cast, trace
from tests.backends.native import RUNNABLE, call
from tests.backends.plans import Writer, f32, outputs

UNIT, SPLAT, STRIDED = (Access(F32, w) for w in (Walk.UNIT, Walk.SPLAT, Walk.STRIDED))
ADD = trace(lambda total, x: total + x, [F32, F32])


def shifted(*results: Any) -> Any:
    """(x, m) -> exp(x - m), and again whatever `results` make of x and exp(x - m)."""

    def program(x: Any, m: Any) -> Any:
        e = exp(x - m)
        return (e, *(result(x, e) for result in results))

    return trace(program, [F32, F32])


def exponentials(*results: Any, form: Form, stored: tuple[Access, ...]) -> Reduce:
    shift = SPLAT if form is Form.ROW else UNIT
    return Reduce(form, (UNIT, shift), UNIT, shifted(*results), ADD, 0.0, stored)


@pytest.mark.parametrize("target", RUNNABLE.values(), ids=RUNNABLE.keys())
@pytest.mark.parametrize("form", Form)
@pytest.mark.parametrize("reduced", [1, 10, 63, 64, 65, 200, 9000])
def test_stored_values_are_those_that_are_reduced(form: Form, reduced: int, target: Any) -> None:
    rng = np.random.default_rng(reduced)
    row = form is Form.ROW
    shape = (3, reduced) if row else (2, reduced, 21)
    x, m = f32(rng.standard_normal(shape)), f32(rng.standard_normal((*shape[:1], *shape[2:])))
    strides = [*row_major(shape)]
    others = [shape[-1] if not row else 1, 0] if row else [21, 0, 1]
    kept = [1] if row else [21, 1]
    plain, total = np.zeros_like(m), np.zeros_like(m)
    lone = exponentials(form=form, stored=())
    call(lone, [x, m, plain], [*shape, *strides, *others, *kept], 0, shape[0], target)
    e, positive = np.zeros_like(x), np.zeros(shape, bool)
    both = exponentials(
        lambda x, e: e, lambda x, e: x > 0.0, form=form, stored=(UNIT, Access(BOOL, Walk.UNIT))
    )
    meta = [*shape, *strides, *others, *strides, *strides, *kept]
    for part in range(shape[0]):
        call(both, [x, m, e, positive, total], meta, part, part + 1, target)
    assert total.tobytes() == plain.tobytes()
    flat = Loop(1, (UNIT, UNIT), (UNIT,), shifted())
    spread = np.ascontiguousarray(np.broadcast_to(m[:, None], shape))
    expected = np.zeros_like(x)
    call(flat, [x, spread, expected], [x.size, 1, 1, 1], 0, x.size, target)
    np.testing.assert_array_equal(e, expected)
    np.testing.assert_array_equal(positive, x > 0.0)


@pytest.mark.parametrize("target", RUNNABLE.values(), ids=RUNNABLE.keys())
def test_stored_in_place_and_with_strides(target: Any) -> None:
    rng = np.random.default_rng(0)
    x, m = f32(rng.standard_normal((4, 100))), f32(np.zeros(4))
    wide, total = np.full((4, 200), 7.0, np.float32), np.zeros(4, np.float32)
    kernel = exponentials(lambda x, e: e, form=Form.ROW, stored=(STRIDED,))
    meta = [4, 100, 100, 1, 1, 0, 200, 2, 1]
    call(kernel, [x, m, wide, total], meta, 0, 4, target)
    assert (wide[:, 1::2] == 7.0).all()
    kernel = exponentials(lambda x, e: e, form=Form.ROW, stored=(UNIT,))
    again = np.zeros(4, np.float32)
    call(kernel, [x, m, x, again], [4, 100, 100, 1, 1, 0, 100, 1, 1], 0, 4, target)
    np.testing.assert_array_equal(x, wide[:, ::2])
    assert again.tobytes() == total.tobytes()


@pytest.mark.parametrize("shape", [(1, 3 * PART + 17, 1), (1, 40_000, 10), (2, 150, 3000)])
def test_cut_into_parts_all_of_it_is_stored(shape: tuple[int, int, int]) -> None:
    writer = Writer()
    x, e, total = writer.input(*shape), writer.output(*shape), writer.output(shape[0], shape[2])
    wide = Stream(x, F32, 0, row_major(shape))
    job = Reducing(
        Form.ROW if shape[2] == 1 else Form.COLUMN,
        shape,
        (wide,),
        Stream(total, F32, 0, row_major((shape[0], shape[2]))),
        trace(lambda x: (x + x, x * x), [F32]),
        ADD,
        0.0,
        (Stream(e, F32, 0, row_major(shape)),),
    )

    def temporary(dtype: DType, extents: tuple[int, ...]) -> Stream:
        return Stream(writer.temporary(*extents, dtype=dtype), dtype, 0, row_major(extents))

    writer.steps += job.steps(temporary)
    assert len(writer.steps) > 1
    values = np.random.default_rng(0).integers(-4, 4, shape)
    squares, sums = outputs(load_plan(writer.plan()), f32(values))
    np.testing.assert_array_equal(squares, values * values)
    np.testing.assert_array_equal(sums, 2 * values.sum(axis=1))
    written = [w for step in writer.steps for w in windows(step) or () if w.written]
    assert {w.slot for w in written} >= {e, total}


def test_a_wider_value_may_be_stored() -> None:
    program = trace(lambda x: (x, cast(x, F64) * 0.1), [F32])
    kernel = Reduce(Form.ROW, (UNIT,), UNIT, program, ADD, 0.0, (Access(F64, Walk.UNIT),))
    x, wide, total = f32(np.arange(300)), np.zeros(300), np.zeros(1, np.float32)
    call(kernel, [x, wide, total], [1, 300, 300, 1, 300, 1, 1], 0, 1)
    np.testing.assert_array_equal(wide, np.arange(300) * 0.1)
    assert total[0] == x.sum()


def test_a_fused_reduction_may_have_elementwise_results_too() -> None:
    """(x, m) -> sum(exp(x - m)) and exp(x - m), as one node of a graph."""
    rows, whole = TensorType(F32, (37, 100)), TensorType(F32, (37, 1))
    inside = Builder("body")
    x, m = inside.input(rows, "x"), inside.input(whole, "m")
    (e,) = inside.add(fj.exp, [inside.add(fj.subtract, [x, m], {})[0]], {})
    (total,) = inside.add(OPS["sum"], [e], {"axes": (1,), "keepdims": True})
    outside = Builder("graph")
    given = [outside.input(rows, "x"), outside.input(whole, "m")]
    body = inside.finish([total, e])
    types = [total.type, e.type]
    results = outside.add(FUSED, given, {"body": body, "kind": FusedKind.REDUCE}, types)
    plan = lower(outside.finish(results))
    (step,) = plan.steps
    assert isinstance(step.code, Reduce) and step.code.stored == (UNIT,)
    rng = np.random.default_rng(0)
    x_, m_ = f32(rng.standard_normal((37, 100))), f32(rng.standard_normal((37, 1)))
    expected = fj.exp(fj.asarray(x_) - fj.asarray(m_))
    sums, kept = outputs(load_plan(plan), x_, m_)
    assert kept.tobytes() == expected.numpy().tobytes()
    assert sums.tobytes() == fj.sum(expected, axis=1, keepdims=True).numpy().tobytes()
