"""What a native call returns, as data: the objects to make, the Variables to assign, how they nest.

    made      Tensors around outputs and inputs of the plan or constants, or objects that were seen
    assigned  Variables and which of the made objects each gets
    nest      a tree of the made objects and of values that are always the same

`kernels/llvm/results.ll` reads the records that `write` prepares.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np

from ...frozen import frozen
from .abi import Memory

# ---- what is made


@frozen
class Output:
    """A Tensor around an output of the plan."""

    number: int


@frozen
class Shared:
    """A new Tensor around the memory of an input."""

    position: int


@frozen
class Copied:
    """A Tensor around a copy of an input."""

    position: int


@frozen(eq=False)
class Fixed:
    """A new Tensor around this array."""

    array: np.ndarray[Any, Any]


@frozen
class Taken:
    """The very object that a check took, by its number."""

    check: int


Made: TypeAlias = Output | Shared | Copied | Fixed | Taken

# ---- how it nests


@frozen
class Leaf:
    """One of the made objects, by its number."""

    number: int


@frozen(eq=False)
class Value:
    """This object."""

    value: object


@frozen(eq=False)
class Tuple:
    items: tuple[Nest, ...]


@frozen(eq=False)
class List:
    items: tuple[Nest, ...]


@frozen(eq=False)
class Dict:
    keys: tuple[object, ...]
    items: tuple[Nest, ...]


@frozen(eq=False)
class Called:
    """What a Python callable returns for these."""

    call: Callable[..., Any]
    items: tuple[Nest, ...]


Nest: TypeAlias = Leaf | Value | Tuple | List | Dict | Called


@frozen(eq=False)
class Result:
    """The result of a call. `assigned`: (check that took the Variable, number of its new value)."""

    made: tuple[Made, ...]
    nest: Nest
    assigned: tuple[tuple[int, int], ...] = ()

    @property
    def taken(self) -> set[int]:
        """The checks whose values are needed when the plan has run."""
        found = {variable for variable, _ in self.assigned}
        return found | {made.check for made in self.made if isinstance(made, Taken)}


# ---- as records of results.ll


def write(
    result: Result, inputs: int, outputs: int, registers: Mapping[int, int], memory: Memory
) -> tuple[int, ...]:
    """How many objects, and where their records are; the same for Variables and nodes.

    Args:
        inputs, outputs: how many the plan has.
        registers: where the checks leave what `result.taken` names.
    """
    made = [
        word for each in result.made for word in _made(each, inputs, outputs, registers, memory)
    ]
    stores = [word for check, number in result.assigned for word in (registers[check], number)]
    nodes = list(_nodes(result.nest, len(result.made), memory))
    return (
        len(result.made),
        memory.words(made),
        len(result.assigned),
        memory.words(stores),
        len(nodes),
        memory.words(word for node in nodes for word in node),
    )


def _made(
    made: Made, inputs: int, outputs: int, registers: Mapping[int, int], memory: Memory
) -> tuple[int, int, int]:
    match made:
        case Output(number):
            _check(number, outputs, "output")
            return 0, inputs + number, 0
        case Shared(position):
            _check(position, inputs, "input")
            return 0, position, 0
        case Copied(position):
            _check(position, inputs, "input")
            return 1, position, 0
        case Fixed(array):
            return 2, 0, memory.pin(array)
        case Taken(check):
            return 3, registers[check], 0


def _nodes(nest: Nest, count: int, memory: Memory) -> Sequence[tuple[int, int, int]]:
    """The tree in postfix form."""
    match nest:
        case Leaf(number):
            _check(number, count, "result")
            return [(0, number, 0)]
        case Value(value):
            return [(1, 0, memory.pin(value))]
        case Tuple(items):
            kind, pinned = 2, 0
        case List(items):
            kind, pinned = 3, 0
        case Dict(keys, items):
            kind, pinned = 4, memory.pin(keys)
        case Called(call, items):
            kind, pinned = 5, memory.pin(call)
    children = [node for item in items for node in _nodes(item, count, memory)]
    return [*children, (kind, len(items), pinned)]


def _check(number: int, count: int, what: str) -> None:
    """Native code reads by these numbers."""
    if not 0 <= number < count:
        raise ValueError(f"there are {count} {what}s, no {what} {number}")
