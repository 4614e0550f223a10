"""From a fused graph to a program: what is lowered for every target, as launches of kernels."""

from __future__ import annotations

from ...errors import LoweringError
from ...ir.graph import Graph
from ..arena import place_temporaries
from ..base import Loop
from ..lower import lowered
from ..plan import Guard, Matmul, Opaque, Step, Strip
from . import loops
from .program import Check, Command, Host, Limits, Multiply, Program


def program_of(graph: Graph, limits: Limits, blas: bool) -> Program:
    """The program of a fused graph.

    Args:
        graph: what to compute.
        limits: of the device.
        blas: whether products are left to the BLAS of the device, or computed by generated code.
    """
    found = lowered(graph, whole=True)
    strips = [Strip(n, n + 1) for n in range(len(found.steps))]
    slots, arena = place_temporaries(found.slots, found.steps, strips, reuse=True)
    commands = tuple(_command(step, limits) for step in found.steps)
    return Program(graph.name, slots, commands, found.inputs, found.outputs, arena, found.values)


def _command(step: Step, limits: Limits) -> Command:
    code = step.code
    if isinstance(code, Loop):
        return loops.launch(step, limits)
    if isinstance(code, Matmul):
        return Multiply(code, step.operands, step.meta, step.where)
    if isinstance(code, Opaque):
        return Host(code, step.operands, step.where)
    if isinstance(code, Guard):
        return Check(code, step.operands[0], step.where)
    raise LoweringError(f"no kernel for {code}")
