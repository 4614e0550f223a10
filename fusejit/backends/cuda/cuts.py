"""How reductions are shared out: threads of a row or a column, parts of few long ones, launches.

All of it is decided by extents, never by the device, since it decides the order of combination.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ...frozen import replace
from ...scalar import DType, trace
from ..base import Access, Form, Reduce, Walk
from ..plan import Operand as Place
from ..plan import Step
from .loops import THREADS, blocks
from .operands import firsts_of, fits_narrow, in_memory, is_aligned, packed, rows_of
from .program import Launch, Limits
from .reductions import VECTOR, Pace, reduce_source

WARP = 32
WARP_ROW = 1024
"""Elements of a row up to which a warp suffices: 8 rounds of it. A block would fold 8 warps."""
LANES, LANES_FROM = 8, 32
"""Threads down a column, and rows from which on there are so many, not one."""
MANY_ROWS, PART = 256, 16384
"""Rows from which on they fill a device; elements of a part of fewer."""
MANY_COLUMNS, PART_ROWS = 8192, 256
"""The same for columns."""

PARTS = 32768
"""Parts at most: half of what a grid can have along its second axis."""
BESIDE = 4
"""Reductions of one array that are one kernel, such as the gradients of a scale and a bias."""


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
    if many or reduced < 2 * part:
        return reduced
    while reduced > part * PARTS:
        part *= 2
    return part


def are_beside(steps: Sequence[Step]) -> bool:
    """Whether the last of these steps can be one kernel with those before it: a reduction of the
    same extents, and of an array that they read, too."""
    *before, last = steps
    codes = [step.code for step in steps]
    if len(steps) > BESIDE or not all(isinstance(code, Reduce) for code in codes):
        return False
    return all(_beside(one, last) for one in before)


def _beside(one: Step, other: Step) -> bool:
    left, right = one.code, other.code
    assert isinstance(left, Reduce)
    assert isinstance(right, Reduce)
    axes = 2 if left.form is Form.ROW else 3
    reads = [
        {o.slot for o in s.operands[: len(k.inputs)]} for s, k in ((one, left), (other, right))
    ]
    writes = [
        {o.slot for o in s.operands[len(k.inputs) :]} for s, k in ((one, left), (other, right))
    ]
    apart = not (writes[0] & (reads[1] | writes[1]) or writes[1] & reads[0])
    alike = left.form is right.form and one.meta[:axes] == other.meta[:axes]
    return alike and apart and bool((reads[0] & reads[1]) - {-1})


def launches(
    steps: Sequence[Step], limits: Limits, temporary: Callable[[DType, int], Place]
) -> list[Launch]:
    """Reductions side by side; `temporary` makes room for the results of parts."""
    reduced, part = steps[0].meta[1], part_of(steps[0])
    count = max(1, -(-reduced // max(part, 1)))
    if count == 1:
        return [_launch(steps, 1, limits)]
    cut = [_cut(step, count, temporary) for step in steps]
    first = _launch([one for one, _ in cut], count, limits)
    return [first, *launches([other for _, other in cut], limits, temporary)]


def _cut(step: Step, count: int, temporary: Callable[[DType, int], Place]) -> tuple[Step, Step]:
    """The reduction of `count` parts, and that of their results, which are rows."""
    kernel, kept = step.code, step.meta[0]
    assert isinstance(kernel, Reduce)
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
    return first, replace(step, code=rest, operands=operands, meta=(outputs, count, count, 1, out))


def _launch(steps: Sequence[Step], parts: int, limits: Limits) -> Launch:
    (kept, reduced), kernels = steps[0].meta[:2], [_kernel(step) for step in steps]
    row = kernels[0].form is Form.ROW
    axes = 2 if row else 3
    part = part_of(steps[0]) if parts > 1 else reduced
    threads = team_of(part) if row else lanes_of(part)
    outputs = kept if row else kept * steps[0].meta[2]
    firsts: list[int] = []
    numbers: list[int] = []
    read: list[Place] = []
    written: list[Place] = []
    narrow = True
    for step, kernel in zip(steps, kernels, strict=True):
        moving, count = kernel.inputs + kernel.stored, len(kernel.inputs)
        narrow = narrow and fits_narrow(step.meta[:axes], rows_of(step.meta, axes, len(moving)))
        firsts += firsts_of(kernel.inputs, step.operands[:count])
        numbers += [*step.meta, threads]
        read += in_memory(kernel.inputs, step.operands[:count])
        written += step.operands[count:]
    return Launch(
        reduce_source(tuple(kernels), tuple(map(pace_of, steps)), narrow),
        (blocks(outputs * threads, THREADS, limits), parts, 1),
        (THREADS, 1, 1),
        max(map(space_of, kernels)),
        (*read, *written),
        packed(firsts, (*numbers, part), narrow),
        steps[-1].where,
        len(written),
    )


def _kernel(step: Step) -> Reduce:
    assert isinstance(step.code, Reduce)
    return step.code


def space_of(kernel: Reduce) -> int:
    """Bytes of shared memory in which threads fold."""
    count = THREADS // WARP if kernel.form is Form.ROW else THREADS
    return max(16, count * kernel.output.dtype.itemsize)


def pace_of(step: Step) -> Pace:
    """How the elements of a row are moved."""
    kernel = _kernel(step)
    if kernel.form is Form.COLUMN:
        return Pace.SINGLE
    moving = kernel.inputs + kernel.stored
    rows = rows_of(step.meta, 2, len(moving))
    aligned = all(
        is_aligned(access.dtype, VECTOR, place.offset, row[:1] if step.meta[0] > 1 else ())
        for access, place, row in zip(moving, step.operands, rows, strict=False)
        if access.walk is Walk.UNIT
    )
    if not aligned:
        return Pace.SINGLE
    return Pace.PACKED if step.meta[1] % VECTOR else Pace.WHOLE
