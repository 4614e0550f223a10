"""Eager ops on GPUs: each a program of one op, cached by types, from the records of all targets.

What has no kernel runs through NumPy, on copies. A reshape moves nothing, and a single number that
lies on the CPU is copied once for each value.
"""

from __future__ import annotations

import contextlib
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from ...config import config
from ...device import CPU, on_host
from ...dtypes import TensorType
from ...errors import DeviceError
from ...ir.builder import Builder
from ...ir.graph import Graph
from ...op import Array, Assembly, Contraction, Elementwise, Op, Transfer, View
from ...passes import optimize
from ..lower import kernel_kind
from .array import DeviceArray
from .device import Gpu, gpu, started
from .lowering import program_of
from .runtime import Loaded, Stopped

T = TypeVar("T")

MAX_PROGRAMS = 2048
"""One-op programs kept: more (op, shapes) than a loop over batch sizes makes."""
MAX_NUMBERS = 1024
"""Single numbers kept on a device, 256 bytes each."""


class GpuBackend:
    """Runs one op at a time, on any GPU."""

    def __init__(self) -> None:
        self._programs: OrderedDict[object, Loaded | None] = OrderedDict()
        self._numbers: OrderedDict[object, DeviceArray] = OrderedDict()
        for cache in (self._programs, self._numbers):
            config.on_change(cache.clear)

    def require(self, device: str) -> None:
        """Start the device; DeviceError says what lacks."""
        _gpu(device)

    def upload(self, array: Array, device: str) -> DeviceArray:
        """A copy of an ndarray on the device; of equal numbers one."""
        if array.ndim:
            return _gpu(device).upload(array)
        key = (device, array.dtype, array.tobytes())
        return _kept(self._numbers, key, MAX_NUMBERS, lambda: _gpu(device).upload(array))

    def synchronize(self, device: str) -> None:
        """Wait until all that the device was asked for is done."""
        _gpu(device).synchronize()

    def release_memory(self) -> None:
        """Give memory that no array needs back to the devices."""
        for each in started():
            with contextlib.suppress(DeviceError):  # after a failure, or in a fork: nothing to give
                each.release_memory()

    def apply(self, op: Op, arrays: Sequence[Any], params: Mapping[str, Any], device: str) -> Any:
        """The result of `op`, whose operands are on the device, or are single numbers."""
        if isinstance(op, Transfer):
            return self._moved(arrays[0], params["device"])
        if op.anywhere:
            return op.eager(arrays, params)
        if isinstance(op, View) and op.index is None:
            shape = tuple(op.shape(arrays[0].shape, **params))
            return self._there(arrays[0], device).reshaped(shape)
        key = (op, device, *((a.dtype, a.shape) for a in arrays), *sorted(params.items()))
        loaded = _kept(
            self._programs, key, MAX_PROGRAMS, lambda: _one_op(op, arrays, params, device)
        )
        if loaded is None:
            return self._by_numpy(op, arrays, params, device)
        results = loaded.run([self._there(a, device) for a in arrays])
        assert not isinstance(results, Stopped), "a program of one op has no guards"
        return results[0] if len(results) == 1 else tuple(results)

    def _moved(self, array: Any, device: str) -> Any:
        return on_host(array) if device == CPU else self._there(array, device)

    def _there(self, array: Any, device: str) -> DeviceArray:
        if isinstance(array, DeviceArray) and array.device == device:
            return array
        return self.upload(on_host(array), device)

    def _by_numpy(
        self, op: Op, arrays: Sequence[Any], params: Mapping[str, Any], device: str
    ) -> Any:
        with np.errstate(all="ignore"):
            result = op.by_numpy(list(map(on_host, arrays)), params)
        if isinstance(result, tuple):
            return tuple(self.upload(np.asarray(each), device) for each in result)
        return self.upload(np.asarray(result), device)


def backend() -> GpuBackend:
    """The backend of all GPUs."""
    return GpuBackend()


def load(graph: Graph, device: str) -> Loaded:
    """A fused graph as a program on a device."""
    there = _gpu(device)
    return there.load(program_of(graph, there.limits, there.blas is not None))


def _gpu(device: str) -> Gpu:
    return gpu(int(device.rpartition(":")[2]))


def _one_op(op: Op, arrays: Sequence[Any], params: Mapping[str, Any], device: str) -> Loaded | None:
    """None if NumPy runs the op, or its output types depend on values."""
    types = [TensorType(a.dtype, a.shape) for a in arrays]
    if op.infer(types, params) is None:
        return None
    builder = Builder(op.name)
    names = [f"x{i}" for i in range(len(types))] if op.variadic else op.inputs
    inputs = [builder.input(t, name) for t, name in zip(types, names, strict=True)]
    outputs = builder.add(op, inputs, params)
    if kernel_kind(builder.nodes[0]) is None and not isinstance(op, Assembly):
        return None
    graph = builder.finish(outputs)
    return load(graph if isinstance(op, Elementwise | Contraction) else optimize(graph), device)


def _kept(cache: OrderedDict[object, T], key: object, most: int, make: Callable[[], T]) -> T:
    """What a cache holds for a key, made if it holds nothing; the oldest go."""
    if key in cache:
        cache.move_to_end(key)
        return cache[key]
    made = cache[key] = make()
    while len(cache) > most:
        cache.popitem(last=False)
    return made
