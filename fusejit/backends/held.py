"""What a plan that a guard has stopped still holds: values that another plan can go on with.

A value is held if all steps that write its slot came before the guard, and no temporary that shares
the slot's bytes was written since it was. Values that live in registers or in the rows of a strip
were never in memory as a whole.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from ..frozen import frozen
from ..ir.graph import Value
from .plan import Guard, Matmul, Opaque, Operand, Pack, Plan, Role, Slot, Step
from .storage import Storage, row_major


@frozen
class Held:
    """Where a stopped plan holds a value: `offset` bytes into a slot."""

    slot: int
    offset: int


def held(plan: Plan, values: Mapping[Value, Storage], stop: int) -> dict[Value, Held]:
    """The `values` that `plan` holds, contiguous, when step number `stop` has stopped it."""
    return whole(plan.slots, _writes(plan), values, stop)


def whole(
    slots: Sequence[Slot],
    writes: Mapping[int, Sequence[int]],
    values: Mapping[Value, Storage],
    stop: int,
) -> dict[Value, Held]:
    """The `values` that are there at step `stop`; `writes` are the steps that write each slot."""
    found = {
        slot: steps
        for slot, steps in writes.items()
        if steps[-1] < stop and slots[slot].role in (Role.TEMPORARY, Role.OUTPUT)
    }
    arena = {slot: slots[slot] for slot in writes if slots[slot].role is Role.TEMPORARY}
    for slot in found.keys() & arena.keys():
        if any(
            any(found[slot][0] < step < stop for step in writes[other])
            for other, there in arena.items()
            if other != slot and _overlap(there, arena[slot])
        ):
            del found[slot]
    return {
        value: Held(at.slot, at.offset * value.type.dtype.itemsize)
        for value, at in values.items()
        if at.slot in found and at.strides == row_major(value.type.shape) and value.type.size
    }


def _overlap(one: Slot, other: Slot) -> bool:
    return one.offset < other.offset + other.bytes and other.offset < one.offset + one.bytes


def _writes(plan: Plan) -> dict[int, list[int]]:
    """The steps that write each slot, in order."""
    found: dict[int, list[int]] = {}
    for number, step in enumerate(plan.steps):
        for slot in {operand.slot for operand in written(step) if operand.slot >= 0}:
            found.setdefault(slot, []).append(number)
    return found


def written(step: Step) -> tuple[Operand, ...]:
    """The operands that a step writes; of a Python step any may be one."""
    match step.code:
        case Guard():
            return ()
        case Matmul() | Pack():
            return step.operands[-1:]
        case Opaque():
            return step.operands
        case kernel:
            return step.operands[len(kernel.inputs) :]
