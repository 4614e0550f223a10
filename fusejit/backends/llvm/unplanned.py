"""Matrix products at sizes that are met for the first time: one call of a kernel, no plan.

To lower one product and lay its plan out takes 0.25 ms, three times that in a process that has done
other things meanwhile; a call at a new batch size would wait for it, and may be the only one. The
kernels are generic in their sizes, and an element has the same bits whatever form of the product
makes it (see `gemm`), so the plan can wait until the sizes come again.
"""

from __future__ import annotations

import ctypes
from functools import lru_cache
from typing import Any

import numpy as np

from ...op import Array
from ...scalar import F32, F64, DType
from ..cost import nanoseconds
from ..plan import PANEL_BYTES, Matmul, MatmulForm, Operand, Step
from ..products import STREAMED_ROWS
from . import matmul
from .abi import address

MOST = 100_000.0
"""Nanoseconds of work from which on a plan is made at once: that packs, and shares the work."""
_OPERANDS = (Operand(0), Operand(1), Operand(2))
_PLACES = (ctypes.c_void_p, ctypes.c_void_p)  # of the operands, and of the sizes
_Kernel = ctypes.PYFUNCTYPE(ctypes.c_int64, *_PLACES, ctypes.c_int64, ctypes.c_int64)


def product(a: Array, b: Array) -> Array | None:
    """a @ b for two C-contiguous matrices of one dtype; None for what is left to plans."""
    dtype = a.dtype
    if a.ndim != 2 or b.ndim != 2 or dtype not in (F32, F64) or b.dtype != dtype:
        return None
    if not all(each.flags.c_contiguous and each.flags.aligned for each in (a, b)):
        return None
    (m, k), n = a.shape, b.shape[1]
    if k != b.shape[0] or 0 in (m, k) or n < 2:  # a single column is BLAS's
        return None
    lanes = PANEL_BYTES // dtype.itemsize
    few = m <= STREAMED_ROWS
    form, count = (MatmulForm.STREAMED, -(-n // lanes)) if few else (MatmulForm.PLAIN, m)
    meta = (1, m, n, k, 0, k, 1, 0, n, 1, 0, n, 1)
    step = Step(Matmul(dtype, form), _OPERANDS, meta, count)
    if nanoseconds(step) >= MOST:
        return None
    result = np.empty((m, n), dtype)
    operands = np.array([address(a), address(b), address(result)])
    sizes = np.array(meta)
    _kernel(dtype, form)(address(operands), address(sizes), 0, count)
    return result


@lru_cache(maxsize=4)  # dtypes and forms
def _kernel(dtype: DType, form: MatmulForm) -> Any:
    """The kernel, to be called with the GIL held."""
    place = matmul.address(Matmul(dtype, form))
    assert place is not None, "only BLAS may be missing"
    return _Kernel(place)
