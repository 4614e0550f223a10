"""Small eager ops without a compiler: the same bits as the kernels, for the whole registry."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import fusejit as fj
from fusejit.backends.base import BLOCK, BLOCK_ROWS
from fusejit.backends.evaluated import SMALL, evaluated
from fusejit.backends.llvm.cold import ColdBackend
from fusejit.backends.llvm.eager import CpuBackend
from fusejit.dtypes import COMPILED
from fusejit.op import OPS, Array, Elementwise, Op, Reduction
from fusejit.testing import samples

COMPILER = CpuBackend()
POINTWISE = [op for op in OPS.values() if isinstance(op, Elementwise) and not op.exact]
REDUCTIONS = [op for op in OPS.values() if isinstance(op, Reduction) and not op.exact]
DTYPES = sorted(COMPILED, key=str)
FLOATS = [dtype for dtype in DTYPES if dtype.kind == "f"]
EDGES = [
    *(0.0, -0.0, 1.0, -1.0, 0.5, 2.0, np.inf, -np.inf, np.nan, 1e-45, -1e-45, 1e-38, -1e-310),
    *(3e38, 1.7e308, 88.7, -88.0, -103.5, 709.5, -745.0, 1e5, 2.0**31, -(2.0**63), 1e10, np.pi),
]
# Rows and columns, lanes that are full, partly filled and empty, axes apart, extents of 1.
CASES: list[tuple[tuple[int, ...], tuple[int, ...]]] = [
    *(((n,), (0,)) for n in (1, 5, 63, 64, 65, 200, SMALL)),
    *(((3, 70), axes) for axes in ((), (0,), (1,), (0, 1))),
    *(((BLOCK_ROWS, 7), axes) for axes in ((0,), (1,))),
    *(((2, 3, 4), axes) for axes in ((0,), (1,), (2,), (0, 1), (0, 2), (1, 2))),
    *(((4, 2, 3, 5), axes) for axes in ((1, 2), (1, 3), (0, 2), (0, 1, 3))),
    *(((4, 1, 3, 1), axes) for axes in ((1,), (1, 3), (0, 1), (2,))),
]


def edges(dtype: np.dtype[Any], seed: int) -> Array:
    """Values at which functions change their ways, and others of all sizes."""
    rng = np.random.default_rng(seed)
    spread = rng.standard_normal(300) * np.exp2(rng.integers(-30, 30, 300))
    with np.errstate(all="ignore"):
        return np.concatenate([EDGES, spread]).astype(dtype)


def assert_same(got: Array | None, want: Array) -> None:
    """Type, shape and bits; a NaN is one, whatever its payload."""
    assert got is not None
    assert (got.dtype, got.shape) == (want.dtype, want.shape)
    if want.dtype.kind == "f":
        assert (np.isnan(got) == np.isnan(want)).all()
        got, want = np.where(np.isnan(got), 0, got), np.where(np.isnan(want), 0, want)
    assert got.tobytes() == want.tobytes()


@pytest.mark.parametrize("op", POINTWISE, ids=lambda op: op.name)
def test_elementwise_samples(op: Elementwise) -> None:
    rng, found = np.random.default_rng(0), 0
    for dtype in DTYPES:
        if dtype.kind in op.dtype.kinds and (dtype.kind == "f" or not op.dtype.floating):
            for arrays, params in samples(op, rng, dtype):
                arrays = [np.ascontiguousarray(a) if np.ndim(a) else np.asarray(a) for a in arrays]
                got = evaluated(op, arrays, params)
                if op.program(tuple(a.dtype for a in arrays), params) is None:
                    assert got is None  # pow of integers: NumPy runs it
                    continue
                assert_same(got, COMPILER.apply(op, arrays, params))
                found += 1
    assert found


@pytest.mark.parametrize("dtype", FLOATS, ids=str)
@pytest.mark.parametrize(
    "op", [op for op in POINTWISE if op.dtype.floating], ids=lambda op: op.name
)
def test_elementwise_edges(op: Elementwise, dtype: np.dtype[Any]) -> None:
    x = edges(dtype, seed=1)
    every = [x] if len(op.inputs) == 1 else [x[:60, None] + 0, x[None, :60] + 0][: len(op.inputs)]
    assert_same(evaluated(op, every, {}), COMPILER.apply(op, every, {}))
    for value in x[:8]:
        single = [np.array(value)] * len(op.inputs)
        assert_same(evaluated(op, single, {}), COMPILER.apply(op, single, {}))


@pytest.mark.parametrize("keepdims", [False, True])
@pytest.mark.parametrize("op", REDUCTIONS, ids=lambda op: op.name)
def test_reductions(op: Reduction, keepdims: bool) -> None:
    rng = np.random.default_rng(2)
    for dtype in (d for d in DTYPES if d.kind != "b" and d.kind in op.dtype.kinds):
        for shape, axes in CASES:
            plain = rng.standard_normal(shape) * 100
            mixed = np.where(rng.random(shape) < 0.6, rng.choice(EDGES, shape), plain)
            for x in [plain, mixed] if dtype.kind == "f" else [plain]:
                with np.errstate(all="ignore"):
                    x = x.astype(dtype)
                params = {"axes": axes, "keepdims": keepdims}
                assert_same(evaluated(op, [x], params), COMPILER.apply(op, [x], params))


def test_operands_that_are_not_contiguous() -> None:
    x = edges(np.dtype(np.float32), seed=3)[:300].reshape(20, 15)
    total, tanh = OPS["sum"], OPS["tanh"]
    for view in (x.T, x[::-1, ::2], np.broadcast_to(x[:1], (20, 15))):
        params = {"axes": (1,), "keepdims": False}
        assert_same(evaluated(total, [view], params), COMPILER.apply(total, [view], params))
        assert_same(evaluated(tanh, [view], {}), COMPILER.apply(tanh, [view], {}))


def test_what_only_a_kernel_knows() -> None:
    """Large arrays, several blocks, nothing to reduce, dtypes that kernels do not have."""
    everything = {"axes": (0,), "keepdims": False}
    assert SMALL <= BLOCK  # a row is one block
    for op, x, params in [
        (OPS["tanh"], np.zeros(SMALL + 1, np.float32), {}),
        (OPS["tanh"], np.zeros(3, np.complex64), {}),
        (OPS["sum"], np.zeros(SMALL + 1, np.float32), everything),
        (OPS["sum"], np.zeros((BLOCK_ROWS + 1, 3), np.float32), everything),
        (OPS["sum"], np.zeros((0, 3), np.float32), everything),
        (OPS["sum"], np.zeros(3, np.float16), everything),
        (OPS["sum"], np.zeros(3, np.bool_), everything),
    ]:
        assert evaluated(op, [x], params) is None, (op, x.shape)


def test_products_are_as_near_as_those_of_kernels() -> None:
    rng = np.random.default_rng(4)
    for dtype in FLOATS:
        a, b = (rng.standard_normal(s).astype(dtype) for s in ((2, 9, 70), (70, 5)))
        product = evaluated(OPS["matmul"], [a, b], {})
        assert product is not None and product.dtype == dtype
        bound = 2 * 70 * np.finfo(dtype).eps * (abs(a).astype(float) @ abs(b).astype(float))
        assert (abs(product - COMPILER.apply(OPS["matmul"], [a, b], {})) <= 2 * bound).all()


def test_handing_over(monkeypatch: pytest.MonkeyPatch) -> None:
    """Evaluated while it takes not too long in all; kernels for good after that."""
    from fusejit.backends.llvm import cold

    calls: list[Op] = []

    def counted(op: Op, arrays: Any, params: Any) -> Any:
        calls.append(op)
        return evaluated(op, arrays, params)

    monkeypatch.setattr(cold, "evaluated", counted)
    monkeypatch.setattr(cold, "ENOUGH", 10.0)
    x, backend = np.ones(3, np.float32), ColdBackend()
    results = [backend.apply(OPS["tanh"], [x], {})]
    backend.apply(OPS["tanh"], [np.ones(SMALL + 1, np.float32)], {})
    results.append(backend.apply(OPS["tanh"], [x], {}))
    assert len(calls) == 3  # the second was too large
    monkeypatch.setattr(cold, "ENOUGH", 0.0)
    results += [backend.apply(OPS["tanh"], [x], {}) for _ in range(2)]
    assert len(calls) == 3 and len({r.tobytes() for r in results}) == 1


def test_errors_are_those_of_the_op() -> None:
    with pytest.raises(fj.ShapeError, match="broadcast"):
        fj.pow(fj.ones(3), fj.ones(4))
    assert evaluated(OPS["sort"], [np.ones(3)], {}) is None
