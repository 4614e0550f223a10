"""Device names, the device that a thread makes tensors on, and which backend serves each device.

Names parse as in the post that started this: "/gpu:0", "gpu", "gpu:1", "cuda:0", "/cpu:0", "cpu".
Backends are the only lazy imports of the package. Where a value lies its array says: an ndarray is
on the CPU, and what a GPU backend returns has its name in `device`.
"""

from __future__ import annotations

import importlib
import re
import threading
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from . import dispatch
from .config import config
from .errors import DeviceError

if TYPE_CHECKING:
    from .op import Op

CPU = "/cpu:0"
# kind of device -> "module:factory" of its backend
_BACKENDS = {
    "cpu": "fusejit.backends.llvm.cold:backend",
    "gpu": "fusejit.backends.cuda.eager:backend",
}
_NAME = r"/?(?:device:)?(cpu|gpu|cuda)(?::(\d+))?"

used = False
"""Whether this process has asked for a GPU: until then all is on the CPU, and nobody looks."""


class Backend(Protocol):
    """What runs the ops that NumPy does not define bit by bit."""

    def apply(self, op: Op, arrays: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """One op as a one-op kernel: an array or a tuple of arrays."""

    def catch_up(self) -> None:
        """Compile what `apply` has done without compiling, so that it is faster the next time."""


class Gpus(Protocol):
    """What runs all ops on GPUs."""

    def require(self, device: str) -> None:
        """DeviceError that says what lacks, unless the device can be used."""

    def apply(self, op: Op, arrays: Sequence[Any], params: Mapping[str, Any], device: str) -> Any:
        """One op on arrays of the device, and single numbers in ndarrays: array or tuple."""

    def upload(self, array: np.ndarray[Any, Any], device: str) -> Any:
        """A copy of an ndarray on the device."""

    def synchronize(self, device: str) -> None:
        """Wait until all that the device was asked for is done."""

    def release_memory(self) -> None:
        """Give memory that no array needs back to the devices."""


def parse(name: str) -> str:
    """The canonical name, "/cpu:0" or "/gpu:N"; DeviceError if it is none."""
    match = re.fullmatch(_NAME, name, re.IGNORECASE) if isinstance(name, str) else None
    if match is None:
        raise DeviceError(f'device: expected a name like "/cpu:0" or "/gpu:0", got {name!r}')
    kind = "cpu" if match[1].lower() == "cpu" else "gpu"
    return f"/{kind}:{int(match[2] or 0)}"


def require(name: str) -> str:
    """The canonical name of a device that can be used here; DeviceError says what lacks."""
    global used
    canonical = parse(name)
    if canonical.startswith("/gpu"):
        gpus().require(canonical)
        used = True
    elif canonical != CPU:
        raise DeviceError(f'device {canonical}: there is one CPU device, "/cpu:0".')
    return canonical


@cache  # one entry a kind of device
def _loaded(kind: str) -> Any:
    module, _, factory = _BACKENDS[kind].partition(":")
    return getattr(importlib.import_module(module), factory)()


def backend(kind: str = "cpu") -> Backend | None:
    """The backend of the CPU, loaded at first use; None where its compiler is not installed."""
    made: Backend | None = _loaded(kind)
    return made


def gpus() -> Gpus:
    """The backend of all GPUs, loaded at first use."""
    made: Gpus = _loaded("gpu")
    return made


# ---- where arrays are


def device_of(array: Any) -> str:
    """Where an array lies: NumPy's own say "cpu"."""
    name: str = array.device
    return CPU if name == "cpu" else name


def on_host(array: Any) -> np.ndarray[Any, Any]:
    """`array` itself if it is on the CPU, else a copy, once what makes it is done."""
    there = type(array) is np.ndarray or isinstance(array, np.generic)
    found: np.ndarray[Any, Any] = array if there else array.host()
    return found


def moved(array: Any, device: str) -> Any:
    """`array` on a device: itself if it is there."""
    if device_of(array) == device:
        return array
    host = on_host(array)
    return host if device == CPU else gpus().upload(host, device)


def common(name: str, arrays: Sequence[Any]) -> str:
    """The device on which an op runs: that of its operands, with which single numbers on the CPU
    go. DeviceError if they are apart."""
    found = CPU
    for array in arrays:
        place = device_of(array)
        if place != CPU:
            if found not in (CPU, place):
                break
            found = place
    else:
        if found == CPU or all(device_of(a) != CPU or not a.ndim for a in arrays):
            return found
    listed = [f"operand {i} is on {device_of(a)}" for i, a in enumerate(arrays)]
    raise DeviceError(f"{name}: {', '.join(listed)}; move one, for example x.to({found!r}).")


def synchronize(device: str) -> None:
    """Wait until all that a device was asked for is done."""
    if device != CPU:
        gpus().synchronize(device)


def release_memory() -> None:
    """Give memory of GPUs that no array needs back to them."""
    if used:
        gpus().release_memory()


# ---- where tensors are made


class _Here(threading.local):
    name = CPU


_here = _Here()


def _make_here() -> None:
    """Take the device of the settings where no block says another. It is started at first use."""
    global used
    before, _Here.name = _Here.name, parse(config.settings.device)
    used = used or _Here.name != CPU
    # Native calls know the CPU only; Python looks at its own thread. See `dispatch.push`.
    dispatch.handlers_active.value += (_Here.name != CPU) - (before != CPU)


_make_here()
config.on_change(_make_here, "device")


def current() -> str:
    """The device on which this thread makes tensors."""
    return _here.name


class at:
    """Make tensors on a device, by its canonical name, inside the block."""

    __slots__ = ("_before", "_name")

    def __init__(self, name: str) -> None:
        self._name = name
        self._before: list[str] = []

    def __enter__(self) -> str:
        self._before.append(_here.name)
        dispatch.handlers_active.value += self._name != CPU
        _here.name = self._name
        return self._name

    def __exit__(self, *exception: object) -> None:
        depth = len(self._before)
        try:
            self._leave(depth)
        finally:
            self._leave(depth)  # an interrupt may have come before it had begun

    def _leave(self, depth: int) -> None:
        if len(self._before) == depth:
            _here.name = self._before[-1]  # see `dispatch.push`
            dispatch.handlers_active.value -= self._name != CPU
            del self._before[-1]


class _Nowhere:
    """A block that changes nothing. It is not contextlib's, because a recording looks at what runs
    of libraries each time, and at code of fusejit once."""

    def __enter__(self) -> str:
        return ""

    def __exit__(self, *exception: object) -> None:
        pass


nowhere = _Nowhere()
"""Tensors are made inside as they are outside."""


def beside(array: Any) -> at | _Nowhere:
    """Make tensors where a Tensor is, inside the block: what goes with it and is no operand yet."""
    return at(array.device) if used else nowhere


def device(name: str) -> at:
    """Make tensors on this device inside the block.

    That goes for numbers, lists, ndarrays, random numbers and Variables. Ops run where their
    operands are.

    Args:
        name: "/cpu:0", "cpu", "/gpu:0", "gpu", "gpu:1", "cuda:0", ...
    Raises:
        DeviceError: the name is no device name, or this machine or installation has no such device.
    Example:
        >>> import fusejit as fj
        >>> with fj.device("/cpu:0"):
        ...     x = fj.ones(3)
    """
    return at(require(name))
