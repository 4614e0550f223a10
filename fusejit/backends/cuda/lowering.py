"""From a fused graph to a program: what is lowered for every target, as launches of kernels."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import accumulate, pairwise
from typing import TypeAlias

from ...config import config
from ...frozen import replace
from ...ir.graph import Graph
from ...scalar import DType
from ..arena import ALIGNMENT, place_temporaries
from ..base import Loop, Reduce
from ..lower import Lowered, lowered
from ..plan import Guard, Matmul, Opaque, Operand, Role, Slot, Step, Strip
from ..strips import gathered, strips_of
from . import cuts, loops, matmul, rows
from .matmul import Following, following
from .program import Check, Command, Host, Launch, Limits, Multiply, Program
from .text import with_fastmath


def program_of(graph: Graph, limits: Limits, blas: bool) -> Program:
    """The program of a fused graph.

    Args:
        graph: what to compute.
        limits: of the device.
        blas: whether products are left to the BLAS of the device, or computed by generated code.
    """
    found = lowered(graph, whole=True)
    pairs = {} if blas else _pairs(found)
    together = {id(then.step) for then, _ in pairs.values()} | pairs.keys()
    opened, _ = gathered(found.steps, rows.room(lambda step: id(step) in together))
    touched = strips_of(opened)
    formed = [rows.strip_of(found.slots, each, touched, limits) for each in opened]
    inside = {slot: made for strip in formed for slot, made in strip.scratch.items()}
    for product in found.steps:
        if id(product) in pairs and not pairs[id(product)][1]:
            slot = product.operands[2].slot
            inside[slot] = replace(found.slots[slot], role=Role.SCRATCH)
    slots = [inside.get(number, slot) for number, slot in enumerate(found.slots)]
    groups = list(_groups(formed, pairs))
    steps = [step for group in groups for strip in group for step in strip.steps]
    ends = list(accumulate(sum(len(strip.steps) for strip in group) for group in groups))
    spans = list(map(Strip, (0, *ends), ends))
    placed, arena = place_temporaries(slots, steps, spans, reuse=not config.settings.no_reuse)
    writer = _Writer(list(placed), arena, limits, blas, pairs)
    for group in groups:
        writer.group(group)
    return Program(
        graph.name,
        tuple(writer.slots),
        tuple(map(_quick, writer.commands) if graph.fastmath else writer.commands),
        found.inputs,
        found.outputs,
        writer.arena,
        found.values,
    )


def _quick(command: Command) -> Command:
    if not isinstance(command, Launch):
        return command
    return replace(command, source=with_fastmath(command.source))


Pairs: TypeAlias = "dict[int, tuple[Following, bool]]"
"""id of a product -> the loop right after it that is to be one kernel with it, and whether others
read the product, too."""
Group: TypeAlias = "tuple[rows.Strip, ...]"
"""What one launch does, or several of which nothing else comes between."""


def _pairs(found: Lowered) -> Pairs:
    touches = Counter(operand.slot for step in found.steps for operand in step.operands)
    pairs: Pairs = {}
    for product, step in pairwise(found.steps):
        if not isinstance(product.code, Matmul):
            continue
        then = following(product, step)
        if then is not None:
            slot = product.operands[2].slot
            both = 1 + sum(operand.slot == slot for operand in step.operands)
            stored = found.slots[slot].role is not Role.TEMPORARY or touches[slot] > both
            pairs[id(product)] = (then, stored)
    return pairs


def _groups(formed: Sequence[rows.Strip], pairs: Pairs) -> Iterator[Group]:
    """A strip; a product and the loop after it; reductions of the same array side by side."""
    open: list[rows.Strip] = []
    for strip in formed:
        alone = [each.steps[0] for each in (*open, strip) if len(each.steps) == 1]
        joins = open and (
            id(open[-1].steps[0]) in pairs
            or (len(alone) == len(open) + 1 and cuts.are_beside(alone))
        )
        if open and not joins:
            yield tuple(open)
            open = []
        open.append(strip)
    if open:
        yield tuple(open)


class _Writer:
    """Commands in order, and the slots that they need beyond those of the graph."""

    def __init__(
        self, slots: list[Slot], arena: int, limits: Limits, blas: bool, pairs: Pairs
    ) -> None:
        self.slots = slots
        self.limits, self.blas, self.pairs = limits, blas, pairs
        self.commands: list[Command] = []
        self.placed = self.arena = arena

    def group(self, group: Group) -> None:
        step = group[0].steps[0]
        if len(group[0].steps) > 1:
            self.commands.append(rows.launch(group[0], self.limits))
        elif isinstance(step.code, Reduce):
            self._reductions([strip.steps[0] for strip in group])
        else:
            self.step(step)

    def step(self, step: Step) -> None:
        code = step.code
        if isinstance(code, Loop):
            self.commands.append(loops.launch(step, self.limits))
        elif isinstance(code, Matmul) and self.blas:
            self.commands.append(Multiply(code, step.operands, step.meta, step.where))
        elif isinstance(code, Matmul):
            then, stored = self.pairs.get(id(step), (None, True))
            self.commands.append(matmul.launch(step, then, stored, self.limits))
        elif isinstance(code, Opaque):
            self.commands.append(Host(code, step.operands, step.where))
        else:
            assert isinstance(code, Guard)
            self.commands.append(Check(code, step.operands[0], step.where))

    def _reductions(self, steps: Sequence[Step]) -> None:
        """Partial results live for these launches only, so all reductions have the same bytes."""
        end = self.placed

        def temporary(dtype: DType, count: int) -> Operand:
            nonlocal end
            self.slots.append(Slot(Role.TEMPORARY, dtype, (count,), end))
            end += -(-count * dtype.itemsize // ALIGNMENT) * ALIGNMENT
            self.arena = max(self.arena, end)
            return Operand(len(self.slots) - 1)

        self.commands += cuts.launches(steps, self.limits, temporary)
