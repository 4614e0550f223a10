"""What is measured: each case a program at a size, with its target and its least work.

Data only: programs.py says what a program computes, peers/ how each library runs it. A target is
the most that the time of fused may be of the time of the fastest of the case's `rivals`.

The least work of a case is counted from shapes: bytes as if each input were read once and each
output written once, flops with a fused multiply-add as two. It places cases in the roofline plot.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import prod

Shape = tuple[int, ...]
Shapes = Callable[..., Sequence[Shape]]
Size = tuple[int, ...]

# Floating operations of the polynomials that fusejit's scalar programs take for one element.
EXP, LOG, SIGMOID, TANH, ERF = 24, 32, 27, 26, 49
GATES = 3 * SIGMOID + 2 * TANH  # of an LSTM cell, for each unit


@dataclass(frozen=True)
class Program:
    """What a program reads, returns and does, as functions of the numbers of a size."""

    inputs: Shapes
    outputs: Shapes
    flops: Callable[..., float]  # of everything but matrix products
    products: Callable[..., float] = lambda *size: 0  # of matrix products
    parameters: tuple[int, ...] = ()  # the inputs that gradients are taken of and steps update
    least: Size = (1,)  # the smallest size, where only overhead is left
    dtypes: tuple[str, ...] = ()  # of the inputs, where they are not all the case's
    labels: int | None = None  # the input that holds one-hot rows
    positive: bool = False  # whether no input may be negative
    step: float = 2.0  # products of a step for each of the forward; along a recurrence, half more


def _cell(state: int, gates: int, more: Callable[[int], list[Shape]] | None = None) -> Shapes:
    """x, `state` arrays of state, weights, recurrent weights, bias, and what a variant adds."""
    return lambda b, n: [
        *[(b, n)] * (1 + state),
        *[(n, gates * n)] * 2,
        (gates * n,),
        *(more(n) if more else []),
    ]


def _cell_products(gates: int) -> Callable[..., float]:
    return lambda b, n: 2 * 2 * b * n * gates * n


def _two(b: int, n: int) -> list[Shape]:
    return [(b, n)] * 2


def _one(b: int, n: int) -> list[Shape]:
    return [(b, n)]


PROGRAMS = {
    "add": Program(lambda n: [(n,)] * 2, lambda n: [(n,)], lambda n: n),
    "gates": Program(lambda n: [(n,)] * 4, lambda n: [(n,)], lambda n: n * (3 + SIGMOID + TANH)),
    "mixed": Program(
        lambda n: [(n,)] * 3,
        lambda n: [(n,)],
        lambda n: n * (2 + SIGMOID),
        dtypes=("float32", "float64", "int32"),
    ),
    "gelu": Program(lambda n: [(n,)], lambda n: [(n,)], lambda n: n * (4 + ERF)),
    "chain": Program(lambda n: [(n,)] * 2, lambda n: [(n,)], lambda n: 20 * n),
    "softmax": Program(_one, _one, lambda b, n: b * n * (4 + EXP), least=(1, 1)),
    "layer norm": Program(
        lambda b, n: [(b, n), (n,), (n,)], _one, lambda b, n: b * n * 8, least=(1, 1)
    ),
    "cross entropy": Program(
        _two,
        lambda b, n: [()],
        lambda b, n: b * n * (6 + EXP),
        parameters=(0,),
        least=(1, 1),
        labels=1,
    ),
    "adam": Program(
        lambda n: [*[(n,)] * 4, ()],
        lambda n: [*[(n,)] * 3, ()],
        lambda n: 14 * n,
        positive=True,  # one of them is a mean of squares
    ),
    "lstm": Program(
        _cell(2, 4),
        _two,
        lambda b, n: b * n * (12 + GATES),
        _cell_products(4),
        parameters=(3, 4, 5),
        least=(1, 1),
    ),
    "gru": Program(
        _cell(1, 3),
        _one,
        lambda b, n: b * n * (11 + 2 * SIGMOID + TANH),
        _cell_products(3),
        parameters=(2, 3, 4),
        least=(1, 1),
    ),
    "layer norm lstm": Program(
        _cell(2, 4, lambda n: [(4 * n,)] * 2 + [(n,)]),
        _two,
        lambda b, n: b * n * (84 + GATES),
        _cell_products(4),
        parameters=(3, 4, 5, 6, 7, 8),
        least=(1, 1),
    ),
    "peephole lstm": Program(
        _cell(2, 4, lambda n: [(n,)] * 3),
        _two,
        lambda b, n: b * n * (18 + GATES),
        _cell_products(4),
        parameters=(3, 4, 5, 6, 7, 8),
        least=(1, 1),
    ),
    "elman": Program(
        _cell(1, 1),
        _one,
        lambda b, n: b * n * (2 + TANH),
        _cell_products(1),
        parameters=(2, 3, 4),
        least=(1, 1),
    ),
    "unrolled lstm": Program(
        lambda t, b, n: [(n, 4 * n)] * 2 + [(4 * n,), (t, b, n), (b, n)],
        lambda t, b, n: [()],
        lambda t, b, n: t * b * n * (12 + GATES),
        lambda t, b, n: t * 2 * 2 * b * n * 4 * n,
        parameters=(0, 1, 2),
        least=(2, 1, 1),
        step=2.5,
    ),
    "mlp": Program(
        lambda b, i, n, o: [(i, n), (n,), (n, o), (o,), (b, i), (b, o)],
        lambda b, i, n, o: [()],
        lambda b, i, n, o: b * (2 * n + o * (6 + EXP)),
        lambda b, i, n, o: 2 * b * (i * n + n * o),
        parameters=(0, 1, 2, 3),
        least=(1, 1, 1, 1),
        labels=5,
    ),
}

# A gradient with respect to weights repeats each product of the forward once; a step says itself
# how many it needs. Backward, the rest costs about as much again as forward.
_PRODUCTS = {"forward": 1.0, "gradient": 2.0, "update": 1.0}
_REST = {"forward": 1.0, "gradient": 2.0, "step": 2.0, "update": 1.0}

ITEMSIZE = {"float32": 4, "float64": 8, "int32": 4}
ALL = ("numpy", "jax", "torch", "torch-2", "torch-compile")


@dataclass(frozen=True)
class Case:
    """One row. `mode`: "forward"; "gradient" of the sum of squares of the outputs with respect to
    the parameters; "step": gradient and SGD update; "update": outputs replace the first inputs.
    `dtype` is that of the outputs, and of the inputs unless the program names theirs."""

    program: str
    size: Size
    mode: str = "forward"
    dtype: str = "float32"
    target: float | None = None
    rivals: tuple[str, ...] = ALL

    def __str__(self) -> str:
        words = [self.program, "" if self.mode == "update" else self.mode, sizes(self.size)]
        return " ".join(filter(None, [*words, "" if self.dtype == "float32" else self.dtype]))

    @property
    def shape(self) -> Program:
        return PROGRAMS[self.program]

    @property
    def flops(self) -> float:
        found = self.shape.flops(*self.size) * _REST[self.mode]
        times = _PRODUCTS.get(self.mode, self.shape.step)
        return found + self.shape.products(*self.size) * times

    @property
    def bytes(self) -> float:
        inputs = self.shape.inputs(*self.size)
        outputs = self.shape.outputs(*self.size)
        if self.mode in ("gradient", "step"):
            outputs = [inputs[i] for i in self.shape.parameters]
        dtypes = self.shape.dtypes or (self.dtype,) * len(inputs)
        read = sum(ITEMSIZE[d] * prod(shape) for d, shape in zip(dtypes, inputs, strict=True))
        return float(read + ITEMSIZE[self.dtype] * sum(map(prod, outputs)))


def sizes(size: Size) -> str:
    """Thousands as 1e3, the rest as it is: "16x128"."""
    return "x".join(f"{n:.0e}".replace("e+0", "e") if n % 1000 == 0 else str(n) for n in size)


_CELL = ((1, 128), (16, 128), (64, 256))

# Rows with targets: fused over the best peer.
CASES = [
    Case("add", (4,), target=1.0, rivals=("numpy",)),
    *[
        Case("gates", (n,), target=target)
        for n, target in ((10**3, 0.35), (10**5, 0.5), (10**6, 0.6), (10**7, 0.4))
    ],
    Case("softmax", (1000, 1000), target=0.6),
    Case("layer norm", (1000, 1000), target=0.8),
    Case("adam", (10**6,), "update", target=0.8),
    *[Case("lstm", size, target=t) for size, t in zip(_CELL, (0.5, 0.6, 0.7), strict=True)],
    *[
        Case("lstm", size, "gradient", target=t)
        for size, t in zip(_CELL, (0.4, 0.5, 0.7), strict=True)
    ],
    Case("unrolled lstm", (32, 32, 128), "step", target=0.4),
    Case("mlp", (64, 784, 128, 10), "step", target=0.6),
    Case("mlp", (256, 784, 512, 10), "step", target=0.8),
    # Rows without: other cells, dtypes and functions.
    *[
        Case(cell, size, mode)
        for cell in ("gru", "layer norm lstm", "peephole lstm", "elman")
        for mode in ("forward", "gradient")
        for size in ((16, 128),)
    ],
    Case("lstm", (16, 128), dtype="float64"),
    Case("lstm", (16, 128), "gradient", dtype="float64"),
    Case("mixed", (10**6,), dtype="float64"),
    Case("cross entropy", (1000, 1000)),
    Case("cross entropy", (1000, 1000), "gradient"),
    Case("gelu", (10**6,)),
]
MAIN = [case for case in CASES if case.target is not None]
START = Case("lstm", (1, 128))  # its first call in a process
WARM, RESIZED = Case("lstm", (16, 128)), Case("lstm", (17, 128))  # warm at one size, new at another
MEMORY, MEMORY_WARM = Case("chain", (10**7,)), Case("chain", (1000,))
LONG = [Case("unrolled lstm", (500, 16, 128), mode) for mode in ("forward", "step")]

_SMALL = [
    *[Case("gates", (n,)) for n in (1, 10, 100)],
    Case("mlp", (2, 8, 8, 2), "step"),
    Case("unrolled lstm", (4, 2, 8), "step"),
]


def pairs() -> list[Case]:
    """What fused is compared with eager on: all of two or more ops, each also at its least size."""
    several = [case for case in CASES if case.program != "add"]
    least = [Case(c.program, c.shape.least, c.mode, c.dtype) for c in several]
    return list({str(case): case for case in [*least, *_SMALL, *several]}.values())


def by_name() -> dict[str, Case]:
    others = [START, WARM, RESIZED, MEMORY, MEMORY_WARM, *LONG]
    return {str(case): case for case in [*others, *pairs(), *CASES]}
