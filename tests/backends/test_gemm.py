"""The generated product and its packing, against NumPy in double precision and one another."""

from __future__ import annotations

import ctypes
import mmap
import re
from collections.abc import Sequence
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from fusejit.backends.llvm import codegen, gemm
from fusejit.backends.llvm.target import Target
from fusejit.backends.plan import PANEL_BYTES, MatmulForm
from fusejit.scalar import F32, F64, DType
from tests.backends.native import AVX2, NEON, RUNNABLE, TARGETS

Array = np.ndarray[Any, Any]
FORMS = [form for form in MatmulForm if form is not MatmulForm.BLAS]


def run(address: int, arrays: Sequence[Array], meta: Sequence[int], cuts: Sequence[int]) -> None:
    """Call a kernel for each of the parts that `cuts` bound."""
    pointers = (ctypes.c_int64 * len(arrays))(*(a.ctypes.data for a in arrays))
    numbers = (ctypes.c_int64 * len(meta))(*meta)
    kinds = (ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
    function = ctypes.CFUNCTYPE(ctypes.c_int64, *kinds)(address)
    for begin, end in pairwise(cuts):
        assert function(ctypes.addressof(pointers), ctypes.addressof(numbers), begin, end) == 0


def strides(array: Array) -> list[int]:
    return [stride // array.itemsize for stride in array.strides]


def packed(b: Array, target: Target | None = None, cuts: Sequence[int] | None = None) -> Array:
    """The panels of B, in memory that was full of NaN."""
    (k, n), lanes = b.shape, PANEL_BYTES // b.itemsize
    count = -(-n // lanes)
    panels = np.full((count, k, lanes), np.nan, b.dtype)
    address = gemm.entries(b.dtype, target)["pack"]
    run(address, [b, panels], [k, n, *strides(b)], cuts or [0, count])
    return panels


def product(
    a: Array,
    b: Array,
    form: MatmulForm,
    cuts: Sequence[int] | None = None,
    target: Target | None = None,
) -> Array:
    """A @ B by one of the kernels; around C nothing may change."""
    (m, k), n = a.shape, b.shape[1]
    whole = np.full((m, n + 3), np.nan, a.dtype)
    c = whole[:, :n]
    operands = [a, packed(b, target) if form.packed else b, c]
    count = m if form.by_rows else -(-n // (PANEL_BYTES // a.itemsize))
    meta = [1, m, n, k, 0, *strides(a), 0, *strides(b), 0, *strides(c)]
    chosen = sorted({0, *(min(cut, count) for cut in cuts or ()), count})
    run(gemm.entries(a.dtype, target)[form.value], operands, meta, chosen)
    assert np.isnan(whole[:, n:]).all()
    return c


def matrix(rng: np.random.Generator, rows: int, columns: int, dtype: DType, how: str) -> Array:
    """Row-major, column-major, part of something larger, or every other element."""
    if how == "turned":
        return rng.standard_normal((columns, rows)).astype(dtype).T
    if how == "part":
        return rng.standard_normal((rows + 2, columns + 5)).astype(dtype)[1:-1, 2:-3]
    if how == "sparse":
        return rng.standard_normal((2 * rows, 3 * columns)).astype(dtype)[::2, ::3]
    return rng.standard_normal((rows, columns)).astype(dtype)


def near(got: Array, a: Array, b: Array) -> bool:
    x, y = a.astype(np.float64), b.astype(np.float64)
    bound = 2 * (a.shape[1] + 1) * np.finfo(got.dtype).eps * (abs(x) @ abs(y))
    return bool((abs(got - x @ y) <= bound).all())


SIZE = st.integers(1, 70)


@settings(max_examples=150, deadline=None)
@given(
    m=SIZE,
    n=SIZE,
    k=st.one_of(st.integers(0, 70), st.sampled_from([255, 257, 512, 700, 1100])),
    dtype=st.sampled_from([F32, F64]),
    form=st.sampled_from(FORMS),
    how=st.tuples(*[st.sampled_from(["plain", "turned", "part", "sparse"])] * 2),
    cuts=st.lists(st.integers(0, 70), max_size=4),
    seed=st.integers(0, 99),
)
def test_products(
    m: int,
    n: int,
    k: int,
    dtype: DType,
    form: MatmulForm,
    how: tuple[str, str],
    cuts: list[int],
    seed: int,
) -> None:
    rng = np.random.default_rng(seed)
    layout = how[1] if form.packed or how[1] == "part" else "plain"
    a, b = matrix(rng, m, k, dtype, how[0]), matrix(rng, k, n, dtype, layout)
    whole = product(a, b, form)
    assert near(whole, a, b)
    assert product(a, b, form, cuts).tobytes() == whole.tobytes()


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("size", [(203, 150, 1300), (100, 401, 530), (17, 64, 2049)])
def test_an_element_is_the_same_in_every_form(dtype: DType, size: tuple[int, int, int]) -> None:
    m, n, k = size
    rng = np.random.default_rng(4)
    a, b = matrix(rng, m, k, dtype, "plain"), matrix(rng, k, n, dtype, "plain")
    results = [product(a, b, form) for form in FORMS]
    assert near(results[0], a, b)
    assert len({result.tobytes() for result in results}) == 1
    alone = product(a[m - 1 :], np.ascontiguousarray(b[:, n - 1 :]), MatmulForm.STREAMED)
    assert alone[0, 0] == results[0][-1, -1]


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", RUNNABLE)
def test_lesser_machines(name: str, dtype: DType) -> None:
    target = RUNNABLE[name]
    rng = np.random.default_rng(5)
    for m, n, k in ((1, 5, 7), (2, 48, 33), (5, 33, 20), (13, 70, 600)):
        for how in ("plain", "turned"):
            a, b = matrix(rng, m, k, dtype, how), matrix(rng, k, n, dtype, "plain")
            results = [product(a, b, form, [1], target) for form in FORMS]
            assert near(results[0], a, b)
            assert len({result.tobytes() for result in results}) == 1
            same = product(a, b, MatmulForm.PACKED)
            assert results[0].tobytes() == same.tobytes() or not target.has_fma


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("how", ["plain", "turned", "part", "sparse"])
def test_packing_copies_bits_and_pads_with_zeros(dtype: DType, how: str) -> None:
    lanes = PANEL_BYTES // dtype.itemsize
    rng = np.random.default_rng(6)
    for k, n in ((1, 1), (3, lanes), (lanes, 5 * lanes), (37, 4 * lanes + 3), (40, 2 * lanes - 1)):
        b = matrix(rng, k, n, dtype, how)
        b[0, 0] = np.nan
        b[-1, -1] = -0.0
        count = -(-n // lanes)
        wanted = np.zeros((k, count * lanes), dtype)
        wanted[:, :n] = b
        wanted = wanted.reshape(k, count, lanes).transpose(1, 0, 2)
        for cuts in ([0, count], list(range(count + 1))):
            assert packed(b, None, cuts).tobytes() == wanted.tobytes(), (k, n, cuts)


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("n", [1, 3, 10, 15, 16, 17, 31, 100])
def test_nothing_is_read_before_or_behind_a_matrix(form: MatmulForm, n: int) -> None:
    """B fills its pages to the last byte, then to the first, and those around cannot be read."""
    rng, size = np.random.default_rng(8), mmap.PAGESIZE
    a, b = matrix(rng, 3, 40, F32, "plain"), matrix(rng, 40, n, F32, "plain")
    pages = -(-b.nbytes // size)
    memory = mmap.mmap(-1, (pages + 2) * size)
    whole = np.frombuffer(memory, np.uint8)
    start = whole.ctypes.data
    libc = ctypes.CDLL(None)
    for page in (0, pages + 1):
        assert libc.mprotect(ctypes.c_void_p(start + page * size), ctypes.c_size_t(size), 0) == 0
    for offset in (size, (pages + 1) * size - b.nbytes):
        walled = whole[offset : offset + b.nbytes].view(np.float32).reshape(b.shape)
        walled[...] = b
        assert product(a, walled, form).tobytes() == product(a, b, form).tobytes()


@pytest.mark.parametrize("form", FORMS)
def test_what_is_not_finite_stays_in_its_row_and_column(form: MatmulForm) -> None:
    rng = np.random.default_rng(7)
    a, b = matrix(rng, 11, 9, F32, "plain"), matrix(rng, 9, 37, F32, "plain")
    a[3, 4], a[7, 2], b[5, 36] = np.nan, np.inf, -np.inf
    with np.errstate(all="ignore"):
        wanted = a.astype(np.float64) @ b.astype(np.float64)
    got = product(a, b, form)
    assert (np.isnan(got) == np.isnan(wanted)).all()
    infinite = np.isinf(wanted)
    assert (got[infinite] == wanted[infinite]).all() and np.isfinite(got[4:7, :36]).all()


@pytest.mark.parametrize("form", FORMS)
def test_nothing_to_add_up(form: MatmulForm) -> None:
    a, b = np.empty((9, 0), np.float32), np.empty((0, 50), np.float32)
    assert (product(a, b, form).view(np.int32) == 0).all()


@pytest.mark.parametrize("dtype", [F32, F64])
@pytest.mark.parametrize("name", ["avx2", "avx512", "neon"])
def test_tiles_stay_in_registers(name: str, dtype: DType) -> None:
    """The innermost loop of each tile has its multiply-adds and no vectors on the stack."""
    target = TARGETS.get(name, NEON)
    text = codegen.assembly(gemm.module(dtype, target), target)
    arithmetic = re.compile("fmadd|fmla")
    for rows, panels in gemm.shapes(target):
        function = text.split(f"tile.{rows}x{panels}:")[1].split(".size")[0]
        blocks = [block for block in function.split("\n.L") if arithmetic.search(block)]
        assert len(blocks) == 1
        lines = blocks[0].splitlines()
        registers = max(1, PANEL_BYTES // target.vector_bytes)
        assert sum(bool(arithmetic.search(line)) for line in lines) == rows * panels * registers
        stack = [line for line in lines if "sp)" in line or "[sp" in line]
        assert not [line for line in stack if re.search(r"[xyz]mm|\bq\d", line)], (rows, panels)


def test_the_text_is_the_same_each_time() -> None:
    assert gemm.module(F64, AVX2) == gemm.module(F64, AVX2)
