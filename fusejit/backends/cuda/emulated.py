"""A GPU that is emulated on the CPU: what happens on it is as late as it may be.

For tests and for machines without a GPU. What a stream is given runs when somebody waits for it, or
when there is too much of it. New memory holds NaNs, and so does memory that is used again. So who
forgets to wait reads NaNs, or what was there before. It is an error to copy from and to memory that
is not pinned or not on the device, to use the device where it is not current, and to write beyond a
block.
"""

from __future__ import annotations

import ctypes
import threading
import time
from bisect import bisect_right
from collections import deque
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np

from ...errors import DeviceError, FuseJitError
from ..plan import Matmul
from . import emulation
from .driver import Blas, Function, OutOfMemory, Stream
from .program import Dim, Limits, Source

Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"
Work: TypeAlias = "Callable[[], None]"

DEVICES = 2
CAPACITY = 8 << 30  # bytes of memory that a device has
_ALIGNMENT = 256
_RED_ZONE = 256  # bytes before and after each block that nobody may write
_UNTOUCHED = 0xA5
_POISON = 0xFF  # a NaN in every floating dtype, -1 as an integer
_PENDING = 1024  # what a stream holds before its giver must wait, as on a real device
_TOGETHER = 24  # kernels in a library: g++ takes as long to start as for one of them
_compiling = threading.Lock()


class EmulatorError(Exception):
    """What a real device would not have done, or not have noticed."""


class EmulatedDriver:
    """A device that is not there.

    Args:
        ordinal: its number.
        capacity: bytes of its memory.
        blas: whether it has a library for products.
    Raises:
        DeviceError: there is no such device, or no compiler for it.
    """

    def __init__(self, ordinal: int, capacity: int = CAPACITY, blas: bool = True) -> None:
        reason = emulation.why_not()
        if reason is not None or ordinal >= DEVICES:
            reason = reason or f"there are {DEVICES} emulated devices"
            raise DeviceError(f"device /gpu:{ordinal}: {reason}.")
        self.name = "emulated on the CPU"
        self.limits = Limits(sms=4, shared=48 << 10)
        self.errors: tuple[type[Exception], ...] = (EmulatorError,)
        self._memory = DeviceMemory(capacity)
        self._pinned: list[tuple[int, int]] = []
        self._streams: list[EmulatedStream] = []
        self._current = _Depth()
        self._blas = EmulatedBlas(self._memory) if blas else None

    def compile(self, sources: Sequence[Source]) -> list[bytes]:
        return [str(path).encode() for path in libraries(sources)]

    def enter(self) -> None:
        self._current.value += 1

    def leave(self) -> None:
        self._current.value -= 1

    def load(self, image: bytes, name: str) -> Function:
        self._needs_current()
        return EmulatedFunction(self._memory, emulation.loaded(Path(image.decode()), name))

    def allocate(self, nbytes: int) -> int:
        self._needs_current()
        return self._memory.allocate(nbytes)

    def free(self, address: int) -> None:
        self._needs_current()
        for stream in self._streams:
            stream.synchronize()
        self._memory.free(address)

    def renew(self, address: int, nbytes: int) -> None:
        self._streams[0].give(partial(self._memory.poison, address, nbytes))

    def memory(self) -> tuple[int, int]:
        return self._memory.capacity - self._memory.used, self._memory.capacity

    def pinned(self, nbytes: int) -> Bytes:
        self._needs_current()
        made = np.full(nbytes, _POISON, np.uint8)
        self._pinned.append((made.ctypes.data, nbytes))
        return made

    def stream(self) -> Stream:
        self._needs_current()
        self._streams.append(EmulatedStream())
        return self._streams[-1]

    def event(self) -> EmulatedEvent:
        self._needs_current()
        return EmulatedEvent()

    def upload(self, address: int, source: np.ndarray[Any, Any], stream: Any) -> None:
        self._needs_pinned(source)
        target = self._memory.view(address, source.nbytes)
        stream.give(partial(np.copyto, target, source))

    def download(self, target: np.ndarray[Any, Any], address: int, stream: Any) -> None:
        self._needs_pinned(target)
        source = self._memory.view(address, target.nbytes)
        stream.give(partial(np.copyto, target, source))

    def copy(self, target: int, source: int, nbytes: int, stream: Any) -> None:
        self._needs_current()
        view = self._memory.view
        stream.give(partial(np.copyto, view(target, nbytes), view(source, nbytes)))

    def capture(self, work: Callable[[Stream], None]) -> EmulatedGraph:
        self._needs_current()
        stream = EmulatedStream()
        captured: list[Work] = []
        stream.captured = captured
        work(stream)
        return EmulatedGraph(captured)

    def blas(self) -> Blas | None:
        return self._blas

    def close(self) -> None:
        self._memory.close()

    def _needs_current(self) -> None:
        if not self._current.value:
            raise EmulatorError("the device is not current on this thread")

    def _needs_pinned(self, array: np.ndarray[Any, Any]) -> None:
        self._needs_current()
        first = array.ctypes.data
        if not any(at <= first and first + array.nbytes <= at + n for at, n in self._pinned):
            raise EmulatorError("a copy from or to memory that is not pinned")


def libraries(sources: Sequence[Source]) -> list[Path]:
    """The library with the kernel of each source; a few are compiled together."""
    found: list[Path] = []
    with _compiling:  # files that compilers read are written
        for first in range(0, len(sources), _TOGETHER):
            part = sources[first : first + _TOGETHER]
            found += [emulation.compiled(*part)] * len(part)
    return found


class _Depth(threading.local):
    value = 0


# ---- streams


class EmulatedStream:
    """Work in order, which runs when somebody waits for it."""

    handle = 0

    def __init__(self) -> None:
        self.captured: list[Work] | None = None  # what a graph is made of, while it is
        self._queue: deque[Work] = deque()
        self.given = self.done = 0  # how much work, so far

    def give(self, work: Work) -> None:
        if self.captured is not None:
            self.captured.append(work)
            return
        self._queue.append(work)
        self.given += 1
        if self.given - self.done > _PENDING:
            self.run_until(self.done + 1)

    def synchronize(self) -> None:
        self.run_until(self.given)

    def run_until(self, count: int) -> None:
        """Run what was given up to some moment."""
        if self.captured is not None:
            raise EmulatorError("a stream that is captured cannot be waited for")
        while self.done < count:
            work = self._queue.popleft()
            self.done += 1
            work()


class EmulatedEvent:
    """A place in a stream."""

    def __init__(self) -> None:
        self._stream: EmulatedStream | None = None
        self._at = 0
        self._time = 0.0

    def record(self, stream: EmulatedStream) -> None:
        stream.give(self._passed)
        self._stream, self._at = stream, stream.given

    def synchronize(self) -> None:
        if self._stream is not None:
            self._stream.run_until(self._at)

    def time_since(self, event: EmulatedEvent) -> float:
        return 1e3 * (self._time - event._time)

    def _passed(self) -> None:
        self._time = time.perf_counter()


class EmulatedGraph:
    """What was captured, to be run any number of times."""

    def __init__(self, captured: Sequence[Work]) -> None:
        self._captured = captured

    def launch(self, stream: EmulatedStream) -> None:
        stream.give(self._run)

    def _run(self) -> None:
        for work in self._captured:
            work()


# ---- memory


class DeviceMemory:
    """Blocks with red zones around them."""

    def __init__(self, capacity: int) -> None:
        self.capacity = capacity
        self.used = 0
        self._blocks: dict[int, tuple[int, Bytes]] = {}  # address -> size, memory
        self._addresses: list[int] = []  # sorted

    def allocate(self, nbytes: int) -> int:
        if self.used + nbytes > self.capacity:
            raise OutOfMemory
        memory = np.full(nbytes + 2 * _RED_ZONE + _ALIGNMENT, _UNTOUCHED, np.uint8)
        first = memory.ctypes.data + _RED_ZONE
        address = first + -first % _ALIGNMENT
        self._blocks[address] = nbytes, memory
        self._addresses.insert(bisect_right(self._addresses, address), address)
        self.used += nbytes
        self.poison(address, nbytes)
        return address

    def free(self, address: int) -> None:
        self.check(address, "somebody")
        nbytes, _ = self._blocks.pop(address)
        self._addresses.remove(address)
        self.used -= nbytes

    def poison(self, address: int, nbytes: int) -> None:
        self.view(address, nbytes)[:] = _POISON

    def block_of(self, address: int) -> int | None:
        """The address of the block in which another address lies."""
        number = bisect_right(self._addresses, address) - 1
        if number < 0:
            return None
        block = self._addresses[number]
        return block if address < block + self._blocks[block][0] else None

    def view(self, address: int, nbytes: int) -> Bytes:
        """Bytes of a block."""
        block = self.block_of(address) if nbytes else address
        if block is None or (nbytes and address + nbytes > block + self._blocks[block][0]):
            raise EmulatorError(f"{nbytes} bytes at {address:#x} are not on the device")
        memory = memoryview((ctypes.c_ubyte * nbytes).from_address(address))
        return np.frombuffer(memory, np.uint8)

    def check(self, address: int, who: str) -> None:
        """That the red zones of a block are as they were."""
        nbytes, memory = self._blocks[address]
        first = address - memory.ctypes.data
        before, after = memory[:first], memory[first + nbytes :]
        if (before != _UNTOUCHED).any() or (after != _UNTOUCHED).any():
            before[:] = after[:] = _UNTOUCHED
            raise EmulatorError(f"{who} has written beyond a block of {nbytes} bytes")

    def close(self) -> None:
        self._blocks.clear()
        self._addresses.clear()


# ---- what runs


class EmulatedFunction:
    """A kernel."""

    def __init__(self, memory: DeviceMemory, kernel: emulation.Kernel) -> None:
        self._memory = memory
        self._kernel = kernel

    def launch(
        self, grid: Dim, block: Dim, parameters: Any, shared: int, stream: EmulatedStream
    ) -> None:
        # The parameters are read now; later they are those of another launch.
        stream.give(partial(self._run, grid, block, bytes(parameters), shared))

    def _run(self, grid: Dim, block: Dim, parameters: bytes, shared: int) -> None:
        try:
            self._kernel.launch(grid, block, shared, parameters)
        except FuseJitError as error:
            raise EmulatorError(str(error)) from error
        words = np.frombuffer(parameters, np.int64, len(parameters) // 8).tolist()
        for touched in {self._memory.block_of(word) for word in words}:
            if touched is not None:
                self._memory.check(touched, self._kernel.name)


class EmulatedBlas:
    """Products by NumPy."""

    def __init__(self, memory: DeviceMemory) -> None:
        self._memory = memory

    def product(self, code: Matmul, meta: Sequence[int]) -> Callable[[int, int, int, Any], None]:
        batch, m, n, k = meta[:4]
        shapes = (batch, m, k), (batch, k, n), (batch, m, n)
        strides = meta[4:7], meta[7:10], meta[10:13]
        layouts = list(zip(shapes, strides, strict=True))

        def multiply(a: int, b: int, c: int, stream: EmulatedStream) -> None:
            pairs = zip((a, b, c), layouts, strict=True)
            x, y, out = [self._matrices(code, at, *layout) for at, layout in pairs]
            stream.give(partial(np.matmul, x, y, out=out))

        return multiply

    def _matrices(
        self, code: Matmul, address: int, shape: Sequence[int], strides: Sequence[int]
    ) -> np.ndarray[Any, Any]:
        size = code.dtype.itemsize
        last = sum((n - 1) * stride for n, stride in zip(shape, strides, strict=True))
        count = 0 if 0 in shape else (last + 1) * size
        flat = self._memory.view(address, count).view(code.dtype)
        return np.lib.stride_tricks.as_strided(flat, shape, [size * s for s in strides])
