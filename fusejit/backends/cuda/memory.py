"""Memory of a device: blocks that are kept when they are free, and used again.

A block is free when the last array that lies in it is gone. It may be written again at once, while
the device still reads it: all work is in one stream, so what writes it comes behind what reads it.
Sizes are rounded up to classes, eight to each power of two, and a block is used again for its class
only; so nothing is ever split or joined. Memory grows by what is asked for.
"""

from __future__ import annotations

import contextlib
import gc
from collections import deque
from collections.abc import Callable
from threading import RLock
from typing import Any, TypeAlias

import numpy as np

from ...errors import DeviceError
from ...frozen import frozen
from .driver import Driver, Event, OutOfMemory, Stream

Bytes: TypeAlias = "np.ndarray[Any, np.dtype[np.uint8]]"

_LEAST = 512  # bytes; what cuMemAlloc itself rounds up to
_STEPS = 8  # classes to a power of two: a block is at most an eighth larger than what it holds


@frozen
class MemoryUse:
    """Bytes of a device: in arrays now and at most so far, kept for reuse, and blocks taken from
    the driver in all."""

    used: int
    peak: int
    kept: int
    blocks: int


class Buffer:
    """A block in use. The last reference gives it back."""

    __slots__ = ("_pool", "address", "nbytes")

    def __init__(self, pool: Allocator, address: int, nbytes: int) -> None:
        self._pool = pool
        self.address = address
        self.nbytes = nbytes

    def __del__(self) -> None:
        self._pool.give(self.address, self.nbytes)

    def __repr__(self) -> str:
        return f"<Buffer of {self.nbytes} bytes at {self.address:#x}>"


class Allocator:
    """The blocks of one device.

    The driver is current where `take` and `release` are called. A Buffer may die on any thread, at
    any time, even inside these: `give` only notes it.

    Args:
        driver: where memory comes from.
        name: of the device, for errors.
        spare: drops arrays that one can do without.
    """

    def __init__(self, driver: Driver, name: str, spare: Callable[[], None]) -> None:
        self._driver = driver
        self._name = name
        self._spare = spare
        self._lock = RLock()  # held for no call of the driver's, which may wait for the device
        self._free: dict[int, list[int]] = {}  # class -> addresses, the last used last
        self._used = self._peak = self._kept = self._blocks = 0
        self._closed = False

    def take(self, nbytes: int) -> Buffer:
        """A block of at least `nbytes`, whose content is arbitrary.

        Raises:
            DeviceError: there is not enough memory even with all that was kept given back. Nothing
                has changed then.
        """
        size = size_class(nbytes)
        with self._lock:
            free = self._free.get(size)
            address = free.pop() if free else 0
            if address:
                self._kept -= size
                self._count(size)
        if address:
            self._driver.renew(address, size)
        else:
            address = self._grow(nbytes, size)
            with self._lock:
                self._blocks += 1
                self._count(size)
        return Buffer(self, address, size)

    def give(self, address: int, size: int) -> None:
        """Keep a block for reuse."""
        if self._closed:
            return
        with self._lock:
            self._free.setdefault(size, []).append(address)
            self._used -= size
            self._kept += size

    def release(self) -> int:
        """Give back to the device what is kept; how many bytes that were."""
        with self._lock:
            free, kept = self._free, self._kept
            self._free, self._kept = {}, 0
            self._blocks -= sum(map(len, free.values()))
        for addresses in free.values():
            for address in addresses:
                self._driver.free(address)
        return kept

    def use(self) -> MemoryUse:
        """How much is in use now."""
        with self._lock:
            return MemoryUse(self._used, self._peak, self._kept, self._blocks)

    def reset_peak(self) -> None:
        """Count the peak from now on."""
        with self._lock:
            self._peak = self._used

    def close(self) -> None:
        """Blocks that die later go with the process."""
        self._closed = True

    def _count(self, size: int) -> None:
        self._used += size
        self._peak = max(self._peak, self._used)

    def _grow(self, nbytes: int, size: int) -> int:
        """A new block; what is kept makes room, then what only a cycle of references holds, then
        what one can do without."""
        with contextlib.suppress(OutOfMemory):
            return self._driver.allocate(size)
        for drop in (_nothing, gc.collect, self._spare):
            drop()
            self.release()
            with contextlib.suppress(OutOfMemory):
                return self._driver.allocate(size)
        free, total = self._driver.memory()
        raise DeviceError(
            f"device {self._name}: out of memory: an array needs {_mib(nbytes)}; of "
            f"{_mib(total)}, fusejit's arrays take {_mib(self._used)} and {_mib(free)} are free. "
            "Drop tensors that are not needed any more, or use smaller batches."
        )


def size_class(nbytes: int) -> int:
    """The size of the block that holds `nbytes`."""
    size = max(nbytes, _LEAST)
    step = max(_LEAST, (1 << (size - 1).bit_length()) // (2 * _STEPS))
    return -(-size // step) * step


def _nothing() -> None:
    pass


def _mib(nbytes: int) -> str:
    return f"{nbytes / 2**20:.1f} MiB"


# ---- copies


_CHUNK = 1 << 20
"""Bytes of one pinned block: at 10 GB/s the host fills one in 0.1 ms, 30 times what a copy of its
own costs the driver."""
_DEPTH = 8  # pinned blocks: 8 MiB a device, so that the device copies while the host does


class Staging:
    """Copies between ordinary host memory and a device, through pinned blocks used in turns."""

    def __init__(self, driver: Driver, stream: Stream) -> None:
        self._driver = driver
        self._stream = stream
        self._blocks: list[tuple[Bytes, Event]] = []
        self._next = 0

    def upload(self, address: int, source: Bytes) -> None:
        """Copy to the device. It is in order with the stream; `source` is free at once."""
        for at in range(0, len(source), _CHUNK):
            piece = source[at : at + _CHUNK]
            block, event = self._turn()
            block[: len(piece)] = piece
            self._driver.upload(address + at, block[: len(piece)], self._stream)
            event.record(self._stream)

    def download(self, target: Bytes, address: int) -> None:
        """Copy from the device what it holds once it has done all work so far, and wait for it."""
        coming: deque[tuple[Bytes, Bytes, Event]] = deque()
        for at in range(0, len(target), _CHUNK):
            if len(coming) == _DEPTH:
                _arrive(*coming.popleft())
            piece = target[at : at + _CHUNK]
            block, event = self._turn()
            self._driver.download(block[: len(piece)], address + at, self._stream)
            event.record(self._stream)
            coming.append((piece, block, event))
        for each in coming:
            _arrive(*each)

    def _turn(self) -> tuple[Bytes, Event]:
        """The next block, once the device has done with it."""
        if len(self._blocks) < _DEPTH:
            self._blocks.append((self._driver.pinned(_CHUNK), self._driver.event()))
            return self._blocks[-1]
        block, event = self._blocks[self._next]
        self._next = (self._next + 1) % _DEPTH
        event.synchronize()
        return block, event


def _arrive(target: Bytes, block: Bytes, event: Event) -> None:
    event.synchronize()
    target[:] = block[: len(target)]
