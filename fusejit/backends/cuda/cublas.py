"""Products by cuBLAS, from the wheel nvidia-cublas, called by ctypes.

It works in the context that is current, which is the primary one, on the stream that it is told.
Its workspace is ours: one that it takes for itself could not be captured into a graph.

cuBLAS counts elements by columns, fusejit by rows. A row-major matrix is the transpose of what
cuBLAS sees in the same memory, so C = A @ B is asked for as C' = B' @ A'.
"""

from __future__ import annotations

import ctypes
import importlib.util
from collections.abc import Callable, Sequence
from ctypes import c_int, c_longlong, c_void_p
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ..plan import Matmul

if TYPE_CHECKING:
    from .driver import Driver

WORKSPACE = 32 << 20  # bytes; what NVIDIA recommends for Hopper, and enough for all before it
_PLAIN, _TRANSPOSED = 0, 1  # CUBLAS_OP_N, CUBLAS_OP_T
_KINDS = {4: (0, 68), 8: (1, 70)}
"""Itemsize -> CUDA_R_32F, CUBLAS_COMPUTE_32F and the same for 64 bits: no TF32."""
_DEFAULT = -1  # CUBLAS_GEMM_DEFAULT
_MESSAGES = {1: "not initialized", 3: "out of memory", 7: "invalid value", 8: "no such machine"}

Product = Callable[[int, int, int, Any], None]


class CublasError(Exception):
    """What cuBLAS refuses."""


def find() -> Path | None:
    """The library inside the wheel, or None if that is not installed."""
    found = importlib.util.find_spec("nvidia")
    for folder in (found and found.submodule_search_locations) or ():
        for path in sorted(Path(folder).glob("cu*/lib/libcublas.so.*")):
            return path
    return None


class Cublas:
    """cuBLAS on one device; it is started by the first product.

    Args:
        library: where it is.
        driver: where the workspace comes from; current at each call.
    """

    def __init__(self, library: Path, driver: Driver) -> None:
        self._path = library
        self._driver = driver
        self._library: Any = None
        self._handle = c_void_p()
        self._workspace = 0
        self._stream: Any = None

    def product(self, code: Matmul, meta: Sequence[int]) -> Product:
        """C = A @ B as `plan.Matmul` says, a function of (A, B, C, stream)."""
        self._start()
        batch, m, n, k = meta[:4]
        a_op, a_leading = _seen(meta[5], meta[6], m, k)
        b_op, b_leading = _seen(meta[8], meta[9], k, n)
        a, b, c = c_void_p(), c_void_p(), c_void_p()
        scalar = ctypes.c_float if code.dtype.itemsize == 4 else ctypes.c_double
        one, zero = scalar(1), scalar(0)
        kind, compute = _KINDS[code.dtype.itemsize]
        call = self._library.cublasGemmStridedBatchedEx
        # Objects that ctypes need not convert: a call takes half the time.
        arguments = (
            *(self._handle, b_op, a_op, c_int(n), c_int(m), c_int(k), ctypes.byref(one)),
            *(b, c_int(kind), c_int(b_leading), c_longlong(meta[7])),
            *(a, c_int(kind), c_int(a_leading), c_longlong(meta[4]), ctypes.byref(zero)),
            *(c, c_int(kind), c_int(max(meta[11], n, 1)), c_longlong(meta[10]), c_int(batch)),
            *(c_int(compute), c_int(_DEFAULT)),
        )

        def multiply(from_a: int, from_b: int, to_c: int, stream: Any) -> None:
            if stream is not self._stream:
                self._use(stream)
            a.value, b.value, c.value = from_a, from_b, to_c
            status = call(*arguments)
            if status:
                _fail(status)

        return multiply if batch and m and n else _nothing

    def _start(self) -> None:
        if self._library is None:
            library = ctypes.CDLL(str(self._path))
            _check(library.cublasCreate_v2(ctypes.byref(self._handle)))
            self._workspace = self._driver.allocate(WORKSPACE)
            self._library = library

    def _use(self, stream: Any) -> None:
        """Go on in another stream; that makes cuBLAS forget its workspace."""
        library = self._library
        _check(library.cublasSetStream_v2(self._handle, c_void_p(stream.handle)))
        workspace, size = c_void_p(self._workspace), ctypes.c_size_t(WORKSPACE)
        _check(library.cublasSetWorkspace_v2(self._handle, workspace, size))
        self._stream = stream


def _seen(row: int, column: int, rows: int, columns: int) -> tuple[c_int, int]:
    """How cuBLAS is to take a matrix of these strides, and the leading dimension."""
    if column == 1 and (row >= columns or rows == 1):
        return c_int(_PLAIN), max(row, columns, 1)
    return c_int(_TRANSPOSED), max(column, rows, 1)


def _nothing(from_a: int, from_b: int, to_c: int, stream: Any) -> None:
    """The product that has no elements."""


def _check(status: int) -> None:
    if status:
        _fail(status)


def _fail(status: int) -> None:
    raise CublasError(f"cuBLAS: {_MESSAGES.get(status, 'error')} ({status})")
