"""Recording one call: run the body eagerly, and return both its result and, if it may stand for
further calls, the trace."""

from __future__ import annotations

import enum
import time
import types
import weakref
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import optree

from .. import dispatch
from ..backends.llvm.checks import Attribute, Behind, Check, Input
from ..ir.graph import Value
from ..tensor import Tensor
from .parameters import Parameters
from .purity import watching
from .reach import Snapshot, Unreachable
from .recorder import Recorder, alias
from .trace import Program, Trace
from .watched import watch

_RETURNED = (type(None), bool, int, float, complex, str, bytes, enum.Enum, np.dtype)


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a call cannot be replayed. `lasting`: the same call will be refused again."""

    reason: str
    where: str
    lasting: bool = True


@dataclass(frozen=True, slots=True)
class Recording:
    """What came of one recorded call: its result, and a trace or the reason for none."""

    result: Any
    outcome: Trace | Refusal


def record(function: types.FunctionType, parameters: Parameters, flat: Sequence[Any]) -> Recording:
    """Run `function` once, eagerly, and record it. Exceptions of the body pass through."""
    began = time.perf_counter()
    try:
        before = Snapshot(function, flat, parameters.names)
    except Unreachable as reason:
        refusal = Refusal(str(reason), defined_at(function))
        return Recording(parameters.call(function, flat), refusal)
    recorder = Recorder(function.__name__)
    given = _declare(before, recorder, flat)
    with dispatch.pushed(recorder), watching(before.codes, recorder.refuse):
        returned = parameters.call(function, given)
    outcome = _judge(function, parameters, flat, before, recorder, returned)
    if isinstance(outcome, Trace):
        outcome.milliseconds["record"] = 1e3 * (time.perf_counter() - began)
    originals = {id(new): old for old, new in zip(flat, given, strict=True)}
    result = optree.tree_map(
        lambda leaf: originals.get(id(leaf), leaf), returned, none_is_leaf=True
    )
    return Recording(result, outcome)


def defined_at(function: types.FunctionType) -> str:
    """'train.py:12' of the function's first line."""
    return f"{function.__code__.co_filename.rpartition('/')[2]}:{function.__code__.co_firstlineno}"


def _declare(before: Snapshot, recorder: Recorder, flat: Sequence[Any]) -> list[Any]:
    """Declare the inputs; returns the arguments that the body gets.

    An ndarray is replaced by a watched one. A Tensor that is reached in several ways is replaced by an
    alias where it is an argument, since the recorder tells Tensors apart by identity.
    """
    given = list(flat)
    ways = Counter(map(id, before.inputs))
    for value, name, argument in zip(
        before.inputs, before.input_names, before.input_args, strict=True
    ):
        if isinstance(value, np.ndarray):
            assert argument is not None, "other ndarrays are guarded by their bytes"
            given[argument] = watch(value, lambda what: recorder.refuse(f"Python reads {what}"))
            recorder.add_array(value, given[argument], name)
        elif argument is not None and ways[id(value)] > 1:
            given[argument] = alias(value)
            recorder.add_input(given[argument], name)
        else:
            if recorder.value_of(value) is not None:
                recorder.refuse(f"{name} is a Tensor object that is also reached in another way")
            recorder.add_input(value, name)
    for array in before.arrays.values():
        recorder.add_guarded_array(array)
    return given


def _judge(
    function: types.FunctionType,
    parameters: Parameters,
    flat: Sequence[Any],
    before: Snapshot,
    recorder: Recorder,
    returned: Any,
) -> Trace | Refusal:
    """The trace, if nothing speaks against replaying it."""
    if recorder.refusal is not None:
        return Refusal(*recorder.refusal)
    try:
        after = Snapshot(function, flat, parameters.names)
    except Unreachable as reason:
        return Refusal(str(reason), defined_at(function))
    changed = before.changes(after)
    if changed:
        path, escaped = changed[0]
        what = "a Tensor is stored in" if escaped else "the call changes"
        advice = "return it, or keep it in a Variable"
        return Refusal(f"{what} {path}; {advice}", defined_at(function), lasting=False)
    return _trace(before, recorder, returned, len(flat), defined_at(function))


def _trace(
    before: Snapshot, recorder: Recorder, returned: Any, nargs: int, where: str
) -> Trace | Refusal:
    leaves, tree = optree.tree_flatten(returned, none_is_leaf=True)
    outputs: list[Value] = []
    numbers: dict[int, int] = {}
    described: list[tuple[str, Any]] = []
    same: dict[int, int] = {}
    for leaf in leaves:
        if isinstance(leaf, Tensor):
            value = recorder.value_of(leaf)
            if value is None:
                return Refusal("it returns a Tensor from outside of this call's reach", where)
            if id(leaf) not in numbers:
                numbers[id(leaf)] = len(outputs)
                outputs.append(value)
                if recorder.is_input(leaf):
                    same[numbers[id(leaf)]] = recorder.builder.inputs.index(value)
            described.append(("result", numbers[id(leaf)]))
        elif isinstance(leaf, _RETURNED):
            described.append(("value", leaf))
        else:
            return Refusal(
                f"it returns a {type(leaf).__name__}, which a replay cannot make anew", where
            )
    effects = []
    for variable, tensor in recorder.assigned.items():
        value = recorder.value_of(tensor)
        assert value is not None, "assign refuses unknown tensors"
        effects.append((variable.name, value))
    checks = list(before.checks)
    for variable, position in recorder.variables.items():
        checks.append(Check(Behind(weakref.ref(variable)), Attribute("_value"), Input(position)))
    graph = recorder.builder.finish(outputs, effects)
    return Trace(
        program=Program(graph),
        checks=tuple(checks),
        paths=tuple(before.paths),
        nargs=nargs,
        tree=tree,
        leaves=tuple(described),
        variables=tuple((position, weakref.ref(v)) for v, position in recorder.variables.items()),
        assigned=tuple(weakref.ref(v) for v in recorder.assigned),
        same_as_input=same,
        untaped=recorder.untaped,
    )
