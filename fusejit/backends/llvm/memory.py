"""Operands of a kernel: where they begin, how they move, and how lanes are read and written."""

from __future__ import annotations

from collections.abc import Sequence

from ...frozen import frozen, replace
from ...scalar import BOOL, DType
from ..base import Access, Walk
from .text import ELEMENTS, Lanes, Text


@frozen
class Operand:
    """An operand at one place of the loop nest.

    `base` is the address of its element there, for INDEX the value itself. A stride is None along
    an innermost axis whose walk says it.
    """

    name: str
    access: Access
    base: str
    strides: tuple[str | None, ...]

    @property
    def element(self) -> str:
        """The element in registers."""
        return ELEMENTS[self.access.dtype]

    @property
    def stored(self) -> str:
        """The element in memory: a bool is a byte."""
        return memory_element(self.access.dtype)


def memory_element(dtype: DType) -> str:
    return "i8" if dtype == BOOL else ELEMENTS[dtype]


def open_operands(
    text: Text, extents: int, groups: Sequence[tuple[str, Sequence[Access], int]]
) -> tuple[list[str], list[list[Operand]]]:
    """Read meta and the operand array at the function's entry.

    A group is a letter, its operands and how many axes they have; the last axis is the innermost.
    """
    place = 0
    sizes = []
    for axis in range(extents):
        sizes.append(_meta(text, f"n{axis}", place))
        place += 1
    number = 0
    opened: list[list[Operand]] = []
    for letter, accesses, axes in groups:
        members = []
        for i, access in enumerate(accesses):
            members.append(_open(text, f"{letter}{i}", access, number, place, axes))
            place += axes
            number += 1
        opened.append(members)
    return sizes, opened


def _meta(text: Text, name: str, place: int) -> str:
    address = text.let(f"{name}.at", f"getelementptr inbounds i64, ptr %meta, i64 {place}")
    return text.let(name, f"load i64, ptr {address}, align 8")


def _open(text: Text, name: str, access: Access, number: int, place: int, axes: int) -> Operand:
    kind = "i64" if access.walk is Walk.INDEX else "ptr"
    address = text.let(f"{name}.at", f"getelementptr inbounds ptr, ptr %operands, i64 {number}")
    base = text.let(name, f"load {kind}, ptr {address}, align 8")
    known = access.walk in (Walk.UNIT, Walk.SPLAT)
    strides = tuple(
        None if known and axis == axes - 1 else _meta(text, f"{name}.s{axis}", place + axis)
        for axis in range(axes)
    )
    return Operand(name, access, base, strides)


def moved(text: Text, operand: Operand, axis: int, index: str, hint: str) -> Operand:
    """The operand at `index` of an axis whose stride is a run-time number."""
    stride = operand.strides[axis]
    name = f"{operand.name}.{hint}"
    distance = text.let(f"{name}.far", f"mul i64 {index}, {stride}")
    if operand.access.walk is Walk.INDEX:
        base = text.let(name, f"add i64 {operand.base}, {distance}")
    else:
        base = text.let(name, f"getelementptr {operand.stored}, ptr {operand.base}, i64 {distance}")
    return replace(operand, base=base)


def lane_offsets(lanes: Lanes, operand: Operand) -> str | None:
    """How far each lane is from the first along the innermost axis; None if that is implied."""
    if operand.access.walk in (Walk.UNIT, Walk.SPLAT) or lanes.width == 1:
        return None
    stride = operand.strides[-1]
    assert stride is not None
    every = lanes.broadcast(f"{operand.name}.step", "i64", stride)
    return lanes.op(f"{operand.name}.lanes", "mul", "i64", every, lanes.iota("i64"))


def lane_mask(lanes: Lanes, start: str, end: str) -> str:
    """The lanes from `start` that lie before `end`."""
    left = lanes.text.let("left", f"sub i64 {end}, {start}")
    count = lanes.text.let("count", f"trunc i64 {left} to i32")
    every = lanes.broadcast("counts", "i32", count)
    return lanes.op("mask", "icmp ult", "i32", lanes.iota("i32"), every)


def read(lanes: Lanes, operand: Operand, start: str, offsets: str | None, mask: str | None) -> str:
    """The lanes of an operand from index `start` of the innermost axis on; as one bool each, i1."""
    text, element, name = lanes.text, operand.stored, operand.name
    kind = lanes.type(element)
    hint = name if operand.access.dtype != BOOL else f"{name}.byte"
    if operand.access.walk is Walk.INDEX:
        return _indices(lanes, operand, start, offsets)
    address = _address(lanes, operand, start)
    align = operand.access.dtype.itemsize
    if offsets is not None:
        value = _gather(lanes, operand, address, offsets, mask, hint)
    elif mask is None:
        value = text.let(f"{hint}.v", f"load {kind}, ptr {address}, align {align}")
    else:
        function = f"llvm.masked.load.{lanes.suffix(element)}.p0"
        operands = [
            ("ptr", address),
            ("i32", str(align)),
            (lanes.type("i1"), mask),
            (kind, "zeroinitializer"),
        ]
        value = text.let(f"{hint}.v", text.call(kind, function, operands))
    if operand.access.dtype != BOOL:
        return value
    return lanes.op(f"{name}.v", "icmp ne", "i8", value, lanes.const("i8", 0))


def write(
    lanes: Lanes, operand: Operand, start: str, offsets: str | None, mask: str | None, value: str
) -> None:
    text, element = lanes.text, operand.stored
    kind = lanes.type(element)
    if operand.access.dtype == BOOL:
        value = lanes.convert(f"{operand.name}.byte", "zext", value, "i1", "i8")
    address = _address(lanes, operand, start)
    align = operand.access.dtype.itemsize
    pointer = ("ptr", address)
    function = f"llvm.masked.store.{lanes.suffix(element)}.p0"
    if offsets is not None:
        pointers = _pointers(lanes, operand, address, offsets)
        pointer = (lanes.type("ptr"), pointers)
        function = f"llvm.masked.scatter.{lanes.suffix(element)}.v{lanes.width}p0"
    elif mask is None:
        text.do(f"store {kind} {value}, ptr {address}, align {align}")
        return
    chosen = mask or lanes.const("i1", True)
    operands = [(kind, value), pointer, ("i32", str(align)), (lanes.type("i1"), chosen)]
    text.do(text.call("void", function, operands))


def _address(lanes: Lanes, operand: Operand, start: str) -> str:
    """The address of the element at `start` of the innermost axis."""
    text, stride = lanes.text, operand.strides[-1]
    if operand.access.walk is Walk.SPLAT:
        return operand.base
    if stride is not None:
        start = text.let(f"{operand.name}.far", f"mul i64 {start}, {stride}")
    return text.let(
        f"{operand.name}.to", f"getelementptr {operand.stored}, ptr {operand.base}, i64 {start}"
    )


def _indices(lanes: Lanes, operand: Operand, start: str, offsets: str | None) -> str:
    text, name = lanes.text, operand.name
    distance = text.let(f"{name}.far", f"mul i64 {start}, {operand.strides[-1]}")
    first = text.let(f"{name}.first", f"add i64 {operand.base}, {distance}")
    if offsets is None:
        return first
    every = lanes.broadcast(f"{name}.all", "i64", first)
    return lanes.op(f"{name}.v", "add", "i64", every, offsets)


def _pointers(lanes: Lanes, operand: Operand, address: str, offsets: str) -> str:
    return lanes.text.let(
        f"{operand.name}.all",
        f"getelementptr {operand.stored}, ptr {address}, {lanes.type('i64')} {offsets}",
    )


def _gather(
    lanes: Lanes, operand: Operand, address: str, offsets: str, mask: str | None, hint: str
) -> str:
    """One load per lane. Where the machine has no gather, LLVM writes them out."""
    kind = lanes.type(operand.stored)
    pointers = _pointers(lanes, operand, address, offsets)
    function = f"llvm.masked.gather.{lanes.suffix(operand.stored)}.v{lanes.width}p0"
    operands = [
        (lanes.type("ptr"), pointers),
        ("i32", str(operand.access.dtype.itemsize)),
        (lanes.type("i1"), mask or lanes.const("i1", True)),
        (kind, "zeroinitializer"),
    ]
    return lanes.text.let(f"{hint}.v", lanes.text.call(kind, function, operands))
