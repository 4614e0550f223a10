"""The parameter of a kernel, and its operands: how they are declared, packed, found and read.

    struct Params { pointers   firsts   numbers };

A pointer for each operand in memory; for each INDEX operand its first value (64 bits); then meta,
as `backends.base` has it, in numbers of type Index: 32 bits where all places fit, else 64.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from math import prod

from ...frozen import frozen, replace
from ...scalar import DType
from ..base import Access, Walk
from ..plan import Operand as Place
from .text import TYPES, Text

NARROW = 2**30
"""Places of an operand up to which 32 bits hold them, and the steps of a grid beyond the end."""
ALIGNMENT = 16
"""Every slot begins at a multiple of so many bytes: what one access can move."""


@frozen
class Operand:
    """An operand at one place of the loop nest: `base` is the address of its element there, or, for
    INDEX, the value. Strides are C expressions, in elements."""

    name: str
    access: Access
    base: str
    strides: tuple[str, ...]

    @property
    def type(self) -> str:
        return TYPES[self.access.dtype]

    def moved(self, by: str) -> Operand:
        """The operand at index `by` of its outermost axis, which is counted from there on."""
        return replace(self, base=f"{self.base} + (long long)({by}) * {self.strides[0]}")

    def far(self, indices: Sequence[str]) -> str:
        """How far the element at `indices` is from the base."""
        terms = [f"{i} * {s}" for i, s in zip(indices[:-1], self.strides, strict=False)]
        if self.access.walk is Walk.UNIT:
            terms.append(indices[-1])
        elif self.access.walk is not Walk.SPLAT:
            terms.append(f"{indices[-1]} * {self.strides[-1]}")
        return " + ".join(terms) or "0"

    def at(self, indices: Sequence[str]) -> str:
        """The element itself."""
        if self.access.walk is Walk.INDEX:
            terms = [f"(long long){i} * {s}" for i, s in zip(indices, self.strides, strict=True)]
            return " + ".join((self.base, *terms))
        base = f"({self.base})" if " " in self.base else self.base
        return f"{base}[{self.far(indices)}]"


@dataclass
class Struct:
    """The parameter struct of one kernel, while its operands are opened. Pointers that are read
    come before those that are written, as the operands of a launch do."""

    read: list[str] = field(default_factory=list)
    written: list[str] = field(default_factory=list)
    firsts: list[str] = field(default_factory=list)
    numbers: list[str] = field(default_factory=list)

    def number(self, name: str) -> str:
        self.numbers.append(name)
        return f"p.{name}"

    def open(self, name: str, access: Access, axes: int, written: bool) -> Operand:
        """Declare an operand and its strides, which meta has in the same order."""
        if access.walk is Walk.INDEX:
            self.firsts.append(name)
        elif written:
            self.written.append(f"{TYPES[access.dtype]}* {name};")
        else:
            self.read.append(f"const {TYPES[access.dtype]}* {name};")
        strides = tuple(self.number(f"{name}_{axis}") for axis in range(axes))
        return Operand(name, access, f"p.{name}", strides)

    def withdraw(self, operand: Operand) -> None:
        """The operand is not in global memory: it has no pointer."""
        for pointers in (self.read, self.written):
            pointers[:] = [each for each in pointers if not each.endswith(f" {operand.name};")]

    def write(self, text: Text, narrow: bool) -> None:
        text.line(f"typedef {'int' if narrow else 'long long'} Index;")
        text.blank()
        text.line("struct Params {")
        text.depth += 1
        for pointer in (*self.read, *self.written):
            text.line(pointer)
        for kind, names in (("long long", self.firsts), ("Index", self.numbers)):
            if names:
                text.line(f"{kind} {', '.join(names)};")
        text.depth -= 1
        text.line("};")
        text.blank()


def packed(firsts: Sequence[int], numbers: Sequence[int], narrow: bool) -> bytes:
    """The bytes after the pointers, to the struct's end."""
    data = struct.pack(f"={len(firsts)}q{len(numbers)}{'i' if narrow else 'q'}", *firsts, *numbers)
    return data + bytes(-len(data) % 8)


def fits_narrow(extents: Sequence[int], strides: Sequence[Sequence[int]]) -> bool:
    """Whether 32 bits hold every place of operands with these strides."""
    if prod(extents) >= NARROW or any(abs(s) >= NARROW for row in strides for s in row):
        return False
    reaches = (sum(abs(s) * (n - 1) for s, n in zip(row, extents, strict=False)) for row in strides)
    return max(reaches, default=0) < NARROW


def rows_of(meta: Sequence[int], axes: int, count: int) -> list[tuple[int, ...]]:
    """The strides of `count` operands, which follow the extents in meta."""
    return [tuple(meta[axes * (i + 1) : axes * (i + 2)]) for i in range(count)]


def is_aligned(dtype: DType, width: int, offset: int, strides: Sequence[int]) -> bool:
    """Whether `width` elements can be moved at once from `offset` (bytes) and at all strides."""
    size = dtype.itemsize
    unit = min(size * width, ALIGNMENT)
    return offset % unit == 0 and all(s * size % unit == 0 for s in strides)


def in_memory(accesses: Sequence[Access], operands: Sequence[Place]) -> list[Place]:
    """The operands that are pointers; the others are firsts."""
    pairs = zip(accesses, operands, strict=True)
    return [place for access, place in pairs if access.walk is not Walk.INDEX]


def firsts_of(accesses: Sequence[Access], operands: Sequence[Place]) -> list[int]:
    """The first values of INDEX operands."""
    pairs = zip(accesses, operands, strict=True)
    return [place.offset for access, place in pairs if access.walk is Walk.INDEX]
