"""The arena: temporaries whose lifetimes do not meet share bytes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from .plan import Role, Slot, Step

ALIGNMENT = 64  # a cache line, and the widest vector


def place_temporaries(
    slots: Sequence[Slot], steps: Sequence[Step], reuse: bool
) -> tuple[tuple[Slot, ...], int]:
    """The slots with temporaries placed, first fit, and the arena's size in bytes."""
    born, dies = _lifetimes(slots, steps)
    placed = list(slots)
    free: list[tuple[int, int]] = []  # (offset, size), sorted, neighbours joined
    size = 0
    ending: dict[int, list[int]] = {}
    starting: dict[int, list[int]] = {}
    for slot, step in born.items():
        starting.setdefault(step, []).append(slot)
        ending.setdefault(dies[slot], []).append(slot)
    for step in range(len(steps)):
        for slot in starting.get(step, ()):
            need = _bytes(slots[slot])
            at = _take(free, need) if reuse else None
            if at is None:
                at, size = _extend(free, size, need) if reuse else (size, size + need)
            placed[slot] = replace(slots[slot], offset=at)
        for slot in ending.get(step, ()):
            _give(free, placed[slot].offset, _bytes(slots[slot]))
    return tuple(placed), size


def _bytes(slot: Slot) -> int:
    count = slot.dtype.itemsize
    for extent in slot.shape:
        count *= extent
    return -(-max(count, 1) // ALIGNMENT) * ALIGNMENT


def _lifetimes(
    slots: Sequence[Slot], steps: Sequence[Step]
) -> tuple[dict[int, int], dict[int, int]]:
    """First and last step that touches each temporary."""
    born: dict[int, int] = {}
    dies: dict[int, int] = {}
    for number, step in enumerate(steps):
        for operand in step.operands:
            if operand.slot >= 0 and slots[operand.slot].role is Role.TEMPORARY:
                born.setdefault(operand.slot, number)
                dies[operand.slot] = number
    return born, dies


def _take(free: list[tuple[int, int]], need: int) -> int | None:
    for i, (offset, size) in enumerate(free):
        if size >= need:
            free[i : i + 1] = [(offset + need, size - need)] if size > need else []
            return offset
    return None


def _extend(free: list[tuple[int, int]], size: int, need: int) -> tuple[int, int]:
    """Grow the arena; a free block at its end is part of the new one."""
    if free and sum(free[-1]) == size:
        offset, _ = free.pop()
        return offset, offset + need
    return size, size + need


def _give(free: list[tuple[int, int]], offset: int, size: int) -> None:
    free.append((offset, size))
    free.sort()
    merged: list[tuple[int, int]] = []
    for start, length in free:
        if merged and sum(merged[-1]) == start:
            merged[-1] = (merged[-1][0], merged[-1][1] + length)
        else:
            merged.append((start, length))
    free[:] = merged
