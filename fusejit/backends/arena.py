"""The arena: buffers whose lifetimes do not meet share bytes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..frozen import replace
from .inplace import heirs
from .plan import Role, Slot, Step, Strip

ALIGNMENT = 64  # a cache line, and the widest vector


def place_temporaries(
    slots: Sequence[Slot], steps: Sequence[Step], strips: Sequence[Strip], reuse: bool
) -> tuple[tuple[Slot, ...], int]:
    """The slots with temporaries placed, and the arena's size in bytes.

    The steps of a strip run side by side, so what any of them touches lives through all of it;
    but a loop may work in place.
    """
    lives: dict[int, tuple[int, int]] = {}
    for time, strip in enumerate(strips):
        for step in steps[strip.first : strip.end]:
            for operand in step.operands:
                if operand.slot >= 0 and slots[operand.slot].role is Role.TEMPORARY:
                    lives[operand.slot] = (lives.get(operand.slot, (time, 0))[0], time)
    owners: dict[int, int] = {}  # whose memory a temporary takes over
    if not reuse:
        lives = dict.fromkeys(lives, (0, len(strips)))
    else:
        lives |= dict.fromkeys(_kept(steps, strips) & lives.keys(), (0, len(strips)))
        for heir, before in heirs(slots, steps, strips, lives).items():
            owners[heir] = first = owners.get(before, before)
            lives[first] = (lives[first][0], lives.pop(heir)[1])
    offsets, size = place(lives, {slot: slots[slot].bytes for slot in lives})
    offsets |= {heir: offsets[first] for heir, first in owners.items()}
    placed = [
        replace(slot, offset=offsets[number]) if number in offsets else slot
        for number, slot in enumerate(slots)
    ]
    return tuple(placed), size


def _kept(steps: Sequence[Step], strips: Sequence[Strip]) -> set[int]:
    """The slots whose content outlives a run."""
    inside = (
        step for strip in strips if strip.kept >= 0 for step in steps[strip.first : strip.end]
    )
    return {operand.slot for step in inside for operand in step.operands}


def place(
    lives: Mapping[int, tuple[int, int]], sizes: Mapping[int, int]
) -> tuple[dict[int, int], int]:
    """Offsets, first fit, for buffers that live from a time to a time, and what all take."""
    offsets: dict[int, int] = {}
    free: list[tuple[int, int]] = []  # (offset, size), sorted, neighbours joined
    ending = sorted((dies, buffer) for buffer, (_, dies) in lives.items())
    total = ended = 0
    for buffer, (born, _) in sorted(lives.items(), key=lambda item: (item[1][0], item[0])):
        while ending[ended][0] < born:
            gone = ending[ended][1]
            _give(free, offsets[gone], _aligned(sizes[gone]))
            ended += 1
        need = _aligned(sizes[buffer])
        at = _take(free, need)
        if at is None:
            at, total = _extend(free, total, need)
        offsets[buffer] = at
    return offsets, total


def _aligned(size: int) -> int:
    return -(-max(size, 1) // ALIGNMENT) * ALIGNMENT


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
