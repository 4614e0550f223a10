"""Reductions over few long rows: cut into parts by shape alone, with the same results."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import fusejit as fj
from fusejit.backends.base import Reduce
from fusejit.backends.llvm.eager import load_plan
from fusejit.backends.lower import lower
from fusejit.backends.plan import Plan
from fusejit.backends.reducing import COLUMNS, FEW, PART
from tests.backends.plans import outputs
from tests.passes.graphs import recorded

Shape = tuple[int, ...]

# (shape, axes, the kept extents of the steps): whole parts, what is left, then the partial results
CUTS: list[tuple[Shape, Any, list[int]]] = [
    ((2 * PART - 1,), None, [1]),
    ((2 * PART,), None, [2, 1]),
    ((3 * PART + 17,), None, [3, 1, 1]),
    ((2, 2 * PART + 1), 1, [2, 1, 1] * 2),
    ((FEW, 2 * PART), 1, [FEW]),
    ((1, 2 * PART), 1, [2, 1]),
    ((5 * 6553 + 9, 10), 0, [5, 1, 1]),
    ((3, 3 * 655, 100), 1, [3, 1] * 3),
    ((200, 3 * COLUMNS), 0, [3]),
    ((2, 100, 2 * COLUMNS + 5), 1, [2, 1] * 2),
    ((3, 3, 2 * COLUMNS), 1, [3]),
]


def plan(f: Any, x: Any) -> Plan:
    return lower(recorded(f, x, stage="fuse"))


def normal(shape: Shape, seed: int = 0) -> fj.Tensor:
    return fj.asarray(np.random.default_rng(seed).standard_normal(shape, np.float32))


@pytest.mark.parametrize(("shape", "axes", "kept"), CUTS)
def test_where_a_reduction_is_cut(shape: Shape, axes: Any, kept: list[int]) -> None:
    x = normal(shape)
    made = plan(lambda x: fj.sum(x, axis=axes), x)
    assert [step.count for step in made.steps] == kept
    assert all(isinstance(step.code, Reduce) for step in made.steps)
    (total,) = outputs(load_plan(made), x.numpy())
    wide = x.numpy().astype(np.float64)
    scale = np.abs(wide).sum(axis=axes)
    assert (np.abs(total - wide.sum(axis=axes)) <= 4e-7 * scale).all()
    for reduce, exact in ((fj.max, np.max), (fj.min, np.min)):
        np.testing.assert_array_equal(reduce(x, axis=axes).numpy(), exact(x.numpy(), axis=axes))


@pytest.mark.parametrize(("shape", "axes", "kept"), CUTS)
def test_eager_and_fused_are_the_same_bits(shape: Shape, axes: Any, kept: list[int]) -> None:
    x = normal(shape, seed=1)

    def f(x: Any) -> Any:
        return fj.sum(fj.exp(x) * x, axis=axes)

    fused = plan(f, x)
    assert [step.count for step in fused.steps] == kept  # the exponential is inside
    (total,) = outputs(load_plan(fused), x.numpy())
    assert total.tobytes() == f(x).numpy().tobytes()


def test_integers_and_bools() -> None:
    x = fj.arange(3 * PART + 5)
    assert int(fj.sum(x)) == (3 * PART + 5) * (3 * PART + 4) // 2
    assert int(fj.function(lambda: fj.sum(fj.arange(3 * PART + 5)))()) == int(fj.sum(x))
    last = x == 3 * PART + 4
    assert bool(fj.any(last)) and not bool(fj.all(last))
    assert int(fj.max(x)) == 3 * PART + 4 and int(fj.min(x)) == 0


def test_a_nan_in_any_part_wins() -> None:
    for place in (0, PART, 3 * PART + 16):
        x = np.zeros(3 * PART + 17, np.float32)
        x[place] = np.nan
        assert np.isnan(fj.max(x).numpy()) and np.isnan(fj.sum(x).numpy())


def test_operands_that_are_not_contiguous() -> None:
    x = normal((300, 1000), seed=2)
    for f in (
        lambda x: fj.sum(fj.permute_dims(x, (1, 0))),
        lambda x: fj.sum(fj.permute_dims(x, (1, 0)), axis=0),
        lambda x: fj.sum(x[::-1, ::2]),
        lambda x: fj.sum(fj.broadcast_to(x[:1], (300, 1000)) * x),
    ):
        eager = f(x).numpy()
        (fused,) = outputs(load_plan(plan(f, x)), x.numpy())
        assert fused.tobytes() == eager.tobytes()


@settings(max_examples=25, deadline=None)
@given(st.integers(1, FEW), st.sampled_from([1, 300, 70_000]), st.sampled_from([1, 3, 900, 2500]))
def test_sums_of_ones_count(kept: int, reduced: int, columns: int) -> None:
    """Nothing is left out and nothing counted twice, whatever the cuts."""
    if kept * reduced * columns > 30_000_000:
        return
    ones = fj.ones((kept, reduced, columns), dtype="int32")
    np.testing.assert_array_equal(fj.sum(ones, axis=1).numpy(), reduced)
