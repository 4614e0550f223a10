"""What a program that a Check has stopped still holds, as `backends.held` says it of plans."""

from __future__ import annotations

from collections.abc import Mapping

from ...ir.graph import Value
from ..held import Held, whole
from ..plan import Operand
from .program import Check, Command, Launch, Multiply, Program


def held(program: Program, stop: int) -> Mapping[Value, Held]:
    """The values that `program` holds, contiguous, when command number `stop` has stopped it."""
    writes: dict[int, list[int]] = {}
    for number, command in enumerate(program.commands):
        for slot in {operand.slot for operand in written(command) if operand.slot >= 0}:
            writes.setdefault(slot, []).append(number)
    return whole(program.slots, writes, program.values, stop)


def written(command: Command) -> tuple[Operand, ...]:
    """The operands that a command writes; of some any may be one."""
    match command:
        case Check():
            return ()
        case Multiply():
            return command.operands[-1:]
        case Launch(written=count) if count >= 0:
            return command.operands[len(command.operands) - count :]
        case _:
            return command.operands
