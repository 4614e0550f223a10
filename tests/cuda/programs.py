"""Small programs written by hand, for tests of what runs them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from fusejit.backends.cuda.program import (
    Check,
    Command,
    Host,
    Launch,
    Multiply,
    Program,
    Source,
)
from fusejit.backends.plan import Guard, Matmul, Opaque, Operand, Role, Slot

F32 = np.dtype(np.float32)
N = 1000

_KERNEL = """
struct Params {{
  const float* a;
  const float* b;
  float* c;
  long long n;
}};
extern "C" __global__ void {name}(const Params p) {{
  const long long i = (long long)blockIdx.x * blockDim.x + threadIdx.x;
  if (i < p.n{more}) p.c[i] = {body};
}}
"""


def kernel(name: str, body: str, more: str = "") -> Source:
    """c[i] = body, a text in p.a[i] and p.b[i], for i below n and, if asked for, beyond."""
    return Source(name, _KERNEL.format(name=name, body=body, more=more))


ADD = kernel("add_two", "p.a[i] + p.b[i]")
TWICE = kernel("twice", "2.0f * p.a[i]")
BEYOND = kernel("beyond", "1.0f", more=" + 1")
NOTHING = Source(
    "nothing",
    "struct Params { const void *a, *b; void* c; long long n; };\n"
    'extern "C" __global__ void nothing(const Params p) {}\n',
)


class Building:
    """A program under construction: slots by number."""

    def __init__(self) -> None:
        self.slots: list[Slot] = []
        self.commands: list[Command] = []
        self.arena = 0

    def slot(
        self,
        role: Role,
        shape: tuple[int, ...] = (N,),
        dtype: np.dtype[Any] = F32,
        value: np.ndarray[Any, Any] | None = None,
    ) -> int:
        offset = self.arena if role is Role.TEMPORARY else 0
        made = Slot(role, dtype, shape, offset, value)
        if role is Role.TEMPORARY:
            self.arena += -(-made.bytes // 256) * 256
        self.slots.append(made)
        return len(self.slots) - 1

    def launch(self, source: Source, a: int, b: int, c: int, n: int = N) -> None:
        operands = (Operand(a), Operand(b), Operand(c))
        grid = (n // 256 + 1, 1, 1)  # threads for more than n
        constants = np.int64(n).tobytes()
        self.commands.append(Launch(source, grid, (256, 1, 1), 0, operands, constants))

    def multiply(self, a: int, b: int, c: int, meta: Sequence[int]) -> None:
        code = Matmul(self.slots[c].dtype)
        operands = (Operand(a), Operand(b), Operand(c))
        self.commands.append(Multiply(code, operands, tuple(meta)))

    def host(self, call: Callable[..., None], *slots: int) -> None:
        self.commands.append(Host(Opaque("call", call), tuple(map(Operand, slots))))

    def check(self, slot: int, expected: bytes, offset: int = 0) -> None:
        self.commands.append(Check(Guard(expected), Operand(slot, offset)))

    def program(self, name: str = "program") -> Program:
        numbers = range(len(self.slots))
        inputs = tuple(n for n in numbers if self.slots[n].role is Role.INPUT)
        outputs = tuple(n for n in numbers if self.slots[n].role is Role.OUTPUT)
        return Program(name, tuple(self.slots), tuple(self.commands), inputs, outputs, self.arena)


def sum_of_times(times: int, source: Source = ADD, n: int = N) -> Program:
    """The input `times` + 1 times, in so many launches through two temporaries in turns."""
    made = Building()
    x, out = made.slot(Role.INPUT, (n,)), made.slot(Role.OUTPUT, (n,))
    turns = [made.slot(Role.TEMPORARY, (n,)) for _ in range(2)]
    before = x
    for i in range(times):
        after = out if i == times - 1 else turns[i % 2]
        made.launch(source, before, x, after, n)
        before = after
    return made.program()
