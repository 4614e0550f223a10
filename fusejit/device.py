"""Device names, and which backend serves each: the only lazy imports of the package.

Names parse as in the post that started this: "/gpu:0", "gpu", "gpu:1", "cuda:0", "/cpu:0", "cpu".
"""

from __future__ import annotations

import contextlib
import importlib
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Protocol

from .errors import DeviceError

if TYPE_CHECKING:
    from .op import Op

# kind of device -> "module:factory" of its backend
_BACKENDS = {"cpu": "fusejit.backends.llvm.cold:backend"}
_NAME = r"/?(?:device:)?(cpu|gpu|cuda)(?::(\d+))?"


class Backend(Protocol):
    """What runs the ops that NumPy does not define bit by bit."""

    def apply(self, op: Op, arrays: Sequence[Any], params: Mapping[str, Any]) -> Any:
        """One op as a one-op kernel: an array or a tuple of arrays."""

    def catch_up(self) -> None:
        """Compile what `apply` has done without compiling, so that it is faster the next time."""


def parse(name: str) -> str:
    """The canonical name, "/cpu:0" or "/gpu:N"; DeviceError if it is none."""
    match = re.fullmatch(_NAME, name, re.IGNORECASE) if isinstance(name, str) else None
    if match is None:
        raise DeviceError(f'device: expected a name like "/cpu:0" or "/gpu:0", got {name!r}')
    kind = "cpu" if match[1].lower() == "cpu" else "gpu"
    return f"/{kind}:{int(match[2] or 0)}"


def require(name: str) -> str:
    """The canonical name of a device that can be used here; DeviceError says what lacks."""
    canonical = parse(name)
    if canonical.startswith("/gpu"):
        raise DeviceError(
            f"device {canonical}: this version of fusejit has no GPU backend; "
            'use "/cpu:0", or leave out the device block.'
        )
    if canonical != "/cpu:0":
        raise DeviceError(f'device {canonical}: there is one CPU device, "/cpu:0".')
    return canonical


@cache  # one entry a kind of device
def backend(kind: str) -> Backend | None:
    """The backend of "cpu", loaded at first use; None where its compiler is not installed."""
    module, _, factory = _BACKENDS[kind].partition(":")
    made: Backend | None = getattr(importlib.import_module(module), factory)()
    return made


def device(name: str) -> contextlib.AbstractContextManager[str]:
    """Make tensors on this device inside the block.

    Args:
        name: "/cpu:0", "cpu", "/gpu:0", "gpu", "gpu:1", "cuda:0", ...
    Raises:
        DeviceError: the name is no device name, or this machine or installation has no such device.
    Example:
        >>> import fusejit as fj
        >>> with fj.device("/cpu:0"):
        ...     x = fj.ones(3)
    """
    return contextlib.nullcontext(require(name))
