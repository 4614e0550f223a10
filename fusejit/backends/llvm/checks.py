"""What must hold for a plan to apply to a call, as data that the native entry reads.

    check := source take expect      take a value from somewhere; expect something of it

A source is an argument of the call, an object that the check keeps alive, an object behind a weak
reference, or the value of an earlier check, so that a path (self.layers[2].w) is a chain of checks:

    Check(Arg(0), Attribute("layers"), Length(3))
    Check(Of(0), Item(2))
    Check(Of(1), Attribute("w"), Input(1))

Whatever a look-up raises is cleared and means that the check fails.
"""

from __future__ import annotations

import weakref
from collections.abc import Collection, Iterator, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np

from ...frozen import frozen
from .abi import Memory
from .native import slot_offset

# ---- sources


@frozen
class Arg:
    """A positional argument of the call."""

    index: int


@frozen(eq=False)
class Kept:
    """An object that the check keeps alive."""

    value: object


@frozen(eq=False)
class Behind:
    """The referent of a weak reference; the check fails when it is dead."""

    ref: weakref.ref[Any]


@frozen
class Of:
    """The value that an earlier check of the same entry took, by its number."""

    check: int


Source: TypeAlias = Arg | Kept | Behind | Of

# ---- what to take from a source


@frozen
class Itself:
    """The source."""


ITSELF = Itself()


@frozen(eq=False)
class Key:
    """`source[key]` of a dict; absent if it has no such key."""

    key: object


@frozen
class Content:
    """The content of a cell; absent if it is empty."""


@frozen
class Attribute:
    """`getattr(source, name)`: runs the user's properties; absent on AttributeError."""

    name: str


@frozen(eq=False)
class Slot:
    """What an instance of `cls`, which the source must be, has in a slot; absent if nothing. It
    runs no code: 20 ns sooner than the attribute."""

    cls: type
    name: str


@frozen
class Item:
    """`source[index]` of a list or tuple, index >= 0."""

    index: int


@frozen
class Field:
    """A part of a Python function; absent where it has none."""

    name: Literal["code", "defaults", "kwdefaults", "closure"]


Take: TypeAlias = Itself | Key | Content | Attribute | Slot | Item | Field

# ---- what to expect of it


@frozen
class Anything:
    """That it is there: a step on the way to something else."""


@frozen
class Absent:
    """That it is not there."""


@frozen(eq=False)
class Same:
    """This object; or an exact float of the same bits, or an equal exact int, str or bytes."""

    value: object


@frozen(eq=False)
class Referent:
    """The object behind a weak reference, which still lives and is of this very class."""

    ref: weakref.ref[Any]
    cls: type  # can be assigned: `obj.__class__ = ...`


@frozen
class Length:
    """`len(value)`, which runs the user's `__len__`."""

    length: int


@frozen
class Exactly:
    """An instance of this very class."""

    cls: type


@frozen
class Input:
    """A Tensor that fits an input of the plan (by its position) and becomes it."""

    position: int


@frozen
class ArrayInput:
    """An exact ndarray that fits an input of the plan and becomes it."""

    position: int


@frozen
class FloatInput:
    """An exact Python float that becomes an input of the plan, of dtype float64 and shape ()."""

    position: int


@frozen(eq=False)
class Bytes:
    """An exact ndarray of this dtype, shape and content."""

    dtype: np.dtype[Any]
    shape: tuple[int, ...]
    content: bytes


@frozen
class Twin:
    """The very object that an earlier check of the same entry took."""

    check: int


@frozen
class Distinct:
    """That no two of the earlier checks of the same entry have taken the same object."""

    checks: tuple[int, ...]


@frozen(eq=False)
class Keys:
    """A dict of these keys in this order; `Same` compares them."""

    keys: tuple[object, ...]


Expect: TypeAlias = (
    Anything
    | Absent
    | Same
    | Referent
    | Length
    | Exactly
    | Input
    | ArrayInput
    | FloatInput
    | Bytes
    | Twin
    | Distinct
    | Keys
)


@frozen(eq=False)
class Check:
    """One check."""

    source: Source
    take: Take = ITSELF
    expect: Expect = Anything()


@frozen(eq=False)
class Elsewhere:
    """What an input of a plan that lies on another device must be: an array of class `cls`, whose
    slot `spec` holds this very object."""

    cls: type
    spec: object


Fit: TypeAlias = "tuple[np.dtype[Any], tuple[int, ...]] | Elsewhere"
"""Dtype and shape of an input on the CPU, or what one elsewhere must be."""


# ---- as records of checks.ll

_TAKES = {"code": 5, "defaults": 6, "kwdefaults": 7, "closure": 8}


def write(
    checks: Sequence[Check],
    inputs: Sequence[Fit],
    tensor: tuple[type, int],
    memory: Memory,
    keep: Collection[int] = (),
) -> tuple[int, dict[int, int]]:
    """The address of the `%Check` records, and the registers that keep what some checks took.

    Args:
        inputs: what the plan's inputs must fit.
        tensor: the class of Tensors and the offset of the ndarray in one.
        keep: checks whose values are wanted afterwards; those that later checks use are kept too.
    """
    used = {number for check in checks for number in _earlier(check)}
    measured = {n for n, c in enumerate(checks) if isinstance(c.expect, Length | Keys)}
    held = used.union(keep, measured)  # `__len__` may drop what it is asked of
    registers = {number: register for register, number in enumerate(sorted(held))}
    words: list[int] = []
    for number, check in enumerate(checks):
        for earlier in _earlier(check):
            if not 0 <= earlier < number:
                raise ValueError(f"check {number}: check {earlier} is not an earlier one")
        kind, source, index = _source(check.source, registers, memory)
        take, key, item = _take(check.take, memory)
        expect, *expected = _expect(check.expect, inputs, tensor, registers, memory)
        register = registers.get(number, -1)
        words += [kind, take, expect, register, source, index, key, item, *expected]
    return memory.words(words), registers


def _earlier(check: Check) -> Iterator[int]:
    """The checks whose values a check uses."""
    for part in (check.source, check.expect):
        if isinstance(part, Of | Twin):
            yield part.check
        elif isinstance(part, Distinct):
            yield from part.checks


def _source(source: Source, registers: dict[int, int], memory: Memory) -> tuple[int, int, int]:
    """Kind, object, number."""
    match source:
        case Kept(value):
            return 0, memory.pin(value), 0
        case Behind(ref):
            return 1, memory.pin(ref), 0
        case Of(number):
            return 2, 0, registers[number]
        case Arg(index):
            return 3, 0, index


def _take(take: Take, memory: Memory) -> tuple[int, int, int]:
    """What, key or name, index."""
    match take:
        case Itself():
            return 0, 0, 0
        case Key(key):
            return 1, memory.pin(key), 0
        case Content():
            return 2, 0, 0
        case Attribute(attribute):
            return 3, memory.pin(attribute), 0
        case Item(index):
            return 4, 0, index
        case Slot(cls, name):
            return 9, 0, slot_offset(cls, name)
        case Field(name):
            return _TAKES[name], 0, 0


def _expect(
    expect: Expect,
    inputs: Sequence[Fit],
    tensor: tuple[type, int],
    registers: dict[int, int],
    memory: Memory,
) -> tuple[int, ...]:
    """What, expected object, number, offset of the array, what it must fit, its bytes."""
    match expect:
        case Anything():
            return 0, 0, 0, 0, 0, 0
        case Absent():
            return 1, 0, 0, 0, 0, 0
        case Same(value):
            return 2, memory.pin(value), 0, 0, 0, 0
        case Referent(ref, kind):
            return 3, memory.pin(ref), memory.pin(kind), 0, 0, 0
        case Length(length):
            return 4, 0, length, 0, 0, 0
        case Exactly(cls):
            return 5, memory.pin(cls), 0, 0, 0, 0
        case Input(position):
            wanted = inputs[position]
            if isinstance(wanted, Elsewhere):
                offset = slot_offset(wanted.cls, "spec")
                row = memory.words((memory.pin(wanted.cls), offset, memory.pin(wanted.spec)))
                return 11, memory.pin(tensor[0]), position, tensor[1], row, 0
            fits = memory.words(memory.array(*wanted))
            return 6, memory.pin(tensor[0]), position, tensor[1], fits, 0
        case ArrayInput(position):
            wanted = inputs[position]
            assert isinstance(wanted, tuple), "an ndarray is on the CPU"
            fits = memory.words(memory.array(*wanted))
            return 6, memory.pin(np.ndarray), position, 0, fits, 0
        case Bytes(dtype, shape, content):
            fits = memory.words(memory.array(dtype, shape))
            data = memory.data(np.frombuffer(content, np.uint8))
            return 6, memory.pin(np.ndarray), 0, 0, fits, data
        case FloatInput(position):
            if inputs[position] != (np.dtype(np.float64), ()):
                raise ValueError(f"a Python float cannot become input {position}: it is no float64")
            return 7, 0, position, 0, 0, 0
        case Twin(number):
            return 8, 0, registers[number], 0, 0, 0
        case Distinct(numbers):
            taken = memory.words(registers[number] for number in numbers)
            places = 2 << len(numbers).bit_length()  # a power of two, at most half of them taken
            table = memory.words([0] * places)
            return 9, taken, len(numbers), places - 1, 0, table
        case Keys(keys):
            return 10, memory.pin(keys), len(keys), 0, 0, 0
