"""Recording one call: run the body eagerly, and return both its result and, if it may stand for
further calls, the trace."""

from __future__ import annotations

import enum
import time
import types
import weakref
from collections.abc import Sequence
from functools import partial
from typing import Any

import numpy as np

from .. import dispatch
from ..autodiff import trees
from ..backends.llvm.checks import (
    Arg,
    ArrayInput,
    Behind,
    Check,
    FloatInput,
    Input,
    Itself,
    Slot,
)
from ..device import CPU, current
from ..frozen import frozen
from ..ir.graph import Value
from ..tensor import Tensor
from ..variable import Variable
from .floats import Floats
from .leaves import Unreachable, changes
from .nested import flatten
from .parameters import Parameters
from .purity import Watch, watched
from .reach import Snapshot
from .recorder import Recorder
from .trace import Program, Trace

_BINDS = (Input, ArrayInput, FloatInput)
VALUE = Slot(Variable, "_value")  # where a Variable has its Tensor
_RETURNED = (type(None), bool, int, float, complex, str, bytes, enum.Enum, np.dtype)


@frozen
class Refusal:
    """Why a call cannot be replayed. `lasting`: the same call will be refused again."""

    reason: str
    where: str
    lasting: bool = True


@frozen
class Recording:
    """What came of one recorded call: its result, and a trace or the reason for none."""

    result: Any
    outcome: Trace | Refusal


def record(
    function: types.FunctionType,
    parameters: Parameters,
    flat: Sequence[Any],
    fastmath: bool = False,
) -> Recording:
    """Run `function` once, eagerly, and record it. Exceptions of the body pass through."""
    began = time.perf_counter()
    try:
        before = Snapshot(function, flat, parameters.names)
    except Unreachable as reason:
        refusal = Refusal(str(reason), defined_at(function))
        return Recording(parameters.call(function, flat), refusal)
    floats = Floats(function.__code__, parameters.names, flat)
    recorder = Recorder(function.__name__, floats, fastmath)
    given = _declare(before, recorder, floats.given)
    where = defined_at(function)
    watch = recorder.watch = Watch(before.codes, recorder.refuse)
    run = partial(parameters.call, function, given)
    returned = dispatch.under(recorder, lambda: watched(run, watch, where))
    recorder.watch = None  # they hold each other, and the recorder what the call has made
    outcome = _judge(function, parameters, (flat, given), before, recorder, watch, returned)
    if isinstance(outcome, Trace):
        outcome.milliseconds["record"] = 1e3 * (time.perf_counter() - began)
    return Recording(_unwatched(returned, flat, given), outcome)


def _unwatched(returned: Any, flat: Sequence[Any], given: Sequence[Any]) -> Any:
    """The result with the user's own ndarrays in place of the watched ones."""
    originals = {id(new): old for old, new in zip(flat, given, strict=True) if old is not new}
    if not originals or not any(id(leaf) in originals for leaf in trees.leaves(returned)):
        return returned
    return trees.map_leaves(lambda leaf: originals.get(id(leaf), leaf), returned)


def defined_at(function: types.FunctionType) -> str:
    """'train.py:12' of a function's definition."""
    return f"{function.__code__.co_filename.rpartition('/')[2]}:{function.__code__.co_firstlineno}"


def _declare(before: Snapshot, recorder: Recorder, flat: Sequence[Any]) -> list[Any]:
    """Declare what exists; returns the arguments that the body gets: watched for its ndarrays."""
    watched: dict[int, Any] = {}
    for value, name in zip(before.inputs, before.input_names, strict=True):
        if isinstance(value, np.ndarray):
            from .watched import watch

            seen = watch(value, lambda what: recorder.refuse(f"Python reads {what}"))
            watched[id(value)] = seen
            recorder.add_array(value, seen, name)
        else:
            recorder.declare(value, name)
    for array in before.arrays.values():
        recorder.add_guarded_array(array)
    return [watched.get(id(value), value) for value in flat]


def _judge(
    function: types.FunctionType,
    parameters: Parameters,
    arguments: tuple[Sequence[Any], Sequence[Any]],
    before: Snapshot,
    recorder: Recorder,
    watch: Watch,
    returned: Any,
) -> Trace | Refusal:
    """The trace, if nothing speaks against replaying it."""
    where = defined_at(function)
    if recorder.refusal is not None:
        return Refusal(*recorder.refusal)
    assert recorder.floats is not None
    proven = recorder.floats.proven()
    recorder.take_back_floats(arguments[0], proven)
    try:
        after = Snapshot(function, arguments[0], parameters.names, watch.ran, proven)
    except Unreachable as reason:
        return Refusal(str(reason), where)
    changed = changes(before, after)
    if changed:
        path, escaped = changed[0]
        what = "a Tensor is stored in" if escaped else "the call changes"
        advice = "return it, or keep it in a Variable"
        return Refusal(f"{what} {path}; {advice}", where, lasting=False)
    made = recorder.made_inside()
    if made:
        return Refusal(f"it makes a Variable, {made[0]}; make it once", where, lasting=False)
    unseen = set(watch.of_user.values()) - after.codes
    if unseen:
        return Refusal(f"it runs {unseen.pop().co_qualname}, which it finds at run time", where)
    return _trace(after, recorder, returned, arguments[1], where)


def _bound(
    after: Snapshot, recorder: Recorder, given: Sequence[Any]
) -> tuple[list[Check], dict[Value, int]] | None:
    """The checks with the inputs of the graph, and which position each has."""
    values = []
    for value, argument in zip(after.inputs, after.input_args, strict=True):
        if isinstance(value, np.ndarray):
            assert argument is not None
            values.append(recorder.value_of_array(given[argument]))
        elif isinstance(value, float):
            assert argument is not None
            values.append(recorder.value_of_float(argument))
        else:
            values.append(recorder.value_of(value))
    positions = {value: number for number, value in enumerate(recorder.builder.inputs)}
    bound = []
    for check in after.checks:
        if isinstance(check.expect, _BINDS):
            known = values[check.expect.position]
            assert known is not None, "the walk before declared it"
            expect = type(check.expect)(positions[known])
            check = Check(check.source, check.take, expect)
        bound.append(check)
    for variable, position in recorder.variables.items():
        bound.append(Check(Behind(weakref.ref(variable)), VALUE, Input(position)))
    inputs = sorted(c.expect.position for c in bound if isinstance(c.expect, _BINDS))
    return (bound, positions) if inputs == list(range(len(positions))) else None


def _trace(
    after: Snapshot, recorder: Recorder, returned: Any, given: Sequence[Any], where: str
) -> Trace | Refusal:
    leaves: list[Any] = []
    containers: list[Any] = []
    nested = flatten(returned, leaves, containers)
    mutable = [c for c in containers if isinstance(c, (list, dict))]
    if any(map(after.reaches, mutable)) or len(set(map(id, mutable))) < len(mutable):
        return Refusal("it returns a list or dict that is also kept elsewhere", where)
    outputs: list[Value] = []
    numbers: dict[int, int] = {}
    described: list[tuple[str, Any]] = []
    same: dict[int, Value] = {}
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            value = recorder.value_of(leaf)
            if value is None:
                return Refusal("it returns a Tensor from outside of this call's reach", where)
            if id(leaf) not in numbers:
                numbers[id(leaf)] = len(outputs)
                outputs.append(value)
                if recorder.is_input(leaf):
                    same[numbers[id(leaf)]] = value
            described.append(("result", numbers[id(leaf)]))
        elif isinstance(leaf, _RETURNED):
            described.append(("value", leaf))
        elif isinstance(leaf, Variable) and (after.reaches(leaf) or recorder.uses(leaf)):
            described.append(("variable", weakref.ref(leaf)))
        elif isinstance(leaf, np.ndarray):
            return Refusal("it returns an ndarray; return a Tensor", where)
        else:
            kind = type(leaf).__name__
            return Refusal(
                f"it returns a value of type {kind}, which a replay cannot make anew", where
            )
    effects = []
    for variable, tensor in recorder.assigned.items():
        value = recorder.value_of(tensor)
        assert value is not None, "assign refuses unknown tensors"
        effects.append((variable.name, value))
    found = _bound(after, recorder, given)
    if found is None:
        return Refusal("it reads a Tensor that it finds at run time", where)
    checks, positions = found
    graph = recorder.finish(outputs, effects)
    return Trace(
        program=Program(
            graph,
            frozenset(n for v, n in recorder.variables.items() if v not in recorder.assigned),
            {
                recorder.variables[v]: len(outputs) + number
                for number, v in enumerate(recorder.assigned)
                if v in recorder.variables
            },
            on_gpu=current() != CPU,
        ),
        checks=tuple(checks),
        paths=tuple(after.paths),
        nargs=len(given),
        nested=nested,
        leaves=tuple(described),
        variables=tuple((position, weakref.ref(v)) for v, position in recorder.variables.items()),
        assigned=tuple(weakref.ref(v) for v in recorder.assigned),
        same_as_input={number: positions[value] for number, value in same.items()},
        untaped=recorder.untaped,
        milliseconds={},
        exits={},
        place=current(),
        by_value=_by_value(recorder.floats, after),
    )


def _by_value(floats: Floats | None, after: Snapshot) -> tuple[str, ...]:
    """'scale: it is used in a loop' for each float argument that is a constant of the plan."""
    if floats is None:
        return ()
    names = dict(zip(after.checks, after.paths, strict=True))
    found = {
        check.source.index: path
        for check, path in names.items()
        if isinstance(check.source, Arg) and isinstance(check.take, Itself)
    }
    return tuple(f"{found[number]}: {why}" for number, why in floats.reasons.items())
