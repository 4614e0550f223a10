"""What tests of generated kernels share: run a step by itself, on arrays of any strides."""

from __future__ import annotations

import struct
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest

from fusejit.backends.base import Loop, Reduce
from fusejit.backends.cuda import cuts, emulation, loops
from fusejit.backends.cuda.emulation import Order
from fusejit.backends.cuda.program import Launch, Limits
from fusejit.backends.plan import Operand, Step
from fusejit.scalar import DType

Array = np.ndarray[Any, Any]

LIMITS = Limits(sms=3, shared=48 * 1024)
_reason = emulation.why_not()
needs_emulator = pytest.mark.skipif(_reason is not None, reason=str(_reason))


def call(
    kernel: Loop | Reduce,
    operands: Sequence[Array | int],
    meta: Sequence[int],
    order: Order = Order.FORWARD,
    limits: Limits = LIMITS,
) -> list[Launch]:
    """Run a kernel by itself. An int operand is the first value of an INDEX walk."""
    arrays: dict[int, Array] = {n: a for n, a in enumerate(operands) if not isinstance(a, int)}
    # What lies at odd addresses must be read element by element.
    places = tuple(
        Operand(-1, o) if isinstance(o, int) else Operand(n, o.ctypes.data % 16)
        for n, o in enumerate(operands)
    )
    step = Step(kernel, places, tuple(meta), meta[0])

    def temporary(dtype: DType, count: int) -> Operand:
        number = len(operands) + len(arrays)
        arrays[number] = np.zeros(count, dtype)
        return Operand(number, arrays[number].ctypes.data % 16)

    if isinstance(kernel, Loop):
        launches = [loops.launch(step, limits)]
    else:
        launches = cuts.launches([step], limits, temporary)
    for launch in launches:
        addresses = [arrays[place.slot].ctypes.data for place in launch.operands]
        run(launch, addresses, order)
    return launches


def run(launch: Launch, addresses: Sequence[int], order: Order = Order.FORWARD) -> None:
    """One launch, its operands by address."""
    source = launch.source
    kernel = emulation.loaded(emulation.compiled(source), source.name)
    parameters = struct.pack(f"{len(addresses)}Q", *addresses) + launch.constants
    kernel.launch(launch.grid, launch.block, launch.shared, parameters, order, seed=7)


def strides(array: Array) -> list[int]:
    """In elements."""
    return [s // array.itemsize for s in array.strides]
