"""`Reduce` kernels as CUDA C: teams of threads for rows, lanes of threads down columns.

The order of combination is a function of the reduced extent alone, so a reduction has the same bits
by itself and inside a strip. ROW: a team has some threads for each row, and element j goes to
accumulator j % VECTOR of thread (j / VECTOR) % team. COLUMN: row i of a column goes to thread
i % lanes. A thread starts afresh every DEPTH rounds, which bounds the rounding error; accumulators,
then threads, are folded in a fixed order. `cuts` says how many threads that are.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from enum import Enum
from functools import lru_cache

from ...frozen import frozen, replace
from ..base import Form, Reduce, Walk
from .loops import LIBRARIES, RESIDENT, THREADS, read_pack, write_element, write_pack
from .operands import Operand, Struct
from .program import Source
from .scalar import emit
from .text import Text, kernel_head, literal, source

VECTOR = 4
"""Neighbouring elements of a thread, whatever their size: the order must not depend on dtypes."""
DEPTH = 64
"""Rounds of an accumulator before rounding error starts afresh."""
AHEAD, AHEAD_INSTRUCTIONS = 4, 24


class Pace(Enum):
    """How the elements of a row are moved. The order of combination is the same."""

    SINGLE = "single"  # one by one
    PACKED = "packed"  # VECTOR at a time, and one by one at the end
    WHOLE = "whole"  # VECTOR at a time, of which a row has a whole number


@lru_cache(maxsize=4096)
def reduce_source(kernels: tuple[Reduce, ...], paces: tuple[Pace, ...], narrow: bool) -> Source:
    """The kernel of reductions side by side, or of one part of them for each index of the grid's
    second axis."""
    text, parameters = Text(), Struct()
    prefixes = [f"{chr(ord('a') + n)}_" for n in range(len(kernels))] if kernels[1:] else [""]
    opened = [
        open_reduce(parameters, kernel, prefix, each)
        for kernel, prefix, each in zip(kernels, prefixes, paces, strict=True)
    ]
    size = parameters.number("size")
    parameters.write(text, narrow)
    for each in opened:
        each.functions(text)
    with text.block(kernel_head(THREADS, RESIDENT)):
        reduced = opened[0].extents[1]
        text.line(f"const Index low = blockIdx.y * {size};  // of this part")
        text.line(f"const Index length = {reduced} - low < {size} ? {reduced} - low : {size};")
        for each in opened:
            part = each.part("low", "length")
            per = f"{THREADS} / {part.threads}"
            with text.block("") if kernels[1:] else nullcontext():
                part.write(text, (f"blockIdx.x * ({per})", f"gridDim.x * ({per})"), "blockIdx.y")
    return source("reduce", (*LIBRARIES, "reduce.cuh"), text)


@frozen
class OpenedReduce:
    """A reduction whose operands are declared."""

    kernel: Reduce
    prefix: str
    extents: tuple[str, ...]  # kept, reduced, and columns
    inputs: tuple[Operand, ...]
    stored: tuple[Operand, ...]
    output: Operand
    threads: str  # of a team, or down a column
    pace: Pace

    @property
    def _ahead(self) -> int:
        """Rounds that a thread may have under way, for some loads in all; long programs have other
        work."""
        work = len(self.kernel.program.instrs) + len(self.kernel.combine.instrs)
        short = work <= AHEAD_INSTRUCTIONS and not self.stored
        return max(1, AHEAD // max(len(self.inputs), 1)) if short else 1

    @property
    def type(self) -> str:
        return self.output.type

    @property
    def neutral(self) -> str:
        return literal(self.kernel.output.dtype, self.kernel.identity)

    def part(self, low: str, length: str) -> OpenedReduce:
        """The reduction of `length` elements of the reduced axis, from `low` on."""
        moved = [tuple(_along(o, low) for o in group) for group in (self.inputs, self.stored)]
        extents = (self.extents[0], length, *self.extents[2:])
        return replace(self, extents=extents, inputs=moved[0], stored=moved[1])

    def functions(self, text: Text) -> None:
        """The function of one element, and the object that combines two."""
        kernel, kind = self.kernel, self.type
        made = (kernel.output, *kernel.stored)
        write_element(text, f"{self.prefix}element", kernel.program, kernel.inputs, made)
        text.line(f"struct {self.prefix}Combine {{")
        text.depth += 1
        head = f"__device__ __forceinline__ {kind} operator()(const {kind} a, const {kind} b) const"
        with text.block(head):
            (result,) = emit(text, kernel.combine, ["a", "b"], "c")
            text.line(f"return {result};")
        text.depth -= 1
        text.line("};")
        text.blank()

    def write(self, text: Text, span: tuple[str, str], beside: str = "") -> None:
        """All results from `first`, `step` from each group to the next; their place is `beside`
        further on."""
        text.line(f"{self.type}* const space = ({self.type}*)shared_memory();")
        text.line(f"const {self.prefix}Combine combine;")
        if self.kernel.form is Form.ROW:
            self._rows(text, *span, beside)
        else:
            self._columns(text, *span, beside)

    def _rows(self, text: Text, first: str, step: str, beside: str) -> None:
        kind, neutral, (kept, length) = self.type, self.neutral, self.extents
        text.line(f"const int team = {self.threads}, lane = threadIdx.x % team;")
        with text.block(f"for (Index row = {first}; row < {kept}; row += {step})"):
            text.line("const Index i0 = row + threadIdx.x / team;")
            text.line(f"{kind} total[{VECTOR}] = {{{', '.join([neutral] * VECTOR)}}};")
            with text.block(f"if (i0 < {kept})"):
                head = f"Index start = lane * {VECTOR}; start < {length}"
                span = f"team * {VECTOR * DEPTH}"
                with text.block(f"for ({head}; start += {span})"):
                    text.line(f"{kind} part[{VECTOR}] = {{{', '.join([neutral] * VECTOR)}}};")
                    text.line(f"const Index left = {length} - start;")
                    text.line(f"const Index stop = left < {span} ? {length} : start + {span};")
                    text.line(f"#pragma unroll {self._ahead}")
                    with text.block(f"for (Index i1 = start; i1 < stop; i1 += team * {VECTOR})"):
                        self._neighbours(text, length)
                    text.line("#pragma unroll")
                    text.line(
                        f"for (int k = 0; k < {VECTOR}; k++) total[k] = combine(total[k], part[k]);"
                    )
            text.line("const auto left = combine(total[0], total[1]);")
            text.line("const auto right = combine(total[2], total[3]);")
            text.line("const auto result = fold_team(combine(left, right), team, space, combine);")
            place = self._place(["i0"], beside)
            text.line(f"if (lane == 0 && i0 < {kept}) {place} = result;")

    def _neighbours(self, text: Text, length: str) -> None:
        """VECTOR elements from i1 on, or those before the row's end."""
        if self.pace is Pace.WHOLE:
            self._together(text)
        elif self.pace is Pace.PACKED:
            with text.block(f"if (i1 + {VECTOR} <= {length})"):
                self._together(text)
            with text.block("else"):
                self._singly(text, length)
        else:
            self._singly(text, length)

    def _singly(self, text: Text, length: str) -> None:
        # Unrolled, so that `part` is in registers: an array with a variable index is in memory.
        text.line("#pragma unroll")
        every, inside = f"for (int k = 0; k < {VECTOR}; k++)", f"if (i1 + k < {length})"
        with text.block(every), text.block(inside):
            self._one(text, ["i0", "(i1 + k)"], "part[k]")

    def _together(self, text: Text) -> None:
        indices, stored = ["i0", "i1"], self.stored
        given = [read_pack(text, f"x{i}", o, indices, VECTOR) for i, o in enumerate(self.inputs)]
        for i, operand in enumerate(stored):
            text.line(f"Pack<{operand.type}, {VECTOR}> y{i + 1};")
        text.line("#pragma unroll")
        with text.block(f"for (int k = 0; k < {VECTOR}; k++)"):
            text.line(f"{self.type} value;")
            made = ["value", *(f"y{i + 1}.at[k]" for i in range(len(stored)))]
            text.line(f"{self.prefix}element({', '.join(given + made)});")
            text.line("part[k] = combine(part[k], value);")
        for i, operand in enumerate(stored):
            write_pack(text, f"y{i + 1}", operand, indices, VECTOR)

    def _one(self, text: Text, indices: Sequence[str], into: str) -> None:
        """Combine one element."""
        text.line(f"{self.type} value;")
        for i, operand in enumerate(self.stored):
            text.line(f"{operand.type} y{i + 1};")
        made = ["value", *(f"y{i + 1}" for i in range(len(self.stored)))]
        given = [operand.at(indices) for operand in self.inputs]
        text.line(f"{self.prefix}element({', '.join(given + made)});")
        for i, operand in enumerate(self.stored):
            text.line(f"{operand.at(indices)} = y{i + 1};")
        text.line(f"{into} = combine({into}, value);")

    def _columns(self, text: Text, first: str, step: str, beside: str) -> None:
        kind, neutral, (kept, length, columns) = self.type, self.neutral, self.extents
        text.line(f"const int lanes = {self.threads}, across = {THREADS} / lanes;")
        text.line(f"const Index count = {kept} * {columns};")
        with text.block(f"for (Index group = {first}; group < count; group += {step})"):
            text.line("const Index place = group + threadIdx.x % across;")
            text.line(f"const Index i0 = place / {columns}, i2 = place % {columns};")
            text.line(f"{kind} total = {neutral};")
            with text.block("if (place < count)"):
                head = f"Index start = threadIdx.x / across; start < {length}"
                with text.block(f"for ({head}; start += lanes * {DEPTH})"):
                    text.line(f"{kind} part = {neutral};")
                    text.line(f"const Index left = {length} - start;")
                    stop = f"left < lanes * {DEPTH} ? {length} : start + lanes * {DEPTH}"
                    text.line(f"const Index stop = {stop};")
                    text.line(f"#pragma unroll {self._ahead}")
                    with text.block("for (Index i1 = start; i1 < stop; i1 += lanes)"):
                        self._one(text, ["i0", "i1", "i2"], "part")
                    text.line("total = combine(total, part);")
            text.line("const auto result = fold_lanes(total, across, space, combine);")
            condition = "threadIdx.x < across && place < count"
            text.line(f"if ({condition}) {self._place(['i0', 'i2'], beside)} = result;")

    def _place(self, indices: Sequence[str], beside: str) -> str:
        terms = [f"{i} * {s}" for i, s in zip(indices, self.output.strides, strict=True)]
        base = self.output.base
        base = f"({base})" if " " in base else base
        return f"{base}[{' + '.join((*terms, *([beside] if beside else [])))}]"


def open_reduce(parameters: Struct, kernel: Reduce, prefix: str, pace: Pace) -> OpenedReduce:
    """Declare the extents and operands of a reduction, in the order of its meta, then its team."""
    axes = 2 if kernel.form is Form.ROW else 3
    extents = tuple(parameters.number(f"{prefix}n{axis}") for axis in range(axes))
    inputs = [
        parameters.open(f"{prefix}x{i}", access, axes, written=False)
        for i, access in enumerate(kernel.inputs)
    ]
    stored = [
        parameters.open(f"{prefix}z{i}", access, axes, written=True)
        for i, access in enumerate(kernel.stored)
    ]
    output = parameters.open(f"{prefix}y", kernel.output, axes - 1, written=True)
    threads = parameters.number(f"{prefix}team" if axes == 2 else f"{prefix}lanes")
    return OpenedReduce(
        kernel, prefix, extents, tuple(inputs), tuple(stored), output, threads, pace
    )


def _along(operand: Operand, by: str) -> Operand:
    """The operand at index `by` of the reduced axis, which is counted from there on."""
    stride = operand.strides[1]
    if len(operand.strides) == 2 and operand.access.walk is Walk.SPLAT:
        return operand
    if len(operand.strides) == 2 and operand.access.walk is Walk.UNIT:
        stride = "1"
    return replace(operand, base=f"{operand.base} + (long long){by} * {stride}")
