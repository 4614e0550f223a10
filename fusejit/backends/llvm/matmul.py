"""The matrix products of a plan: generated, by BLAS through its address, or NumPy without one."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from string import Template
from typing import Any

import numpy as np

from ...errors import LoweringError
from ...scalar import DType
from ..plan import Matmul, MatmulForm, Opaque, Operand, Pack, Step
from . import blas, gemm
from .abi import kernels_text

_SPELLINGS = {np.dtype(np.float32): ("f32", "float"), np.dtype(np.float64): ("f64", "double")}


def address(code: Matmul | Pack) -> int | None:
    """The address of the kernel of a step, compiled when first asked for; None without BLAS."""
    if isinstance(code, Pack):
        return gemm.entries(code.dtype)["pack"]
    if code.form is MatmulForm.BLAS:
        return by_blas(code.dtype)
    return gemm.entries(code.dtype)[code.form.value]


@lru_cache(maxsize=len(_SPELLINGS))
def by_blas(dtype: DType) -> int | None:
    """The address of the kernel that calls BLAS, compiled when first asked for."""
    from .jit import link

    routines = blas.symbols()
    if routines is None:
        return None
    name, spelling = _SPELLINGS[dtype]
    template = Template(kernels_text("llvm/matmul.ll"))
    text = kernels_text("llvm/api.ll") + template.substitute({"name": name, "float": spelling})
    used = {symbol: routines[symbol] for symbol in (f"gemm.{name}", f"gemv.{name}")}
    return link(text, (f"matmul.{name}",), used)[f"matmul.{name}"]


def check(step: Step) -> None:
    """That a step has the dtype and strides of its form: it would not raise, but read elsewhere."""
    code = step.code
    assert isinstance(code, Matmul | Pack)
    if code.dtype not in _SPELLINGS:
        raise LoweringError(f"matmul: expected float32 or float64, got {code.dtype}")
    if isinstance(code, Pack):
        return
    if code.form is MatmulForm.BLAS:
        _check_blas(step)
        return
    b_column, c_column = step.meta[9], step.meta[12]
    if step.meta[0] != 1 or c_column != 1 or (b_column != 1 and not code.form.packed):
        raise LoweringError(
            f"matmul, {code.form.value}: expected a batch of 1, adjacent columns of B and C, got "
            f"{step.meta[0]} and strides {b_column}, {c_column}"
        )


def _check_blas(step: Step) -> None:
    for number, ((_, rows, columns), (_, down, across)) in enumerate(_matrices(step.meta)):
        by_rows = (across == 1 or columns <= 1) and (down >= max(1, columns) or rows <= 1)
        by_columns = (down == 1 or rows <= 1) and (across >= max(1, rows) or columns <= 1)
        empty = rows == 0 or columns == 0  # its strides say nothing, and nothing is read
        if not (empty or by_rows or (by_columns and number < 2)):
            raise LoweringError(
                f"matmul: expected adjacent rows or columns, got strides {down}, {across} for the "
                f"{rows} x {columns} operand {'ABC'[number]}"
            )


def by_numpy(step: Step) -> Step:
    """The same product as a Python step."""
    assert isinstance(step.code, Matmul)
    dtype = step.code.dtype
    offsets = [operand.offset for operand in step.operands]
    layouts = _matrices(step.meta)

    def call(*slots: np.ndarray[Any, Any]) -> None:
        a, b, c = (
            np.ndarray(extents, dtype, slot, offset, [dtype.itemsize * s for s in strides])
            for slot, offset, (extents, strides) in zip(slots, offsets, layouts, strict=True)
        )
        np.matmul(a, b, out=c)

    whole = tuple(Operand(operand.slot) for operand in step.operands)
    return Step(Opaque("matmul", call), whole, (), step.count, step.where)


def _matrices(meta: Sequence[int]) -> list[tuple[tuple[int, int, int], tuple[int, ...]]]:
    """(extents, strides) of A, B and C."""
    batch, m, n, k = meta[:4]
    extents = ((batch, m, k), (batch, k, n), (batch, m, n))
    return [(e, tuple(meta[4 + 3 * i : 7 + 3 * i])) for i, e in enumerate(extents)]
