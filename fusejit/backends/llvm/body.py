"""The body of a kernel at one place: what is computed once, what runs in vectors, and how wide."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from ...frozen import frozen
from ...scalar import Program
from ..base import Access, Walk
from .emit import emit
from .memory import Operand, lane_offsets, read
from .target import Target
from .text import ELEMENTS, Lanes, Text

# Machine vectors a trip. Their dependency chains overlap, which out-of-order execution alone does
# not achieve over bodies this long: sigmoid(a * b + c) * tanh(d) takes 0.44, 0.41, 0.35 ns an
# element with 1, 2, 4 on AVX-512, for 1 and 3 ms more of compilation.
WIDE, NARROW = 4, 2
# Above these, four spill: an LSTM cell (8 live values, 137 instructions) gains 17 %, its backward
# (11 and 157) loses 5 % and compiles 7 ms longer.
WIDE_LIVE, WIDE_INSTRUCTIONS = 8, 150


@dataclass(frozen=True)
class Body:
    """A program, split into what is the same for the whole innermost axis and what is not."""

    program: Program
    inputs: tuple[Access, ...]

    @cached_property
    def arguments(self) -> dict[int, int]:
        """Instruction number of each argument -> which input it is. Unused inputs do not appear."""
        return {
            number: int(instr.imm)
            for number, instr in enumerate(self.program.instrs)
            if instr.prim == "arg" and instr.imm is not None
        }

    @cached_property
    def constant(self) -> frozenset[int]:
        return frozenset(n for n, i in enumerate(self.program.instrs) if i.prim == "const")

    @cached_property
    def uniform(self) -> tuple[int, ...]:
        """What depends on SPLAT inputs alone: computed once, before the vectors."""
        same = set(self.constant)
        found = []
        for number, instr in enumerate(self.program.instrs):
            if number in self.arguments:
                if self.inputs[self.arguments[number]].walk is not Walk.SPLAT:
                    continue
            elif number in same or not same.issuperset(instr.args):
                continue
            same.add(number)
            found.append(number)
        return tuple(found)

    @cached_property
    def varying(self) -> tuple[int, ...]:
        once = set(self.uniform)
        return tuple(n for n in range(len(self.program.instrs)) if n not in once)

    @cached_property
    def shared(self) -> tuple[int, ...]:
        """The uniform values that vectors need."""
        used = {a for n in self.varying for a in self.program.instrs[n].args}
        used.update(self.program.results)
        return tuple(n for n in self.uniform if n in used)

    @property
    def work(self) -> int:
        """How many instructions run for each vector."""
        return sum(1 for n in self.varying if self.program.instrs[n].args)

    @cached_property
    def live(self) -> int:
        """The most values that exist at once, loads made at their first use and constants free."""
        instrs = self.program.instrs
        last = {a: n for n, instr in enumerate(instrs) for a in instr.args}
        last.update(dict.fromkeys(self.program.results, len(instrs)))
        present: set[int] = set()
        most = 0
        for number, instr in enumerate(instrs):
            present.update(a for a in instr.args if a in self.arguments)
            if instr.args:
                present.add(number)
            most = max(most, len(present))
            present = {p for p in present if last.get(p, -1) > number}
        return most


def emit_uniform(text: Text, target: Target, body: Body, inputs: list[Operand]) -> dict[int, str]:
    """Load the SPLAT inputs and compute, once, what depends on nothing else."""
    scalar = Lanes(text, target, 1)
    values = {
        number: read(scalar, inputs[body.arguments[number]], "0", None, None)
        for number in body.uniform
        if number in body.arguments
    }
    known = emit(scalar, body.program, values, sorted([*body.constant, *body.uniform]), "u")
    return {number: known[number] for number in body.shared}


@frozen
class Vectors:
    """A body at one width, ready to be written at any index: its loop's preheader is behind it."""

    lanes: Lanes
    body: Body
    inputs: list[Operand]
    values: dict[int, str]
    offsets: dict[str, str | None]

    def compute(self, start: str, mask: str | None) -> list[str]:
        """Load the lanes from `start` on and run the program; its results."""
        known = dict(self.values)
        for number, position in self.body.arguments.items():
            if number not in known:
                operand = self.inputs[position]
                offsets = self.offsets[operand.name]
                known[number] = read(self.lanes, operand, start, offsets, mask)
        known = emit(self.lanes, self.body.program, known, self.body.varying)
        return [known[r] for r in self.body.program.results]


def prepare(
    lanes: Lanes, body: Body, inputs: list[Operand], uniform: dict[int, str], outputs: list[Operand]
) -> Vectors:
    """Write a loop's preheader: broadcasts of what is uniform, and the lanes' offsets."""
    instrs = body.program.instrs
    values = {
        number: lanes.broadcast(f"u{number}.all", ELEMENTS[instrs[number].dtype], value)
        for number, value in uniform.items()
    }
    used = [inputs[p] for n, p in body.arguments.items() if n not in uniform]
    offsets = {o.name: lane_offsets(lanes, o) for o in [*used, *outputs]}
    return Vectors(lanes, body, inputs, values, offsets)


def widest(body: Body, accesses: tuple[Access, ...]) -> int:
    """Bytes of the widest element that the varying part of a kernel touches."""
    dtypes = [a.dtype for a in accesses if a.walk is not Walk.SPLAT]
    dtypes += [body.program.instrs[n].dtype for n in body.varying if n not in body.constant]
    return max((d.itemsize for d in dtypes), default=1)


def unroll(target: Target, body: Body) -> int:
    """How many machine vectors a trip takes. Software fma makes every body a long one."""
    short = body.work <= WIDE_INSTRUCTIONS and target.has_fma
    return WIDE if short and body.live <= WIDE_LIVE else NARROW


def lane_count(target: Target, itemsize: int, vectors: int) -> int:
    """Lanes of so many machine vectors; of bytes no more than one, so that masks stay legal."""
    return min(vectors * target.vector_bytes // itemsize, target.vector_bytes)


def can_mask(target: Target, accesses: tuple[Access, ...]) -> bool:
    """Whether masked access to these operands is an instruction and not a branch per lane."""
    moving = [a for a in accesses if a.walk in (Walk.UNIT, Walk.STRIDED)]
    wide = all(a.dtype.itemsize >= 4 for a in moving)
    if target.has_avx512:
        return all(a.walk is Walk.UNIT or a.dtype.itemsize >= 4 for a in moving)
    return target.has_avx2 and wide and all(a.walk is Walk.UNIT for a in moving)
