"""Copies between devices, as an op like any other: recorded, and differentiated by copying back."""

from __future__ import annotations

from ..device import require
from ..op import Transfer, transfer
from ..operators import ArrayLike
from ..tensor import Operators, Tensor, as_operand

to_: Transfer = transfer(
    "to",
    numpy=lambda x, *, device, origin: x[...],
    shape=lambda given, *, device, origin: given,
    index=lambda place, given, *, device, origin: place,
    vjp=lambda g, *, device, origin: (to_(g, device=origin, origin=device),),
    sample=lambda rng: ([rng.normal(size=(2, 3))], {"device": "/cpu:0", "origin": "/cpu:0"}),
    doc="x on another device.",
)


def to(x: ArrayLike, device: str, /) -> Tensor:
    """x on a device; itself if it is there. A copy waits for what computes x only where it goes to
    the CPU.

    Args:
        x: an array.
        device: "/cpu:0", "cpu", "/gpu:0", "gpu", "cuda:1", ...
    Raises:
        DeviceError: there is no such device here.
    Example:
        >>> import fusejit as fj
        >>> fj.constant([1.0]).to("cpu").device
        '/cpu:0'
    """
    x, wanted = as_operand(x), require(device)
    return x if x.device == wanted else to_(x, device=wanted, origin=x.device)


Operators.install("to", to)
