"""`Reduce` kernels as CUDA C: teams of threads for rows, lanes of threads down columns.

The order of combination is a function of the reduced extent alone, so a reduction has the same bits
by itself and inside a strip. ROW: a team has some threads for each row, and element j goes to
accumulator j % 4 of thread (j / 4) % team. COLUMN: row i of a column goes to thread i % lanes. A
thread starts afresh every DEPTH rounds, which bounds the rounding error; accumulators are then
folded in a fixed order. Few long rows are cut into parts, the results of which are a row again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache

from ...scalar import DType, trace
from ..base import Access, Form, Reduce, Walk
from ..plan import Operand as Place
from ..plan import Step
from .loops import LIBRARIES, RESIDENT, THREADS, blocks, read_pack, write_element, write_pack
from .operands import (
    Operand,
    Struct,
    firsts_of,
    fits_narrow,
    in_memory,
    is_aligned,
    packed,
    rows_of,
)
from .program import Launch, Limits, Source
from .scalar import emit
from .text import Text, kernel_head, literal, source

VECTOR = 4
"""Neighbouring elements of a thread, whatever their size: the order must not depend on dtypes."""
WARP = 32
WARP_ROW = 1024
"""Elements of a row up to which a warp suffices: 8 rounds of it. A block would fold 8 warps."""
DEPTH = 64
"""Rounds of an accumulator before rounding error starts afresh."""
LANES, LANES_FROM = 8, 32
"""Threads down a column, and rows from which on there are so many, not one."""
MANY_ROWS, PART = 256, 16384
"""Rows from which on they fill a device; elements of a part of fewer."""
MANY_COLUMNS, PART_ROWS = 8192, 256
"""The same for columns."""


def team_of(reduced: int) -> int:
    """Threads for a row."""
    if reduced > WARP_ROW:
        return THREADS
    team = 1
    while team < WARP and team * VECTOR < reduced:
        team *= 2
    return team


def lanes_of(reduced: int) -> int:
    """Threads down a column."""
    return LANES if reduced >= LANES_FROM else 1


def part_of(step: Step) -> int:
    """Elements of a part of the reduced axis: all of it where the other axes fill a device."""
    kernel = step.code
    assert isinstance(kernel, Reduce)
    kept, reduced = step.meta[:2]
    if kernel.form is Form.ROW:
        many, part = kept >= MANY_ROWS, PART
    else:
        many, part = kept * step.meta[2] >= MANY_COLUMNS, PART_ROWS
    return reduced if many or reduced < 2 * part else part


def launches(step: Step, limits: Limits, temporary: Callable[[DType, int], Place]) -> list[Launch]:
    """A reduction by itself; `temporary` makes room for the results of parts."""
    kernel, (kept, reduced) = step.code, step.meta[:2]
    assert isinstance(kernel, Reduce)
    part = part_of(step)
    count = max(1, -(-reduced // max(part, 1)))
    if count == 1:
        return [_launch(step, 1, limits)]
    outputs = kept if kernel.form is Form.ROW else kept * step.meta[2]
    dtype = kernel.output.dtype
    partial = temporary(dtype, outputs * count)
    strides = (count,) if kernel.form is Form.ROW else (step.meta[2] * count, count)
    first = replace(
        step,
        operands=(*step.operands[:-1], partial),
        meta=(*step.meta[: -len(strides)], *strides),
    )
    rest = Reduce(
        Form.ROW,
        (Access(dtype, Walk.UNIT),),
        kernel.output,
        trace(lambda x: x, [dtype]),
        kernel.combine,
        kernel.identity,
    )
    out = step.meta[-1]  # results lie side by side: along kept, or along columns
    operands = (partial, step.operands[-1])
    second = replace(step, code=rest, operands=operands, meta=(outputs, count, count, 1, out))
    return [_launch(first, count, limits), *launches(second, limits, temporary)]


def _launch(step: Step, parts: int, limits: Limits) -> Launch:
    kernel = step.code
    assert isinstance(kernel, Reduce)
    row, (kept, reduced) = kernel.form is Form.ROW, step.meta[:2]
    axes, moving = (2 if row else 3), kernel.inputs + kernel.stored
    part = part_of(step) if parts > 1 else reduced
    extents = step.meta[:axes]
    narrow = fits_narrow(extents, rows_of(step.meta, axes, len(moving)))
    threads = team_of(part) if row else lanes_of(part)
    outputs = kept if row else kept * step.meta[2]
    wide = is_wide(step)
    accesses = (*moving, kernel.output)
    return Launch(
        reduce_source(kernel, wide, narrow),
        (blocks(outputs * threads, THREADS, limits), parts, 1),
        (THREADS, 1, 1),
        space_of(kernel),
        tuple(in_memory(accesses, step.operands)),
        packed(firsts_of(accesses, step.operands), (*step.meta, threads, part), narrow),
        step.where,
        len(kernel.stored) + 1,
    )


def space_of(kernel: Reduce) -> int:
    """Bytes of shared memory in which threads fold."""
    count = THREADS // WARP if kernel.form is Form.ROW else THREADS
    return max(16, count * kernel.output.dtype.itemsize)


def is_wide(step: Step) -> bool:
    """Whether VECTOR elements of a row can be moved at once."""
    kernel = step.code
    assert isinstance(kernel, Reduce)
    if kernel.form is Form.COLUMN:
        return False
    moving = kernel.inputs + kernel.stored
    rows = rows_of(step.meta, 2, len(moving))
    return all(
        is_aligned(access.dtype, VECTOR, place.offset, row[:1] if step.meta[0] > 1 else ())
        for access, place, row in zip(moving, step.operands, rows, strict=False)
        if access.walk is Walk.UNIT
    )


@lru_cache(maxsize=4096)
def reduce_source(kernel: Reduce, wide: bool, narrow: bool) -> Source:
    """The kernel of a reduction, or of one part of it for each index of the grid's second axis."""
    text, parameters = Text(), Struct()
    opened = open_reduce(parameters, kernel, "", wide)
    size = parameters.number("size")
    parameters.write(text, narrow)
    opened.functions(text)
    with text.block(kernel_head(THREADS, RESIDENT)):
        reduced = opened.extents[1]
        text.line(f"const Index low = blockIdx.y * {size};  // of this part")
        text.line(f"const Index length = {reduced} - low < {size} ? {reduced} - low : {size};")
        part = opened.part("low", "length")
        per = f"{THREADS} / {part.threads}"
        part.write(text, (f"blockIdx.x * ({per})", f"gridDim.x * ({per})"), "blockIdx.y")
    return source("reduce", (*LIBRARIES, "reduce.cuh"), text)


@dataclass(frozen=True, slots=True)
class OpenedReduce:
    """A reduction whose operands are declared."""

    kernel: Reduce
    prefix: str
    extents: tuple[str, ...]  # kept, reduced, and columns
    inputs: tuple[Operand, ...]
    stored: tuple[Operand, ...]
    output: Operand
    threads: str  # of a team, or down a column
    wide: bool

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
        operands = [*self.inputs, *self.stored]
        if not self.wide:
            operands = [_scattered(operand) for operand in operands]
        count = len(self.inputs)
        with text.block(f"if (i1 + {VECTOR} <= {length})"):
            self._together(text, operands[:count], operands[count:])
        with text.block("else"), text.block(f"for (int k = 0; k < {length} - i1; k++)"):
            self._one(text, ["i0", "(i1 + k)"], "part[k]")

    def _together(self, text: Text, inputs: list[Operand], stored: list[Operand]) -> None:
        indices = ["i0", "i1"]
        given = [read_pack(text, f"x{i}", o, indices, VECTOR) for i, o in enumerate(inputs)]
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


def open_reduce(parameters: Struct, kernel: Reduce, prefix: str, wide: bool) -> OpenedReduce:
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
        kernel, prefix, extents, tuple(inputs), tuple(stored), output, threads, wide
    )


def _along(operand: Operand, by: str) -> Operand:
    """The operand at index `by` of the reduced axis, which is counted from there on."""
    stride = operand.strides[1]
    if len(operand.strides) == 2 and operand.access.walk is Walk.SPLAT:
        return operand
    if len(operand.strides) == 2 and operand.access.walk is Walk.UNIT:
        stride = "1"
    return replace(operand, base=f"{operand.base} + (long long){by} * {stride}")


def _scattered(operand: Operand) -> Operand:
    """The operand read element by element."""
    if operand.access.walk is not Walk.UNIT:
        return operand
    access = Access(operand.access.dtype, Walk.STRIDED)
    return replace(operand, access=access, strides=(*operand.strides[:-1], "1"))
