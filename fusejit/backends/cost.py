"""What a step costs, roughly: enough to see whether a second thread is worth waking.

Measured on one core of a Zen 5 at 4 GHz with AVX-512; within a factor of two elsewhere, which is as
much as the decisions that rest on it can bear.
"""

from __future__ import annotations

from math import prod

from .base import Form, Loop, Reduce
from .plan import Guard, Matmul, MatmulForm, Opaque, Pack, Step

INSTRUCTION = 0.0055
"""Nanoseconds of one scalar instruction on one float32 element: a gate of 70 takes 0.38 ns."""
BYTE = 0.015
"""Nanoseconds of a byte moved between a kernel and the second-level cache."""
MULTIPLY_ADD = 0.01
"""Nanoseconds of one of the M N K multiply-adds of a float32 product: 200 GFLOP/s."""
READING = 0.01
"""Nanoseconds of a byte of B, from the second-level cache or the third: the time of a product of
few rows, 1 x 256 x 512 takes 4.4 us and 1 x 512 x 1024 takes 22."""
CALL = 50.0
"""Nanoseconds of a call of BLAS for one of a stack of small matrices: 17 to 130."""
STEP = 20.0
"""Nanoseconds of a step that has nothing to do."""


def nanoseconds(step: Step) -> float:
    """The estimated time of a whole step on one core."""
    code = step.code
    if isinstance(code, Guard | Opaque):
        return STEP
    if isinstance(code, Matmul):
        batch, rows, columns, inner = step.meta[:4]
        a_column = max(MULTIPLY_ADD * rows * code.dtype.itemsize / 4, READING * code.dtype.itemsize)
        calls = CALL * batch if code.form is MatmulForm.BLAS else 0.0
        return STEP + calls + a_column * batch * columns * inner
    if isinstance(code, Pack):
        return STEP + BYTE * 2 * code.dtype.itemsize * prod(step.meta[:2])
    reduces = isinstance(code, Reduce)
    axes = code.rank if isinstance(code, Loop) else 2 if code.form is Form.ROW else 3
    accesses = (
        (*code.inputs, *code.stored, code.output)
        if isinstance(code, Reduce)
        else code.inputs + code.outputs
    )
    size = max((access.dtype.itemsize for access in accesses), default=4)
    instructions = len(code.program.instrs) + (1 if reduces else 0)
    a_byte = BYTE * sum(access.dtype.itemsize for access in accesses)
    return STEP + prod(step.meta[:axes]) * (INSTRUCTION * instructions * size / 4 + a_byte)
