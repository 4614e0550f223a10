"""What native code needs to go from a plan that a guard has stopped to another: exits, and what is
carried over. `kernels/llvm/tree.ll` reads these records."""

from __future__ import annotations

import ctypes
from collections.abc import Sequence

import numpy as np

from ...frozen import frozen
from ..held import Held
from ..plan import Plan
from . import abi
from .frames import frame_offset

EXITS = 15
"""Where in the words of `%Entry` the number of exits is, and behind it their address."""


@frozen
class Carried:
    """Where a graft finds an input: a binding of the plan that was stopped, or, at -1, the memory
    of its frame; and a byte offset."""

    binding: int
    offset: int


def carried(plan: Plan, values: Sequence[Held]) -> list[Carried]:
    """Where native code finds what a stopped plan holds."""
    bindings = {slot: number for number, slot in enumerate((*plan.inputs, *plan.outputs))}
    found = []
    for value in values:
        binding = bindings.get(value.slot, -1)
        start = frame_offset(plan) + plan.slots[value.slot].offset if binding < 0 else 0
        found.append(Carried(binding, start + value.offset))
    return found


class Exits:
    """The `%Exit` rows of an entry. A search may be going through them while one is added, so rows
    stay where they are; when they must move, to twice the room, the old ones are kept."""

    def __init__(self, record: int, memory: abi.Memory) -> None:
        self._head = (ctypes.c_int64 * 2).from_address(record + 8 * EXITS)
        self._memory = memory
        self._room = 0

    def add(self, step: int, seen: bytes, keep: object, record: int) -> None:
        """Another: the entry at `record`, which `keep` keeps alive."""
        count, rows = self._head
        if count == self._room:
            room = max(4, 2 * count)
            moved = self._memory.words([0] * (4 * room))
            ctypes.memmove(moved, rows, 32 * count)
            self._head[1] = rows = moved
            self._room = room  # last: after an interrupt there is only as much as there was
        self._memory.pin(keep)
        held = self._memory.data(np.frombuffer(seen, np.uint8))
        row = (ctypes.c_int64 * 4).from_address(rows + 32 * count)
        row[:] = [step, len(seen), held, record]
        self._head[0] = count + 1
