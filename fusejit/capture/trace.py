"""A trace: one recorded path through a function, as a graph, a plan, and the checks for its use."""

from __future__ import annotations

import weakref
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import cached_property
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..autodiff.tags import is_differentiable
from ..autodiff.tape import GradientTape
from ..backends.llvm.abi import laid_out
from ..backends.llvm.checks import (
    Arg,
    ArrayInput,
    Attribute,
    Behind,
    Check,
    Content,
    Field,
    FloatInput,
    Input,
    Item,
    Itself,
    Kept,
    Key,
    Of,
    Slot,
)
from ..collector import held_off
from ..config import config
from ..device import CPU
from ..dtypes import TensorType
from ..frozen import frozen, initialized
from ..ir.graph import GUARD, Constant, Graph, Node, Value
from ..op import Array, Op, Params
from ..tensor import Tensor, detached, wrap
from ..variable import Variable
from .nested import Nested, build

if TYPE_CHECKING:
    from ..backends.held import Held
    from ..backends.llvm.callable import Conditions, Entry
    from ..backends.llvm.runtime import NativePlan
    from ..backends.plan import Plan
    from .walk import Computed, Walk

BINDS = (Input, ArrayInput, FloatInput)
_ASSIGN = vars(Variable)["_value"].__set__


class Stopped(Exception):
    """A guard did not hold: another path through the function must be taken."""


@initialized
class Program:
    """A recorded graph with everything derived from it, each made when first asked for.

    What makes it is imported then too: a first call only records.
    """

    recorded: Graph
    unchanging: frozenset[int] = frozenset()
    """Positions of inputs that are Variables which it does not assign: likely the same arrays at
    the next call, so what is packed from them is kept."""
    replaced: Mapping[int, int] = MappingProxyType({})
    """Position of an input that is a Variable -> number of the result that it is assigned: that may
    take its memory where nothing else refers to it."""
    on_gpu: bool = False
    """Whether Python walks it even if all of it is on the CPU."""

    @cached_property
    def walked(self) -> bool:
        """Whether Python walks it; else it is one native plan."""
        from ..ir.devices import is_plain

        return self.on_gpu or not is_plain(self.recorded)

    @cached_property
    def walk(self) -> Walk:
        from .walk import Walk

        return held_off(lambda: Walk(self))

    @cached_property
    def compared(self) -> Graph:
        """The graph by whose values paths are compared: in a walk, copies are told from others."""
        if not self.walked:
            return self.stages["dce"]
        from ..passes.clean import dce

        return dce(self.recorded)

    @cached_property
    def stages(self) -> dict[str, Graph]:
        from ..ir.devices import alone
        from ..passes import stages

        if not self.walked:
            return held_off(lambda: stages(self.recorded))
        return {**held_off(lambda: stages(alone(self.recorded))), "recorded": self.recorded}

    @property
    def fused(self) -> Graph:
        return self.stages["fuse"]

    @cached_property
    def plan(self) -> Plan:
        from ..backends.llvm.target import is_narrow
        from ..backends.lower import lower

        reuse = not config.settings.no_reuse
        replaced = self.replaced if reuse else {}
        return lower(self.fused, reuse, self.unchanging, replaced, is_narrow())

    @cached_property
    def native(self) -> NativePlan:
        from ..backends.llvm.eager import load_plan

        return held_off(lambda: load_plan(self.plan))

    @cached_property
    def sources(self) -> list[tuple[str, Any]]:
        """Where each result comes from: ("plan", output), ("input", position), ("constant",
        array)."""
        from ..backends.lower import computed_results

        given = {value: number for number, value in enumerate(self.fused.inputs)}
        made = {value: number for number, value in enumerate(computed_results(self.fused))}

        def source(value: Value) -> tuple[str, Any]:
            if isinstance(value, Constant):
                return "constant", wrap(value.array)
            return ("input", given[value]) if value in given else ("plan", made[value])

        return [source(value) for value in self.fused.results]

    def run(self, arrays: Sequence[Any]) -> list[Any]:
        """The results for these inputs; Stopped if a guard does not hold."""
        if self.walked:
            found = self.walk.run(arrays)
            if not isinstance(found, list):
                raise Stopped(self.where(found.step))
            return found
        outputs = self.native.run(list(map(laid_out, arrays)))
        if not isinstance(outputs, list):
            raise Stopped(self.where(outputs.step))
        return self.gathered(outputs, arrays)

    def gathered(self, outputs: Sequence[Any], arrays: Sequence[Any]) -> list[Any]:
        """The results, given what a plan has computed of the inputs."""
        found = {"plan": outputs, "input": arrays}
        return [at._data if kind == "constant" else found[kind][at] for kind, at in self.sources]

    def stops(self) -> Iterator[tuple[int, Node]]:
        """The guards in the order in which they run: step number and node."""
        if self.walked:
            return self.walk.stops()
        from ..backends.plan import Guard

        steps = [n for n, step in enumerate(self.plan.steps) if isinstance(step.code, Guard)]
        nodes = [node for node in self.fused.nodes if node.op is GUARD]
        return zip(steps, nodes, strict=True)

    def held(self, step: int) -> Mapping[Value, Held | Computed]:
        """Where it has what is computed when the guard at `step` has stopped it."""
        if self.walked:
            return self.walk.held(step)
        from ..backends.held import held

        return held(self.plan, self.plan.values, step)

    def where(self, step: int) -> str | None:
        """The user's line that reads the value at which a guard looks."""
        return next((node.where for number, node in self.stops() if number == step), None)


@frozen(eq=False, kw_only=True)
class Call(Op):
    """A recorded function as an op: how tapes see a replayed call. One entry, whatever it holds."""

    program: Program
    anywhere = True

    def infer(self, types: Sequence[TensorType], params: Params) -> tuple[TensorType, ...]:
        return tuple(v.type for v in self.program.recorded.results)

    def eager(self, arrays: Sequence[Array], params: Params) -> tuple[Array, ...]:
        return tuple(self.program.run(arrays))


def call_op(program: Program, vjp: Callable[..., Any] | None) -> Call:
    return Call(
        name=program.recorded.name,
        numpy=lambda *a: a,
        variadic=True,
        registered=False,
        vjp=vjp,
        program=program,
    )


@frozen(eq=False)
class Branch:
    """Where a path leaves another, and what is left to do from there on. See `tree`."""

    parent: Trace
    step: int  # of the parent's plan: the guard
    seen: bytes  # what it looks at on this path
    program: Program  # its inputs are those of the whole path, then the carried
    carried: tuple[Held | Computed, ...]  # where the parent's plan holds them
    numbers: tuple[int, ...]  # of the inputs, see `Numbering`


@initialized(kw_only=True)
class Trace:
    """One path: when it applies, what runs, how results are put together, what is assigned."""

    program: Program
    checks: tuple[Check, ...]
    paths: tuple[str, ...]  # what the checks of the reach snapshot look at
    nargs: int
    nested: Nested | None  # how the result is
    leaves: tuple[tuple[str, Any], ...]
    # ("result", number), ("value", a scalar) or ("variable", weak reference)
    variables: tuple[
        tuple[int, weakref.ref[Variable]], ...
    ]  # (input position, Variable read there)
    assigned: tuple[weakref.ref[Variable], ...]
    same_as_input: Mapping[int, int]  # results that are an input object itself -> its position
    untaped: str | None
    milliseconds: dict[str, float]  # what it took to record, to compile
    exits: dict[tuple[int, bytes], list[Trace]]
    """(guard of what runs, what it saw) -> the paths that go on from there"""
    place: str = CPU  # where its calls make tensors
    by_value: tuple[str, ...] = ()  # float arguments that are constants of the plan, and why
    num_compiles: int = 0
    num_loads: int = 0  # kernels found compiled on disk
    branch: Branch | None = None  # None: a root, entered from the top

    @property
    def runs(self) -> Program:
        """What a replay of this path runs: all of it, or the rest."""
        return self.program if self.branch is None else self.branch.program

    @cached_property
    def guarded(self) -> bool:
        """Whether what happens on this path depends on values."""
        return any(node.op is GUARD for node in self.program.recorded.nodes)

    @cached_property
    def entry(self) -> Entry:
        """The trace as native calls take it."""
        from .entries import entry_of  # compiles, which the first call can do without

        assert not self.program.walked, "Python walks it"
        return entry_of(self)

    @cached_property
    def conditions(self) -> Entry | Conditions:
        """What tells whether a call may take it."""
        if not self.program.walked:
            return self.entry
        from .entries import conditions_of

        return conditions_of(self)

    def finish(self, found: Sequence[Tensor]) -> Any:
        """Nest the results as the function returned them, and commit the assignments."""
        first = len(found) - len(self.assigned)
        variables = [ref() for ref in self.assigned]
        assert None not in variables, "the checks saw them alive"
        values = list(map(detached, found[first:]))
        result = build(self.nested, (_leaf(kind, at, found) for kind, at in self.leaves))
        # All in one call of C code: an interrupt comes before it or after it.
        deque(map(_ASSIGN, variables, values), maxlen=0)
        return result

    def watched(self, inputs: Sequence[Any], tapes: Sequence[GradientTape]) -> bool:
        """Whether a tape watches any of these inputs, or would watch a Variable that it reads."""
        if any(type(x) is Tensor and tape.watches(x) for tape in tapes for x in inputs):
            return True
        read = [ref for _, ref in self.variables]
        assigned = self.assigned if self.untaped else ()  # it may read these as well
        found = [ref() for ref in (*read, *assigned)]
        return any(v is not None and v.trainable and is_differentiable(v.dtype) for v in found)


def array_of(value: Any) -> Any:
    """An input as the plan takes it."""
    if type(value) is Tensor:
        return value._data
    return np.asarray(value, np.float64) if type(value) is float else value


def _leaf(kind: str, at: Any, found: Sequence[Tensor]) -> Any:
    return found[at] if kind == "result" else at() if kind == "variable" else at


def make_contiguous(value: object) -> bool:
    """Lay a Tensor out as native code walks it, in place; whether that was needed."""
    if type(value) is not Tensor:
        return False
    if type(value._data) is not np.ndarray:
        return False  # on a device all are
    given, value._data = value._data, laid_out(value._data)
    return value._data is not given


def as_walked(flat: Sequence[Any]) -> tuple[Any, ...]:
    """Arguments as native code takes them: copies of ndarrays that lie otherwise, one of each. No
    recording depends on how an ndarray lies, see `watched`."""
    copies = {id(value): laid_out(value) for value in flat if type(value) is np.ndarray}
    return tuple([copies.get(id(value), value) for value in flat])


def straighten(checks: Sequence[Check], args: Sequence[Any]) -> bool:
    """`make_contiguous` on all that the checks would bind; whether any was needed. Arguments are
    contiguous already."""
    if all(isinstance(c.source, Arg) for c in checks if isinstance(c.expect, Input)):
        return False
    values = values_at(checks, args)
    found = [
        make_contiguous(value)
        for check, value in zip(checks, values, strict=True)
        if isinstance(check.expect, Input)
    ]
    return any(found)


def value_at(checks: Sequence[Check], number: int, args: Sequence[Any]) -> Any:
    """What a check would take now; None if there is no such thing."""
    return values_at(checks[: number + 1], args)[number]


def values_at(checks: Sequence[Check], args: Sequence[Any]) -> list[Any]:
    """What each check would take now; None where there is no such thing."""
    values: list[Any] = []
    for check in checks:
        try:
            values.append(_taken(check, values, args))
        except Exception:  # whatever a property of the user's raises: then the check fails
            values.append(None)
    return values


def _taken(check: Check, values: Sequence[Any], args: Sequence[Any]) -> Any:
    source: Any
    match check.source:
        case Kept(found):
            source = found
        case Behind(ref):
            source = ref()
        case Of(number):
            source = values[number]
        case Arg(index):
            source = args[index]
    match check.take:
        case Itself():
            return source
        case Key(key):
            return source.get(key)
        case Content():
            return source.cell_contents if _filled(source) else None
        case Attribute(name) | Slot(_, name):
            return getattr(source, name, None)
        case Item(index):
            return source[index]
        case Field(name):
            return getattr(source, f"__{name}__")


def _filled(cell: Any) -> bool:
    try:
        return cell.cell_contents is not None or True
    except ValueError:
        return False
