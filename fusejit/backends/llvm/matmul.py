"""The matrix product of a plan: BLAS by pointer, or NumPy where there is none."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from string import Template
from typing import Any

import numpy as np

from ...errors import LoweringError
from ...scalar import DType
from ..plan import Matmul, Opaque, Operand, Step
from . import blas
from .abi import kernels_text

_SPELLINGS = {np.dtype(np.float32): ("f32", "float"), np.dtype(np.float64): ("f64", "double")}


@lru_cache(maxsize=len(_SPELLINGS))
def address(dtype: DType) -> int | None:
    """The address of the kernel for products of `dtype`, compiled when first asked for.

    None without BLAS.
    """
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
    """That BLAS can take a step's dtype and strides: it would not raise, but read elsewhere."""
    assert isinstance(step.code, Matmul)
    if step.code.dtype not in _SPELLINGS:
        raise LoweringError(f"matmul: expected float32 or float64, got {step.code.dtype}")
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
