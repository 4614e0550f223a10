"""`Reduce` kernels as LLVM modules, in the order of combination that `backends.base` documents.

ROW keeps the running value of each lane in memory. A block goes over its elements once for each
group of lanes that registers can hold: lanes never meet before the end, so the order is the same on
any machine and for any program. COLUMN needs no memory: a vector of columns walks down the rows.
"""

from __future__ import annotations

from ...frozen import frozen
from ..base import BLOCK, BLOCK_ROWS, LANES, Access, Form, Reduce, Walk
from .body import Body, Vectors, can_mask, emit_uniform, lane_count, prepare, unroll, widest
from .emit import emit
from .loops import assemble
from .memory import (
    Operand,
    lane_mask,
    lane_offsets,
    memory_element,
    moved,
    open_operands,
    read,
    write,
)
from .target import Target
from .text import ELEMENTS, Lanes, Text, Trip

# Machine vectors of accumulators where the program is short: all of LANES on AVX-512, and half of
# the registers elsewhere. Fewer would wait for the latency of each addition.
SHORT_VECTORS = 8
SHORT_INSTRUCTIONS, SHORT_LIVE = 6, 3


def module(kernel: Reduce, target: Target) -> str:
    """The whole module of a reduction kernel: one function, `kernel`."""
    text = Text()
    row = kernel.form is Form.ROW
    axes = 2 if row else 3
    # A row's result is one element: it has no innermost axis that a walk could speak of.
    output = Access(kernel.output.dtype, Walk.STRIDED) if row else kernel.output
    groups = [("x", kernel.inputs, axes), ("z", kernel.stored, axes), ("y", (output,), axes - 1)]
    writer = _Writer(text, target, kernel, Body(kernel.program, kernel.inputs))
    if row:
        writer.reserve()
    text.comment("extents, then each operand: where it begins and its strides in elements")
    extents, (inputs, stored, outputs) = open_operands(text, axes, groups)
    with text.loop("kept", ("%begin", "%end", 1)) as trip:
        inner = [moved(text, o, 0, trip.index, "r0") for o in inputs]
        kept = [moved(text, o, 0, trip.index, "r0") for o in stored]
        result = moved(text, outputs[0], 0, trip.index, "r0")
        if row:
            writer.row(extents[1], inner, kept, result.base)
        else:
            writer.columns(extents[1], extents[2], inner, kept, result)
    text.do("ret i64 0")
    return assemble(text, target)


@frozen
class _Values:
    """What is reduced, some lanes at a time."""

    vectors: Vectors
    stored: list[Operand]

    @property
    def lanes(self) -> Lanes:
        return self.vectors.lanes

    def at(self, start: str, mask: str | None) -> str:
        """The lanes from `start` on; what is to be stored beside them is stored."""
        value, *others = self.vectors.compute(start, mask)
        for operand, other in zip(self.stored, others, strict=True):
            offsets = self.vectors.offsets[operand.name]
            write(self.lanes, operand, start, offsets, mask, other)
        return value


@frozen
class _Writer:
    text: Text
    target: Target
    kernel: Reduce
    body: Body

    @property
    def element(self) -> str:
        return ELEMENTS[self.kernel.output.dtype]

    @property
    def masked(self) -> bool:
        """Whether what is moved in vectors can be masked; a row's result is not."""
        row = self.kernel.form is Form.ROW
        moving = self.kernel.inputs + self.kernel.stored
        return can_mask(self.target, moving + (() if row else (self.kernel.output,)))

    def lanes(self, width: int) -> Lanes:
        return Lanes(self.text, self.target, width)

    def width(self, vectors: int) -> int:
        kernel = self.kernel
        itemsize = widest(self.body, (*kernel.inputs, *kernel.stored, kernel.output))
        return min(lane_count(self.target, itemsize, vectors), LANES)

    def vectors(self) -> int:
        """How many machine vectors of accumulators to keep."""
        work = self.body.work + sum(1 for i in self.kernel.combine.instrs if i.args)
        short = work <= SHORT_INSTRUCTIONS and self.body.live <= SHORT_LIVE
        return SHORT_VECTORS if short else unroll(self.target, self.body)

    def carried(self, lanes: Lanes, hint: str) -> list[tuple[str, str, str]]:
        """A value that a loop carries, neutral at first."""
        identity = lanes.const(self.element, self.kernel.identity)
        return [(hint, lanes.type(self.element), identity)]

    def combine(self, lanes: Lanes, left: str, right: str) -> str:
        program = self.kernel.combine
        given = {
            number: (left, right)[int(instr.imm or 0)]
            for number, instr in enumerate(program.instrs)
            if instr.prim == "arg"
        }
        return emit(lanes, program, given, prefix="c")[program.results[0]]

    def block_end(self, start: str, size: int, end: str) -> str:
        text = self.text
        whole = text.let("whole", f"add nsw i64 {start}, {size}")
        return text.let("stop", text.call("i64", "llvm.smin.i64", [("i64", whole), ("i64", end)]))

    # Rows: [kept, reduced]

    def reserve(self) -> None:
        """Memory for lanes: of a row where registers cannot hold all, of a block without masks."""
        stored = memory_element(self.kernel.output.dtype)
        if self.width(self.vectors()) < LANES:
            self.text.do(f"%running = alloca [{LANES} x {stored}], align 64")
        if not self.masked:
            self.text.do(f"%partial = alloca [{LANES} x {stored}], align 64")

    def values(
        self, width: int, inputs: list[Operand], uniform: dict[int, str], stored: list[Operand]
    ) -> _Values:
        lanes = self.lanes(width)
        return _Values(prepare(lanes, self.body, inputs, uniform, stored), stored)

    def row(self, length: str, inputs: list[Operand], stored: list[Operand], result: str) -> None:
        text, every, before = self.text, self.lanes(LANES), self.text.block
        # An empty row has no element that a SPLAT operand could be read from.
        text.branch(text.let("some", f"icmp slt i64 0, {length}"), "row", "fold")
        text.label("row", "the reduced axis; first what is the same all along it")
        uniform = emit_uniform(text, self.target, self.body, inputs)
        vectors = self.values(self.width(self.vectors()), inputs, uniform, stored)
        scalars = self.values(1, inputs, uniform, stored)
        if vectors.lanes.width == LANES:
            carried = self.carried(every, "running")
            with text.loop("block", ("0", length, BLOCK), carried) as block:
                stop = self.block_end(block.index, BLOCK, length)
                total = self.group(vectors, scalars, block.index, stop)
                block.following.append(self.combine(every, block.values[0], total))
            total = block.values[0]
        else:
            total = self.groups(vectors, scalars, length)
        after = text.block
        text.jump("fold")
        text.label("fold", "halves onto each other")
        identity = every.const(self.element, self.kernel.identity)
        paths = f"[ {identity}, %{before} ], [ {total}, %{after} ]"
        value = text.let("lanes", f"phi {every.type(self.element)} {paths}")
        self.save(self.lanes(1), result, "0", self.fold(value))

    def groups(self, vectors: _Values, scalars: _Values, length: str) -> str:
        """The running lanes of a row, a group of lanes at a time, each over the whole block."""
        text, lanes, every = self.text, vectors.lanes, self.lanes(LANES)
        self.save(every, "%running", "0", every.const(self.element, self.kernel.identity))
        with text.loop("block", ("0", length, BLOCK)) as block:
            stop = self.block_end(block.index, BLOCK, length)
            comment = f"{lanes.width} of {LANES} lanes"
            with text.loop("group", ("0", str(LANES), lanes.width), (), comment) as group:
                first = text.let("first", f"add nsw i64 {block.index}, {group.index}")
                total = self.group(vectors, scalars, first, stop)
                running = self.load(lanes, "%running", group.index)
                self.save(lanes, "%running", group.index, self.combine(lanes, running, total))
        return self.load(every, "%running", "0")

    def group(self, vectors: _Values, scalars: _Values, first: str, stop: str) -> str:
        """For each lane, combine the elements `first`, `first` + LANES, ... before `stop`."""
        text, lanes = self.text, vectors.lanes
        limit = text.let("limit", f"sub i64 {stop}, {lanes.width - 1}")
        with text.loop("run", (first, limit, LANES), self.carried(lanes, "sum")) as run:
            value = vectors.at(run.index, None)
            run.following.append(self.combine(lanes, run.values[0], value))
        if not self.masked:
            return self.end_of_group(lanes, scalars, run, stop)
        carried = [("sum", lanes.type(self.element), run.values[0])]
        comment = "at most once: lanes that lie before the end"
        with text.loop("last", (run.index, stop, LANES), carried, comment) as last:
            mask = lane_mask(lanes, last.index, stop)
            value = vectors.at(last.index, mask)
            more = self.combine(lanes, last.values[0], value)
            kept = lanes.select("kept", mask, self.element, more, last.values[0])
            last.following.append(kept)
        return last.values[0]

    def end_of_group(self, lanes: Lanes, scalars: _Values, run: Trip, stop: str) -> str:
        """The same without masks: the sums go to memory, where lanes are reached one by one."""
        text, single = self.text, scalars.lanes
        self.save(lanes, "%partial", "0", run.values[0])
        end = self.block_end(run.index, lanes.width, stop)
        with text.loop("last", (run.index, end, 1), (), "lanes that lie before the end") as last:
            lane = text.let("lane", f"sub i64 {last.index}, {run.index}")
            value = scalars.at(last.index, None)
            before = self.load(single, "%partial", lane)
            self.save(single, "%partial", lane, self.combine(single, before, value))
        return self.load(lanes, "%partial", "0")

    def fold(self, value: str) -> str:
        """Lane i with lane i + LANES/2, and so on, down to one."""
        text, width = self.text, LANES
        while width > 1:
            kind = f"<{width} x {self.element}>"
            width //= 2
            pair = []
            for hint, start in (("low", 0), ("high", width)):
                if width == 1:
                    part = f"extractelement {kind} {value}, i64 {start}"
                else:
                    places = ", ".join(f"i32 {i}" for i in range(start, start + width))
                    mask = f"<{width} x i32> <{places}>"
                    part = f"shufflevector {kind} {value}, {kind} poison, {mask}"
                pair.append(text.let(hint, part))
            value = self.combine(self.lanes(width), *pair)
        return value

    def load(self, lanes: Lanes, array: str, place: str) -> str:
        """Lanes of one of the arrays, from `place` on."""
        return read(lanes, self.array(array), place, None, None)

    def save(self, lanes: Lanes, array: str, place: str, value: str) -> None:
        write(lanes, self.array(array), place, None, None, value)

    def array(self, base: str) -> Operand:
        return Operand(base[1:], Access(self.kernel.output.dtype, Walk.UNIT), base, (None,))

    # Columns: [kept, reduced, columns]

    def columns(
        self,
        rows: str,
        count: str,
        inputs: list[Operand],
        stored: list[Operand],
        output: Operand,
    ) -> None:
        text, masked = self.text, self.masked
        width = self.width(self.vectors())
        limit = text.let("limit", f"sub i64 {count}, {width - 1}")
        with text.loop("wide", ("0", limit, width), (), f"{width} columns") as trip:
            self.column(self.lanes(width), trip.index, None, rows, inputs, stored, output)
        rest = self.width(1) if masked else 1
        comment = f"the rest, {rest} columns, masked" if masked else "the rest, one by one"
        with text.loop("rest", (trip.index, count, rest), (), comment) as trip:
            lanes = self.lanes(rest)
            mask = lane_mask(lanes, trip.index, count) if masked else None
            self.column(lanes, trip.index, mask, rows, inputs, stored, output)

    def column(
        self,
        lanes: Lanes,
        at: str,
        mask: str | None,
        rows: str,
        inputs: list[Operand],
        stored: list[Operand],
        output: Operand,
    ) -> None:
        """Combine all rows of the columns from `at` on and store the result."""
        text = self.text
        offsets = lane_offsets(lanes, output)
        with text.loop("block", ("0", rows, BLOCK_ROWS), self.carried(lanes, "total")) as block:
            stop = self.block_end(block.index, BLOCK_ROWS, rows)
            bounds = (block.index, stop, 1)
            with text.loop("run", bounds, self.carried(lanes, "sum")) as run:
                here = [moved(text, o, 1, run.index, "r1") for o in inputs]
                kept = [moved(text, o, 1, run.index, "r1") for o in stored]
                uniform = emit_uniform(text, self.target, self.body, here)
                value = self.values(lanes.width, here, uniform, kept).at(at, mask)
                run.following.append(self.combine(lanes, run.values[0], value))
            total = self.combine(lanes, block.values[0], run.values[0])
            block.following.append(total)
        write(lanes, output, at, offsets, mask, block.values[0])
