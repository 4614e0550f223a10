"""A trace as native calls take it: its checks, its plan, and how its results are made and nested.

This compiles what is not compiled yet. A first call does without; see `calls`.
"""

from __future__ import annotations

import itertools
import weakref
from collections.abc import Iterator

from .. import dispatch
from ..backends.held import Held
from ..backends.llvm import results
from ..backends.llvm.callable import Conditions, Entry, convention
from ..backends.llvm.checks import Behind, Check, Elsewhere, Fit, Input
from ..backends.llvm.grafts import carried
from ..ir.graph import Placed
from ..tensor import Tensor
from ..variable import Variable
from .nested import Nested
from .trace import BINDS, Trace

TENSORS = convention(Tensor, dispatch.handlers_active, variable=(Variable, "_value"))


def entry_of(trace: Trace) -> Entry:
    """The native entry of a trace, compiled."""
    checks, held = trace.checks, {}
    returned = _returned(trace)
    for ref in (*trace.assigned, *returned):
        # Found again at the end of the call: nothing else may keep the Variable alive by then.
        held[id(ref)] = len(checks)  # a reference that has died meanwhile has no hash
        checks = (*checks, Check(Behind(ref)))
    sources = trace.runs.sources
    first = len(sources) - len(trace.assigned)
    made = [_made(trace, number) for number in range(len(sources))]
    made += [results.Taken(held[id(ref)]) for ref in returned]
    assigned = [(held[id(ref)], first + number) for number, ref in enumerate(trace.assigned)]
    result = results.Result(tuple(made), _nest(trace), tuple(assigned))
    branch = trace.branch
    values = () if branch is None else branch.carried
    there = [value for value in values if isinstance(value, Held)]
    found = () if branch is None else carried(branch.parent.runs.plan, there)
    return Entry(TENSORS, trace.nargs, checks, trace.runs.native, result, found)


def conditions_of(trace: Trace) -> Conditions:
    """When a trace that Python walks applies; whatever it needs is then compiled."""
    from ..backends.cuda.array import DeviceArray, spec_of

    _ = trace.runs.walk
    checks = (*trace.checks, *(Check(Behind(ref)) for ref in (*trace.assigned, *_returned(trace))))
    fits: list[Fit] = [
        Elsewhere(DeviceArray, spec_of(v.device, v.type.dtype, v.type.shape))
        if isinstance(v, Placed)
        else (v.type.dtype, v.type.shape)
        for v in trace.program.recorded.inputs
    ]
    return Conditions(TENSORS, trace.nargs, checks, fits)


def _made(trace: Trace, number: int) -> results.Made:
    """How result `number` comes about; it shares no memory with an ndarray of the user."""
    kind, at = trace.runs.sources[number]
    if kind == "plan":
        return results.Output(at)
    if kind == "constant":
        return results.Fixed(at._data)
    if at >= len(trace.program.recorded.inputs):
        return results.Copied(at)  # it lies in the memory of the plan that was stopped
    check = _binding(trace, at)
    if not isinstance(trace.checks[check].expect, Input):
        return results.Copied(at)
    if trace.same_as_input.get(number) == at:
        return results.Taken(check)
    return results.Shared(at)


def _binding(trace: Trace, position: int) -> int:
    """The check that binds an input."""
    for number, check in enumerate(trace.checks):
        if isinstance(check.expect, BINDS) and check.expect.position == position:
            return number
    raise AssertionError("every input is bound")


def _returned(trace: Trace) -> list[weakref.ref[Variable]]:
    """The Variables among the leaves of the result."""
    return [at for kind, at in trace.leaves if kind == "variable"]


def _nest(trace: Trace) -> results.Nest:
    nested: list[results.Nest] = []
    variables = itertools.count(len(trace.runs.sources))
    for kind, at in trace.leaves:
        if kind == "value":
            nested.append(results.Value(at))
        else:
            nested.append(results.Leaf(at if kind == "result" else next(variables)))
    return nest(trace.nested, iter(nested))


def nest(nested: Nested | None, leaves: Iterator[results.Nest]) -> results.Nest:
    """The result as native calls build it; what they cannot build, Python does."""
    if nested is None:
        return next(leaves)
    items = tuple(nest(item, leaves) for item in nested.items)
    if nested.kind is tuple:
        return results.Tuple(items)
    if nested.kind is list:
        return results.List(items)
    if nested.kind is dict:
        return results.Dict(nested.keys, items)
    return results.Called(nested.make, items)
