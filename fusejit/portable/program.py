"""A function as plain data: what files hold.

    program := name parameters variables constants entries blocks
    entry   := patterns types block [untaped]      arguments that fit the patterns go to the block
    block   := step* ending                        steps, then a result or a value that decides
    step    := op refs params                      its outputs get the next numbers of the path
    ending  := Return pattern assigned             an Operand of the pattern is a place in `refs`
             | Exit ref how where branches         the bytes that were seen -> the block to go on at
    ref     := 7                                   the value of that number on this path
             | "x0" | "v0" | "c0"                  argument, Variable before the call, constant

All that was recorded of a function is a few trees of blocks: paths share what they did alike up to
the first value that was different.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

from ..capture.recorded import Equal, Group, Operand, Pattern
from ..dtypes import TensorType
from ..frozen import frozen
from ..op import Array, Op
from ..variable import Variable

Ref: TypeAlias = int | str


@frozen
class Parameter:
    """A parameter of the function: kind is that of `inspect`, by name."""

    name: str
    kind: str
    default: Any = None
    optional: bool = False


@frozen(eq=False)
class Step:
    op: Op
    refs: tuple[Ref, ...]
    params: Mapping[str, Any]


@frozen(eq=False)
class Return:
    """The result, nested as `result` says, in which Operand(i) is the value of refs[i] and
    Equal("v0") in `variables` a Variable; and what Variables are assigned."""

    refs: tuple[Ref, ...]
    result: Pattern
    assigned: tuple[tuple[str, Ref], ...]


@frozen(eq=False)
class Exit:
    """A value was read, as `how` says; what it was decides where the path goes on."""

    ref: Ref
    how: str
    where: str
    branches: Mapping[bytes, int]


@frozen(eq=False)
class Block:
    steps: tuple[Step, ...]
    ending: Return | Exit


@frozen(eq=False)
class Entry:
    """Arguments that fit `patterns`, with operands of `types`, go on at a block."""

    patterns: Mapping[str, Pattern]
    types: tuple[TensorType, ...]
    block: int
    untaped: str | None


@frozen(eq=False)
class Program:
    name: str
    parameters: tuple[Parameter, ...]
    variables: tuple[Variable, ...]
    constants: tuple[Array, ...]
    entries: tuple[Entry, ...]
    blocks: tuple[Block, ...]


@frozen
class Named:
    """A Variable inside of a result, by its ref."""

    ref: str


def positions(patterns: Sequence[Pattern]) -> list[int]:
    """The positions of the operands, each once, as they come."""
    found: dict[int, None] = {}
    waiting = [*reversed(patterns)]
    while waiting:
        pattern = waiting.pop()
        if isinstance(pattern, Operand):
            found[pattern.position] = None
        elif isinstance(pattern, Group):
            waiting += reversed(pattern.items)
    return list(found)


def renumbered(pattern: Pattern, numbers: Mapping[int, int]) -> Pattern:
    """The pattern with other positions."""
    if isinstance(pattern, Operand):
        return Operand(numbers[pattern.position], pattern.number)
    if isinstance(pattern, Equal):
        return pattern
    items = tuple(renumbered(item, numbers) for item in pattern.items)
    return Group(pattern.kind, items, pattern.keys)
