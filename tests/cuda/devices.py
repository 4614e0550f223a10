"""What a test of the GPU runs on: the emulator, PyCUDA over a fake driver, a real device."""

from __future__ import annotations

import ctypes
import importlib.util
import tempfile
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

import pytest

from fusejit.backends.cuda import cublas, emulation
from fusejit.backends.cuda.device import Gpu
from fusejit.backends.cuda.driver import Driver, PyCudaDriver
from fusejit.backends.cuda.emulated import EmulatedDriver, libraries
from fusejit.backends.cuda.program import Source
from tests.cuda.fake_driver import build

KINDS = ("emulated", "fake", pytest.param("gpu", marks=pytest.mark.gpu))


def make(kind: str, ordinal: int = 0) -> Gpu:
    """A device of a kind; the test is skipped where there is none."""
    return Gpu(ordinal, driver(kind, ordinal))


def driver(kind: str, ordinal: int) -> Driver:
    """The driver of a device of a kind, likewise."""
    require(kind)
    return _DRIVERS[kind](ordinal)


def require(kind: str) -> None:
    """Skip the test where there is no device of this kind."""
    reason = why_not(kind)
    if reason is not None:
        pytest.skip(reason)


def why_not(kind: str) -> str | None:
    """Why there is no device of a kind here, or None."""
    if kind == "gpu":
        there = importlib.util.find_spec("pycuda") is not None and _has_driver()
        return None if there else "there is no CUDA device, or no PyCUDA"
    if kind == "emulated" or emulation.why_not() is not None:
        return emulation.why_not()
    if importlib.util.find_spec("pycuda") is None or build.headers() is None:
        return "PyCUDA is not installed; `make test-pycuda` builds it"
    return "this machine has a CUDA driver" if _has_driver() else None


def faked(ordinal: int) -> PyCudaDriver:
    """PyCUDA itself over tests/cuda/fake_driver."""
    fake_library()
    return PyCudaDriver(ordinal, compile=fake_images)


_DRIVERS: dict[str, Callable[[int], Driver]] = {
    "emulated": EmulatedDriver,
    "fake": faked,
    "gpu": PyCudaDriver,
}


@cache
def _has_driver() -> bool:
    try:
        ctypes.CDLL("libcuda.so.1")
    except OSError:
        return False
    return True


@cache
def fake_library() -> ctypes.CDLL:
    """The fake driver, in this process: PyCUDA finds it under its name, and so does cuBLAS."""
    include = build.headers()
    assert include is not None
    assert why_not("fake") is None  # looks for a real one, before this one goes by its name
    path = build.fake(Path(tempfile.mkdtemp(prefix="fusejit-fake-")), include)
    loaded = ctypes.CDLL(str(path), mode=ctypes.RTLD_GLOBAL)
    emulation._scheduler()
    cublas.find = lambda: path
    return loaded


def fake_images(sources: Sequence[Source]) -> list[bytes]:
    """Images that the fake driver loads."""
    return [b"FAKE:" + bytes(path) + b"\0" for path in libraries(sources)]


def fake_counts() -> dict[str, int]:
    """What the fake driver has been asked for."""
    found = (ctypes.c_size_t * 4)()
    fake_library().fake_counts(found)
    return dict(zip(("launches", "allocations", "blocks", "used"), found, strict=True))
