"""Runs a `Program` on the emulator, command by command; no driver, no runtime.

Every slot lies between red zones that nobody may write. Before it is written it is all NaN, or -1.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from fusejit.backends.cuda import emulation
from fusejit.backends.cuda.emulation import Kernel, Order
from fusejit.backends.cuda.program import Check, Host, Launch, Multiply, Program, Source
from fusejit.backends.plan import Operand, Role, Slot

Array = np.ndarray[Any, Any]

ZONE, RED, POISON = 256, 0xA5, 0xFF
KERNELS: dict[str, Kernel] = {}
_TOGETHER = 24  # kernels of one library: long ones would be compiled in turn, short ones start g++


def sources(programs: Iterable[Program]) -> list[Source]:
    """The kernels of programs, each once."""
    launches = (c for p in programs for c in p.commands if isinstance(c, Launch))
    return list({launch.source.name: launch.source for launch in launches}.values())


def build(programs: Iterable[Program]) -> None:
    """Compile what these programs launch, many kernels at a time."""
    missing = [source for source in sources(programs) if source.name not in KERNELS]
    for start in range(0, len(missing), _TOGETHER):
        part = missing[start : start + _TOGETHER]
        path = emulation.compiled(*part)
        KERNELS.update({source.name: emulation.loaded(path, source.name) for source in part})


class Memory:
    """Slots with red zones between them; temporaries share one, the arena."""

    def __init__(self, program: Program, arrays: Sequence[Array]) -> None:
        self.slots = program.slots
        self.places: dict[int, int] = {}
        self.zones: list[slice] = []
        self.given = dict(zip(program.inputs, arrays, strict=True))
        needed = ZONE
        sizes = {-1: program.arena}
        sizes |= {n: s.bytes for n, s in enumerate(program.slots) if s.role in _OWN}
        for number, size in sizes.items():
            self.places[number] = needed
            end = needed + size
            needed = -(-(end + ZONE) // ZONE) * ZONE
            self.zones.append(slice(end, needed))
        self.bytes = np.full(needed + ZONE, POISON, np.uint8)
        self.bytes = self.bytes[-self.bytes.ctypes.data % ZONE :]
        self.zones.append(slice(0, ZONE))
        for zone in self.zones:
            self.bytes[zone] = RED
        for number, slot in enumerate(program.slots):
            value = self.given.get(number, slot.value)
            if value is not None:
                self.view(number)[...] = value

    def offset(self, operand: Operand) -> int:
        slot = self.slots[operand.slot]
        if slot.role is Role.TEMPORARY:
            return self.places[-1] + slot.offset + operand.offset
        return self.places[operand.slot] + operand.offset

    def address(self, operand: Operand) -> int:
        return int(self.bytes.ctypes.data) + self.offset(operand)

    def view(self, number: int) -> Array:
        slot: Slot = self.slots[number]
        start = self.offset(Operand(number))
        return self.bytes[start : start + slot.bytes].view(slot.dtype).reshape(slot.shape)

    def check(self) -> None:
        """Nobody has written where nothing lies, nor into an input."""
        assert all((self.bytes[zone] == RED).all() for zone in self.zones), "a write out of bounds"
        for number, array in self.given.items():
            same = self.view(number).tobytes() == np.ascontiguousarray(array).tobytes()
            assert same, "an input was written"


_OWN = (Role.INPUT, Role.CONSTANT, Role.OUTPUT)


def run(
    program: Program, arrays: Sequence[Array], order: Order = Order.FORWARD, seed: int = 1
) -> list[Array]:
    """The outputs of a program, whose checks must hold."""
    build([program])
    memory = Memory(program, arrays)
    for command in program.commands:
        match command:
            case Launch():
                pointers = map(memory.address, command.operands)
                given = struct.pack(f"{len(command.operands)}Q", *pointers) + command.constants
                kernel = KERNELS[command.source.name]
                kernel.launch(command.grid, command.block, command.shared, given, order, seed)
            case Host():
                command.code.call(*(memory.view(o.slot) for o in command.operands))
            case Multiply():
                _multiply(memory, command)
            case Check():
                found = memory.view(command.operand.slot).tobytes()
                assert found == command.code.expected
        memory.check()
    return [memory.view(number).copy() for number in program.outputs]


def orders(program: Program, arrays: Sequence[Array]) -> list[Array]:
    """The outputs, which must have the same bits in whatever order threads run."""
    forward, *others = (run(program, arrays, order) for order in Order)
    for other in others:
        for one, two in zip(forward, other, strict=True):
            assert one.tobytes() == two.tobytes(), "the order of threads shows"
    return forward


def _multiply(memory: Memory, command: Multiply) -> None:
    batch, m, n, k = command.meta[:4]
    size = command.code.dtype.itemsize
    shapes = ((batch, m, k), (batch, k, n), (batch, m, n))
    matrices = []
    for number, (operand, shape) in enumerate(zip(command.operands, shapes, strict=True)):
        strides = tuple(s * size for s in command.meta[4 + 3 * number : 7 + 3 * number])
        matrices.append(
            np.ndarray(shape, command.code.dtype, memory.bytes, memory.offset(operand), strides)
        )
    a, b, c = matrices
    c[...] = a @ b
