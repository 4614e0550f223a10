"""A program as JSON, and back. What is read is taken for hostile until it is looked through.

program   {"name", "parameters", "variables", "entries", "blocks"}
step      [op, [ref, ...], {parameter: value}]
pattern   7 (an operand) | {"is": value} | {"tuple" | "list": [pattern, ...]}
          | {"dict": [[key, pattern], ...]}
value     null, true, 7, 0.5, "text", [value, ...] (a tuple), or {"dtype" | "float" | "complex"
          | "bytes" | "variable": text}
"""

from __future__ import annotations

import inspect
import json
import keyword
import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NoReturn

import numpy as np

from .. import random
from ..capture.recorded import Equal, Group, Operand, Pattern
from ..dtypes import DTYPES, TensorType, bfloat16, is_bfloat16
from ..errors import FileError, FuseJitError
from ..op import OPS, Array
from ..scalar import DType
from ..variable import Variable
from .checking import infer, refuse
from .program import (
    Block,
    Entry,
    Exit,
    Named,
    Parameter,
    Program,
    Ref,
    Return,
    Step,
    positions,
)

FUNCTION = "function 1"
"""What such a file says that it is. The number is that of the format, and the op records'."""
_KINDS = {each.name: each for each in inspect._ParameterKind}
_HOW = ("bool", "int", "float", "item")
_MOST = 1 << 48  # of an extent, or whatever else an int is: far beyond any memory

# ---- writing


def encode(program: Program) -> str:
    """The JSON of a program, without its arrays.

    Raises:
        FileError: an op is not registered, or a value is no plain data.
    """
    found = {
        "name": program.name,
        "parameters": [_parameter(each) for each in program.parameters],
        "variables": [
            {"name": v.name, "trainable": v.trainable, "random": v is random.state}
            for v in program.variables
        ],
        "constants": len(program.constants),
        "entries": [
            {**_entry(each), "block": each.block, "untaped": each.untaped}
            for each in program.entries
        ],
        "blocks": [_block(each) for each in program.blocks],
    }
    return json.dumps(found, separators=(",", ":"))


def signature(entry: Entry) -> str:
    """The same for entries that take the same arguments."""
    return json.dumps(_entry(entry))


def _parameter(each: Parameter) -> dict[str, Any]:
    described = {"name": each.name, "kind": each.kind}
    return {**described, "default": _value(each.default)} if each.optional else described


def _entry(entry: Entry) -> dict[str, Any]:
    return {
        "patterns": {name: _pattern(pattern) for name, pattern in entry.patterns.items()},
        "types": [[_dtype_name(t.dtype), [*t.shape]] for t in entry.types],
    }


def _pattern(pattern: Pattern) -> Any:
    if isinstance(pattern, Operand):
        return {"number": pattern.position} if pattern.number else pattern.position
    if isinstance(pattern, Equal):
        return {"is": _value(pattern.value)}
    items = [_pattern(item) for item in pattern.items]
    if pattern.kind is dict:
        return {"dict": [[_value(k), item] for k, item in zip(pattern.keys, items, strict=True)]}
    return {pattern.kind.__name__: items}


def _block(block: Block) -> dict[str, Any]:
    steps = [_step(step) for step in block.steps]
    end = block.ending
    if isinstance(end, Return):
        returns = {"refs": end.refs, "result": _pattern(end.result), "assigned": end.assigned}
        return {"steps": steps, "return": returns}
    branches = [[seen.hex(), number] for seen, number in end.branches.items()]
    guard = {"ref": end.ref, "how": end.how, "where": end.where, "branches": branches}
    return {"steps": steps, "exit": guard}


def _step(step: Step) -> list[Any]:
    if OPS.get(step.op.name) is not step.op:
        raise FileError(
            f"save: {step.op.name} is no registered op, so that no file can name it; was it made "
            "by a function that was loaded itself?"
        )
    return [step.op.name, step.refs, {name: _value(v) for name, v in step.params.items()}]


def _value(value: Any) -> Any:
    if isinstance(value, (bool, str)) or value is None:
        return value
    if isinstance(value, (int, np.integer)):
        return int(value)
    if isinstance(value, (float, np.floating)):
        return float(value) if math.isfinite(value) else {"float": float(value).hex()}
    if isinstance(value, complex):
        return {"complex": f"{value.real.hex()} {value.imag.hex()}"}
    if isinstance(value, np.dtype):
        return {"dtype": _dtype_name(value)}
    if isinstance(value, bytes):
        return {"bytes": value.hex()}
    if isinstance(value, Named):
        return {"variable": value.ref}
    if isinstance(value, (list, tuple)):
        return [_value(item) for item in value]
    raise FileError(f"save: a {type(value).__name__} is no plain data, so no file can hold it.")


def _dtype_name(dtype: Any) -> str:
    return "bfloat16" if is_bfloat16(dtype) else str(dtype.name)


# ---- reading


def decode(text: str, arrays: Mapping[str, Array], limit: int) -> Program:
    """The program that JSON and arrays describe, looked through.

    Args:
        limit: bytes that an array may take that the program computes.
    Raises:
        FileError: it is not sound.
    """
    try:
        return _Decoding(json.loads(text, parse_constant=_no_constant), arrays, limit).program()
    except FuseJitError as error:
        raise FileError(str(error)) from None
    except Exception as error:  # whatever a hostile file has led to
        raise FileError(f"the program makes no sense ({type(error).__name__}: {error})") from None


def _no_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number")


class _Decoding:
    """Reads a program; whatever it meets that is not as expected raises."""

    def __init__(self, found: Any, arrays: Mapping[str, Array], limit: int) -> None:
        self.found = found
        self.arrays = arrays
        self.limit = limit
        self.types: dict[Ref, TensorType] = {}  # of constants and Variables

    def program(self) -> Program:
        found = self.found
        constants = tuple(self.arrays[f"c{i}"] for i in range(_count(found["constants"])))
        variables = tuple(self.variable(i, v) for i, v in enumerate(found["variables"]))
        self.types |= {f"c{i}": TensorType(c.dtype, c.shape) for i, c in enumerate(constants)}
        self.types |= {f"v{i}": v.type for i, v in enumerate(variables)}
        held = len(constants) + sum(v is not random.state for v in variables)
        if len(self.arrays) != held:
            refuse("it holds arrays that it does not name")
        parameters = tuple(map(_read_parameter, found["parameters"]))
        names = [each.name for each in parameters]
        entries = tuple(self.entry(each, names) for each in found["entries"])
        blocks = tuple(map(self.block, found["blocks"]))
        program = Program(_text(found["name"]), parameters, variables, constants, entries, blocks)
        self.check(program)
        return program

    def variable(self, number: int, described: Mapping[str, Any]) -> Variable:
        if described["random"] is True:
            return random.state
        name, trainable = _text(described["name"]), described["trainable"]
        if type(trainable) is not bool:
            refuse("trainable is neither true nor false")
        array = self.arrays[f"v{number}"]
        return Variable(array, name=name, trainable=trainable)

    def entry(self, described: Mapping[str, Any], names: Sequence[str]) -> Entry:
        patterns = {name: _read_pattern(p) for name, p in described["patterns"].items()}
        types = tuple(_read_type(each) for each in described["types"])
        if list(patterns) != names:
            refuse("an entry is not about the parameters")
        if positions([*patterns.values()]) != list(range(len(types))):
            refuse("operands are not numbered in order")
        untaped = described["untaped"]
        return Entry(patterns, types, _count(described["block"]), untaped and _text(untaped))

    def block(self, described: Mapping[str, Any]) -> Block:
        steps = tuple(map(_read_step, described["steps"]))
        if "return" in described:
            end = described["return"]
            refs, result = tuple(map(_ref, end["refs"])), _read_pattern(end["result"])
            if any(not 0 <= n < len(refs) for n in positions([result])):
                refuse("a result is none of the values")
            assigned = tuple((_text(name), _ref(value)) for name, value in end["assigned"])
            return Block(steps, Return(refs, result, assigned))
        end = described["exit"]
        branches = {bytes.fromhex(_text(seen)): _count(at) for seen, at in end["branches"]}
        if end["how"] not in _HOW or not branches:
            refuse(f"a value is read as {end['how']}")
        return Block(steps, Exit(_ref(end["ref"]), end["how"], _text(end["where"]), branches))

    # ---- what the values are

    def check(self, program: Program) -> None:
        """Follow every path from its entry: each block has one way to it."""
        waiting = [
            (e.block, self.types | {f"x{i}": t for i, t in enumerate(e.types)}, 0)
            for e in program.entries
        ]
        seen: set[int] = set()
        while waiting:
            number, known, count = waiting.pop()
            if number in seen:
                refuse("two ways lead to one block")
            seen.add(number)
            block = program.blocks[number]
            for step in block.steps:
                for made in infer(step, [known[ref] for ref in step.refs], self.limit):
                    known[count], count = made, count + 1
            end = block.ending
            if isinstance(end, Return):
                self.check_return(end, known)
                continue
            size = known[end.ref].nbytes
            if any(len(value) != size for value in end.branches):
                refuse("a value that decides has another size")
            several = len(end.branches) > 1
            waiting += [
                (at, {**known} if several else known, count) for at in end.branches.values()
            ]
        if len(seen) != len(program.blocks) or not program.entries:
            refuse("there are blocks that no path goes through")

    def check_return(self, end: Return, known: Mapping[Ref, TensorType]) -> None:
        for ref in end.refs:
            _ = known[ref]
        for name, ref in end.assigned:
            if not name.startswith("v") or known[name] != known[ref]:
                refuse("a Variable is assigned what it cannot hold")
        for named in _named(end.result):
            if not named.ref.startswith("v") or named.ref not in self.types:
                refuse("a result names a Variable that is not there")


def _read_parameter(described: Mapping[str, Any]) -> Parameter:
    name, kind = _text(described["name"]), described["kind"]
    if not name.isidentifier() or keyword.iskeyword(name) or kind not in _KINDS:
        refuse(f"{name!r} is no parameter")
    optional = "default" in described
    return Parameter(name, kind, _read_value(described.get("default")), optional)


def _read_pattern(described: Any) -> Pattern:
    if type(described) is int:
        return Operand(_count(described))
    ((kind, inside),) = described.items()
    if kind == "is":
        return Equal(_read_value(inside))
    if kind == "number":
        return Operand(_count(inside), number=True)
    if kind == "dict":
        keys = tuple(_read_value(key) for key, _ in inside)
        if not all(isinstance(key, str | int | bool) for key in keys):
            refuse("a key is neither a name nor a number")
        return Group(dict, tuple(_read_pattern(item) for _, item in inside), keys)
    return Group({"tuple": tuple, "list": list}[kind], tuple(map(_read_pattern, inside)))


def _named(pattern: Pattern) -> Iterator[Named]:
    """The Variables of a result."""
    if isinstance(pattern, Group):
        for item in pattern.items:
            yield from _named(item)
    elif isinstance(pattern, Equal) and isinstance(pattern.value, Named):
        yield pattern.value


def _read_step(described: Sequence[Any]) -> Step:
    name, refs, params = described
    op = OPS.get(_text(name))
    if op is None:
        refuse(f"the op {name!r} is not registered here; import the module that declares it")
    return Step(op, tuple(map(_ref, refs)), {k: _read_value(v) for k, v in params.items()})


def _read_value(found: Any) -> Any:
    if found is None or isinstance(found, (bool, str)):
        return found
    if isinstance(found, int):
        if not -(1 << 63) <= found < 1 << 64:
            refuse("a number has too many digits")
        return found
    if isinstance(found, float):
        return found
    if isinstance(found, list):
        return tuple(map(_read_value, found))
    ((kind, text),) = found.items()
    match kind:
        case "dtype":
            return _read_dtype(text)
        case "float":
            return float.fromhex(text)
        case "complex":
            return complex(*map(float.fromhex, _text(text).split()))
        case "bytes":
            return bytes.fromhex(text)
        case "variable":
            return Named(_text(text))
    return refuse(f"there is no value of kind {kind}")


def _read_type(described: Sequence[Any]) -> TensorType:
    dtype, shape = described
    return TensorType(_read_dtype(dtype), tuple(map(_count, shape)))


def _read_dtype(name: Any) -> DType:
    """By its full name alone: NumPy would take text for a whole description, and parse it."""
    found = bfloat16() if name == "bfloat16" else DTYPES.get(_text(name))
    return found if found is not None else refuse(f"there is no dtype {name!r:.40}")


def _ref(found: Any) -> Ref:
    return _text(found) if isinstance(found, str) else _count(found)


def _count(found: Any) -> int:
    if type(found) is not int or not 0 <= found < _MOST:
        refuse(f"{found!r:.40} is no count")
    return int(found)


def _text(found: Any) -> str:
    if not isinstance(found, str):
        refuse(f"{found!r:.40} is no text")
    return str(found)
