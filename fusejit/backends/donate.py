"""Donated inputs: an output that replaces the value of a Variable may take that value's memory.

An optimizer that reads and writes where the parameters lie touches 4/7 of the memory that one with
fresh results does. Whether the memory may be taken, the runtime decides at each call: nothing else
must refer to it. Here it is proven that the plan computes the same either way: nobody reads the
input once the output begins to be written, and nothing stops the plan from there on.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Sequence
from functools import reduce
from itertools import chain

from .base import Loop
from .cost import nanoseconds
from .inplace import alike
from .plan import Guard, Matmul, MatmulForm, Opaque, Plan, Slot, Step, Strip
from .strips import Span
from .windows import windows


def donated(
    slots: Sequence[Slot],
    steps: Sequence[Step],
    strips: Sequence[Strip],
    wanted: Iterable[tuple[int, int]],
) -> tuple[tuple[int, int], ...]:
    """Which of the `wanted` pairs (input slot, output slot) may share memory; an output is listed
    once, and so are inputs."""
    pairs = [
        (given, taken)
        for given, taken in wanted
        if (slots[given].dtype, slots[given].shape) == (slots[taken].dtype, slots[taken].shape)
    ]
    if not pairs:
        return ()
    touching = _touching(steps, strips, {slot for pair in pairs for slot in pair})
    stops = _end_of_stops(steps, strips)
    found: dict[int, int] = {}
    for given, taken in pairs:
        writing = touching[taken]
        if taken in found or not writing or min(writing) < stops:
            continue
        number = min(writing)
        if max(touching[given], default=-1) <= number:
            strip = strips[number]
            if _side_by_side(steps[strip.first : strip.end], strip, given, taken):
                found[taken] = given
    return tuple((given, taken) for taken, given in found.items())


def first_write(plan: Plan) -> int:
    """The number of the first strip that touches a donated output; beyond all strips if none do."""
    outputs = {taken for _, taken in plan.donated}
    touching = _touching(plan.steps, plan.strips, outputs)
    return min((min(found) for found in touching.values()), default=len(plan.steps))


def work_from(plan: Plan, strip: int) -> float:
    """Estimated nanoseconds of the strips from this one on."""
    steps = (plan.steps[each.first : each.end] for each in plan.strips[strip:])
    return sum(map(nanoseconds, chain.from_iterable(steps)))


def _touching(
    steps: Sequence[Step], strips: Sequence[Strip], slots: Collection[int]
) -> dict[int, list[int]]:
    """The strips that touch each of the slots, in order."""
    found: dict[int, list[int]] = {slot: [] for slot in slots}
    for number, strip in enumerate(strips):
        for step in steps[strip.first : strip.end]:
            for operand in step.operands:
                if operand.slot in found:
                    found[operand.slot].append(number)
    return found


def _end_of_stops(steps: Sequence[Step], strips: Sequence[Strip]) -> int:
    """The strip from which on nothing can stop the plan."""
    stopping = (
        number + 1
        for number, strip in enumerate(strips)
        if any(map(_may_stop, steps[strip.first : strip.end]))
    )
    return max(stopping, default=0)


def _may_stop(step: Step) -> bool:
    """Guards and calls of Python; without a BLAS, its products become such."""
    if isinstance(step.code, Matmul):
        return step.code.form is MatmulForm.BLAS
    return isinstance(step.code, Guard | Opaque)


def _side_by_side(steps: Sequence[Step], strip: Strip, given: int, taken: int) -> bool:
    """Whether a strip that writes `taken` first has read all of `given` that it overwrites.

    A step that reads it must come before, or be a loop that loads each element before it stores the
    same; and if the strip goes some rows at a time, none may touch what is another row to another.
    """
    both = {given, taken}
    touching = [step for step in steps if both & {operand.slot for operand in step.operands}]
    first = next(n for n, step in enumerate(touching) if _touches(step, taken))
    if any(_touches(step, given) for step in touching[first + 1 :]):
        return False
    writer = touching[first]
    if _touches(writer, given) and not _in_place(writer, given, taken):
        return False
    return strip.grain == strip.rows or _apart(touching, strip.rows, both)


def _touches(step: Step, slot: int) -> bool:
    return any(operand.slot == slot for operand in step.operands)


def _in_place(step: Step, given: int, taken: int) -> bool:
    """Whether a step is a loop that writes `taken` once, and reads `given` in the same way."""
    once = sum(operand.slot == taken for operand in step.operands) == 1
    return once and isinstance(step.code, Loop) and (given, taken) in alike(step.code, step)


def _apart(steps: Sequence[Step], rows: int, both: Container[int]) -> bool:
    """Whether no row of the steps touches what another does, were the two slots one."""
    spans = []
    for step in steps:
        found = windows(step)
        if found is None:
            return False
        spans += [
            Span.of(window, rows, step.count // rows) for window in found if window.slot in both
        ]
    return reduce(Span.joined, spans).apart
