"""What Python walks, as text: what is launched and what else is done, and the CUDA C of kernels."""

from __future__ import annotations

from collections.abc import Iterator
from math import prod

from ..backends.cuda.lowering import program_of
from ..backends.cuda.program import ANY, Check, Command, Host, Launch, Multiply, Program
from ..backends.plan import Plan
from .trace import Trace
from .walk import Walk


def listed(walk: Walk) -> Iterator[str]:
    """The commands of each part, with its device."""
    for device, runs in walk.programs():
        if isinstance(runs, Plan):
            yield f"{device}  a native plan of {len(runs.steps)} steps"
            continue
        for command in runs.commands:
            where = f"  ({command.where})" if command.where else ""
            yield f"{device}  {_described(command)}{where}"


def _described(command: Command) -> str:
    match command:
        case Launch():
            return f"{command.source.name}, {prod(command.grid)} x {prod(command.block)} threads"
        case Multiply():
            return f"product of {command.code.dtype} by cuBLAS"
        case Host():
            return f"{command.code.name}, by NumPy, on copies"
        case Check():
            return "wait for a value, and compare it"


def cuda_source(trace: Trace) -> str:
    """The CUDA C of every distinct kernel, for the device that runs them, or for any."""
    program = trace.program
    if program.walked:
        found = [runs for _, runs in program.walk.programs() if isinstance(runs, Program)]
    else:
        found = [program_of(program.fused, ANY, blas=False)]
    launches = [c for each in found for c in each.commands if isinstance(c, Launch)]
    return "\n".join(source.text for source in dict.fromkeys(c.source for c in launches))
