"""Matrix products in plans: every layout that BLAS takes, against NumPy in double precision."""

from __future__ import annotations

import os
import sys
from itertools import product
from typing import Any

import numpy as np
import pytest

from fusejit.backends.llvm import abi, blas, matmul
from fusejit.backends.plan import Matmul, Operand
from fusejit.errors import LoweringError
from fusejit.scalar import F32, F64, I64
from tests.backends.native import TARGETS
from tests.backends.plans import Array, Writer, f32, outputs

# ---- products

SIZES = [(1, 1, 1), (2, 3, 4), (1, 5, 7), (5, 1, 7), (5, 7, 1), (17, 33, 65), (0, 3, 2), (3, 0, 2)]
SIZES += [(3, 2, 0), (1, 4, 0), (4, 1, 0), (0, 0, 0)]


def strided(array: Array) -> list[int]:
    return [stride // array.itemsize for stride in array.strides]


def multiply(a: Array, b: Array) -> tuple[Array, Array]:
    """(the plan's product, NumPy's in double precision) of any views of 3-d arrays."""
    w = Writer()
    owners = [x if x.base is None else x.base for x in (a, b)]
    slots = [w.input(*o.shape, dtype=o.dtype) for o in owners]
    out = w.output(a.shape[0], a.shape[1], b.shape[2], dtype=a.dtype)
    offsets = [abi.address(x) - abi.address(o) for x, o in zip((a, b), owners, strict=True)]
    c = np.empty((a.shape[0], a.shape[1], b.shape[2]), a.dtype)
    meta = [*c.shape, a.shape[2], *strided(a), *strided(b), *strided(c)]
    operands = [Operand(s, o) for s, o in zip(slots, offsets, strict=True)]
    w.matmul([*operands, Operand(out)], meta, a.dtype)
    return outputs(w.load(), *owners)[0], a.astype(np.float64) @ b.astype(np.float64)


def near(a: Array, b: Array, got: Array, want: Array) -> bool:
    terms = max(1, a.shape[2])
    bound = 2 * terms * np.finfo(a.dtype).eps * (abs(a).astype(np.float64) @ abs(b))
    return got.shape == want.shape and bool((abs(got - want) <= bound).all())


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("native", [True, False])
def test_products(
    dtype: Any, size: tuple[int, int, int], native: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    if not native:
        monkeypatch.setattr(matmul, "address", lambda code: None)
    rng = np.random.default_rng(1)
    m, n, k = size
    for batch, turn_a, turn_b in product((1, 3), (False, True), (False, True)):
        a = rng.standard_normal((batch, k, m) if turn_a else (batch, m, k)).astype(dtype)
        b = rng.standard_normal((batch, n, k) if turn_b else (batch, k, n)).astype(dtype)
        a = a.transpose(0, 2, 1) if turn_a else a
        b = b.transpose(0, 2, 1) if turn_b else b
        got, want = multiply(a, b)
        assert near(a, b, got, want), (batch, turn_a, turn_b)


def test_products_of_parts_and_of_broadcast_batches() -> None:
    rng = np.random.default_rng(2)
    whole = rng.standard_normal((4, 20, 30)).astype(np.float32)
    a = whole[:, 3:9, 5:12]
    b = np.broadcast_to(rng.standard_normal((1, 7, 5)).astype(np.float32), (4, 7, 5))
    flat = np.ascontiguousarray(b[:1])
    view = np.lib.stride_tricks.as_strided(flat, (4, 7, 5), (0, *flat.strides[1:]))
    w = Writer()
    x, y, out = w.input(4, 20, 30), w.input(1, 7, 5), w.output(4, 6, 5)
    offset = abi.address(a) - abi.address(whole)
    meta = [4, 6, 5, 7, *strided(a), *strided(view), 30, 5, 1]
    w.matmul([Operand(x, offset), Operand(y), Operand(out)], meta, F32)
    got = outputs(w.load(), whole, flat)[0]
    assert near(a, b, got, a.astype(np.float64) @ b)


def test_a_vector_with_any_stride() -> None:
    rng = np.random.default_rng(3)
    a = rng.standard_normal((1, 6, 8)).astype(np.float32)
    column = rng.standard_normal((1, 8, 5)).astype(np.float32)[:, :, 2:3]
    assert near(a, column, *multiply(a, column))
    row = rng.standard_normal((1, 6, 9)).astype(np.float32).transpose(0, 2, 1)[:, 4:5, :]
    assert near(row, a, *multiply(row, a))


def test_nothing_is_left_of_what_was_in_the_output() -> None:
    """beta is 0: NaNs in fresh memory must not come through."""
    for m, n, k in SIZES:
        w = Writer()
        a, b, t, out = w.input(1, m, k), w.input(1, k, n), w.temporary(1, m, n), w.output(1, m, n)
        w.python(lambda t: t.fill(np.nan), t)
        w.matmul(
            [Operand(a), Operand(b), Operand(t)],
            [1, m, n, k, m * k, max(k, 1), 1, k * n, max(n, 1), 1, m * n, max(n, 1), 1],
            F32,
        )
        w.loop(lambda x: x, t, out)
        ones = np.ones((1, m, k), np.float32), np.ones((1, k, n), np.float32)
        assert (outputs(w.load(), *ones)[0] == k).all()


def test_strides_that_blas_cannot_take() -> None:
    w = Writer()
    slots = [Operand(w.input(1, 8, 8)), Operand(w.input(1, 8, 8)), Operand(w.output(1, 4, 4))]
    w.matmul(slots, [1, 4, 4, 4, 64, 16, 2, 64, 8, 1, 16, 4, 1], F32)
    with pytest.raises(LoweringError, match="strides 16, 2 for the 4 x 4 operand A"):
        w.load()
    w.steps.clear()
    w.matmul(slots, [1, 4, 4, 4, 64, 8, 1, 64, 8, 1, 16, 4, 1], I64)
    with pytest.raises(LoweringError, match="int64"):
        w.load()


def test_blas_leaves_the_environment_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENBLAS_L2_SIZE", "123")
    monkeypatch.delenv("OPENBLAS_CORETYPE", raising=False)
    before = dict(os.environ)
    with blas._environment():
        assert "OPENBLAS_L2_SIZE" not in os.environ
        assert os.environ.get("OPENBLAS_CORETYPE") == blas.core()
    assert dict(os.environ) == before


@pytest.mark.parametrize(
    ("name", "core"),
    [("avx512", "SkylakeX"), ("avx2", "Haswell"), ("avx", None), ("sse2", None)],
)
def test_blas_is_told_the_machine_that_code_is_made_for(
    name: str, core: str | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blas, "host", lambda: TARGETS[name])
    assert blas.core() == core


def test_without_blas_the_product_goes_through_numpy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "scipy_openblas64", None)
    blas.symbols.cache_clear()
    matmul.by_blas.cache_clear()
    try:
        assert matmul.address(Matmul(F32)) is None
        a = f32(np.arange(6)).reshape(1, 2, 3)
        got, want = multiply(a, a.reshape(1, 3, 2))
        assert got.tolist() == want.tolist()
    finally:
        blas.symbols.cache_clear()
        matmul.by_blas.cache_clear()
