"""What tests of the native runtime share: small plans, written by hand."""

from __future__ import annotations

import tracemalloc
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fusejit.backends.base import Access, Kernel, Loop, Walk
from fusejit.backends.llvm import jit
from fusejit.backends.llvm.runtime import NativePlan, load
from fusejit.backends.plan import Guard, Matmul, Opaque, Operand, Plan, Role, Slot, Step
from fusejit.scalar import F32, DType, Expr, trace
from tests.collecting import collect

Array = np.ndarray[Any, Any]


def address_of(kernel: Kernel) -> int:
    return jit.compile_kernel(kernel).address


def f32(values: Any) -> Array:
    return np.asarray(values, np.float32)


class Writer:
    """Collects slots and steps; each method returns the number of the slot that it made."""

    def __init__(self, name: str = "test") -> None:
        self.name = name
        self.slots: list[Slot] = []
        self.steps: list[Step] = []
        self.arena = 0

    def slot(
        self, role: Role, shape: tuple[int, ...], dtype: DType = F32, value: Any = None
    ) -> int:
        offset = self.arena if role is Role.TEMPORARY else 0
        if role is Role.TEMPORARY:
            size = int(np.prod(shape)) * dtype.itemsize
            self.arena += -(-size // 64) * 64
        self.slots.append(Slot(role, dtype, shape, offset, value))
        return len(self.slots) - 1

    def input(self, *shape: int, dtype: DType = F32) -> int:
        return self.slot(Role.INPUT, shape, dtype)

    def output(self, *shape: int, dtype: DType = F32) -> int:
        return self.slot(Role.OUTPUT, shape, dtype)

    def temporary(self, *shape: int, dtype: DType = F32) -> int:
        return self.slot(Role.TEMPORARY, shape, dtype)

    def constant(self, value: Array) -> int:
        return self.slot(Role.CONSTANT, value.shape, value.dtype, value)

    def loop(self, function: Callable[..., Expr], *operands: int | Operand) -> None:
        """An elementwise step over whole slots of equal size, the last of which is its output."""
        places = [o if isinstance(o, Operand) else Operand(o) for o in operands]
        dtypes = [self.slots[p.slot].dtype for p in places]
        accesses = tuple(Access(dtype, Walk.UNIT) for dtype in dtypes)
        kernel = Loop(1, accesses[:-1], accesses[-1:], trace(function, dtypes[:-1]))
        size = int(np.prod(self.slots[places[-1].slot].shape))
        meta = (size, *(1 for _ in places))
        self.steps.append(Step(kernel, tuple(places), meta, size))

    def python(self, call: Callable[..., None], *operands: int, name: str = "python") -> None:
        self.steps.append(Step(Opaque(name, call), tuple(map(Operand, operands)), (), 1))

    def guard(self, operand: int, expected: bytes) -> None:
        self.steps.append(Step(Guard(expected), (Operand(operand),), (), 1))

    def matmul(self, operands: Sequence[Operand], meta: Sequence[int], dtype: DType) -> None:
        self.steps.append(Step(Matmul(dtype), tuple(operands), tuple(meta), meta[0]))

    def plan(self) -> Plan:
        numbers = {
            role: tuple(i for i, slot in enumerate(self.slots) if slot.role is role)
            for role in Role
        }
        return Plan(
            self.name,
            tuple(self.slots),
            tuple(self.steps),
            numbers[Role.INPUT],
            numbers[Role.OUTPUT],
            self.arena,
        )

    def load(self) -> NativePlan:
        return load(self.plan(), address_of)


def outputs(plan: NativePlan, *inputs: Array) -> list[Array]:
    """What a plan computes that nothing stops."""
    result = plan.run(inputs)
    assert isinstance(result, list)
    return result


def add_plan(size: int = 4) -> NativePlan:
    """(x, y) -> x + y."""
    w = Writer("add")
    x, y, out = w.input(size), w.input(size), w.output(size)
    w.loop(lambda a, b: a + b, x, y, out)
    return w.load()


def leaks(function: Callable[[], object], rounds: int) -> bool:
    """Whether each call leaves something behind; no object is smaller than 16 bytes."""
    tracemalloc.start()
    try:
        for _ in range(rounds // 10):
            function()
        collect()
        before = tracemalloc.get_traced_memory()[0]
        for _ in range(rounds):
            function()
        collect()
        return tracemalloc.get_traced_memory()[0] - before > 15 * rounds
    finally:
        tracemalloc.stop()
