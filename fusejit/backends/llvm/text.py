"""LLVM text under construction: lines with unique names, and the vocabulary of one lane count.

Elements are named as LLVM names them: i1 i8 i16 i32 i64 i128 float double. `Lanes` adds how many of
them one value holds; 1 means scalars, so that every rule is written once for vectors and tails.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

import numpy as np

from ...frozen import frozen
from ...scalar import DType, Number
from .target import Target

ELEMENTS: dict[DType, str] = {
    np.dtype(np.bool_): "i1",
    np.dtype(np.int8): "i8",
    np.dtype(np.int16): "i16",
    np.dtype(np.int32): "i32",
    np.dtype(np.int64): "i64",
    np.dtype(np.uint8): "i8",
    np.dtype(np.uint16): "i16",
    np.dtype(np.uint32): "i32",
    np.dtype(np.uint64): "i64",
    np.dtype(np.float32): "float",
    np.dtype(np.float64): "double",
}
_SUFFIX = {"float": "f32", "double": "f64"}


@dataclass
class Trip:
    """A loop being written: its index and what it carries, which keep their last values after it.

    The body sets `following` to what the next trip carries.
    """

    index: str
    values: list[str]
    following: list[str]


@dataclass
class Text:
    """The lines of one function, and the declarations that they need."""

    lines: list[str] = field(default_factory=list)
    block: str = "entry"  # the block that lines go to
    declarations: set[str] = field(default_factory=set)
    _uses: dict[str, int] = field(default_factory=dict)

    def name(self, hint: str) -> str:
        """`%hint`, numbered from its second use on."""
        use = self._uses[hint] = self._uses.get(hint, 0) + 1
        return f"%{hint}" if use == 1 else f"%{hint}.{use}"

    def let(self, hint: str, operation: str) -> str:
        name = self.name(hint)
        self.lines.append(f"  {name} = {operation}")
        return name

    def do(self, operation: str) -> None:
        self.lines.append(f"  {operation}")

    def comment(self, text: str) -> None:
        self.lines.append(f"  ; {text}")

    def label(self, name: str, comment: str = "") -> None:
        self.block = name
        self.lines.append("")
        self.lines.append(f"{name}:" + (f"  ; {comment}" if comment else ""))

    def branch(self, condition: str, yes: str, no: str) -> None:
        self.do(f"br i1 {condition}, label %{yes}, label %{no}")

    def jump(self, label: str) -> None:
        self.do(f"br label %{label}")

    @contextmanager
    def loop(
        self,
        name: str,
        bounds: tuple[str, str, int | str],
        carried: Sequence[tuple[str, str, str]] = (),
        comment: str = "",
    ) -> Iterator[Trip]:
        """The code written inside runs for each index of range(first, last, step).

        `carried` are (hint, type, first value). The test comes first; LLVM turns the loop round.
        """
        first, last, step = bounds
        before, head = self.block, self.name(name)[1:]
        body, done = self.name(f"{name}.body")[1:], self.name(f"{name}.done")[1:]
        self.jump(head)
        self.label(head, comment)
        phis = len(self.lines)
        index = self.name(f"{name}.i")
        trip = Trip(index, [self.name(hint) for hint, _, _ in carried], [])
        more = self.let(f"{name}.more", f"icmp slt i64 {index}, {last}")
        self.branch(more, body, done)
        self.label(body)
        yield trip
        following = self.let(f"{name}.next", f"add nsw i64 {index}, {step}")
        after = self.block
        self.jump(head)
        rounds = [(index, "i64", first, following)]
        for place, (_, kind, start) in enumerate(carried):
            rounds.append((trip.values[place], kind, start, trip.following[place]))
        self.lines[phis:phis] = [
            f"  {value} = phi {kind} [ {start}, %{before} ], [ {next_value}, %{after} ]"
            for value, kind, start, next_value in rounds
        ]
        self.label(done)

    def call(self, result: str, function: str, operands: Sequence[tuple[str, str]]) -> str:
        """A call as an operation; `operands` are (type, value), attributes after the type."""
        types = ", ".join(kind for kind, _ in operands)
        self.declarations.add(f"declare {result} @{function}({types})")
        values = ", ".join(f"{kind} {value}" for kind, value in operands)
        return f"call {result} @{function}({values})"


def literal(element: str, value: Number) -> str:
    """A constant's exact spelling: decimal where LLVM reads it back to the same bits."""
    if element == "i1":
        return "true" if value else "false"
    if element not in _SUFFIX:
        return str(int(value))
    number = float(value)
    if not math.isfinite(number):
        return f"0x{struct.unpack('<Q', struct.pack('<d', number))[0]:016X}"
    mantissa, exponent, digits = repr(number).partition("e")
    return mantissa + ("" if "." in mantissa else ".0") + exponent + digits


@frozen
class Lanes:
    """Operations on values of `width` elements, appended to `text`."""

    text: Text
    target: Target
    width: int

    def type(self, element: str) -> str:
        return element if self.width == 1 else f"<{self.width} x {element}>"

    def suffix(self, element: str) -> str:
        name = _SUFFIX.get(element, element)
        return name if self.width == 1 else f"v{self.width}{name}"

    def const(self, element: str, value: Number) -> str:
        spelled = literal(element, value)
        return spelled if self.width == 1 else f"splat ({element} {spelled})"

    def op(self, hint: str, opcode: str, element: str, *values: str) -> str:
        """Arithmetic and comparisons: `fadd`, `icmp slt`, ..."""
        return self.text.let(hint, f"{opcode} {self.type(element)} {', '.join(values)}")

    def intrinsic(self, hint: str, name: str, element: str, *values: str) -> str:
        kind = self.type(element)
        function = f"llvm.{name}.{self.suffix(element)}"
        return self.text.let(hint, self.text.call(kind, function, [(kind, v) for v in values]))

    def select(self, hint: str, condition: str, element: str, yes: str, no: str) -> str:
        kind = self.type(element)
        mask = self.type("i1")
        return self.text.let(hint, f"select {mask} {condition}, {kind} {yes}, {kind} {no}")

    def convert(self, hint: str, opcode: str, value: str, source: str, to: str) -> str:
        return self.text.let(hint, f"{opcode} {self.type(source)} {value} to {self.type(to)}")

    def broadcast(self, hint: str, element: str, value: str) -> str:
        """The scalar `value` in every lane."""
        if self.width == 1:
            return value
        kind = self.type(element)
        first = self.text.let(
            f"{hint}.first", f"insertelement {kind} poison, {element} {value}, i64 0"
        )
        zeros = f"<{self.width} x i32> zeroinitializer"
        return self.text.let(hint, f"shufflevector {kind} {first}, {kind} poison, {zeros}")

    def iota(self, element: str) -> str:
        """0, 1, 2, ...: a constant."""
        if self.width == 1:
            return "0"
        return "<" + ", ".join(f"{element} {i}" for i in range(self.width)) + ">"
