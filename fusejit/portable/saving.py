"""From recorded paths to a program, and from there into a file."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from .. import random
from ..capture.recorded import PLAIN, Equal, Group, Pattern, Recorded, decorated_of, recorded_call
from ..errors import CaptureError
from ..files import AnyPath, write
from ..frozen import frozen
from ..ir.graph import GUARD, Constant, Node, Value
from ..ir.numbering import params_key
from ..op import Array
from ..tensor import Tensor
from ..variable import Variable
from ..weights import KIND
from . import text
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
    renumbered,
)


def save_function(
    f: Callable[..., Any], path: AnyPath, args: Sequence[Any], kwargs: Mapping[str, Any]
) -> None:
    """See `fj.save`."""
    program = program_of(f, args, kwargs)
    arrays = {f"c{i}": array for i, array in enumerate(program.constants)}
    for i, variable in enumerate(program.variables):
        if variable is not random.state:  # whose place the loading process' own takes
            arrays[f"v{i}"] = variable.numpy()
    write(path, arrays, {KIND: text.FUNCTION, "program": text.encode(program)})


def program_of(f: Callable[..., Any], args: Sequence[Any], kwargs: Mapping[str, Any]) -> Program:
    """All that is recorded of `f`, after a call with these arguments."""
    decorated, bound, args = decorated_of(f, args)
    recorded_call(decorated, (*bound, *args), kwargs)
    paths = decorated.graphs(*bound)
    if not paths:
        raise CaptureError(f"save: what {decorated.__name__} has read changes from call to call.")
    merging = _Merging()
    for path in reversed(paths):  # the first recorded is the first tried
        merging.add(path)
    signature = inspect.signature(decorated.eager)
    parameters = tuple(signature.parameters.values())[len(bound) :]
    return Program(
        decorated.__name__,
        tuple(map(_parameter, parameters)),
        tuple(merging.variables),
        tuple(merging.constants),
        tuple(merging.entries),
        tuple(block.done() for block in merging.blocks),
    )


def _parameter(found: inspect.Parameter) -> Parameter:
    plain = type(found.default) in PLAIN
    return Parameter(found.name, found.kind.name, found.default if plain else None, plain)


@frozen(eq=False)
class _Item:
    """A step of a path, or what it read at a guard."""

    key: tuple[Any, ...]
    step: Step | None
    exit: tuple[Ref, str, str] = ("", "", "")  # value, how, where
    seen: bytes = b""


@dataclass(eq=False)
class _Open:
    """A block that other paths may still join."""

    items: list[_Item] = field(default_factory=list)
    ended: _Item | None = None  # the guard at its end
    branches: dict[bytes, int] = field(default_factory=dict)
    result: Return | None = None

    def done(self) -> Block:
        steps = tuple(item.step for item in self.items if item.step is not None)
        if self.ended is None:
            assert self.result is not None
            return Block(steps, self.result)
        return Block(steps, Exit(*self.ended.exit, self.branches))


class _Merging:
    """Paths become trees: each follows one that began alike until it reads another value."""

    def __init__(self) -> None:
        self.variables: dict[Variable, str] = {}
        self.constants: list[Array] = []
        self.entries: list[Entry] = []
        self.blocks: list[_Open] = []
        self._known: dict[tuple[Any, ...], str] = {}
        self._signatures: dict[str, list[Entry]] = {}

    def add(self, path: Recorded) -> None:
        order = {n: i for i, n in enumerate(positions([*path.arguments.values()]))}
        refs = self._inputs(path, order)
        items = list(self._items(path, refs))
        result = self._result(path, refs)
        operands = sorted(order, key=order.__getitem__)
        entry = Entry(
            {name: renumbered(p, order) for name, p in path.arguments.items()},
            tuple(path.graph.inputs[n].type for n in operands),
            len(self.blocks),
            path.untaped,
        )
        alike = self._signatures.setdefault(text.signature(entry), [])
        if not any(self._join(known.block, items, result) for known in alike):
            self.blocks.append(_Open())
            self._append(len(self.blocks) - 1, items, result)
            alike.append(entry)
            self.entries.append(entry)

    def _inputs(self, path: Recorded, order: Mapping[int, int]) -> dict[Value, Ref]:
        refs: dict[Value, Ref] = {}
        for position, (value, source) in enumerate(
            zip(path.graph.inputs, path.inputs, strict=True)
        ):
            if isinstance(source, Variable):
                refs[value] = self._variable(source)
            elif isinstance(source, Tensor):
                refs[value] = self._constant(source.numpy())
            else:
                refs[value] = f"x{order[position]}"
        return refs

    def _items(self, path: Recorded, refs: dict[Value, Ref]) -> list[_Item]:
        items, count = [], 0
        for node in path.graph.nodes:
            for value in node.inputs:
                if isinstance(value, Constant) and value not in refs:
                    refs[value] = self._constant(value.array)
            items.append(_item(node, tuple(refs[v] for v in node.inputs)))
            for value in node.outputs:
                refs[value], count = count, count + 1
        return items

    def _result(self, path: Recorded, refs: Mapping[Value, Ref]) -> Return:
        def look_up(value: Value) -> Ref:
            return self._constant(value.array) if isinstance(value, Constant) else refs[value]

        effects = zip(path.assigned, path.graph.effects, strict=True)
        return Return(
            tuple(map(look_up, path.graph.outputs)),
            self._named(path.result),
            tuple((self._variable(v), look_up(value)) for v, (_, value) in effects),
        )

    def _named(self, pattern: Pattern) -> Pattern:
        """A result, with refs in place of Variables."""
        if isinstance(pattern, Equal) and isinstance(pattern.value, Variable):
            return Equal(Named(self._variable(pattern.value)))
        if isinstance(pattern, Group):
            return Group(pattern.kind, tuple(map(self._named, pattern.items)), pattern.keys)
        return pattern

    def _variable(self, variable: Variable) -> str:
        return self.variables.setdefault(variable, f"v{len(self.variables)}")

    def _constant(self, array: Array) -> str:
        key = (array.dtype, array.shape, array.tobytes())
        if key not in self._known:
            self._known[key] = f"c{len(self.constants)}"
            self.constants.append(array)
        return self._known[key]

    def _join(self, number: int, items: Sequence[_Item], result: Return) -> bool:
        """Go along a block, and from there on, as far as the path is the same; whether it joined
        the tree: it did unless it was different before it read a value."""
        at = 0
        while True:
            block = self.blocks[number]
            keys = [item.key for item in items[at : at + len(block.items)]]
            if keys != [item.key for item in block.items]:
                return False
            at += len(block.items)
            if block.ended is None:
                return at == len(items)  # the same path once more
            if at == len(items) or items[at].key != block.ended.key:
                return False
            seen, at = items[at].seen, at + 1
            if seen not in block.branches:
                block.branches[seen] = len(self.blocks)
                self.blocks.append(_Open())
                self._append(len(self.blocks) - 1, items[at:], result)
                return True
            number = block.branches[seen]

    def _append(self, number: int, items: Sequence[_Item], result: Return) -> None:
        """Put a path into an empty block, and one more for each value that it reads."""
        block = self.blocks[number]
        for item in items:
            if item.step is not None:
                block.items.append(item)
                continue
            block.ended, block.branches[item.seen] = item, len(self.blocks)
            block = _Open()
            self.blocks.append(block)
        block.result = result


def _item(node: Node, refs: tuple[Ref, ...]) -> _Item:
    if node.op is GUARD:
        how, where = node.params["how"], node.where or "?"
        return _Item(
            ("guard", refs, how, where), None, (refs[0], how, where), node.params["expected"]
        )
    key = (node.op, refs, params_key(node.params))
    return _Item(key, Step(node.op, refs, node.params))
