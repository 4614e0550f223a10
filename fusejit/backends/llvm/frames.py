"""Frames: what one run of a plan works in, its bindings, its temporaries and its scratch.

A plan has a frame of its own; runs that overlap, in other threads or one inside the other, get
fresh ones. `%Frame` in api.ll has the fields.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np

from ...frozen import frozen
from ..plan import Plan
from . import abi, threads

Array: TypeAlias = "np.ndarray[Any, Any]"

LINE = 64
"""Bytes of a cache line, where temporaries begin; they are the widest vectors, too."""


@frozen
class Blueprint:
    """All that it takes to make a frame: see `%Frame` in api.ll."""

    inputs: int
    bindings: int
    operands: Array  # their words; those of temporaries are offsets into the arena
    temporaries: Array  # which operands those are
    arena: int
    scratch: int  # of one thread
    keeps: tuple[int, ...]  # the bindings that something is kept for


def new_frame(blueprint: Blueprint) -> tuple[object, ...]:
    """The address of a new frame, then all that it consists of."""
    memory = abi.Memory()
    cells = _aligned(8 * blueprint.inputs)
    workers = max(threads.get_num_threads(), threads.usable_cpus())
    scratch = cells + _aligned(blueprint.arena)
    owner = np.empty(scratch + workers * blueprint.scratch + LINE, np.uint8)
    start = _aligned(memory.data(owner))
    operands = blueprint.operands.copy()
    operands[blueprint.temporaries] += start + cells
    record = memory.words(
        (
            memory.words([0] * blueprint.bindings),
            memory.words([0] * blueprint.bindings),
            start,
            memory.data(operands),
            id(owner),
            0,
            start + scratch,
            workers,
            0,
            memory.words(
                word for binding in blueprint.keeps for word in (binding, 0, memory.pin([None]))
            ),
        )
    )
    return memory.owned(record)


def frame_offset(plan: Plan) -> int:
    """Where the temporaries begin, counted from the cells of a frame."""
    return _aligned(8 * len(plan.inputs))


def _aligned(number: int) -> int:
    """So many bytes in whole lines."""
    return -(-number // LINE) * LINE
