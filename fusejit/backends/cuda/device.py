"""A GPU of this process: its driver, memory and stream, and the kernels that are loaded on it.

All work of a device goes through one stream, so it happens in the order in which it was asked for,
whatever the thread. What uses the driver holds the device's lock; waiting for the device gives up
the GIL but not the lock.
"""

from __future__ import annotations

import atexit
import contextlib
import os
from collections.abc import Sequence
from threading import Lock, RLock
from typing import Any
from weakref import ref

import numpy as np

from ...config import config
from ...errors import DeviceError
from ...scalar import DType
from .array import DeviceArray, spec_of
from .driver import Driver, Function, PyCudaDriver
from .graphs import Replayer
from .memory import Allocator, MemoryUse, Staging
from .program import Program, Source
from .runtime import Loaded

_gpus: dict[tuple[str, int], Gpu] = {}
_making = Lock()


def gpu(ordinal: int = 0) -> Gpu:
    """The device "/gpu:ordinal", started at first use.

    Raises:
        DeviceError: there is no such device, or what it needs is not installed.
    """
    key = (config.settings.gpu, ordinal)
    found = _gpus.get(key)
    if found is None:
        with _making:
            found = _gpus.get(key)
            if found is None:
                found = _gpus[key] = Gpu(ordinal, _driver(*key))
                atexit.register(found.close)
    return found


def started() -> list[Gpu]:
    """The devices that this process has used."""
    return list(_gpus.values())


def _driver(kind: str, ordinal: int) -> Driver:
    if kind == "emulated":
        from .emulated import EmulatedDriver

        return EmulatedDriver(ordinal)
    return PyCudaDriver(ordinal)


class Gpu:
    """One device. Used in a `with` statement it is locked, and current on this thread.

    Attributes:
        name: "/gpu:N".
        limits: what code generation needs to know of it.
        driver, stream, allocator: for the runtime.
        blas: what computes products, or None: then they are generated code.
    """

    def __init__(self, ordinal: int, driver: Driver) -> None:
        self.name = f"/gpu:{ordinal}"
        self.driver = driver
        self.limits = driver.limits
        self.allocator = Allocator(driver, self.name, self._drop_graphs)
        self._replayers: set[ref[Replayer]] = set()  # a WeakSet runs Python code at any time
        self._lock = RLock()
        self._process = os.getpid()
        self._functions: dict[Source, Function] = {}
        with self:
            self.stream = driver.stream()
            self.blas = driver.blas()
        self._staging = Staging(driver, self.stream)

    def __enter__(self) -> Gpu:
        self._lock.acquire()
        try:
            self.driver.enter()
        except BaseException as error:
            self._lock.release()
            self._explain(error)
            raise
        return self

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        try:
            self.driver.leave()
        finally:
            self._lock.release()
        self._explain(error)

    def _explain(self, error: BaseException | None) -> None:
        if isinstance(error, self.driver.errors):
            more = "" if os.getpid() == self._process else "; a forked process cannot use it"
            raise DeviceError(f"device {self.name}: {error}{more}") from error

    def __repr__(self) -> str:
        return f"<Gpu {self.name}: {self.driver.name}>"

    def empty(self, dtype: DType, shape: tuple[int, ...]) -> DeviceArray:
        """A new array whose elements are still to be written."""
        spec = spec_of(self.name, dtype, shape)
        with self:
            buffer = self.allocator.take(spec.nbytes)
        return DeviceArray(self, spec, buffer)

    def upload(self, array: np.ndarray[Any, Any]) -> DeviceArray:
        """A copy of `array` on the device; it is in order with all other work."""
        made = self.empty(array.dtype, array.shape)
        self.write(made.address, array)
        return made

    def write(self, address: int, array: np.ndarray[Any, Any]) -> None:
        """Copy `array` to an address on the device, in order with all other work."""
        source = np.asarray(array, order="C").reshape(-1).view(np.uint8)
        with self:
            self._staging.upload(address, source)

    def download(self, array: DeviceArray) -> np.ndarray[Any, Any]:
        """A copy on the host, once all work so far is done."""
        return self.read(array.address, array.dtype, array.shape)

    def read(self, address: int, dtype: DType, shape: tuple[int, ...]) -> np.ndarray[Any, Any]:
        """What lies at an address, once all work so far is done."""
        found = np.empty(shape, dtype)
        with self:
            self._staging.download(found.reshape(-1).view(np.uint8), address)
        return found

    def replayer(self, sizes: Sequence[int], inputs: int, arena: int) -> Replayer:
        """A new `Replayer`, whose graph goes if memory is short."""
        made = Replayer(self, sizes, inputs, arena)
        self._replayers.add(ref(made, self._replayers.discard))
        return made

    def load(self, program: Program) -> Loaded:
        """`program` with its kernels on the device, ready to run."""
        return Loaded(self, program)

    def functions(self, sources: Sequence[Source]) -> list[Function]:
        """The kernels of these sources. They are compiled once, and stay as long as the process."""
        missing = [s for s in dict.fromkeys(sources) if s not in self._functions]
        if missing:
            images = self.driver.compile(missing)
            with self:
                for source, image in zip(missing, images, strict=True):
                    if source not in self._functions:  # by another thread meanwhile
                        self._functions[source] = self.driver.load(image, source.name)
        return [self._functions[source] for source in sources]

    def synchronize(self) -> None:
        """Wait until all work so far is done; what went wrong in it is an error here."""
        with self:
            self.stream.synchronize()

    def memory_use(self) -> MemoryUse:
        """How much memory arrays take."""
        return self.allocator.use()

    def release_memory(self) -> int:
        """Give memory that is kept for reuse back to the device; how many bytes."""
        with self:
            return self.allocator.release()

    def _drop_graphs(self) -> None:
        for each in list(self._replayers):
            replayer = each()
            if replayer is not None:
                replayer.drop()

    def close(self) -> None:
        """Give everything back, at the end of the process. What has failed before was an error
        then."""
        atexit.unregister(self.close)
        if os.getpid() != self._process:
            return
        self.allocator.close()
        with self:
            with contextlib.suppress(*self.driver.errors):
                self.stream.synchronize()
            self.driver.close()
