"""Which form products take, when their matrices are packed, and that the results stay the same."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.backends.lower import lower
from fusejit.backends.plan import Matmul, Pack, Plan
from tests.passes.graphs import arrays, recorded


def forms(plan: Plan) -> list[str]:
    """What the plan multiplies and packs, in order."""
    codes = [step.code for step in plan.steps]
    kinds = {Pack: "pack"}
    return [
        code.form.value if isinstance(code, Matmul) else kinds[Pack]
        for code in codes
        if isinstance(code, Matmul | Pack)
    ]


def product(x: Any, w: Any) -> Any:
    return fj.matmul(x, w)


def turned(x: Any, w: Any) -> Any:
    return fj.matmul(x, fj.matrix_transpose(w))


def recurrent(x: Any, h: Any, w: Any) -> Any:
    for _ in range(16):
        h = fj.tanh(0.2 * fj.matmul(h, w) + x)
    return h


def layers(x: Any, w: Any, v: Any) -> Any:
    return fj.matmul(fj.tanh(fj.matmul(x, w)), v)


def activated(x: Any, w: Any) -> Any:
    return fj.maximum(fj.matmul(x, w), 0.0)


def of_computed(x: Any, w: Any) -> Any:
    return fj.matmul(x, fj.exp(w) + fj.cumulative_sum(w, axis=0))


def both_ways(x: Any, w: Any) -> Any:
    return fj.matmul(fj.matmul(x, w), fj.matrix_transpose(w))


def of_parts(x: Any, w: Any) -> Any:
    joint = fj.concat([w * 2.0, w + 1.0], axis=0)
    return fj.matmul(x, joint[:8]), fj.matmul(x, joint[8:]), fj.matmul(x, w * 2.0)


CASES: list[tuple[Callable[..., Any], tuple[tuple[int, ...], ...], list[str]]] = [
    (product, ((1, 20), (20, 30)), ["streamed"]),
    (product, ((8, 20), (20, 30)), ["streamed"]),
    (product, ((9, 20), (20, 30)), ["plain"]),
    (product, ((200, 20), (20, 30)), ["pack", "packed"]),
    (product, ((200, 20), (20, 1)), ["blas"]),
    (product, ((5, 30, 20), (20, 30)), ["pack", "packed"]),  # 150 rows
    (product, ((3, 4, 20), (20, 30)), ["plain"]),  # 12 rows
    (product, ((3, 1, 20), (20, 30)), ["streamed"]),
    (product, ((3, 4, 20), (3, 20, 30)), ["blas"]),
    (turned, ((2, 20), (30, 20)), ["blas"]),
    (turned, ((3, 20), (30, 20)), ["pack", "panels"]),
    (turned, ((9, 20), (30, 20)), ["pack", "packed"]),
    (recurrent, ((1, 16), (1, 16), (16, 16)), ["streamed"] * 16),
    (recurrent, ((8, 16), (8, 16), (16, 16)), ["pack"] + ["panels"] * 16),
    (recurrent, ((9, 16), (9, 16), (16, 16)), ["pack"] + ["packed"] * 16),
    (layers, ((150, 8), (8, 12), (12, 20)), ["pack", "pack", "packed", "packed"]),
    (both_ways, ((150, 8), (8, 12)), ["pack", "pack", "packed", "packed"]),
    (of_computed, ((150, 8), (8, 12)), ["pack", "packed"]),
    (of_parts, ((150, 8), (8, 12)), ["pack", "pack", "packed", "packed", "packed"]),
]


@pytest.mark.parametrize(("f", "shapes", "wanted"), CASES)
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_forms(
    f: Callable[..., Any], shapes: tuple[tuple[int, ...], ...], wanted: list[str], dtype: str
) -> None:
    args = arrays(*shapes, dtype=dtype)
    plan = lower(recorded(f, *args, stage="fuse"))
    assert sorted(forms(plan)) == sorted(wanted)
    assert "pack" not in wanted or forms(plan)[0] == "pack"
    compiled = fj.function(f)
    results = [compiled(*args) for _ in range(3)][-1]
    double = f(*(fj.constant(a.numpy().astype("float64")) for a in args))
    pairs = zip(results, double, strict=True) if isinstance(double, tuple) else [(results, double)]
    tolerance = 1e-4 if dtype == "float32" else 1e-12
    for got, want in pairs:
        np.testing.assert_allclose(got.numpy(), want.numpy(), tolerance, tolerance)


@pytest.mark.parametrize(
    ("f", "shapes", "wide", "narrow"),
    [
        (product, ((15, 20), (20, 1024)), "plain", "plain"),
        (product, ((16, 20), (20, 1024)), "plain", "packed"),
        (product, ((48, 20), (20, 2048)), "packed", "packed"),
        (product, ((48, 20), (20, 1000)), "plain", "plain"),
        (turned, ((2, 20), (30, 20)), "blas", "panels"),
    ],
)
def test_rows_a_page_apart_and_dot_products_by_machine(
    f: Callable[..., Any], shapes: tuple[tuple[int, ...], ...], wide: str, narrow: str
) -> None:
    graph = recorded(f, *arrays(*shapes), stage="fuse")
    assert forms(lower(graph))[-1] == wide
    assert forms(lower(graph, narrow=True))[-1] == narrow


def test_few_rows_are_shared_by_columns() -> None:
    """Both the product and what goes on from each of its columns alone."""
    graph = recorded(activated, *arrays((1, 1024), (1024, 2048)), stage="fuse")
    (strip,) = lower(graph).strips
    assert strip.threads and strip.end - strip.first == 2
    product, after = lower(
        recorded(activated, *arrays((4, 1024), (1024, 2048)), stage="fuse")
    ).strips
    assert product.threads and after.end - after.first == 1


def test_what_stays_packed_is_packed_for_any_number_of_rows() -> None:
    for rows, form in ((1, "panels"), (9, "packed")):
        graph = recorded(product, *arrays((rows, 20), (20, 30)), stage="fuse")
        assert forms(lower(graph, unchanging={1})) == ["pack", form]


def test_matrices_that_are_computed_are_packed_when_they_are_there() -> None:
    plan = lower(recorded(of_computed, *arrays((150, 8), (8, 12)), stage="fuse"))
    written: set[int] = set(plan.inputs)
    for step in plan.steps:
        if isinstance(step.code, Pack):
            assert step.operands[0].slot in written
        written.update(operand.slot for operand in step.operands)
