"""Recorded programs that Python walks: those with values on a GPU.

    walk   := part*                        run in order; each reads what those before have made
    halted := step  values                 a guard did not hold: what is computed is there

A part is a program of its own, native on the CPU, launches on a GPU. A program on one GPU is one
part. Steps are numbered through all parts, so that a guard of any part has a number of its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, TypeAlias

from ..backends.cuda.eager import load
from ..backends.cuda.held import held
from ..backends.cuda.program import Check
from ..backends.cuda.program import Program as CudaProgram
from ..backends.cuda.runtime import Stopped
from ..backends.held import Held
from ..backends.llvm.abi import laid_out
from ..backends.plan import Guard, Plan
from ..device import CPU, moved
from ..frozen import frozen
from ..ir.devices import Part, cut
from ..ir.graph import Constant, Node, Value

if TYPE_CHECKING:
    from ..backends.llvm.runtime import StoppedAt
    from .trace import Program

Values: TypeAlias = dict[Value, Any]


@frozen(eq=False)
class Computed:
    """Where a halted walk has a value: among those that parts have made, or held by the last."""

    value: Value
    held: Held | None = None


@frozen(eq=False)
class Halted:
    """A guard did not hold."""

    step: int
    seen: bytes
    values: Values
    stopped: Stopped | None

    def get(self, computed: Computed) -> Any:
        """A value that the walk has computed."""
        if computed.held is None:
            return self.values[computed.value]
        assert self.stopped is not None, "only programs on a GPU hold values"
        kind = computed.value.type
        return self.stopped.array(computed.held, kind.dtype, kind.shape)


class Walk:
    """A program that is ready to run."""

    def __init__(self, program: Program) -> None:
        found = cut(program.compared)
        self._inputs = program.recorded.inputs
        self._results = found.results
        self.parts: list[_OnCpu | _OnGpu] = []
        steps = 0
        for part in found.parts:
            self.parts.append(_OnCpu(part, steps) if part.device == CPU else _OnGpu(part, steps))
            steps += self.parts[-1].steps

    def run(self, arrays: Sequence[Any]) -> list[Any] | Halted:
        """The results for these inputs, each on its device."""
        values = dict(zip(self._inputs, arrays, strict=True))
        for part in self.parts:
            halted = part.run(values)
            if halted is not None:
                return halted
        results = []
        for value, device in self._results:
            data = value.array if isinstance(value, Constant) else values[value]
            results.append(data if data.device == device else moved(data, device))
        return results

    def programs(self) -> Iterator[tuple[str, Plan | CudaProgram]]:
        """What runs, in order, and on which device."""
        for part in self.parts:
            yield part.device, part.runs

    def stops(self) -> Iterator[tuple[int, Node]]:
        """The guards in the order in which they run: step number and node."""
        for part in self.parts:
            yield from zip((part.first + n for n in part.checks()), part.guards, strict=True)

    def held(self, step: int) -> dict[Value, Computed]:
        """What a walk has computed when the guard at `step` has stopped it."""
        found = {value: Computed(value) for value in self._inputs}
        for part in self.parts:
            if step < part.first + part.steps:
                return {**part.held(step - part.first), **found}
            found.update((value, Computed(value)) for value in part.graph.outputs)
        raise AssertionError(f"there is no step {step}")


class _OnCpu:
    """A part that is a native plan."""

    def __init__(self, part: Part, first: int) -> None:
        from .trace import Program

        self.graph, self.guards = part.graph, part.guards
        self.device = CPU
        self.first = first
        self.program = Program(part.graph)
        self.runs = self.program.plan
        self.steps = len(self.runs.steps)

    def run(self, values: Values) -> Halted | None:
        arrays = [laid_out(moved(values[v], CPU)) for v in self.graph.inputs]
        outputs: list[Any] | StoppedAt = self.program.native.run(arrays)
        if not isinstance(outputs, list):
            return Halted(self.first + outputs.step, outputs.seen, values, None)
        values.update(zip(self.graph.outputs, self.program.gathered(outputs, arrays), strict=True))
        return None

    def checks(self) -> list[int]:
        return [n for n, step in enumerate(self.runs.steps) if isinstance(step.code, Guard)]

    def held(self, step: int) -> Mapping[Value, Computed]:
        return {}  # it is in native memory, and gone when the plan has stopped


class _OnGpu:
    """A part that is a program on a GPU."""

    def __init__(self, part: Part, first: int) -> None:
        from .trace import Program

        self.graph, self.guards = part.graph, part.guards
        self.device = part.device
        self.first = first
        self.program = Program(part.graph)
        self.loaded = load(self.program.fused, part.device)
        self.runs = self.loaded.program
        self.steps = len(self.runs.commands)

    def run(self, values: Values) -> Halted | None:
        device, given = self.device, [values[v] for v in self.graph.inputs]
        arrays = [x if x.device == device else moved(x, device) for x in given]
        outputs = self.loaded.run(arrays)
        if isinstance(outputs, Stopped):
            return Halted(self.first + outputs.command, outputs.seen, values, outputs)
        values.update(zip(self.graph.outputs, self.program.gathered(outputs, arrays), strict=True))
        return None

    def checks(self) -> list[int]:
        return [n for n, command in enumerate(self.runs.commands) if isinstance(command, Check)]

    def held(self, step: int) -> Mapping[Value, Computed]:
        found = held(self.runs, step)
        return {value: Computed(value, where) for value, where in found.items()}
