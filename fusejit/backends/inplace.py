"""Work in place: a temporary that a loop makes may take the memory of an operand that dies there.

A loop loads each element before it stores any of the same index, so result and operand may be the
very same memory if they are walked alike (the contract of `base.Loop`).
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .base import Loop
from .plan import Slot, Step, Strip

Lives = Mapping[int, tuple[int, int]]


def heirs(
    slots: Sequence[Slot], steps: Sequence[Step], strips: Sequence[Strip], lives: Lives
) -> dict[int, int]:
    """Temporary -> the one whose memory it takes over, in the order in which that happens.

    `lives` has the first and the last strip that touches each temporary. The other steps of the
    strip must keep off the operand: they run on its other rows before and after the loop does. Nor
    may they have touched the result before, since then there are two of them to be kept.
    """
    found: dict[int, int] = {}
    given: set[int] = set()
    for time, strip in enumerate(strips):
        inside = steps[strip.first : strip.end]
        touches = Counter(slot for step in inside for slot in {o.slot for o in step.operands})
        before: set[int] = set()
        for step in inside:
            if isinstance(step.code, Loop):
                for operand, result in alike(step.code, step):
                    ends = lives.get(operand, (0, -1))[1] == time and touches[operand] == 1
                    begins = lives.get(result, (-1, 0))[0] == time and result not in before
                    equal = slots[operand].bytes == slots[result].bytes
                    if ends and begins and equal and result not in found and operand not in given:
                        found[result] = operand
                        given.add(operand)
            before.update(operand.slot for operand in step.operands)
    return found


def alike(kernel: Loop, step: Step) -> Iterator[tuple[int, int]]:
    """Pairs of input and output slots that the loop walks alike, wherever it reads the input."""
    rank, count, meta = kernel.rank, len(kernel.inputs), step.meta
    walks = [  # numbers first: they tell most walks apart
        (operand.offset, meta[rank * i : rank * (i + 1)], access)
        for i, (access, operand) in enumerate(
            zip(kernel.inputs + kernel.outputs, step.operands, strict=True), 1
        )
    ]
    slots = [operand.slot for operand in step.operands]
    read: dict[int, Any] = {}  # how an input is walked, if it is so wherever it is read
    for slot, walk in zip(slots[:count], walks, strict=False):
        read[slot] = walk if read.get(slot, walk) == walk else None
    for result, walk in zip(slots[count:], walks[count:], strict=True):
        for slot, found in read.items():
            if slot != result and found == walk:
                yield slot, result
