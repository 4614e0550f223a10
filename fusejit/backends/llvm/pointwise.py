"""Elementwise ops on arrays of any size: one native function for an op and its dtypes, no plan.

A plan is made for its shapes, which takes 0.2 ms. Where all operands are contiguous and of one
shape, or single elements, the loop is flat and its size but a number that the kernel is given.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from ...scalar import DType
from ..base import Kernel, Loop
from ..cost import STEP, nanoseconds
from ..plan import Plan
from ..strips import SHARED
from . import abi
from .runtime import native_code


def load_pointwise(
    plan: Plan, singles: tuple[bool, ...], kernel_address: Callable[[Kernel], int]
) -> Callable[..., Any] | None:
    """A builtin function of ndarrays that gives the result, or None if they do not fit.

    Args:
        plan: the op for operands of shape [N], N > 1, and those that are `singles` of shape [].
        singles: which operands are single elements for all others.
        kernel_address: compiles a kernel or finds it compiled.

    Arrays fit if they are C-contiguous and all of the same shape, but for the singles, and so few
    that a plan would not share them between threads. None instead of a function if the plan is not
    one flat loop.
    """
    step = plan.steps[0]
    kernel = step.code
    if len(plan.steps) != 1 or not isinstance(kernel, Loop):
        return None
    numbers = {slot: number for number, slot in enumerate(plan.inputs)}
    reads = [operand.slot for operand in step.operands[:-1]]
    if not all(slot in numbers for slot in reads):
        return None
    memory = abi.Memory()
    dtypes: list[DType] = [plan.slots[slot].dtype for slot in plan.inputs]
    rows = [(memory.pin(d), int(single)) for d, single in zip(dtypes, singles, strict=True)]
    an_element = (nanoseconds(step) - STEP) / step.count
    record = memory.words(
        (
            kernel_address(kernel),
            len(rows),
            memory.words(word for row in rows for word in row),
            singles.index(False),
            int((SHARED - STEP) / an_element),
            memory.pin(plan.slots[plan.outputs[0]].dtype),
            len(reads),
            memory.words(numbers[slot] for slot in reads),
            len(step.meta),
            memory.words(step.meta),
        )
    )
    code = native_code()["pointwise"]
    return abi.builtin("pointwise", code, abi.METH_FASTCALL, record, memory)  # type: ignore[no-any-return]
