"""BLAS by pointer: OpenBLAS from the wheel scipy_openblas64, loaded as a copy of our own.

OpenBLAS picks its kernels when it is loaded, by processor model, and takes models that it does not
know for older ones (an AVX-512 machine of 2024 for Haswell: half the speed). So the core type is
named for it, in the environment, for the moment of loading. It gets one thread: its workers spin,
which on a shared machine costs milliseconds a call.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

from ..ready import Once
from .abi import pointer
from .target import host

_SYMBOLS = {
    "gemm.f32": "scipy_cblas_sgemm64_",
    "gemm.f64": "scipy_cblas_dgemm64_",
    "gemv.f32": "scipy_cblas_sgemv64_",
    "gemv.f64": "scipy_cblas_dgemv64_",
}


@Once
def symbols() -> dict[str, int] | None:
    """The addresses of the routines that `matmul.ll` calls, or None without a usable BLAS."""
    try:
        with _environment():
            library = ctypes.CDLL(_path())
        library.scipy_openblas_set_num_threads64_(1)
        found = {ours: pointer(getattr(library, theirs)) for ours, theirs in _SYMBOLS.items()}
    except (ImportError, OSError, AttributeError):
        return None
    return found


def _path() -> str:
    """The library inside the wheel, whose module is not imported: 35 ms, for its own version.

    Raises:
        ImportError: the wheel is not installed, or holds no library.
    """
    found = find_spec("scipy_openblas64")
    if found is not None:
        for folder in found.submodule_search_locations or ():
            libraries = os.path.join(folder, "lib")
            for name in os.listdir(libraries):
                if name.startswith("libscipy_openblas"):
                    return os.path.join(libraries, name)
    raise ImportError("scipy_openblas64")


def core() -> str | None:
    """The core type that OpenBLAS is to use here, or None: let it choose."""
    target = host()
    if target.has_avx512:
        return "SkylakeX"
    return "Haswell" if target.has_avx2 and target.has_fma else None


@contextmanager
def _environment() -> Iterator[None]:
    """Our own settings of OpenBLAS; the user's are put back afterwards.

    What the user's environment says has already had its effect on NumPy's copy. It is often a
    default for a whole fleet, which would halve the speed of ours. Without the number of threads
    those are made at once, and each spins for 100 ms, on the core where our own would work.
    """
    names = ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE", "OPENBLAS_NUM_THREADS")
    before = {name: os.environ.get(name) for name in names}
    chosen = core()
    try:
        if chosen is not None:
            os.environ["OPENBLAS_CORETYPE"] = chosen
        os.environ.pop("OPENBLAS_L2_SIZE", None)
        os.environ["OPENBLAS_NUM_THREADS"] = "1"
        yield
    finally:
        for name, value in before.items():
            if value is None:
                os.environ.pop(name, None)
            else:
                os.environ[name] = value
