"""A plan: what one replay runs, as data. Flat steps over a table of slots; no code, no target.

    plan := slots  steps  inputs  outputs
    slot := dtype shape role            a buffer; constants carry their bytes
    step := kernel operands meta        operands are (slot, byte offset), inputs first, then outputs

A backend turns a plan into something runnable (`backends.llvm.runtime.load`); the printer shows it.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

import numpy as np

from ..scalar import DType
from .base import Kernel


class Role(Enum):
    INPUT = "input"  # bound to the caller's memory for one run, never written
    CONSTANT = "constant"  # lives with the plan
    TEMPORARY = "temporary"  # in the plan's arena; slots whose lifetimes do not meet share bytes
    OUTPUT = "output"  # fresh memory at each run


@dataclass(frozen=True, slots=True, eq=False)
class Slot:
    """A C-contiguous buffer. `offset` places a temporary in the arena; `value` is a constant's."""

    role: Role
    dtype: DType
    shape: tuple[int, ...]
    offset: int = 0
    value: np.ndarray[Any, Any] | None = None


@dataclass(frozen=True, slots=True)
class Matmul:
    """C[b] = A[b] @ B[b] in float32 or float64, by BLAS.

    meta: batch M N K, then (batch stride, row stride, column stride) in elements for A, B, C. A and
    B have stride 1 along rows or columns (the other stride is at least the extent), C along
    columns. A batch stride may be 0. K = 0 gives zeros. begin, end run over the batch.
    """

    dtype: DType


@dataclass(frozen=True, slots=True, eq=False)
class Opaque:
    """A Python callable on NumPy views of the operands: (inputs..., outputs...) -> None.

    It writes its outputs in place. An exception stops the plan and reaches the caller unchanged.
    """

    name: str
    call: Callable[..., None]


@dataclass(frozen=True, slots=True, eq=False)
class Guard:
    """Stops the plan unless its one operand has exactly the `expected` bytes."""

    expected: bytes


Code: TypeAlias = Kernel | Matmul | Opaque | Guard


@dataclass(frozen=True, slots=True)
class Operand:
    """Where a step's operand begins: a slot and a byte offset into it.

    For an operand whose walk is INDEX, slot is -1 and offset is the first value itself.
    """

    slot: int
    offset: int = 0


@dataclass(frozen=True, slots=True, eq=False)
class Step:
    code: Code
    operands: tuple[Operand, ...]
    meta: tuple[int, ...]
    count: int  # extent of the outermost axis: the kernel is called with [0, count)
    where: str | None = None  # the user's file:line, for guards and errors


@dataclass(frozen=True, slots=True, eq=False)
class Plan:
    name: str
    slots: tuple[Slot, ...]
    steps: tuple[Step, ...]
    inputs: tuple[int, ...]  # slot numbers, in the order of the caller's inputs
    outputs: tuple[int, ...]  # slot numbers; each is an OUTPUT slot and appears once
    arena: int  # bytes of temporaries
