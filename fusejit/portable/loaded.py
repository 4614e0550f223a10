"""A program as a function: its ops are applied one by one, and that is what a recording sees.

So a loaded function is decorated like any other: the first call runs op by op, the next are native,
and tapes, outer recordings and `explain` see the ops. Where a value decides, playback reads it as
the function did, which makes it a guard, and goes on at the block that was recorded for it.
"""

from __future__ import annotations

import os
import types
from collections.abc import Sequence
from functools import cache
from typing import Any

import numpy as np

from .. import dispatch
from ..backends.llvm.native import enable_vectorcall
from ..capture.function import Function
from ..capture.recorded import Equal, Operand, Pattern
from ..dtypes import TensorType
from ..errors import CaptureError, FileError
from ..files import AnyPath, read
from ..op import View
from ..scalar import F64
from ..tensor import Tensor, as_operand, wrap
from ..variable import Variable
from ..weights import KIND
from . import text
from .program import Entry, Exit, Named, Parameter, Program, Ref, Return

_FILE = os.path.join(os.path.dirname(__file__), "a loaded function")
"""Known by this as none of the user's code; it has no lines to show."""


class Loaded(Function):
    """A function from a file. It is called, differentiated and explained like a decorated one."""

    def __init__(self, function: types.FunctionType, program: Program) -> None:
        super().__init__(function)
        self._program = program

    def named_variables(self) -> dict[str, Variable]:
        """Its Variables by name; those of one name are numbered: "w", "w.1"."""
        found: dict[str, Variable] = {}
        for variable in self._program.variables:
            name, count = variable.name, 0
            while name in found:
                count += 1
                name = f"{variable.name}.{count}"
            found[name] = variable
        return found


enable_vectorcall(Loaded, method=True)


def load_function(path: AnyPath, limit: int) -> Loaded:
    """See `fj.load`."""
    arrays, metadata = read(path)
    kind = metadata.get(KIND, "")
    if kind != text.FUNCTION or "sha256" not in metadata:
        what = f"a {kind!r}" if kind else "no fusejit function"
        raise FileError(f"{path} is {what}; this version of fusejit reads {text.FUNCTION!r}.")
    try:
        program = text.decode(metadata["program"], arrays, limit)
    except (FileError, KeyError) as error:
        raise FileError(f"{path} holds no function that can be run: {error}.") from None
    return Loaded(_function(program), program)


def _function(program: Program) -> types.FunctionType:
    """A Python function of the program's parameters, which plays it back."""
    numbers = [_is_number(program, each.name) for each in program.parameters]
    kinds = tuple(each.kind for each in program.parameters)
    code, order = _template(kinds, tuple(numbers))
    names = {given: each.name for given, each in zip(order, program.parameters, strict=True)}
    # What is no parameter gets a name that no parameter can have.
    renamed = tuple(names.get(name, f"({name})") for name in code.co_varnames)
    code = code.replace(co_varnames=renamed)
    scope = {"call": Playback(program), "one": _one, "float_of": _float_of}
    scope |= {"__name__": __name__, "__file__": _FILE}
    made = types.FunctionType(code, scope, program.name)
    made.__qualname__ = program.name
    positional = [p for p in program.parameters if p.kind.startswith("POSITIONAL")]
    made.__defaults__ = tuple(each.default for each in _last_optional(positional)) or None
    keyword = [p for p in program.parameters if p.kind == "KEYWORD_ONLY" and p.optional]
    made.__kwdefaults__ = {each.name: each.default for each in keyword} or None
    return made


def _is_number(program: Program, name: str) -> bool:
    """Whether a parameter is a float wherever the function was recorded."""
    patterns = [entry.patterns[name] for entry in program.entries]
    return all(isinstance(pattern, Operand) and pattern.number for pattern in patterns)


def _one(dtype: str) -> Tensor:
    """One, as a constant of whatever is recorded."""
    tensor = wrap(np.ones((), dtype))
    dispatch.top().made(tensor, None)
    return tensor


def _float_of(value: Any, beside_bool: Any) -> Any:
    """A float times one in float64; nothing that fits if it was none, as it would have become one
    beside a bool."""
    return value if getattr(beside_bool, "dtype", F64).kind == "f" else None


@cache  # a few
def _template(
    kinds: tuple[str, ...], numbers: tuple[bool, ...]
) -> tuple[types.CodeType, tuple[str, ...]]:
    """The code of a function with parameters of these kinds, and what they are called there.

    No text of a file is compiled: names are put in afterwards. A float is multiplied by ones, which
    lets its recording see that arithmetic is all that is done with it (see `capture.floats`): it is
    a run-time parameter then, not recorded again for each value.
    """
    given = tuple(f"parameter{i}" for i in range(len(kinds)))
    starred = False
    heads: list[str] = []
    for number, (name, kind) in enumerate(zip(given, kinds, strict=True)):
        if kind == "KEYWORD_ONLY" and not starred:
            heads.append("*")
            starred = True
        starred |= kind == "VAR_POSITIONAL"
        heads.append({"VAR_POSITIONAL": "*", "VAR_KEYWORD": "**"}.get(kind, "") + name)
        if kind == "POSITIONAL_ONLY" and kinds[number + 1 : number + 2] != (kind,):
            heads.append("/")
    pairs = zip(given, numbers, strict=True)
    lifted = "float_of({0} * wide, {0} * truth), "
    values = "".join(lifted.format(name) if number else f"{name}, " for name, number in pairs)
    ones = "    wide, truth = one('float64'), one('bool')\n" if any(numbers) else ""
    source = f"def loaded({', '.join(heads)}):\n{ones}    return call(({values}))\n"
    scope: dict[str, Any] = {}
    exec(compile(source, _FILE, "exec"), scope)
    code: types.CodeType = scope["loaded"].__code__
    return code, given


def _last_optional(parameters: Sequence[Parameter]) -> list[Parameter]:
    """Those at the end that may be left out: before them, Python has no defaults."""
    found: list[Parameter] = []
    for each in reversed(parameters):
        if not each.optional:
            break
        found.insert(0, each)
    return found


class _Missing(Exception):
    """A value led where nothing was recorded."""


class Playback:
    """Runs a program, op by op, on whatever stands on the stack of handlers."""

    def __init__(self, program: Program) -> None:
        self.program = program

    def __call__(self, arguments: Sequence[Any]) -> Any:
        reasons = []
        for entry in self.program.entries:
            operands: dict[int, Any] = {}
            pairs = zip(entry.patterns.values(), arguments, strict=True)
            if not all(_fits(p, a, entry.types, operands) for p, a in pairs):
                continue
            try:
                return self._run(entry, [_tensor(operands[i]) for i in range(len(operands))])
            except _Missing as missing:
                reasons.append(str(missing))
        name = self.program.name
        if reasons:
            raise CaptureError(f"{name}: no branch was recorded for this: {reasons[-1]}")
        raise CaptureError(
            f"{name} was not recorded for these arguments when it was saved. It was for "
            f"{' or '.join(dict.fromkeys(map(_described, self.program.entries)))}."
        )

    def _run(self, entry: Entry, operands: Sequence[Tensor]) -> Any:
        known: dict[Ref, Tensor] = {f"x{i}": x for i, x in enumerate(operands)}
        number, count = entry.block, 0
        mark = None if entry.untaped is None else _without_gradient(entry.untaped)
        while True:
            block = self.program.blocks[number]
            for step in block.steps:
                inputs = tuple([self._value(ref, known, mark) for ref in step.refs])
                for made in dispatch.top().apply(step.op, inputs, step.params):
                    known[count], count = made, count + 1
            end = block.ending
            if isinstance(end, Return):
                return self._finish(end, known, mark)
            number = self._next(end, self._value(end.ref, known, mark))

    def _value(self, ref: Ref, known: dict[Ref, Tensor], mark: View | None) -> Tensor:
        """A value of this call; what is no op's result is found when it is first used."""
        if isinstance(ref, int) or (ref in known and mark is None):
            return known[ref]
        found = known.get(f"={ref}")
        if found is None:
            found = known[ref] if ref in known else self._outside(ref)
            if mark is not None and found.dtype.kind not in "biu":
                (found,) = dispatch.top().apply(mark, (found,), {})
            known[f"={ref}"] = found
        return found

    def _outside(self, ref: str) -> Tensor:
        if ref.startswith("v"):
            return self.program.variables[int(ref[1:])].read()
        tensor = wrap(self.program.constants[int(ref[1:])])
        dispatch.top().made(tensor, None)
        return tensor

    def _next(self, end: Exit, value: Tensor) -> int:
        dispatch.top().observe(value, end.how)
        seen = np.ascontiguousarray(value._data).tobytes()
        if seen not in end.branches:
            dtype = value.dtype
            known = ", ".join(sorted(_shown(each, dtype) for each in end.branches)[:8])
            raise _Missing(
                f"the value that {end.how}() reads at {end.where} was {known}, "
                f"now {_shown(seen, dtype)}."
            )
        return end.branches[seen]

    def _finish(self, end: Return, known: dict[Ref, Tensor], mark: View | None) -> Any:
        values = [self._value(ref, known, mark) for ref in end.refs]
        assigned = [(name, self._value(ref, known, mark)) for name, ref in end.assigned]
        for name, value in assigned:
            dispatch.top().assign(self.program.variables[int(name[1:])], value)
        return self._nested(end.result, values)

    def _nested(self, pattern: Pattern, values: Sequence[Tensor]) -> Any:
        if isinstance(pattern, Operand):
            return values[pattern.position]
        if isinstance(pattern, Equal):
            named = pattern.value
            return self.program.variables[int(named.ref[1:])] if type(named) is Named else named
        items = [self._nested(item, values) for item in pattern.items]
        is_dict = pattern.kind is dict
        return dict(zip(pattern.keys, items, strict=True)) if is_dict else pattern.kind(items)


def _fits(
    pattern: Pattern, value: Any, types: Sequence[TensorType], operands: dict[int, Any]
) -> bool:
    """Whether an argument fits; then its arrays are among the operands."""
    if isinstance(pattern, Operand):
        if pattern.position in operands:
            return operands[pattern.position] is value
        operands[pattern.position] = value
        return _type_of(value) == types[pattern.position]
    if isinstance(pattern, Equal):
        return type(value) is type(pattern.value) and _bits(value) == _bits(pattern.value)
    if not isinstance(value, (tuple, list, dict)) or type(value) is not pattern.kind:
        return False
    if len(value) != len(pattern.items) or (
        isinstance(value, dict) and tuple(value) != pattern.keys
    ):
        return False
    held = value.values() if isinstance(value, dict) else value
    return all(_fits(p, v, types, operands) for p, v in zip(pattern.items, held, strict=True))


def _type_of(value: Any) -> TensorType | None:
    """The type of an argument that can be an operand."""
    if isinstance(value, (Tensor, Variable)):
        return value.type
    if isinstance(value, np.ndarray):
        return TensorType(value.dtype, value.shape)
    return TensorType(F64, ()) if type(value) is float else None


def _tensor(value: Any) -> Tensor:
    return as_operand(value, F64) if type(value) is float else as_operand(value)


def _bits(value: Any) -> Any:
    """A plain value so that == tells 0.0 from -0.0, and a NaN is itself."""
    if isinstance(value, float):
        return value.hex()
    return (value.real.hex(), value.imag.hex()) if isinstance(value, complex) else value


def _shown(seen: bytes, dtype: Any) -> str:
    found = np.frombuffer(seen, dtype)
    return repr(found[0].item()) if found.size == 1 else str(found)


def _described(entry: Entry) -> str:
    """The arguments that an entry is for."""
    return f"({', '.join(f'{name}: {_told(p, entry)}' for name, p in entry.patterns.items())})"


def _told(pattern: Pattern, entry: Entry) -> str:
    if isinstance(pattern, Operand):
        return str(entry.types[pattern.position])
    if isinstance(pattern, Equal):
        return repr(pattern.value)
    items = [_told(item, entry) for item in pattern.items]
    if pattern.kind is dict:
        pairs = zip(pattern.keys, items, strict=True)
        return f"{{{', '.join(f'{key!r}: {item}' for key, item in pairs)}}}"
    inside = ", ".join(items)
    return f"[{inside}]" if pattern.kind is list else f"({inside})"


@cache  # a few reasons
def _without_gradient(reason: str) -> View:
    """What marks values of a path of which the graph does not say the gradient: itself, and an
    error where a tape watches it."""
    return View(
        name=f"a function that was saved while {reason}",
        numpy=lambda x: x[...],
        shape=lambda given: given,
        index=lambda place, given: place,
        registered=False,
    )
