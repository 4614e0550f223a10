"""`Loop` kernels as CUDA C: a thread computes some neighbouring elements, then others a grid away.

Elements are numbered along the innermost axis. Where all consecutive operands are aligned and rows
are whole numbers of vectors, 16 bytes move at a time. Each thread loads all that it needs before it
stores, so that an output may be the very memory of an input.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import lru_cache
from math import prod

from ...frozen import frozen
from ...scalar import Program
from ..base import Access, Loop, Walk
from ..plan import Step
from .operands import (
    ALIGNMENT,
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
from .text import TYPES, Text, kernel_head, source

THREADS = 256
BLOCKS = 8
"""Blocks of a grid for each multiprocessor: all the threads that it holds."""
RESIDENT = 2
"""Blocks that a multiprocessor surely holds: of 128 registers a thread. Left to itself the compiler
gives 32 to 48, and spills values of long programs."""
AHEAD, AHEAD_INSTRUCTIONS, AHEAD_INPUTS = 2, 64, 3
"""Vectors of each operand that a thread loads before it computes, if its program is short and reads
little: then 32 bytes or more are on their way for each thread. Long programs have other work."""
LIBRARIES = ("device.cuh", "scalar.cuh", "memory.cuh")


def launch(step: Step, limits: Limits) -> Launch:
    """The launch of a loop by itself."""
    kernel = step.code
    assert isinstance(kernel, Loop)
    accesses = kernel.inputs + kernel.outputs
    extents = step.meta[: kernel.rank]
    strides = rows_of(step.meta, kernel.rank, len(accesses))
    narrow, width = fits_narrow(extents, strides), loop_width(step)
    return Launch(
        loop_source(kernel, width, narrow),
        (blocks(-(-prod(extents) // width), THREADS, limits), 1, 1),
        (THREADS, 1, 1),
        0,
        tuple(in_memory(accesses, step.operands)),
        packed(firsts_of(accesses, step.operands), step.meta, narrow),
        step.where,
        len(kernel.outputs),
    )


def blocks(work: int, threads: int, limits: Limits) -> int:
    """A grid for so many pieces of work, a thread each."""
    return max(1, min(-(-work // threads), limits.sms * BLOCKS))


def ahead(kernel: Loop, width: int) -> int:
    """How many vectors a thread has under way."""
    short = width > 1 and len(kernel.program.instrs) <= AHEAD_INSTRUCTIONS
    loads = sum(access.walk is Walk.UNIT for access in kernel.inputs)
    return AHEAD if short and 0 < loads <= AHEAD_INPUTS else 1


def loop_width(step: Step) -> int:
    """How many elements a thread computes at a time: a vector, or one."""
    kernel = step.code
    assert isinstance(kernel, Loop)
    accesses = kernel.inputs + kernel.outputs
    moved = [access for access in accesses if access.walk is not Walk.INDEX]
    width = ALIGNMENT // max(access.dtype.itemsize for access in moved)
    if kernel.rank > 1 and step.meta[kernel.rank - 1] % width:
        return 1
    strides = rows_of(step.meta, kernel.rank, len(accesses))
    fit = (
        is_aligned(access.dtype, width, place.offset, row[:-1])
        for access, place, row in zip(accesses, step.operands, strides, strict=True)
        if access.walk is Walk.UNIT
    )
    return width if all(fit) else 1


@lru_cache(maxsize=4096)
def loop_source(kernel: Loop, width: int, narrow: bool) -> Source:
    """The kernel of a loop, `width` elements at a time."""
    text, parameters = Text(), Struct()
    opened = open_loop(parameters, kernel, "")
    parameters.write(text, narrow)
    opened.functions(text)
    with text.block(kernel_head(THREADS, RESIDENT)):
        total = " * ".join(opened.extents)
        text.line(f"const Index total = {total};")
        text.line(f"const Index first = (Index)blockIdx.x * {THREADS} + threadIdx.x;")
        text.line(f"const Index step = (Index)gridDim.x * {THREADS};")
        opened.write(text, width, ("total", "first", "step"))
    return source("loop", LIBRARIES, text)


def write_element(
    text: Text, name: str, program: Program, inputs: Sequence[Access], outputs: Sequence[Access]
) -> None:
    """The function of one element: inputs by value, outputs by reference."""
    given = [f"const {TYPES[access.dtype]} x{i}" for i, access in enumerate(inputs)]
    made = [f"{TYPES[access.dtype]}& y{i}" for i, access in enumerate(outputs)]
    with text.block(f"__device__ __forceinline__ void {name}({', '.join(given + made)})"):
        results = emit(text, program, [f"x{i}" for i in range(len(inputs))])
        for i, result in enumerate(results):
            text.line(f"y{i} = {result};")
    text.blank()


@frozen
class Opened:
    """A loop whose operands are declared."""

    kernel: Loop
    element: str  # the function of one element
    extents: tuple[str, ...]
    inputs: tuple[Operand, ...]
    outputs: tuple[Operand, ...]

    def functions(self, text: Text) -> None:
        """The function of one element."""
        kernel = self.kernel
        write_element(text, self.element, kernel.program, kernel.inputs, kernel.outputs)

    def write(self, text: Text, width: int, span: tuple[str, str, str]) -> None:
        """All elements of (total, first of this thread, from each to the next)."""
        total, first, step = span
        if width > 1:
            together = ahead(self.kernel, width)
            far = f"{together} * {step}" if together > 1 else step
            text.line("#pragma unroll 1")
            with text.block(f"for (Index e = {first}; e < {total} / {width}; e += {far})"):
                if together > 1:
                    self.vectors(text, width, together, span)
                else:
                    text.line(f"const Index flat = e * {width};")
                    self.vector(text, width, {})
        if width == 1:
            head = f"for (Index e = {first}; e < {total}; e += {step})"
        elif len(self.extents) == 1:
            start = f"{total} / {width} * {width} + {first}"
            head = f"for (Index e = {start}; e < {total}; e += {step})"
        else:
            return  # rows are whole numbers of vectors
        text.line("#pragma unroll 1")
        with text.block(head):
            self.single(text)

    def indices(self, text: Text, flat: str) -> list[str]:
        """The index along each axis of the element with this number."""
        names = [f"i{axis}" for axis in range(len(self.extents))]
        rest = flat
        for axis in range(len(names) - 1, 0, -1):
            text.line(f"const Index {names[axis]} = {rest} % {self.extents[axis]};")
            if axis > 1:
                text.line(f"const Index r{axis} = {rest} / {self.extents[axis]};")
            else:
                text.line(f"const Index i0 = {rest} / {self.extents[1]};")
            rest = f"r{axis}"
        if len(names) == 1:
            text.line(f"const Index i0 = {flat};")
        return names

    def single(self, text: Text) -> None:
        """One element."""
        indices = self.indices(text, "e")
        results = [f"y{i}" for i in range(len(self.outputs))]
        for result, operand in zip(results, self.outputs, strict=True):
            text.line(f"{operand.type} {result};")
        values = [operand.at(indices) for operand in self.inputs]
        text.line(f"{self.element}({', '.join(values + results)});")
        for result, operand in zip(results, self.outputs, strict=True):
            text.line(f"{operand.at(indices)} = {result};")

    def vectors(self, text: Text, width: int, together: int, span: tuple[str, str, str]) -> None:
        """Some vectors, a grid apart: all consecutive operands are loaded before any is used."""
        total, _, step = span
        loaded = {i: o for i, o in enumerate(self.inputs) if o.access.walk is Walk.UNIT}
        for i, operand in loaded.items():
            text.line(f"Pack<{operand.type}, {width}> x{i}[{together}];")
        names = {i: f"x{i}[u]" for i in loaded}
        for filling in (True, False):
            text.line("#pragma unroll")
            with text.block(f"for (int u = 0; u < {together}; u++)"):
                text.line(f"const Index flat = (e + u * {step}) * {width};")
                with text.block(f"if (flat + {width} <= {total})"):
                    if not filling:
                        self.vector(text, width, names)
                        continue
                    indices = self.indices(text, "flat")
                    for i, o in loaded.items():
                        text.line(f"{names[i]} = load<{width}>({o.base} + {o.far(indices)});")

    def vector(self, text: Text, width: int, loaded: Mapping[int, str]) -> None:
        """`width` neighbours from number `flat` on; some inputs are `loaded`."""
        indices = self.indices(text, "flat")
        given = [
            f"{loaded[i]}.at[k]"
            if i in loaded
            else read_pack(text, f"x{i}", operand, indices, width)
            for i, operand in enumerate(self.inputs)
        ]
        for i, operand in enumerate(self.outputs):
            text.line(f"Pack<{operand.type}, {width}> y{i};")
        made = [f"y{i}.at[k]" for i in range(len(self.outputs))]
        text.line("#pragma unroll")
        text.line(f"for (int k = 0; k < {width}; k++) {self.element}({', '.join(given + made)});")
        for i, operand in enumerate(self.outputs):
            write_pack(text, f"y{i}", operand, indices, width)


def open_loop(parameters: Struct, kernel: Loop, prefix: str) -> Opened:
    """Declare the extents and operands of a loop, in the order of its meta."""
    rank = kernel.rank
    extents = tuple(parameters.number(f"{prefix}n{axis}") for axis in range(rank))
    inputs = [
        parameters.open(f"{prefix}x{i}", access, rank, written=False)
        for i, access in enumerate(kernel.inputs)
    ]
    outputs = [
        parameters.open(f"{prefix}y{i}", access, rank, written=True)
        for i, access in enumerate(kernel.outputs)
    ]
    return Opened(kernel, f"{prefix}element", extents, tuple(inputs), tuple(outputs))


def read_pack(text: Text, name: str, operand: Operand, indices: Sequence[str], width: int) -> str:
    """Read `width` neighbours from `indices` on; the name of number k of them."""
    walk = operand.access.walk
    if walk in (Walk.SPLAT, Walk.INDEX):
        text.line(f"const {operand.type} {name} = {operand.at(indices)};")
        return name if walk is Walk.SPLAT else f"{name} + k * (long long){operand.strides[-1]}"
    if walk is Walk.UNIT:
        place = f"{operand.base} + {operand.far(indices)}"
        text.line(f"const Pack<{operand.type}, {width}> {name} = load<{width}>({place});")
    else:
        text.line(f"Pack<{operand.type}, {width}> {name};")
        further = [*indices[:-1], f"({indices[-1]} + k)"]
        text.line("#pragma unroll")
        text.line(f"for (int k = 0; k < {width}; k++) {name}.at[k] = {operand.at(further)};")
    return f"{name}.at[k]"


def write_pack(text: Text, name: str, operand: Operand, indices: Sequence[str], width: int) -> None:
    """Store `width` neighbours."""
    if operand.access.walk is Walk.UNIT:
        text.line(f"store({operand.base} + {operand.far(indices)}, {name});")
    else:
        further = [*indices[:-1], f"({indices[-1]} + k)"]
        text.line("#pragma unroll")
        text.line(f"for (int k = 0; k < {width}; k++) {operand.at(further)} = {name}.at[k];")
