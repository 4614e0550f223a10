"""Arrays on a device: a spec, a block of memory and where in it the elements begin.

A DeviceArray is no ndarray and has no `__array__`, so nothing on the host reads device memory by
mistake: `host` is the one way. Its elements are C-contiguous and, once it exists, never change.
"""

from __future__ import annotations

from functools import partial
from math import prod
from threading import Lock
from typing import TYPE_CHECKING, Any
from weakref import ref

import numpy as np

from ...scalar import DType

if TYPE_CHECKING:
    from .device import Gpu
    from .memory import Buffer


class Spec:
    """Device, dtype and shape of an array. Equal specs are the same object: see `spec_of`."""

    __slots__ = ("__weakref__", "device", "dtype", "nbytes", "ndim", "shape", "size")

    def __init__(self, device: str, dtype: DType, shape: tuple[int, ...]) -> None:
        self.device = device
        self.dtype = dtype
        self.shape = shape
        self.ndim = len(shape)
        self.size = prod(shape)
        self.nbytes = self.size * dtype.itemsize

    def __repr__(self) -> str:
        return f"{self.dtype}{list(self.shape)} on {self.device}"


# A WeakValueDictionary would run Python code where the last array of a spec goes, in the midst of
# the user's, where a recording takes it for a call.
_specs: dict[tuple[str, DType, tuple[int, ...]], ref[Spec]] = {}
_making = Lock()


def spec_of(device: str, dtype: DType, shape: tuple[int, ...]) -> Spec:
    """The spec of arrays on "/gpu:N" of this dtype and shape."""
    key = (device, dtype, shape)
    known = _specs.get(key)
    found = None if known is None else known()
    if found is None:
        with _making:
            known = _specs.get(key)
            found = None if known is None else known()
            if found is None:
                found = Spec(*key)
                _specs[key] = ref(found, partial(_specs.pop, key))
    return found


class DeviceArray:
    """An array on a device; see `Gpu.upload` and `Gpu.empty`.

    Attributes:
        spec: device, dtype and shape.
        gpu: the device.
        buffer: the block that it lies in, and keeps alive.
        offset: bytes from the start of the block.
    """

    __slots__ = ("__weakref__", "buffer", "gpu", "offset", "spec")

    def __init__(self, gpu: Gpu, spec: Spec, buffer: Buffer, offset: int = 0) -> None:
        self.gpu = gpu
        self.spec = spec
        self.buffer = buffer
        self.offset = offset

    @property
    def address(self) -> int:
        return self.buffer.address + self.offset

    @property
    def device(self) -> str:
        return self.spec.device

    @property
    def dtype(self) -> DType:
        return self.spec.dtype

    @property
    def shape(self) -> tuple[int, ...]:
        return self.spec.shape

    @property
    def ndim(self) -> int:
        return self.spec.ndim

    @property
    def size(self) -> int:
        return self.spec.size

    @property
    def nbytes(self) -> int:
        return self.spec.nbytes

    def host(self) -> np.ndarray[Any, Any]:
        """A copy on the host: waits for the device."""
        return self.gpu.download(self)

    def reshaped(self, shape: tuple[int, ...]) -> DeviceArray:
        """The same elements, in the same memory, under another shape of the same size."""
        spec = spec_of(self.spec.device, self.spec.dtype, shape)
        if spec.size != self.spec.size:
            raise ValueError(f"{self.spec} cannot have the shape {list(shape)}")
        return DeviceArray(self.gpu, spec, self.buffer, self.offset)

    def __repr__(self) -> str:
        return f"<DeviceArray {self.spec}>"
