"""A strip of loops and reductions as one kernel: a block takes some rows through all the steps.

Rows do not meet (see `backends.strips`), so blocks need not wait for one another; the threads of a
block do, between steps. What lives only inside the strip is in shared memory if it fits there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from math import prod

from ...frozen import frozen, replace
from ..base import Access, Form, Kernel, Loop, Reduce, Walk
from ..plan import Operand as Place
from ..plan import Slot, Step
from ..strips import Open, Room, scratch
from .cuts import lanes_of, pace_of, part_of, space_of, team_of
from .loops import BLOCKS, LIBRARIES, RESIDENT, THREADS, Opened, loop_width, open_loop
from .operands import Operand, Struct, fits_narrow, packed, rows_of
from .program import Launch, Limits, Source
from .reductions import OpenedReduce, Pace, open_reduce
from .text import Text, kernel_head, source

ROW, MANY = 128 * 1024, 256
"""Bytes of a row up to which few rows are a strip, though they occupy few multiprocessors; rows
from which on they occupy all, whatever their length."""
STEPS = 12
"""Steps of a strip: its operands must fit into 4 KB of parameters."""
MODERATE = 8
"""Steps up to which 128 registers hold what a thread keeps through all of them."""
TURN = 4096
"""Elements of a step that a block computes between two barriers, at least if rows are many."""


def room(alone: Callable[[Step], bool]) -> Room:
    """What a strip may hold. Those that make one kernel have something to do with each other: else
    every combination of sizes would be a kernel of its own."""
    return Room(ROW, MANY, STEPS, strangers=False, alone=lambda s: alone(s) or _is_alone(s))


def _is_alone(step: Step) -> bool:
    """Whether a step is no part of a strip: what other blocks compute, too."""
    code = step.code
    if isinstance(code, Reduce):
        return part_of(step) < step.meta[1]
    return not isinstance(code, Loop)


@frozen
class Strip:
    """The steps of one launch: `grain` rows a block at a time, of `rows`; what is scratch."""

    steps: tuple[Step, ...]
    rows: int
    grain: int
    scratch: Mapping[int, Slot]
    bytes: int  # of all scratch


def strip_of(
    slots: Sequence[Slot], formed: Open, touched: Mapping[int, int], limits: Limits
) -> Strip:
    """How a strip is cut, and what of it is in shared memory."""
    steps, rows = tuple(formed.steps), formed.rows
    if len(steps) == 1:
        return Strip(steps, rows, rows, {}, 0)
    grain = _grain(steps, rows, limits)
    free = limits.shared - _space(steps)
    while True:
        found, size = scratch(slots, formed, grain, touched)
        if size <= free:
            return Strip(steps, rows, grain, found, size)
        if grain == 1:
            return Strip(steps, rows, grain, {}, 0)
        grain = grain // 8 * 4 if grain >= 8 else grain // 2


def _grain(steps: Sequence[Step], rows: int, limits: Limits) -> int:
    """Rows of a block: enough for all its threads, few enough for all multiprocessors."""
    longest = max(_elements(step) // rows for step in steps)
    full = max(1, THREADS // max(map(_threads, steps)), TURN // max(longest, 1))
    fair = max(1, rows // (2 * limits.sms))
    grain = min(full, fair, rows)
    return grain // 4 * 4 if grain >= 4 else grain  # vectors begin at multiples of 4


def _elements(step: Step) -> int:
    code = step.code
    if isinstance(code, Loop):
        return prod(step.meta[: code.rank])
    assert isinstance(code, Reduce)
    return prod(step.meta[: 2 if code.form is Form.ROW else 3])


def _threads(step: Step) -> int:
    """Threads that work on one index of a step."""
    code = step.code
    if not isinstance(code, Reduce):
        return 1
    return team_of(step.meta[1]) if code.form is Form.ROW else lanes_of(step.meta[1])


def _space(steps: Sequence[Step]) -> int:
    """Bytes of shared memory ahead of the scratch."""
    return max((space_of(s.code) for s in steps if isinstance(s.code, Reduce)), default=0)


def launch(strip: Strip, limits: Limits) -> Launch:
    """The launch of a strip. Its operands are those of its steps that are not in shared memory."""
    steps, space = strip.steps, -(-_space(strip.steps) // 64) * 64
    members, firsts, numbers = [], [], [strip.rows, strip.grain]
    read: list[Place] = []
    written: list[Place] = []
    narrow = True
    for step in steps:
        each = step.count // strip.rows
        member = _member(step, strip)
        members.append(member)
        narrow = narrow and _is_narrow(step, each * strip.grain)
        numbers += [each, *step.meta]
        if isinstance(step.code, Reduce):
            numbers.append(_threads(step))
        reads = len(member.kernel.inputs)
        for number, (access, place) in enumerate(zip(member.accesses, step.operands, strict=True)):
            if member.inside[number]:
                numbers.append(space + strip.scratch[place.slot].offset + place.offset)
            elif access.walk is Walk.INDEX:
                firsts.append(place.offset)
            else:
                (read if number < reads else written).append(place)
    grid = min(-(-strip.rows // strip.grain), limits.sms * BLOCKS)
    return Launch(
        rows_source(tuple(members), narrow),
        (grid, 1, 1),
        (THREADS, 1, 1),
        space + strip.bytes,
        (*read, *written),
        packed(firsts, numbers, narrow),
        steps[-1].where,
        len(written),
    )


@frozen
class Member:
    """What is structure of a step in a strip."""

    kernel: Loop | Reduce
    pace: int | Pace  # elements of a loop that a thread moves at once; that of a reduction
    inside: tuple[bool, ...]  # which operands are in shared memory

    @property
    def accesses(self) -> tuple[Access, ...]:
        kernel = self.kernel
        if isinstance(kernel, Loop):
            return kernel.inputs + kernel.outputs
        return (*kernel.inputs, *kernel.stored, kernel.output)


def _member(step: Step, strip: Strip) -> Member:
    kernel = step.code
    assert isinstance(kernel, Loop | Reduce)
    inside = tuple(place.slot in strip.scratch for place in step.operands)
    turn = step.count // strip.rows * strip.grain  # indices from block to block
    if isinstance(kernel, Reduce):
        return Member(kernel, pace_of(step), inside)
    width = loop_width(step)
    return Member(kernel, 1 if kernel.rank == 1 and turn % width else width, inside)


def _is_narrow(step: Step, turn: int) -> bool:
    """Whether 32 bits hold all places of a step, counted from the first row of a block."""
    kernel: Kernel = step.code  # type: ignore[assignment]
    if isinstance(kernel, Loop):
        axes, count = kernel.rank, len(kernel.inputs + kernel.outputs)
    else:
        axes = 2 if kernel.form is Form.ROW else 3
        count = len(kernel.inputs + kernel.stored)
    strides = rows_of(step.meta, axes, count)
    return fits_narrow((turn, *step.meta[1:axes]), strides)


@lru_cache(maxsize=4096)
def rows_source(members: tuple[Member, ...], narrow: bool) -> Source:
    """The kernel of a strip."""
    text, parameters = Text(), Struct()
    rows, grain = parameters.number("rows"), parameters.number("grain")
    parts = []
    for number, member in enumerate(members):
        parts.append(_open(parameters, member, f"{chr(ord('a') + number)}_"))
    parameters.write(text, narrow)
    for part in parts:
        part.functions(text)
    with text.block(kernel_head(THREADS, RESIDENT if len(members) <= MODERATE else 1)):
        loop = f"Index row = blockIdx.x * {grain}; row < {rows}; row += gridDim.x * {grain}"
        with text.block(f"for ({loop})"):
            text.line(f"const Index turn = {rows} - row < {grain} ? {rows} - row : {grain};")
            for part in parts:
                with text.block(""):
                    part.write(text)
                text.line("block_barrier();")
    return source("rows", (*LIBRARIES, "reduce.cuh"), text)


@frozen
class _Part:
    """A step of a strip whose operands are declared."""

    member: Member
    opened: Opened | OpenedReduce
    each: str  # indices in a row

    def functions(self, text: Text) -> None:
        self.opened.functions(text)

    def write(self, text: Text) -> None:
        """This step for the rows of a turn."""
        opened = self.opened
        text.line(f"const long long begin = (long long)row * {self.each};")
        text.line(f"const Index indices = turn * {self.each};")
        local = {o.name: self._here(text, o, at) for o, at in self._operands()}
        extents = ("indices", *opened.extents[1:])
        inputs = tuple(local[o.name] for o in opened.inputs)
        if isinstance(opened, Opened):
            pace = self.member.pace
            assert isinstance(pace, int)
            outputs = tuple(local[o.name] for o in opened.outputs)
            here = replace(opened, extents=extents, inputs=inputs, outputs=outputs)
            text.line(f"const Index total = {' * '.join(extents)};")
            here.write(text, pace, ("total", "(Index)threadIdx.x", str(THREADS)))
            return
        stored = tuple(local[o.name] for o in opened.stored)
        output = local[opened.output.name]
        reduce = replace(opened, extents=extents, inputs=inputs, stored=stored, output=output)
        reduce.write(text, ("0", f"{THREADS} / {reduce.threads}"))

    def _operands(self) -> list[tuple[Operand, bool]]:
        opened = self.opened
        if isinstance(opened, Opened):
            found = (*opened.inputs, *opened.outputs)
        else:
            found = (*opened.inputs, *opened.stored, opened.output)
        return list(zip(found, self.member.inside, strict=True))

    def _here(self, text: Text, operand: Operand, inside: bool) -> Operand:
        """The operand at the first row of a turn; rows in shared memory begin there anyway."""
        name = operand.name
        if inside:
            kind = f"{operand.type}*"
            text.line(f"{kind} const {name} = ({kind})(shared_memory() + p.{name});")
        else:
            stride = operand.strides[0]
            if len(operand.strides) == 1 and operand.access.walk in (Walk.UNIT, Walk.SPLAT):
                stride = "1" if operand.access.walk is Walk.UNIT else "0"
            kind = "long long" if operand.access.walk is Walk.INDEX else "auto* const"
            text.line(f"{kind} {name} = {operand.base} + begin * {stride};")
        return replace(operand, base=name)


def _open(parameters: Struct, member: Member, prefix: str) -> _Part:
    """Declare a step's numbers and operands: as `launch` packs them."""
    each = parameters.number(f"{prefix}each")
    opened: Opened | OpenedReduce
    if isinstance(member.kernel, Loop):
        opened = open_loop(parameters, member.kernel, prefix)
    else:
        assert isinstance(member.pace, Pace)
        opened = open_reduce(parameters, member.kernel, prefix, member.pace)
    part = _Part(member, opened, each)
    for operand, inside in part._operands():
        if inside:
            parameters.withdraw(operand)
            parameters.number(operand.name)  # how far into shared memory
    return part
