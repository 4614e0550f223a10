"""What tests of LLVM kernels share: targets, calls through ctypes, edge values, equal bits."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence
from typing import Any

import numpy as np

from fusejit.backends.base import Kernel
from fusejit.backends.llvm import jit
from fusejit.backends.llvm.target import Target, host, make
from fusejit.scalar import BOOL, DType

Array = np.ndarray[Any, Any]

LINUX = "x86_64-unknown-linux-gnu"
_SSE4 = "+sse2,+sse3,+ssse3,+sse4.1,+sse4.2"
SSE2 = make("x86-64", "+sse2", LINUX)
AVX = make("x86-64", f"{_SSE4},+avx", LINUX)
AVX2 = make("x86-64-v3", f"{_SSE4},+avx,+avx2,+fma,+bmi,+bmi2", LINUX)
AVX512 = make(
    "x86-64-v4",
    f"{_SSE4},+avx,+avx2,+fma,+bmi,+bmi2,+avx512f,+avx512bw,+avx512cd,+avx512dq,+avx512vl",
    LINUX,
)
NEON = make("generic", "+neon", "aarch64-unknown-linux-gnu")
TARGETS = {"sse2": SSE2, "avx": AVX, "avx2": AVX2, "avx512": AVX512}


def can_run(target: Target) -> bool:
    """Whether this machine executes code made for `target`."""
    wanted = {f for f in target.features.split(",") if f.startswith("+")}
    return host().is_x86 and wanted <= set(host().features.split(","))


RUNNABLE = {name: target for name, target in TARGETS.items() if can_run(target)} | {"host": host()}

DTYPES = [np.dtype(c) for c in ("f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "?")]


def call(
    kernel: Kernel,
    operands: Sequence[Array | int],
    meta: Sequence[int],
    begin: int,
    end: int,
    target: Target | None = None,
) -> None:
    """Compile and run a kernel. An int operand is the first value of an INDEX walk."""
    address = jit.compile_kernel(kernel, target).address
    values = [o if isinstance(o, int) else o.ctypes.data for o in operands]
    pointers = (ctypes.c_int64 * len(values))(*values)
    numbers = (ctypes.c_int64 * len(meta))(*meta)
    pointer, integer = ctypes.c_void_p, ctypes.c_int64
    function = ctypes.CFUNCTYPE(integer, pointer, pointer, integer, integer)(address)
    assert function(ctypes.addressof(pointers), ctypes.addressof(numbers), begin, end) == 0


def edges(dtype: DType) -> Array:
    """The values where a primitive is likeliest to be wrong."""
    if dtype == BOOL:
        return np.array([False, True])
    if dtype.kind == "f":
        info = np.finfo(dtype.type)
        values = [0.0, 0.3, 0.5, 0.7, 1.0, 1.5, 2.5, 3.0, 7.25, 1e-3, 12345.678]
        values += [2.0**k for k in (7, 8, 15, 16, 23, 24, 31, 32, 52, 53, 62, 63, 64)]
        values += [2.0**k - 0.5 for k in (8, 22, 31, 51)]
        values += [float(info.tiny), float(info.smallest_subnormal), float(info.max)]
        values += [np.inf, np.nan]
        positive = np.array(values, dtype)
        near = np.nextafter(positive, dtype.type(0))
        both = np.concatenate([positive, near])
        return np.concatenate([both, -both])
    info = np.iinfo(dtype.type)
    small = [0, 1, 2, 3, 7, 8, 9, 15, 16, 31, 32, 33, 63, 64, 65, 100]
    signed = [-v for v in small] if dtype.kind == "i" else []
    ends = [info.min, info.min + 1, info.max - 1, info.max, info.max // 2]
    return np.array([*small, *signed, *ends], dtype)


def random_bits(dtype: DType, count: int, rng: np.random.Generator) -> Array:
    if dtype == BOOL:
        return rng.integers(0, 2, count).astype(bool)
    return np.frombuffer(rng.bytes(count * dtype.itemsize), dtype).copy()


def same_bits(got: Array, expected: Array) -> Array:
    """Elementwise equality of bits; any NaN equals any other."""
    assert got.dtype == expected.dtype
    if got.dtype.kind != "f":
        return np.asarray(got == expected)
    bits = np.dtype(f"u{got.dtype.itemsize}")
    equal = np.ascontiguousarray(got).view(bits) == np.ascontiguousarray(expected).view(bits)
    return np.asarray(equal | (np.isnan(got) & np.isnan(expected)))
