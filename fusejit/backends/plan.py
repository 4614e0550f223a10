"""A plan: what one replay runs, as data. Flat steps over a table of slots; no code, no target.

    plan  := slots  steps  strips  inputs  outputs
    slot  := dtype shape role           a buffer; constants carry their bytes
    step  := kernel operands meta       operands are (slot, byte offset), inputs first, then outputs
    strip := first end rows grain       steps that go over their rows side by side

A backend turns a plan into something runnable (`backends.llvm.runtime.load`); the printer shows it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from enum import Enum
from math import prod
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from ..frozen import frozen
from ..scalar import DType
from .base import Kernel

if TYPE_CHECKING:
    from ..ir.graph import Value
    from .storage import Storage


class Role(Enum):
    INPUT = "input"  # bound to the caller's memory for one run, never written
    CONSTANT = "constant"  # lives with the plan
    TEMPORARY = "temporary"  # in the plan's arena; slots whose lifetimes do not meet share bytes
    SCRATCH = "scratch"  # lives inside one strip: of its rows only those that a thread works on
    OUTPUT = "output"  # fresh memory at each run


@frozen(eq=False)
class Slot:
    """A C-contiguous buffer; `value` is a constant's.

    `offset` places a temporary in the arena. A scratch slot begins `offset` bytes into the scratch
    of the thread, and a row of its strip takes `pitch` bytes.
    """

    role: Role
    dtype: DType
    shape: tuple[int, ...]
    offset: int = 0
    value: np.ndarray[Any, Any] | None = None
    pitch: int = 0

    @property
    def bytes(self) -> int:
        return prod(self.shape) * self.dtype.itemsize


class MatmulForm(Enum):
    """How a product is computed, and what [begin, end) of its step runs over.

    All but BLAS are generated code: the batch is 1, A may have any strides, and every element of C
    is one chain of multiply-adds over k, in order, whatever the form.
    """

    PACKED = "packed"  # B in panels (see Pack): over the rows of C
    PLAIN = "plain"  # B row-major: over the rows of C
    PANELS = "panels"  # B in panels, few rows: over the panels
    STREAMED = "streamed"  # B row-major, few rows: over panels of columns, PANEL_BYTES wide
    BLAS = "blas"  # over the batch

    @property
    def by_rows(self) -> bool:
        return self in (MatmulForm.PACKED, MatmulForm.PLAIN)

    @property
    def packed(self) -> bool:
        return self in (MatmulForm.PACKED, MatmulForm.PANELS)


@frozen
class Matmul:
    """C[b] = A[b] @ B[b] in float32 or float64.

    meta: batch M N K, then (batch stride, row stride, column stride) in elements for A, B, C. C has
    stride 1 along columns. For BLAS, A and B have stride 1 along rows or columns, and the other
    stride is at least the extent. A batch stride may be 0. The strides of a packed B are not read.
    K = 0 gives zeros. Part by part or at once, the bits are the same.
    """

    dtype: DType
    form: MatmulForm = MatmulForm.BLAS


PANEL_BYTES = 64
"""Bytes across a panel: a cache line, so that no line is shared and vectors never straddle two.
It is the same on every machine, so that a plan does not depend on one."""


@frozen
class Pack:
    """B (K x N, any strides) -> its panels [ceil(N / lanes)][K][lanes], zeros beyond column N.

    lanes is PANEL_BYTES in elements. Operands: B, the panels. meta: K N, then the row and the
    column stride of B in elements. begin, end run over the panels.
    """

    dtype: DType


@frozen(eq=False)
class Opaque:
    """A Python callable on NumPy views of the operands: (inputs..., outputs...) -> None.

    It writes its outputs in place. An exception stops the plan and reaches the caller unchanged.
    """

    name: str
    call: Callable[..., None]


@frozen(eq=False)
class Guard:
    """Stops the plan unless its one operand has exactly the `expected` bytes."""

    expected: bytes


Code: TypeAlias = Kernel | Matmul | Pack | Opaque | Guard


@frozen
class Operand:
    """Where a step's operand begins: a slot and a byte offset into it.

    For an operand whose walk is INDEX, slot is -1 and offset is the first value itself.
    """

    slot: int
    offset: int = 0


@frozen(eq=False)
class Step:
    code: Code
    operands: tuple[Operand, ...]
    meta: tuple[int, ...]
    count: int  # extent of the outermost axis: the kernel is called with [0, count)
    where: str | None = None  # the user's file:line, for guards and errors
    grain: int = 1  # indices that the kernel likes to be given at a time, or a multiple


@frozen
class Strip:
    """Steps [first, end) of a plan, `grain` rows at a time, each through all of the steps.

    What a step writes, the next then finds in the cache. Row r of a step with count n is the range
    [r, r + 1) * n / rows of its outermost index. Rows do not meet, so threads may share them.
    With grain == rows the steps simply run one after the other.
    """

    first: int
    end: int
    rows: int = 1
    grain: int = 1
    threads: bool = False  # whether there is enough work to wake another thread
    kept: int = -1
    """The input slot that all it computes depends on, if the runtime is to keep the result for as
    long as the same array is bound there; its temporaries share their bytes with nothing."""


@frozen(eq=False)
class Plan:
    name: str
    slots: tuple[Slot, ...]
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]  # slot numbers, in the order of the caller's inputs
    outputs: tuple[int, ...]  # slot numbers; each is an OUTPUT slot and appears once
    arena: int  # bytes of temporaries
    strips: tuple[Strip, ...] = ()  # all steps, in order; by default each is a strip of its own
    scratch: int = 0  # bytes that a thread needs for the scratch slots of any strip
    work: float = 0.0  # estimated nanoseconds of one run on one core
    notes: tuple[str, ...] = ()  # why a step that reads what a strip computed did not join it
    donated: tuple[tuple[int, int], ...] = ()
    """(input slot, output slot): the output may have the input's memory. See `donate`."""
    values: Mapping[Value, Storage] = MappingProxyType({})
    """Where the values of the graph are put, if a guard may stop the plan. See `held`."""

    def __str__(self) -> str:
        from .printer import format_plan

        return format_plan(self)
