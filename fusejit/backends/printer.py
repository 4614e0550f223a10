"""A plan as text: its slots, then its strips with their steps. Deterministic, for eyes and tests.

input   %0: f32[64,256]
scratch %3: f32[64,1024] at 0, 4096 a row
strip 64 rows, 6 at a time, on several threads {
  loop[2] %0 %1 -> %3                             // file:line of the user
}
"""

from __future__ import annotations

from collections.abc import Iterator

from ..dtypes import TensorType
from .base import Loop, Reduce
from .plan import Code, Guard, Matmul, Opaque, Pack, Plan, Role, Slot, Step, Strip


def format_plan(plan: Plan) -> str:
    """The text of a plan; ends with a newline."""
    return "\n".join(_lines(plan)) + "\n"


def _lines(plan: Plan) -> Iterator[str]:
    yield f"plan @{plan.name}: {plan.arena} bytes, {plan.scratch} a thread"
    for number, slot in enumerate(plan.slots):
        yield f"  {slot.role.value:9} %{number}: {_place(slot)}{_donor(plan, number)}"
    for strip in plan.strips:
        steps = [_step(plan.steps[number]) for number in range(strip.first, strip.end)]
        if strip.grain == strip.rows:
            yield from (f"  {step}" for step in steps)
        else:
            yield f"  strip {_turns(strip)} {{"
            yield from (f"    {step}" for step in steps)
            yield "  }"


def shared_rows(plan: Plan) -> list[str]:
    """One line for each strip whose steps take turns, as `explain` shows it."""
    return [
        f"{_turns(strip)}: "
        + ", ".join(_name(step.code) for step in plan.steps[strip.first : strip.end])
        for strip in plan.strips
        if strip.grain != strip.rows
    ]


def _place(slot: Slot) -> str:
    text = str(TensorType(slot.dtype, slot.shape))
    if slot.role is Role.TEMPORARY:
        return f"{text} at {slot.offset}"
    if slot.role is Role.SCRATCH:
        return f"{text} at {slot.offset}, {slot.pitch} a row"
    return text


def _donor(plan: Plan, number: int) -> str:
    found = [given for given, taken in plan.donated if taken == number]
    return f", may take the memory of %{found[0]}" if found else ""


def _turns(strip: Strip) -> str:
    threads = ", on several threads" if strip.threads else ""
    return f"{strip.rows} rows, {strip.grain} at a time{threads}"


def _step(step: Step) -> str:
    places = [
        f"%{operand.slot}{f'+{operand.offset}' if operand.offset else ''}"
        if operand.slot >= 0
        else f"index+{operand.offset}"
        for operand in step.operands
    ]
    outputs = _outputs(step.code, len(places))
    reads, writes = places[: len(places) - outputs], places[len(places) - outputs :]
    arrow = f" -> {' '.join(writes)}" if writes else ""
    where = f"  // {step.where}" if step.where else ""
    return f"{_name(step.code)} {' '.join(reads)}{arrow}{where}"


def _outputs(code: Code, operands: int) -> int:
    if isinstance(code, Loop):
        return len(code.outputs)
    if isinstance(code, Reduce):
        return 1 + len(code.stored)
    return 0 if isinstance(code, Guard | Opaque) else 1


def _name(code: Code) -> str:
    if isinstance(code, Loop):
        return f"loop[{code.rank}]"
    if isinstance(code, Reduce):
        return f"reduce[{code.form.value}]"
    if isinstance(code, Opaque):
        return code.name
    if isinstance(code, Matmul):
        return f"matmul[{code.form.value}]"
    return "pack" if isinstance(code, Pack) else "guard"
