"""A trace: one recorded path through a function, as a graph, a plan, and the checks for its use."""

from __future__ import annotations

import weakref
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

import numpy as np
import optree

from .. import dispatch
from ..autodiff.tape import is_differentiable
from ..backends.llvm.callable import Entry, Finish, Result, convention
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
)
from ..backends.llvm.eager import load_plan
from ..backends.llvm.runtime import NativePlan, StoppedAt
from ..backends.lower import computed_results, lower
from ..backends.plan import Opaque, Plan
from ..config import config
from ..dtypes import TensorType
from ..ir.graph import Constant, Graph, Value
from ..op import Array, Op, Params
from ..passes import stages
from ..tensor import Tensor, wrap
from ..variable import Variable

TENSORS = convention(Tensor, dispatch.handlers_active)


class Stopped(Exception):
    """A guard did not hold: another path through the function must be taken."""


@dataclass(eq=False)
class Program:
    """A recorded graph with everything derived from it, each made when first asked for."""

    recorded: Graph

    @cached_property
    def stages(self) -> dict[str, Graph]:
        return stages(self.recorded)

    @property
    def fused(self) -> Graph:
        return self.stages["fuse"]

    @cached_property
    def plan(self) -> Plan:
        return lower(self.fused, reuse=not config.settings.no_reuse)

    @cached_property
    def native(self) -> NativePlan:
        return load_plan(self.plan)

    @cached_property
    def sources(self) -> list[tuple[str, Any]]:
        """Where each result comes from: ("plan", output), ("input", position), ("constant",
        array)."""
        return [self._source(value) for value in self.fused.results]

    def _source(self, value: Value) -> tuple[str, Any]:
        if isinstance(value, Constant):
            return "constant", wrap(value.array)
        if value in self.fused.inputs:
            return "input", self.fused.inputs.index(value)
        return "plan", computed_results(self.fused).index(value)

    def run(self, arrays: Sequence[Array]) -> list[Array]:
        """The results for these inputs; Stopped if a guard does not hold."""
        outputs = self.native.run([np.ascontiguousarray(a) if a.ndim else a for a in arrays])
        if isinstance(outputs, StoppedAt):
            raise Stopped(self.plan.steps[outputs.step].where)
        found = {"plan": outputs, "input": arrays}
        return [at._data if kind == "constant" else found[kind][at] for kind, at in self.sources]


@dataclass(frozen=True, slots=True, eq=False, repr=False, kw_only=True)
class Call(Op):
    """A recorded function as an op: how tapes see a replayed call. One entry, whatever it holds."""

    program: Program

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


@dataclass(eq=False)
class Trace:
    """One path: when it applies, what runs, how results are put together, what is assigned."""

    program: Program
    checks: tuple[Check, ...]
    paths: tuple[str, ...]  # what the checks of the reach snapshot look at
    nargs: int
    tree: Any  # optree.PyTreeSpec of the result
    leaves: tuple[tuple[str, Any], ...]  # ("result", number) or ("value", a scalar)
    variables: tuple[
        tuple[int, weakref.ref[Variable]], ...
    ]  # (input position, Variable read there)
    assigned: tuple[weakref.ref[Variable], ...]
    same_as_input: Mapping[int, int]  # results that are an input object itself -> its position
    untaped: str | None
    by_value: tuple[str, ...] = ()  # float arguments that are constants of the plan, and why
    milliseconds: dict[str, float] = field(default_factory=dict)
    num_compiles: int = 0
    calls: int = 0

    @cached_property
    def entry(self) -> Entry:
        return Entry(TENSORS, self.nargs, self.checks, self.program.native, self._result())

    @property
    def native_result(self) -> bool:
        """Whether the call may be entered natively: its result is made by the plan alone, and no
        step is Python's, which may raise: then the body must run to raise as eager code does."""
        made = all(kind == "plan" for kind, _ in self.program.sources)
        python = any(isinstance(step.code, Opaque) for step in self.program.plan.steps)
        return made and not self.same_as_input and not python

    def _result(self) -> Result:
        outputs = [at for _, at in self.program.sources]
        flat = [kind == "result" and number for kind, number in self.leaves]
        plain = (
            self.native_result
            and not self.assigned
            and flat == outputs == list(range(len(self.leaves)))
        )
        count = len(self.program.plan.outputs)
        if plain and count == len(flat):
            if self.tree.is_leaf():
                return "one"
            if self.tree.type is tuple and all(c.is_leaf() for c in self.tree.children()):
                return "tuple"
        return Finish(self._finish_native)

    def _finish_native(self, outputs: list[Tensor]) -> Any:
        return self.finish([outputs[at] for _, at in self.program.sources])

    def finish(self, results: Sequence[Tensor]) -> Any:
        """Commit the assignments, and nest the results as the function returned them."""
        first = len(results) - len(self.assigned)
        for ref, value in zip(self.assigned, results[first:], strict=True):
            variable = ref()
            assert variable is not None, "the checks saw it alive"
            dispatch.top().assign(variable, value)
        leaves = [results[at] if kind == "result" else at for kind, at in self.leaves]
        return optree.tree_unflatten(self.tree, leaves)

    def replay(self, args: Sequence[Any]) -> Any:
        """Run without native entry; Stopped if a guard does not hold. The checks were seen to
        hold."""
        inputs = self.inputs(args)
        arrays = [x._data if isinstance(x, Tensor) else x for x in inputs]
        results = self.program.run(arrays)
        self.calls += 1
        return self.finish([self._own(i, r, inputs) for i, r in enumerate(results)])

    def _own(self, number: int, array: Array, inputs: Sequence[Any]) -> Tensor:
        """Result `number` as a Tensor that shares no memory with an ndarray of the user."""
        kind, at = self.program.sources[number]
        if kind == "input":
            given = inputs[at]
            if not isinstance(given, Tensor):
                return wrap(given.copy())
            return given if self.same_as_input.get(number) == at else wrap(array)
        return wrap(array)

    def watched(self, args: Sequence[Any], watches: Callable[[Tensor], bool]) -> bool:
        """Whether a tape watches any input of this call, or would watch a Variable that it
        reads."""
        if any(isinstance(x, Tensor) and watches(x) for x in self.inputs(args)):
            return True
        found = [ref() for _, ref in self.variables]
        return any(v is not None and v.trainable and is_differentiable(v.dtype) for v in found)

    def inputs(self, args: Sequence[Any]) -> list[Any]:
        """The plan's inputs for this call: Tensors, ndarrays and floats."""
        return fetch(self.checks, args, len(self.program.recorded.inputs))


def fetch(checks: Sequence[Check], args: Sequence[Any], count: int) -> list[Any]:
    """Follow the checks in Python and collect what they bind to the inputs."""
    values: list[Any] = []
    inputs: list[Any] = [None] * count
    for check in checks:
        value = _taken(check, values, args)
        values.append(value)
        if isinstance(check.expect, (Input, ArrayInput)):
            inputs[check.expect.position] = value
        elif isinstance(check.expect, FloatInput):
            inputs[check.expect.position] = np.asarray(value, np.float64)
    return inputs


def make_contiguous(value: object) -> bool:
    """Lay a Tensor out as native code walks it, in place; whether that was needed."""
    if type(value) is not Tensor or value._data.flags.c_contiguous:
        return False
    value._data = value._data.copy(order="C")
    return True


def straighten(checks: Sequence[Check], args: Sequence[Any]) -> bool:
    """`make_contiguous` on all that the checks would bind; whether any was needed."""
    values: list[Any] = []
    needed = False
    for check in checks:
        try:
            values.append(_taken(check, values, args))
        except Exception:  # whatever a property of the user's raises: then the check fails
            values.append(None)
        needed |= isinstance(check.expect, Input) and make_contiguous(values[-1])
    return needed


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
        case Attribute(name):
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
