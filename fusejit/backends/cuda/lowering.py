"""From a fused graph to a program: what is lowered for every target, as launches of kernels."""

from __future__ import annotations

from itertools import accumulate

from ...ir.graph import Graph
from ...scalar import DType
from ..arena import ALIGNMENT, place_temporaries
from ..base import Loop
from ..lower import lowered
from ..plan import Guard, Matmul, Opaque, Operand, Role, Slot, Step, Strip
from ..strips import gathered, strips_of
from . import loops, reductions, rows
from .program import Check, Command, Host, Limits, Multiply, Program


def program_of(graph: Graph, limits: Limits, blas: bool) -> Program:
    """The program of a fused graph.

    Args:
        graph: what to compute.
        limits: of the device.
        blas: whether products are left to the BLAS of the device, or computed by generated code.
    """
    found = lowered(graph, whole=True)
    opened, _ = gathered(found.steps, rows.room())
    touched = strips_of(opened)
    formed = [rows.strip_of(found.slots, each, touched, limits) for each in opened]
    inside = {slot: made for strip in formed for slot, made in strip.scratch.items()}
    slots = [inside.get(number, slot) for number, slot in enumerate(found.slots)]
    ends = list(accumulate(len(strip.steps) for strip in formed))
    spans = [Strip(end - len(strip.steps), end) for strip, end in zip(formed, ends, strict=True)]
    steps = [step for strip in formed for step in strip.steps]
    placed, arena = place_temporaries(slots, steps, spans, reuse=True)
    writer = _Writer(list(placed), arena, limits, blas)
    for strip in formed:
        writer.strip(strip)
    return Program(
        graph.name,
        tuple(writer.slots),
        tuple(writer.commands),
        found.inputs,
        found.outputs,
        writer.arena,
        found.values,
    )


class _Writer:
    """Commands in order, and the slots that they need beyond those of the graph."""

    def __init__(self, slots: list[Slot], arena: int, limits: Limits, blas: bool) -> None:
        self.slots = slots
        self.limits, self.blas = limits, blas
        self.commands: list[Command] = []
        self.placed = self.arena = arena

    def strip(self, strip: rows.Strip) -> None:
        if len(strip.steps) > 1:
            self.commands.append(rows.launch(strip, self.limits))
        else:
            self.step(strip.steps[0])

    def step(self, step: Step) -> None:
        code = step.code
        if isinstance(code, Loop):
            self.commands.append(loops.launch(step, self.limits))
        elif isinstance(code, Matmul):
            self.commands.append(Multiply(code, step.operands, step.meta, step.where))
        elif isinstance(code, Opaque):
            self.commands.append(Host(code, step.operands, step.where))
        elif isinstance(code, Guard):
            self.commands.append(Check(code, step.operands[0], step.where))
        else:
            self._reduction(step)

    def _reduction(self, step: Step) -> None:
        """Partial results live for these launches only, so all reductions have the same bytes."""
        end = self.placed

        def temporary(dtype: DType, count: int) -> Operand:
            nonlocal end
            self.slots.append(Slot(Role.TEMPORARY, dtype, (count,), end))
            end += -(-count * dtype.itemsize // ALIGNMENT) * ALIGNMENT
            self.arena = max(self.arena, end)
            return Operand(len(self.slots) - 1)

        self.commands += reductions.launches(step, self.limits, temporary)
