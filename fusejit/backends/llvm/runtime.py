"""Runs plans natively on the CPU: `load` lays a plan out in memory, `NativePlan.run` walks it.

    native = load(plan, kernel_address)
    native.run([x, y])  ->  [outputs...]  or  StoppedAt(step, seen)

The walker and all else that runs is IR in `fusejit.kernels` (its README names the files), compiled
once per process. llvmlite is imported by the first `load`, not before.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from functools import partial
from math import prod
from typing import Any, NoReturn, TypeAlias

import numpy as np

from ...config import MOST_THREADS
from ...errors import LoweringError
from ...frozen import frozen
from ..base import Kernel, Loop
from ..donate import first_write, work_from
from ..plan import Code, Guard, Matmul, Opaque, Operand, Pack, Plan, Role, Slot, Step, Strip
from ..ready import Once, note_native, own_threads
from . import abi, blocks, matmul, threads
from .abi import kernels_text
from .frames import LINE, Blueprint, new_frame
from .target import host

Array: TypeAlias = "np.ndarray[Any, Any]"

_READ_ONLY, _WRITABLE = 0x101, 0x501  # NPY_ARRAY_C_CONTIGUOUS | ALIGNED [| WRITEABLE]
WAKING = 30_000.0
"""Nanoseconds of work from which on a plan wakes sleeping threads: that takes 8 us, and the first
rows are done before they come, so a call now and then gains nothing below 50 us. But calls that
follow each other find them awake, and take 0.6 of the time. Threads that are awake anyway share
what `strips` offers."""
LONG = 200_000.0
"""Nanoseconds of work from which on a plan gives up the GIL: with a busy Python thread beside it,
it may have to wait 5 ms until it gets the GIL back."""
SWITCH = 5_000_000.0
"""Nanoseconds of work on the values of Variables, in place, which other Python threads must not
see half done, that those have to wait for: as long as for any of them, by Python's own setting."""


@frozen
class StoppedAt:
    """A guard stopped the plan: the step's number in `Plan.steps`, and the bytes that it saw."""

    step: int
    seen: bytes


class NativePlan:
    """A plan in native memory; re-entrant. `run` holds the GIL, Python steps may release it.

    Attributes:
        plan: what it runs.
        run: a builtin, (inputs) -> list of outputs or StoppedAt. The inputs are exact ndarrays of
            the slots' dtypes and shapes, C-contiguous and aligned, else TypeError.
        record: the address of the native plan, alive as long as `run`.
    """

    __slots__ = ("__weakref__", "plan", "record", "run")

    def __init__(self, plan: Plan, record: int, run: Callable[[Sequence[Array]], Any]) -> None:
        self.plan = plan
        self.record = record
        self.run: Callable[[Sequence[Array]], list[Array] | StoppedAt] = run

    def __repr__(self) -> str:
        return f"<NativePlan {self.plan.name}: {len(self.plan.steps)} steps>"


def load(plan: Plan, kernel_address: Callable[[Kernel], int]) -> NativePlan:
    """Lay `plan` out in native memory; `kernel_address` compiles a kernel or finds it compiled."""
    code = native_code()
    layout = _Layout(plan, kernel_address, code)
    record = layout.record()
    run = abi.builtin("run", code["run"], abi.METH_O, record, layout.memory)
    return NativePlan(plan, record, run)


# ---- the native module


_FILES = (
    "api",
    "array",
    "blocks",
    "strips",
    "walker",
    "run",
    "pointwise",
    "checks",
    "expect",
    "entry",
    "tree",
    "donated",
    "arguments",
    "results",
    "hook",
)
_EXPORTS = (
    "run",
    "guard",
    "pointwise",
    "vectorcall",
    "enter.builtin",
    "first.miss",
    "inputs",
    "replay",
    "probe",
    "hook",
)


@Once
def native_code() -> dict[str, int]:
    """The addresses of the runtime's entry points. The first call compiles or finds them."""
    from . import hook
    from .jit import link

    parts = [threads.text(), *(kernels_text(f"llvm/{name}.ll") for name in _FILES)]
    exports = (*_EXPORTS, *blocks.EXPORTS, *threads.EXPORTS)
    own = {"own.threads": ctypes.addressof(own_threads)}
    code = link("\n".join(parts), exports, abi.symbols() | hook.SYMBOLS | own)
    blocks.start(code)
    threads.attach(code)
    hook.attach(code)
    note_native()
    return code


# ---- laying a plan out


class _Layout:
    """Writes the records of one plan."""

    def __init__(
        self, plan: Plan, kernel_address: Callable[[Kernel], int], code: dict[str, int]
    ) -> None:
        self.plan = plan
        self.code = code
        self.kernel_address = kernel_address
        self.memory = abi.Memory()
        self.bindings = {slot: i for i, slot in enumerate((*plan.inputs, *plan.outputs))}
        self._check_slots()
        self.constants = {
            number: _aligned_copy(slot)
            for number, slot in enumerate(plan.slots)
            if slot.role is Role.CONSTANT
        }
        self.arrays = [self.memory.array(slot.dtype, slot.shape) for slot in plan.slots]
        kept = [strip for strip in plan.strips if strip.kept >= 0]
        self.keeps = {strip.first: number for number, strip in enumerate(kept)}
        self.kept = tuple(self.bindings[strip.kept] for strip in kept)
        self.taking = first_write(plan)
        self.may_stop = 0  # native strips ahead of that

    def record(self) -> int:
        """Write everything; the address of the `%Plan`."""
        plan, memory = self.plan, self.memory
        plain = tuple(Strip(number, number + 1) for number in range(len(plan.steps)))
        strips, rows, operands = self._strips(plan.strips or plain)
        patches, fresh, frame = self._frame(operands)
        bound = [word for slot in self.bindings for word in self.arrays[slot]]
        work = plan.work * host().slowness
        return memory.words(
            (
                frame,
                0,
                len(plan.inputs),
                len(self.bindings),
                memory.words(bound),
                len(patches) // 3,
                memory.words(patches),
                len(rows),
                memory.words(word for row in rows for word in row),
                memory.pin(fresh),
                memory.pin(StoppedAt),
                memory.pin(partial(_refuse, plan)),
                len(strips),
                memory.words(word for row in strips for word in row),
                plan.scratch,
                work >= LONG,
                len(self.keeps),
                work >= WAKING,
                self.may_stop,
                work_from(plan, self.taking) >= SWITCH,
            )
        )

    def _strips(
        self, strips: Sequence[Strip]
    ) -> tuple[list[tuple[int, ...]], list[tuple[int, ...]], list[Operand]]:
        """The rows of `%Strip` and `%Step`, and the operands of all steps."""
        written: list[tuple[int, ...]] = []
        rows: list[tuple[int, ...]] = []
        operands: list[Operand] = []
        for place, strip in enumerate(strips):
            first = len(rows), len(operands)
            for number in range(strip.first, strip.end):
                step = self._native_step(self.plan.steps[number])
                if _does_nothing(step):
                    continue
                a_row = step.count // strip.rows
                row = (*self._code_of(step), step.count, len(operands), number, a_row)
                rows.append(row)
                operands += step.operands
            scratch = self._scratch(operands, first[1])
            grain = 0 if strip.grain == strip.rows else strip.grain
            workers = MOST_THREADS if strip.threads else 1
            where = (len(scratch), self.memory.words(word for row in scratch for word in row))
            span = (first[1], len(operands) - first[1], self.keeps.get(strip.first, -1))
            if len(rows) > first[0]:
                written.append((first[0], len(rows), strip.rows, grain, workers, *where, *span))
                self.may_stop += place < self.taking
        return written, rows, operands

    def _scratch(self, operands: Sequence[Operand], first: int) -> list[tuple[int, int, int]]:
        """The operands from `first` on that lie in scratch."""
        found = []
        for number in range(first, len(operands)):
            operand = operands[number]
            slot = self.plan.slots[operand.slot]
            if operand.slot >= 0 and slot.role is Role.SCRATCH:
                found.append((number, slot.offset + operand.offset, slot.pitch))
        return found

    def _frame(self, operands: Sequence[Operand]) -> tuple[list[int], Any, int]:
        """The patches, what makes a frame, and the address of the plan's own."""
        words, temporaries = [], []
        patches: list[int] = []
        for number, operand in enumerate(operands):
            binding = self.bindings.get(operand.slot)
            if binding is not None:
                patches += [number, binding, operand.offset]
                words.append(0)
                continue
            words.append(self._fixed(operand))
            if operand.slot >= 0 and self.plan.slots[operand.slot].role is Role.TEMPORARY:
                temporaries.append(number)
        fresh = partial(
            new_frame,
            Blueprint(
                len(self.plan.inputs),
                len(self.bindings),
                np.array(words, np.int64),
                np.array(temporaries, np.int64),
                self.plan.arena,
                self.plan.scratch,
                self.kept,
            ),
        )
        own = fresh()
        self.memory.pin(own)
        assert isinstance(own[0], int)
        return patches, fresh, own[0]

    def _fixed(self, operand: Operand) -> int:
        """The word of an operand that is the same at each run, or an offset into the arena."""
        if operand.slot < 0:  # an index: the offset is the first value
            return operand.offset
        slot = self.plan.slots[operand.slot]
        if slot.role is Role.SCRATCH:
            return 0  # each turn has its own address
        if slot.role is Role.CONSTANT:
            return self.memory.data(self.constants[operand.slot]) + operand.offset
        return slot.offset + operand.offset

    def _native_step(self, step: Step) -> Step:
        """The step itself, or, for a product without BLAS, the same through NumPy."""
        if isinstance(step.code, Matmul | Pack):
            matmul.check(step)
            if matmul.address(step.code) is None:
                return matmul.by_numpy(step)
        return step

    def _code_of(self, step: Step) -> tuple[int, int]:
        """A step's code and its meta."""
        code: Code = step.code
        memory = self.memory
        if isinstance(code, Opaque):
            views = [word for operand in step.operands for word in self._view(code, operand)]
            call = (memory.pin(code.call), len(step.operands), memory.words(views))
            return 0, memory.words(call)
        if isinstance(code, Guard):
            expected = np.frombuffer(code.expected, np.uint8)
            return self.code["guard"], memory.words((len(expected), memory.data(expected)))
        if isinstance(code, Matmul | Pack):
            place = matmul.address(code)
            assert place is not None
            return place, memory.words(step.meta)
        return self.kernel_address(code), memory.words(step.meta)

    def _view(self, code: Opaque, operand: Operand) -> tuple[int, int, int, int]:
        """An operand of a Python step: a whole slot, read-only unless the plan makes it."""
        if operand.slot < 0 or operand.offset:
            raise LoweringError(f"{code.name}: a Python step takes whole slots, got {operand}")
        role = self.plan.slots[operand.slot].role
        constant = self.constants.get(operand.slot)
        return (
            self.memory.words(self.arrays[operand.slot]),
            self.bindings.get(operand.slot, -1),
            0 if constant is None else self.memory.pin(constant),
            _WRITABLE if role in (Role.TEMPORARY, Role.OUTPUT) else _READ_ONLY,
        )

    def _check_slots(self) -> None:
        """That inputs and outputs are listed once each, and temporaries lie inside the arena."""
        plan = self.plan
        listed = {Role.INPUT: plan.inputs, Role.OUTPUT: plan.outputs}
        for role, numbers in listed.items():
            slots = [number for number, slot in enumerate(plan.slots) if slot.role is role]
            if sorted(numbers) != slots:
                raise LoweringError(
                    f"{plan.name}: {role.value} slots are {slots}, the plan lists {numbers}"
                )
        for number, slot in enumerate(plan.slots):
            end = slot.offset + prod(slot.shape) * slot.dtype.itemsize
            if slot.role is Role.TEMPORARY and not 0 <= slot.offset <= end <= plan.arena:
                raise LoweringError(f"{plan.name}: slot {number} lies outside the arena")


def _aligned_copy(slot: Slot) -> Array:
    """A constant's value, C-contiguous on a cache line, which no caller can change."""
    assert slot.value is not None
    count = prod(slot.shape) * slot.dtype.itemsize
    block = np.empty(count + LINE, np.uint8)
    start = -abi.address(block) % LINE
    copy = block[start : start + count].view(slot.dtype).reshape(slot.shape)
    copy[...] = slot.value
    copy.flags.writeable = False
    return copy


def _does_nothing(step: Step) -> bool:
    """Whether a step has nothing to compute; kernels need not care about empty extents then."""
    if isinstance(step.code, Opaque | Guard):
        return False
    return step.count == 0 or (isinstance(step.code, Loop) and 0 in step.meta[: step.code.rank])


def _refuse(plan: Plan, inputs: Sequence[object]) -> NoReturn:
    """Say what is wrong with the inputs that the native check refused."""
    if len(inputs) != len(plan.inputs):
        raise TypeError(f"{plan.name}: expected {len(plan.inputs)} inputs, got {len(inputs)}")
    for position, (number, value) in enumerate(zip(plan.inputs, inputs, strict=True)):
        slot = plan.slots[number]
        wanted = f"{plan.name}: input {position}: expected a {slot.dtype}{list(slot.shape)} ndarray"
        if type(value) is not np.ndarray:
            raise TypeError(f"{wanted}, got {type(value).__name__}")
        if value.shape != slot.shape or value.dtype != slot.dtype:
            raise TypeError(f"{wanted}, got {value.dtype}{list(value.shape)}")
        if not (value.flags.c_contiguous and value.flags.aligned):
            raise TypeError(f"{wanted} that is C-contiguous and aligned")
    raise TypeError(f"{plan.name}: inputs of another kind than expected")
