"""What fusejit asks of a GPU: the Driver protocol, and the driver that PyCUDA serves.

A driver is one device. Addresses are plain integers; streams, events and graphs are objects that
only the driver that made them understands. All but `compile` and the attributes needs the device to
be current on the calling thread: between `enter` and `leave`, which nest and which put back what
was current before. Nothing here locks, caches or pools: what stands above does, once for all
drivers.

PyCUDA is named in this file alone, and imported when the first device is asked for. It works in the
primary context, which PyTorch, CuPy and the CUDA runtime use too, so memory and streams of all of
them can meet.
"""

from __future__ import annotations

import contextlib
import ctypes
import importlib.util
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Protocol

import numpy as np

from ...errors import DeviceError
from ..plan import Matmul
from . import cublas, nvrtc
from .libcuda import LibCuda, LibCudaError
from .program import Dim, Limits, Source


class OutOfMemory(Exception):
    """The device has not as much free memory as was asked for."""


class Stream(Protocol):
    """Work that the device does in order."""

    @property
    def handle(self) -> int:
        """The CUstream, for other libraries; 0 for the emulator's."""

    def synchronize(self) -> None:
        """Wait until all that was given to the stream is done."""


class Event(Protocol):
    """A place in a stream."""

    def record(self, stream: Any) -> object:
        """Move it to behind all that was given to the stream so far."""

    def synchronize(self) -> object:
        """Wait until the stream has come by."""

    def time_since(self, event: Any) -> float:
        """Milliseconds since the stream came by another event."""


class Function(Protocol):
    """A kernel on the device."""

    @property
    def launch(self) -> Callable[[Dim, Dim, Any, int, Any], object]:
        """(grid, block, parameters, bytes of dynamic shared memory, stream) -> None. The buffer of
        parameters is read before it returns."""


class Graph(Protocol):
    """A sequence of launches that the device runs as one."""

    def launch(self, stream: Any) -> None:
        """Give all of it to a stream."""


class Blas(Protocol):
    """Products of matrices on the device."""

    def product(self, code: Matmul, meta: Sequence[int]) -> Callable[[int, int, int, Any], None]:
        """C = A @ B as `plan.Matmul` says, a function of their addresses and a stream."""


class Driver(Protocol):
    """One device."""

    name: str
    limits: Limits
    errors: tuple[type[Exception], ...]  # what its methods and those of its objects raise

    def compile(self, sources: Sequence[Source]) -> list[bytes]:
        """The image of each source, found or made; LoweringError says what the compiler said."""

    def enter(self) -> None:
        """Make the device current on this thread."""

    def leave(self) -> None:
        """Undo the last `enter`."""

    def load(self, image: bytes, name: str) -> Function:
        """The kernel `name` of an image; it stays on the device as long as the Function lives."""

    def allocate(self, nbytes: int) -> int:
        """The address of new memory, aligned to 256 bytes; OutOfMemory if there is not enough."""

    def free(self, address: int) -> None:
        """Give memory back to the device once all work that was given to it is done."""

    def renew(self, address: int, nbytes: int) -> None:
        """Memory is used again: its content, too, may be anything from here on in the first
        stream. The emulator spoils it."""

    def memory(self) -> tuple[int, int]:
        """Bytes that are free, and bytes in all."""

    def pinned(self, nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """Host memory that the device copies from and to while the host goes on."""

    def stream(self) -> Stream:
        """A new stream; the first one is in order with the default streams of other libraries."""

    def event(self) -> Event:
        """A new event."""

    def upload(self, address: int, source: np.ndarray[Any, Any], stream: Any) -> None:
        """Copy pinned memory to the device; it is read when the stream comes by."""

    def download(self, target: np.ndarray[Any, Any], address: int, stream: Any) -> None:
        """Copy from the device to pinned memory, when the stream comes by."""

    def copy(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        """Copy on the device, when the stream comes by."""

    def capture(self, work: Callable[[Stream], None]) -> Graph:
        """What `work` launches on the stream that it is given, as a graph; nothing runs."""

    def blas(self) -> Blas | None:
        """A library for products, or None if none is installed."""

    def close(self) -> None:
        """Give back all that the driver holds; nothing is called afterwards."""


# ---- PyCUDA


class PyCudaDriver:
    """A device of this machine.

    Args:
        ordinal: its number.
        compile: makes images; by default NVRTC, for exactly this device. Tests over a fake driver
            library give their own.
    Raises:
        DeviceError: PyCUDA, the driver or the device is missing.
    """

    def __init__(
        self, ordinal: int, compile: Callable[[Sequence[Source]], list[bytes]] | None = None
    ) -> None:
        self._cuda = cuda = _pycuda(ordinal)
        device = _device(cuda, ordinal)
        self._context = device.retain_primary_context()
        self._lib = LibCuda()
        self._handle = ctypes.c_void_p(self._context.handle)
        self._blocks: dict[int, Any] = {}
        self._streams: list[Any] = []
        self._compile = compile
        major, minor = device.compute_capability()
        ask, what = device.get_attribute, cuda.device_attribute
        self.name: str = device.name()
        self.architecture = f"sm_{major}{minor}"
        self.limits = Limits(
            sms=ask(what.MULTIPROCESSOR_COUNT),
            shared=ask(what.MAX_SHARED_MEMORY_PER_BLOCK),
            threads=ask(what.MAX_THREADS_PER_BLOCK),
        )
        self.errors: tuple[type[Exception], ...] = (cuda.Error, LibCudaError, cublas.CublasError)

    def compile(self, sources: Sequence[Source]) -> list[bytes]:
        if self._compile is not None:
            return self._compile(sources)
        return nvrtc.images(sources, self.architecture)

    def enter(self) -> None:
        # Not by PyCUDA, which would put back what *it* made current last: not so PyTorch's context.
        self._lib.push(self._handle)

    def leave(self) -> None:
        self._lib.pop()

    def load(self, image: bytes, name: str) -> Function:
        with self._noted():
            return _PyCudaFunction(self._cuda.module_from_buffer(image).get_function(name))

    def allocate(self, nbytes: int) -> int:
        with self._noted():
            try:
                block = self._cuda.mem_alloc(nbytes)
            except self._cuda.MemoryError as error:
                raise OutOfMemory from error
        self._blocks[int(block)] = block
        return int(block)

    def free(self, address: int) -> None:
        with self._noted():
            self._blocks.pop(address).free()

    def renew(self, address: int, nbytes: int) -> None:
        pass

    def memory(self) -> tuple[int, int]:
        free, total = self._cuda.mem_get_info()
        return free, total

    def pinned(self, nbytes: int) -> np.ndarray[Any, np.dtype[np.uint8]]:
        with self._noted():
            found: np.ndarray[Any, Any] = self._cuda.pagelocked_empty(nbytes, np.uint8)
        return found

    def stream(self) -> Stream:
        # A stream that is in order with the default one cannot be captured while that is in use.
        flags = _NON_BLOCKING if self._streams else 0
        with self._noted():
            made: Stream = self._cuda.Stream(flags)
        self._streams.append(made)
        return made

    def event(self) -> Event:
        with self._noted():
            made: Event = self._cuda.Event()
        return made

    def upload(self, address: int, source: np.ndarray[Any, Any], stream: Any) -> None:
        self._cuda.memcpy_htod_async(address, source, stream)

    def download(self, target: np.ndarray[Any, Any], address: int, stream: Any) -> None:
        self._cuda.memcpy_dtoh_async(target, address, stream)

    def copy(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        self._cuda.memcpy_dtod_async(target, source, nbytes, stream)

    def capture(self, work: Callable[[Stream], None]) -> Graph:
        if len(self._streams) < 2:
            self.stream()
        stream = self._streams[1]
        self._lib.begin_capture(stream.handle)
        try:
            work(stream)
        finally:
            executable = self._lib.end_capture(stream.handle)
        return _CudaGraph(self._lib, executable)

    def blas(self) -> Blas | None:
        library = cublas.find()
        return None if library is None else cublas.Cublas(library, self)

    def close(self) -> None:
        # All that is on the device goes with the context, and PyCUDA then knows that it is gone.
        # It would detach by itself when its object dies, but by a function for other contexts.
        self._lib.closed = True
        self._context.push()
        self._context.detach()
        self._lib.pop()  # which detaching does, unless a context is primary

    @contextlib.contextmanager
    def _noted(self) -> Iterator[None]:
        """PyCUDA itself must know which context is current where it makes or frees something."""
        self._context.push()
        try:
            yield
        finally:
            self._context.pop()
            self._lib.exchange(self._handle)  # it has made current what it knew before


_NON_BLOCKING = 1  # CU_STREAM_NON_BLOCKING


class _PyCudaFunction:
    """`launch` is PyCUDA's `_launch_kernel`: its public forms first call a function of the driver
    that is deprecated, which takes as long again."""

    __slots__ = ("launch",)

    def __init__(self, function: Any) -> None:
        self.launch: Callable[[Dim, Dim, Any, int, Any], object] = function._launch_kernel


class _CudaGraph:
    __slots__ = ("_executable", "_lib")

    def __init__(self, lib: LibCuda, executable: int) -> None:
        self._lib = lib
        self._executable = executable

    def launch(self, stream: Any) -> None:
        self._lib.launch(self._executable, stream.handle)

    def __del__(self) -> None:
        self._lib.destroy(self._executable)


def _pycuda(ordinal: int) -> Any:
    """The module pycuda.driver.

    Raises:
        DeviceError: it is not installed, or finds no driver.
    """
    where = f"device /gpu:{ordinal}"
    if importlib.util.find_spec("pycuda") is None:
        raise DeviceError(
            f"{where}: PyCUDA is not installed; pip install 'fusejit[cuda]', or use \"/cpu:0\"."
        )
    try:
        import pycuda.driver
    except ImportError as error:  # libcuda.so.1 comes with the driver
        raise DeviceError(f"{where}: this machine has no CUDA driver: {error}.") from error
    return pycuda.driver


def _device(cuda: Any, ordinal: int) -> Any:
    """The device; DeviceError if there is none of this number."""
    where = f"device /gpu:{ordinal}"
    try:
        cuda.init()
        count = cuda.Device.count()
    except cuda.Error as error:
        raise DeviceError(f"{where}: the CUDA driver says: {error}.") from error
    if ordinal >= count:
        raise DeviceError(f"{where}: this machine has {count} CUDA devices.")
    return cuda.Device(ordinal)
