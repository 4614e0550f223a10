"""A plan as a GPU runs it: launches of generated kernels, in order, as data.

    program := slots  commands  inputs  outputs
    command := launch | multiply | host | check

Slots are those of `backends.plan`, bytes on the device. Every kernel has one signature,

    extern "C" __global__ void NAME(const Params p)

whose parameter is a struct: a pointer (8 bytes) for each operand, already advanced to its first
element, then `constants`, bytes that the code generator has packed (extents, strides, offsets;
natural alignment). So one kernel serves every shape, and a launch is a few bytes patched in.
"""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

from ...frozen import frozen
from ..plan import Guard, Matmul, Opaque, Operand, Slot

if TYPE_CHECKING:
    from ...ir.graph import Value
    from ..storage import Storage

Dim: TypeAlias = "tuple[int, int, int]"


@frozen
class Source:
    """CUDA C with one kernel: a whole translation unit that includes nothing."""

    name: str  # of the kernel, extern "C"
    text: str
    fastmath: bool = False  # whether the compiler may contract, flush denormals, divide roughly


@frozen
class Limits:
    """What code generation needs to know of a device."""

    sms: int  # streaming multiprocessors
    shared: int  # bytes of shared memory that a block may have without asking for more
    threads: int = 1024  # of a block


ANY = Limits(sms=108, shared=48 << 10)
"""A device to generate code for where there is none: all may have as much shared memory."""


@frozen(eq=False)
class Launch:
    """Run a generated kernel."""

    source: Source
    grid: Dim
    block: Dim
    shared: int  # bytes of dynamic shared memory
    operands: tuple[Operand, ...]  # inputs first, then outputs
    constants: bytes
    where: str | None = None  # the user's file:line
    written: int = -1  # how many of the last operands are written; -1: it may be any


@frozen(eq=False)
class Multiply:
    """A product by the BLAS of the device: operands A, B, C and `meta` as of `plan.Matmul`."""

    code: Matmul
    operands: tuple[Operand, ...]
    meta: tuple[int, ...]
    where: str | None = None


@frozen(eq=False)
class Host:
    """Copy the inputs to the host, call, copy the outputs back: an op that NumPy runs."""

    code: Opaque
    operands: tuple[Operand, ...]  # whole slots, inputs first, then outputs
    where: str | None = None


@frozen(eq=False)
class Check:
    """Wait for one value, copy it to the host, stop unless it has the expected bytes."""

    code: Guard
    operand: Operand
    where: str | None = None


Command: TypeAlias = Launch | Multiply | Host | Check


@frozen(eq=False)
class Program:
    """What one replay runs on a device."""

    name: str
    slots: tuple[Slot, ...]
    commands: tuple[Command, ...]
    inputs: tuple[int, ...]  # slot numbers, in the order of the caller's inputs
    outputs: tuple[int, ...]
    arena: int  # bytes of temporaries
    values: Mapping[Value, Storage] = MappingProxyType({})  # see `Plan.values`

    @property
    def launches(self) -> list[Launch | Multiply | Host]:
        """The commands that compute something: a check only compares."""
        return [command for command in self.commands if not isinstance(command, Check)]
