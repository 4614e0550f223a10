"""What a backend compiles: kernels, described without naming a target.

A kernel is structure alone. Sizes, strides, offsets and scalar constants arrive at run time, so one
compiled kernel serves every shape. Both kinds are frozen and hashable: equal kernels compile once.

The native ABI of every kernel, generated or hand-written:

    i64 kernel(ptr operands, ptr meta, i64 begin, i64 end)       0: go on; otherwise stop the plan

`operands` is an array of pointers, inputs first, then outputs, each already advanced to its first
element. `meta` is an array of i64: the extents of the iteration space, outermost first, then for
each operand its stride in *elements* along each axis of that space. [begin, end) is the part of the
outermost axis (of the kept axis, for a reduction) to run, so that threads can share one step.
"""

from __future__ import annotations

from enum import Enum
from typing import TypeAlias

from ..frozen import frozen
from ..scalar import DType, Program


class Walk(Enum):
    """How an operand moves along the innermost axis of the loop."""

    UNIT = "unit"  # consecutive elements: vector load or store
    SPLAT = "splat"  # the same element for the whole axis: one load, broadcast
    STRIDED = "strided"  # any other stride: gather or scatter
    INDEX = "index"  # no memory: the value *is* offset + sum(stride * index), as int64; the operand
    #                  pointer holds the offset. This is how arange and friends fuse.


@frozen
class Access:
    """One operand: its element type in memory (bool is a byte, 0 or 1) and its walk."""

    dtype: DType
    walk: Walk


@frozen
class Loop:
    """For every index of a `rank`-dimensional space: load, run `program`, store its results.

    The program's arguments are the inputs in order, its results the outputs in order. rank >= 1;
    the last axis is the innermost. An output's walk is UNIT or STRIDED, and no two outputs overlap;
    inputs may alias one another but never an output, except that an output may reuse exactly the
    memory of an input of the same dtype and walk (each element is loaded before it is stored).
    """

    rank: int
    inputs: tuple[Access, ...]
    outputs: tuple[Access, ...]
    program: Program


class Form(Enum):
    """Where the reduced axis lies in the canonical space [kept, reduced, columns]."""

    ROW = "row"  # columns == 1: the innermost axis is reduced; a lane per residue of its index
    COLUMN = "column"  # the innermost axis is kept; vectors run along it


@frozen
class Reduce:
    """combine over the reduced axis of program(inputs...).

    meta extents are [kept, reduced] for ROW and [kept, reduced, columns] for COLUMN; inputs have a
    stride along each of these axes (an input's walk is along the innermost one), the output has
    [kept stride] or [kept stride, columns stride]. `combine` is a program (accumulator, x) ->
    accumulator that is associative up to rounding; `identity` is its neutral element.

    The first result of `program` is what is combined. Any others are `stored` as they are: operands
    between the inputs and the output, with strides as inputs have them, and with the rights of a
    loop's outputs. So a softmax keeps the exponentials that it adds up.

    The order of combination is a function of the extents alone, whatever the vector width: the
    reduced axis is cut into blocks of BLOCK elements (BLOCK_ROWS for COLUMN). ROW: inside a block,
    element j goes to virtual lane j % LANES in order; the lanes of the block are combined into the
    running lanes; at the end lanes are folded in halves (lane i with lane i + LANES/2, and so on).
    COLUMN: rows of a block are combined in order, then the block into the running value.

    A kernel can be shared by its kept axis only. Where that is short and the rest is long, lowering
    makes several kernels of one reduction; `reducing` says where it cuts, again by extents alone.
    """

    form: Form
    inputs: tuple[Access, ...]
    output: Access
    program: Program
    combine: Program
    identity: bool | int | float
    stored: tuple[Access, ...] = ()


LANES = 64  # 4 accumulators of 16 floats: hides the latency of an add on AVX-512, 8 ymm on AVX2
BLOCK = 8192  # 128 adds a lane before rounding error starts afresh: NumPy's pairwise accuracy
BLOCK_ROWS = 128  # the same bound for columns

Kernel: TypeAlias = Loop | Reduce
