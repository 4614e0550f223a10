"""What a decorated function does with a call, in words and numbers."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from .. import dispatch
from ..backends.base import Loop, Reduce
from ..backends.llvm.checks import Bytes, Field, Input, Length, Same
from ..backends.lower import working_nodes
from ..backends.plan import Guard, Opaque, Plan, Step
from ..backends.printer import shared_rows
from ..ir.graph import FUSED, GUARD, Graph, Node, walk
from ..op import View
from .misses import path_of, shown
from .trace import Trace

if TYPE_CHECKING:
    from ..backends.llvm.jit import Compiled
    from .calls import Calls

ROUNDS = 15  # interleaved measurements of `benchmark`; the median of 15 ignores a few interruptions
ROUND_SECONDS = 0.02  # each long enough that the clock's and the loop's cost vanish


@dataclass(frozen=True, slots=True)
class Benchmark:
    """One function timed eager against fused, in one process, rounds alternating.

    Seconds are medians of one call. `first_call` is recording, lowering and compiling together.
    """

    name: str
    eager: float
    fused: float
    first_call: float
    compile: float
    kernels_before: int
    kernels_after: int
    bytes_before: int
    bytes_after: int

    @property
    def ratio(self) -> float:
        """fused / eager: below 1 is faster."""
        return self.fused / self.eager

    def __str__(self) -> str:
        return (
            f"{self.name}: eager {1e6 * self.eager:.1f} us, fused {1e6 * self.fused:.1f} us "
            f"(ratio {self.ratio:.2f}); {count(self.kernels_before, 'op')} in "
            f"{count(self.kernels_after, 'kernel')}; "
            f"{self.bytes_before:,} bytes moved unfused, {self.bytes_after:,} fused; first call "
            f"{1e3 * self.first_call:.1f} ms, of which compiling {1e3 * self.compile:.1f} ms"
        )


def benchmark(
    calls: Calls, trace: Trace, flat: Sequence[Any], call: Callable[[], Any]
) -> Benchmark:
    """Time `call` (the decorated call) against the body; Variables get their values back."""
    variables = [v for v in (ref() for ref in trace.assigned) if v is not None]
    saved = [v._value for v in variables]
    eager, fused = [], []
    try:
        for _ in range(ROUNDS):
            eager.append(_seconds(lambda: calls.parameters.call(calls.body, flat)))
            fused.append(_seconds(call))
    finally:
        for variable, value in zip(variables, saved, strict=True):
            dispatch.top().assign(variable, value)
    spent = trace.milliseconds
    return Benchmark(
        name=calls.function.__name__,
        eager=_median(eager),
        fused=_median(fused),
        first_call=sum(spent.values()) / 1e3,
        compile=spent.get("compile", 0.0) / 1e3,
        kernels_before=len(_steps_before(trace.program.recorded)),
        kernels_after=_kernels_in(trace.program.plan),
        bytes_before=sum(map(_bytes_moved, _steps_before(trace.program.recorded))),
        bytes_after=sum(map(_bytes_moved, trace.program.fused.nodes)),
    )


def _median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _seconds(call: Callable[[], Any]) -> float:
    began = time.perf_counter()
    call()
    once = max(time.perf_counter() - began, 1e-9)
    count = max(1, round(ROUND_SECONDS / once))
    began = time.perf_counter()
    for _ in range(count):
        call()
    return (time.perf_counter() - began) / count


def _steps_before(graph: Graph) -> list[Node]:
    """What eager execution would run over memory: every op but views and guards."""
    return [n for n in graph.nodes if n.op is not GUARD and not isinstance(n.op, View)]


def _kernels_in(plan: Plan) -> int:
    """The steps that compute something: a guard only compares."""
    return sum(not isinstance(step.code, Guard) for step in plan.steps)


def _bytes_moved(node: Node) -> int:
    return sum(v.type.nbytes for v in (*set(node.inputs), *node.outputs))


def count(number: int, noun: str) -> str:
    """'1 kernel', '2 kernels'."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def explain(calls: Calls, trace: Trace) -> str:
    """One readable page about the plan that a call takes."""
    recorded, fused, plan = trace.program.recorded, trace.program.fused, trace.program.plan
    before, after = _steps_before(recorded), _kernels_in(plan)
    moved = sum(map(_bytes_moved, before)), sum(map(_bytes_moved, fused.nodes))
    spent = ", ".join(f"{name} {ms:.1f} ms" for name, ms in trace.milliseconds.items())
    lines = [
        f"{calls.function.__name__}: {count(len(before), 'op')} in {count(after, 'kernel')}; "
        f"{moved[0]:,} bytes moved unfused, {moved[1]:,} fused",
        f"  recorded {count(calls.num_traces, 'time')}; this plan: {spent}; "
        f"{count(trace.num_compiles, 'kernel')} compiled for it, {trace.num_loads} found on disk",
        "",
        "applies when",
        *(f"  {line}" for line in _conditions(trace)),
        "",
        "kernels",
        *(f"  {number}. {line}" for number, line in enumerate(_kernels(fused, plan.steps), 1)),
        *_together(plan),
        "",
        "not fused, and why (producer | consumer: reason)",
        *(f"  {note}" for note in dict.fromkeys((*fused.notes, *plan.notes))),
    ]
    if not fused.notes:
        lines.append("  nothing: every op is in a kernel with its neighbours")
    if trace.by_value:
        lines += ["", "float arguments taken by value: each new one is recorded again"]
        lines += [f"  {line}" for line in trace.by_value]
    if trace.untaped:
        lines += ["", f"under a tape it runs eagerly: {trace.untaped}"]
    return "\n".join(lines) + "\n"


def _together(plan: Plan) -> list[str]:
    lines = shared_rows(plan)
    title = ["", "steps that take turns, so that what one computes is in the cache for the next"]
    return [*title, *(f"  {line}" for line in lines)] if lines else []


def _conditions(trace: Trace) -> list[str]:
    lines = []
    for number, check in enumerate(trace.checks):
        if isinstance(check.take, Field):
            continue  # that functions have the same code, defaults and cells goes without saying
        if isinstance(check.expect, (Input, Same, Bytes, Length)):
            lines.append(f"{path_of(trace, number)} is {shown(check.expect, trace)}")
    for node in trace.program.recorded.nodes:
        if node.op is GUARD:
            lines.append(
                f"the value that {node.params['how']}() reads at {node.where} is what it was"
            )
    return lines or ["always"]


def _kernels(fused: Graph, steps: Sequence[Step]) -> list[str]:
    lines = []
    for node in working_nodes(fused):
        if node.op is GUARD:
            continue
        if node.op is FUSED:
            inner = [n.op.name for n in walk(node.params["body"])]
            what = f"{node.params['kind'].value}: {' '.join(inner)}"
        else:
            what = node.op.name
        results = ", ".join(str(v.type) for v in node.outputs)
        at = f"  ({node.where})" if node.where else ""
        lines.append(f"{what} -> {results}{at}" if results else f"{what}{at}")
    opaque = [s.code.name for s in steps if isinstance(s.code, Opaque)]
    if opaque:
        lines.append(
            f"(run by NumPy, as no kernel exists for them: {', '.join(dict.fromkeys(opaque))})"
        )
    return lines


def dump(calls: Calls, trace: Trace, folder: str) -> None:
    """Write every stage of a new trace as text: one file a stage, numbered as recorded."""
    target = Path(folder)
    target.mkdir(parents=True, exist_ok=True)
    stem = f"{calls.function.__name__.strip('<>')}.{calls.num_traces}"
    for stage, graph in trace.program.stages.items():
        (target / f"{stem}.{stage}.ir").write_text(str(graph), "utf-8")
    (target / f"{stem}.plan").write_text(str(trace.program.plan), "utf-8")
    (target / f"{stem}.ll").write_text(llvm(trace), "utf-8")


def llvm(trace: Trace) -> str:
    """The LLVM IR of every distinct kernel of the plan, before optimisation."""
    return "\n".join(compiled.ir for compiled in _compiled(trace))


def assembly(trace: Trace) -> str:
    """The machine code of every distinct kernel of the plan."""
    return "\n".join(compiled.asm() for compiled in _compiled(trace))


def _compiled(trace: Trace) -> list[Compiled]:
    """The distinct kernels of the plan in the order of their first use."""
    from ..backends.llvm.jit import compile_kernel  # the code generator is loaded when it is needed

    codes = [step.code for step in trace.program.plan.steps]
    kernels = [code for code in codes if isinstance(code, (Loop, Reduce))]
    return [compile_kernel(kernel) for kernel in dict.fromkeys(kernels)]
