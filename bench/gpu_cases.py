"""What is measured on a GPU: data only, as in cases.py, whose programs these are.

A target is the most that the time of fused may be of that of the faster of torch.compile and JAX.
Rows that only move memory are also held against a copy on the device: SHARE of its speed from
LARGE bytes on.
"""

from __future__ import annotations

from cases import Case

SHARE, LARGE = 0.9, 256 << 20
MOVES = ("gates", "chain", "adam", "softmax", "layer norm", "cross entropy")
RIVALS = ("torch-compile", "jax")
CELLS = ("lstm", "gru", "layer norm lstm")

_M = 1 << 20


def _row(program: str, *size: int, mode: str = "forward") -> Case:
    return Case(program, size, mode, target=1.0, rivals=RIVALS)


TRAINING = _row("unrolled lstm", 100, 64, 512, mode="step")
THREE_TIMES = 3.0  # as fast as PyTorch's eager mode TRAINING is to be

CASES = [
    *[_row("gates", n * _M) for n in (1, 16, 64)],
    TRAINING,
    _row("chain", 64 * _M),
    _row("adam", 16 * _M, mode="update"),
    *[_row("softmax", *size) for size in ((8192, 1024), (4096, 16384), (262144, 256))],
    *[_row("layer norm", *size) for size in ((8192, 1024), (4096, 16384), (262144, 256))],
    *[_row("cross entropy", 8192, 1024, mode=mode) for mode in ("forward", "gradient")],
    *[_row(cell, 64, 512, mode=mode) for cell in CELLS for mode in ("forward", "gradient")],
]
"""What matters most comes first: a run may end before all is measured."""

TINY = [
    _row("gates", 1000),
    _row("adam", 1000, mode="update"),
    _row("softmax", 4, 100),
    _row("layer norm", 4, 100),
    _row("cross entropy", 4, 10, mode="gradient"),
    _row("lstm", 2, 8),
    _row("lstm", 2, 8, mode="gradient"),
    _row("unrolled lstm", 3, 2, 8, mode="step"),
]
"""The same programs at sizes that the emulator runs in no time."""


def by_name() -> dict[str, Case]:
    return {str(case): case for case in (*CASES, *TINY)}
