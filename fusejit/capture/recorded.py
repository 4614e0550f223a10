"""What was recorded of a function, as data that needs neither the function nor its source.

    recorded  := graph inputs arguments result assigned      one path through the function
    input     := "argument" | Variable | Tensor              where an input of the graph comes from
    pattern   := Operand(position, number)                   a Tensor or an ndarray; a float
               | Equal(value)                                a number, a str, None: as it was
               | Group(kind, keys, items)                    a tuple, a list or a dict of patterns

A path stands for calls whose arguments fit its patterns. What else the function reads, the globals,
closures and objects that it reaches, is taken as it is now: paths that were recorded when it was
otherwise are left out.
"""

from __future__ import annotations

import types
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ..backends.llvm.checks import (
    Absent,
    Anything,
    Arg,
    ArrayInput,
    Bytes,
    Check,
    Distinct,
    Exactly,
    Expect,
    FloatInput,
    Input,
    Item,
    Itself,
    Kept,
    Key,
    Keys,
    Length,
    Of,
    Referent,
    Same,
    Twin,
)
from ..errors import CaptureError
from ..frozen import frozen
from ..ir.graph import Graph
from ..tensor import Tensor, asarray, wrap
from ..variable import Variable
from .function import Function, function
from .misses import path_of
from .nested import Nested
from .trace import BINDS, Program, Trace, values_at

PLAIN = (type(None), bool, int, float, complex, str, bytes, np.dtype)
"""What an argument may be besides arrays and containers."""


@frozen
class Operand:
    """What becomes an input of the graph. Twice the same position: twice the same object."""

    position: int
    number: bool = False  # a Python float


@frozen(eq=False)
class Equal:
    """A value of this type and these bits."""

    value: Any


@frozen(eq=False)
class Group:
    """A tuple, a list or a dict; `keys` are a dict's."""

    kind: type
    items: tuple[Pattern, ...]
    keys: tuple[Any, ...] = ()


Pattern: TypeAlias = Operand | Equal | Group
Bound: TypeAlias = "Variable | Tensor | None"
"""Where an input comes from: None is an argument, a Tensor one that the function has reached."""


@frozen(eq=False)
class Recorded:
    """One path through a function.

    Attributes:
        graph: what it computed, with a guard wherever a value was read; see `fusejit.ir.graph`. Its
            effects are what `assigned` get.
        inputs: where each input of the graph comes from.
        arguments: what each argument of the call must be, by the name of the parameter.
        result: how the results are nested; an `Operand` is one of the graph's outputs, an `Equal`
            may hold a Variable.
        untaped: why the graph does not say what its gradient is, or None.
    """

    graph: Graph
    inputs: tuple[Bound, ...]
    arguments: Mapping[str, Pattern]
    result: Pattern
    assigned: tuple[Variable, ...]
    untaped: str | None


def decorated_of(
    f: Callable[..., Any], args: Sequence[Any]
) -> tuple[Function, tuple[Any, ...], Sequence[Any]]:
    """Anything callable as a decorated function, the first arguments of all its calls (`self` of a
    method), and the arguments of one call."""
    if isinstance(f, types.MethodType):
        return function(f.__func__), (f.__self__,), args
    if isinstance(f, (Function, types.FunctionType)):
        return function(f), (), args

    def call(*operands: Any) -> Any:
        return f(*operands)

    call.__name__ = type(f).__name__
    return function(call), (), [asarray(a) if isinstance(a, np.ndarray) else a for a in args]


def recorded_call(decorated: Function, args: tuple[Any, ...], kwargs: Mapping[str, Any]) -> Trace:
    """The trace of a call, which is made if it was never recorded, and once more if the first was
    not kept: networks make their variables in it.

    Raises:
        CaptureError: such a call cannot be replayed.
    """
    calls = decorated._calls
    try:
        return calls.trace_of(args, dict(kwargs))
    except CaptureError:
        if calls.refusal_of(args, dict(kwargs)) is not None:
            raise
        return calls.trace_of(args, dict(kwargs))


def path_of_call(
    f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]
) -> tuple[Recorded, Program]:
    """The path that a call takes, and the program that is made of it.

    Raises:
        CaptureError: such a call cannot be replayed, or an argument is an object of a class.
    """
    decorated, bound, args = decorated_of(f, args)
    trace = recorded_call(decorated, (*bound, *args), kwargs)
    found = recorded_of(trace, decorated._calls.parameters.names, bound)
    if found is None:
        raise CaptureError(f"{decorated.__name__} reads what changes from call to call.")
    return found, trace.program


def recorded_of(trace: Trace, names: Sequence[str], bound: Sequence[Any] = ()) -> Recorded | None:
    """A trace as data; None if what it has read besides its arguments is not so any more.

    Args:
        names: of the parameters.
        bound: the first arguments, if they are always these (`self`).
    Raises:
        CaptureError: an argument is an object that no pattern describes.
    """
    reading = _Reading(trace, bound)
    if not reading.holds():
        return None
    graph = trace.program.recorded
    sources: list[Bound] = [None] * len(graph.inputs)
    for number, check in enumerate(trace.checks):
        if isinstance(check.expect, BINDS) and not reading.of_argument(number):
            found = reading.value(number)
            sources[check.expect.position] = found if isinstance(found, Tensor) else wrap(found)
    for position, ref in trace.variables:
        sources[position] = ref()
    assigned = tuple(v for v in (ref() for ref in trace.assigned) if v is not None)
    patterns = {n: reading.pattern_of(i) for i, n in enumerate(names) if i >= len(bound)}
    leaves = iter(trace.leaves)
    result = _result(trace.nested, leaves)
    return Recorded(graph, tuple(sources), patterns, result, assigned, trace.untaped)


def _result(nested: Nested | None, leaves: Iterator[tuple[str, Any]]) -> Pattern:
    if nested is None:
        kind, at = next(leaves)
        if kind == "result":
            return Operand(at)
        return Equal(at() if kind == "variable" else at)
    if nested.kind not in (tuple, list, dict):
        raise CaptureError(
            f"graphs: the result has a {nested.kind.__name__}; return tuples, lists or dicts."
        )
    return Group(nested.kind, tuple(_result(item, leaves) for item in nested.items), nested.keys)


class _Reading:
    """The checks of a trace, told apart: those of arguments are patterns, the others must hold."""

    def __init__(self, trace: Trace, bound: Sequence[Any]) -> None:
        self._trace = trace
        self._checks = trace.checks
        args = (*bound, *[None] * (trace.nargs - len(bound)))
        self._values = values_at(trace.checks, args)
        self._defaults: set[int] = set()  # checks of what arguments are if none is given
        self._arguments: list[int | None] = []  # the argument that each check looks into, if any
        self._roots: dict[int, list[int]] = {}
        self._inner: dict[int, list[int]] = {}
        for number, check in enumerate(trace.checks):
            source = check.source
            if isinstance(source, Of):
                self._arguments.append(self._arguments[source.check])
                self._inner.setdefault(source.check, []).append(number)
            elif isinstance(source, Arg) and source.index >= len(bound):
                self._arguments.append(source.index)
                self._roots.setdefault(source.index, []).append(number)
            else:
                self._arguments.append(None)
            if _is_of_defaults(check, self._defaults):
                self._defaults.add(number)

    def of_argument(self, number: int) -> bool:
        """Whether a check looks into an argument that calls may choose."""
        return self._arguments[number] is not None

    def value(self, number: int) -> Any:
        """What a check takes now, if it does not look into an argument."""
        return self._values[number]

    def holds(self) -> bool:
        """Whether all that is no argument is as it was."""
        variables = [ref() for _, ref in self._trace.variables]
        assigned = [ref() for ref in self._trace.assigned]
        if any(v is None for v in (*variables, *assigned)):
            return False
        return all(
            self._holds(check.expect, self.value(number))
            for number, check in enumerate(self._checks)
            if not (self.of_argument(number) or number in self._defaults)
        )

    def _holds(self, expect: Expect, value: Any) -> bool:
        match expect:
            case Same(wanted):
                return _same(wanted, value)
            case Referent(ref, cls):
                return value is not None and ref() is value and type(value) is cls
            case Length(length):
                return len(value) == length
            case Exactly(cls):
                return type(value) is cls
            case Keys(keys):
                return len(value) == len(keys) and all(map(_same, keys, value))
            case Bytes(dtype, shape, content):
                alike = type(value) is np.ndarray and (value.dtype, value.shape) == (dtype, shape)
                return bool(alike) and value.tobytes() == content
            case Twin(earlier):
                return value is self.value(earlier) and not self.of_argument(earlier)
            case Input(position):
                inputs = self._trace.program.recorded.inputs
                return type(value) is Tensor and value.type == inputs[position].type
            case Absent():
                return value is None
        return isinstance(expect, (Anything, Distinct, *BINDS))

    # ---- arguments

    def pattern_of(self, argument: int) -> Pattern:
        return self._pattern(self._roots.get(argument, []))

    def _pattern(self, numbers: Sequence[int]) -> Pattern:
        """The pattern of what is taken by these checks, all at one place."""
        if not numbers:
            raise CaptureError("graphs: a part of an argument was not looked at.")
        for number in numbers:
            match self._checks[number].expect:
                case Input(position):
                    return Operand(position)
                case Twin(earlier) if self.of_argument(earlier):
                    return self._pattern([earlier])
                case Exactly(cls) if cls in (tuple, list, dict):
                    return self._group(cls, number)
                case Same(value) if isinstance(value, PLAIN):
                    return Equal(value)
                case ArrayInput(position):
                    return Operand(position)
                case FloatInput(position):
                    return Operand(position, number=True)
        first = self._checks[numbers[0]]
        raise CaptureError(
            f"graphs: {path_of(self._trace, numbers[0])} is {_what(first)}, which calls elsewhere "
            "cannot be given; pass Tensors, numbers and containers of them, or reach it from the "
            "function (a closure, or a method)."
        )

    def _group(self, kind: type, number: int) -> Group:
        inner = self._inner.get(number, [])
        items: dict[Any, list[int]] = {}
        keys: tuple[Any, ...] = ()
        for each in inner:
            check = self._checks[each]
            if isinstance(check.take, Itself) and isinstance(check.expect, Keys):
                keys = check.expect.keys
            elif isinstance(check.take, Item):
                items.setdefault(check.take.index, []).append(each)
            elif isinstance(check.take, Key):
                items.setdefault(check.take.key, []).append(each)
        if not all(isinstance(key, str | int | bool) for key in keys):
            raise CaptureError(
                f"graphs: {path_of(self._trace, number)} has keys that are no names."
            )
        order = keys if kind is dict else range(len(items))
        return Group(kind, tuple(self._pattern(items.get(at, [])) for at in order), keys)


def _is_of_defaults(check: Check, known: Collection[int]) -> bool:
    """Whether a check looks into the defaults of a function. They are read where an argument is
    left out, and then that argument has been looked at."""
    source = check.source
    if isinstance(source, Of):
        return source.check in known
    if not isinstance(source, Kept) or not isinstance(check.take, Itself):
        return False
    return isinstance(source.value, tuple | dict)


def _same(wanted: object, value: object) -> bool:
    """The very object, or a number or text of the same type and bits."""
    if wanted is value:
        return True
    if type(wanted) is not type(value):
        return False
    if isinstance(wanted, float) and isinstance(value, float):
        return wanted.hex() == value.hex()
    return isinstance(wanted, int | str | bytes) and wanted == value


def _what(check: Check) -> str:
    match check.expect:
        case Referent(ref):
            found = ref()
            return f"a {type(found).__name__}" if found is not None else "an object"
        case Exactly(cls):
            return f"a {cls.__name__}"
        case Same(value):
            return f"a {type(value).__name__}"
        case Bytes():
            return "an ndarray inside of a container"
    return "something"
