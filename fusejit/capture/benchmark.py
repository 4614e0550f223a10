"""One function timed eager against fused: what `Function.benchmark` returns."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any

from .. import dispatch
from ..backends.plan import Guard, Plan
from ..device import synchronize
from ..frozen import frozen
from ..ir.graph import FUSED, GUARD, Graph, Node, Value
from ..op import View
from .trace import Program, Trace

if TYPE_CHECKING:
    from .calls import Calls

ROUNDS = 15  # interleaved measurements of `benchmark`; the median of 15 ignores a few interruptions
FEWEST, LONG = 3, 3.0  # rounds at least, and seconds of single calls after which there are no more
ROUND_SECONDS = 0.02  # each long enough that the clock's and the loop's cost vanish


@frozen
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
    eager, fused = list[float](), list[float]()
    wait = partial(wait_for, trace.program)
    try:
        while len(fused) < ROUNDS and (len(fused) < FEWEST or sum(fused) + sum(eager) < LONG):
            eager.append(_seconds(lambda: calls.parameters.call(calls.body, flat), wait))
            fused.append(_seconds(call, wait))
    finally:
        for variable, value in zip(variables, saved, strict=True):
            dispatch.top().assign(variable, value)
    spent = trace.milliseconds
    return Benchmark(
        name=calls.function.__name__,
        eager=median(eager),
        fused=median(fused),
        first_call=sum(spent.values()) / 1e3,
        compile=spent.get("compile", 0.0) / 1e3,
        kernels_before=len(steps_before(trace.program.recorded)),
        kernels_after=kernels_of(trace.program),
        bytes_before=sum(map(bytes_moved, steps_before(trace.program.recorded))),
        bytes_after=sum(map(bytes_moved, trace.program.fused.nodes)),
    )


def wait_for(program: Program) -> None:
    """Wait until what a program was asked to do is done."""
    if program.walked:
        for device in dict.fromkeys(device for device, _ in program.walk.programs()):
            synchronize(device)


def median(values: Sequence[float]) -> float:
    return sorted(values)[len(values) // 2]


def _seconds(call: Callable[[], Any], wait: Callable[[], None]) -> float:
    """One call, with all that it asks of a device; of calls that take long only one is made."""
    began = time.perf_counter()
    call()
    wait()
    once = max(time.perf_counter() - began, 1e-9)
    if once > LONG / ROUNDS:
        return once
    count = max(1, round(ROUND_SECONDS / once))
    began = time.perf_counter()
    for _ in range(count):
        call()
    wait()
    return (time.perf_counter() - began) / count


def steps_before(graph: Graph) -> list[Node]:
    """What eager execution would run over memory: every op but views and guards."""
    return [n for n in graph.nodes if n.op is not GUARD and not isinstance(n.op, View)]


def kernels_in(plan: Plan) -> int:
    """The steps that compute something: a guard only compares."""
    return sum(not isinstance(step.code, Guard) for step in plan.steps)


def kernels_of(program: Program) -> int:
    """What computes something in a replay, on any device."""
    if not program.walked:
        return kernels_in(program.plan)
    return sum(
        kernels_in(runs) if isinstance(runs, Plan) else len(runs.launches)
        for _, runs in program.walk.programs()
    )


def bytes_moved(node: Node) -> int:
    """What a node reads and writes, if nothing stays in a cache; of a sliced input, the slices."""
    written = sum(value.type.nbytes for value in node.outputs)
    if node.op is not FUSED:
        return written + sum(value.type.nbytes for value in set(node.inputs))
    body: Graph = node.params["body"]
    uses = body.uses()
    return written + sum(_read(value, uses) for value in set(body.inputs))


def _read(value: Value, uses: Mapping[Value, Sequence[Node]]) -> int:
    """The bytes of `value` that a kernel reads, which looks through views."""
    views = [node for node in uses.get(value, ()) if isinstance(node.op, View)]
    if len(views) < len(uses.get(value, ())):
        return value.type.nbytes
    return min(value.type.nbytes, sum(_read(node.outputs[0], uses) for node in views))


def count(number: int, noun: str) -> str:
    """'1 kernel', '2 kernels'."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
