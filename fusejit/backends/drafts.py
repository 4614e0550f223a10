"""Drafts: what a loop turns into a result is made where the result will lie.

A softmax divides its exponentials. In memory of their own they take room in the cache and the
division waits for the result's lines; made in the result and divided there, a softmax of 1000 rows
of 1000 takes 10 % less time, a log_softmax 15 %.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Container, Iterable

from ..frozen import replace
from .base import Loop
from .inplace import alike
from .plan import Role, Step
from .strips import Formed

MIN_ROW = 256
"""Elements of a row of the loop from which on a draft pays. The end of a row is stored with a mask,
and to load what follows in the same memory waits for that: rows of 10 take 45 % longer, of 100 10 %
and of 127 4 %, where rows of 250 and more take 10 % less."""


def drafted(formed: Formed, spared: Container[int]) -> Formed:
    """The strips with each draft in the memory of its result, which is none of those `spared`."""
    found = _drafts(formed, spared)
    if not found:
        return formed
    steps = tuple(_moved(step, found) for step in formed.steps)
    slots = list(formed.slots)
    for draft in found:  # nobody touches it any more
        slots[draft] = replace(slots[draft], role=Role.SCRATCH, offset=0, pitch=0)
    return replace(formed, steps=steps, slots=tuple(slots))


def _drafts(formed: Formed, spared: Container[int]) -> dict[int, int]:
    """Temporary -> the output in whose memory it can be made.

    All that touches the temporary is in one strip, where a loop is the last to read it, at the very
    places that it writes. No other step of the strip touches the output, nor does one before.
    """
    found: dict[int, int] = {}
    strips = [formed.steps[strip.first : strip.end] for strip in formed.strips]
    strips_of = Counter(slot for steps in strips for slot in _touched(steps))
    before: set[int] = set()
    for steps in strips:
        steps_of = Counter(slot for step in steps for slot in _touched([step]))
        last = {slot: step for step in steps for slot in _touched([step])}
        for step in steps:
            for draft, result in _pairs(step):
                there, here = formed.slots[result], formed.slots[draft]
                fresh = there.role is Role.OUTPUT and result not in before and result not in spared
                passing = here.role in _PASSING and strips_of[draft] == 1 and last[draft] is step
                alone = steps_of[result] == 1 and result not in found.values()
                if fresh and passing and alone and here.bytes == there.bytes:
                    found.setdefault(draft, result)
        before |= steps_of.keys()
    return found


def _pairs(step: Step) -> Iterable[tuple[int, int]]:
    """Slots that a loop reads and writes at the same places, if its rows are long."""
    code = step.code
    if not isinstance(code, Loop) or (code.rank > 1 and step.meta[code.rank - 1] < MIN_ROW):
        return ()
    return alike(code, step)


_PASSING = (Role.TEMPORARY, Role.SCRATCH)


def _touched(steps: Iterable[Step]) -> set[int]:
    return {operand.slot for step in steps for operand in step.operands}


def _moved(step: Step, found: dict[int, int]) -> Step:
    operands = tuple(replace(o, slot=found.get(o.slot, o.slot)) for o in step.operands)
    return step if operands == step.operands else replace(step, operands=operands)
