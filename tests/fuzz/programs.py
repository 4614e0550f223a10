"""Random programs as source text: a function `f`, its inputs and its Variables.

A program is built one statement at a time from the values that exist so far, whose types are
tracked with stand-ins. Ops come from the registry by kind, so a new op is fuzzed as soon as it is
declared. Everything in a program has the same bits eagerly and fused: matrices that are multiplied
hold small positive integers, so that no order of summation rounds.
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from fusejit.eager import convert
from fusejit.errors import FuseJitError
from fusejit.op import OPS, Elementwise, Reduction
from fusejit.tensor import wrap

MAX_SIZE = 20_000
MAX_STATEMENTS = 14
LITERALS = (0, 1, -1, 2, 3, 0.5, -2.0, 0.0, -0.0, 1.0, True, False)
DTYPES = ("float32", "float64", "int32", "int64", "bool")
EXTENTS = (1, 2, 3, 4, 5, 3, 2, 1, 7, 17, 4, 6, 2, 3, 5, 0)
LONG = (64, 65, 130, 300)

# Not elementwise in the public sense: random_bits takes keys, astype has a statement of its own.
ELEMENTWISE = [
    op
    for op in OPS.values()
    if isinstance(op, Elementwise) and op.name not in ("astype", "random_bits")
]
SMOOTH = [op.name for op in ELEMENTWISE if op.vjp is not None and "f" in op.dtype.kinds]
REDUCTIONS = [op.name for op in OPS.values() if isinstance(op, Reduction)]

HEADER = """\
import numpy as np
import fusejit as fj
from fusejit.op import OPS
"""


@dataclass(frozen=True)
class Known:
    """A variable of the program: its name, its type, and whether it is of small integers > 0."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    small: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    def stand_in(self) -> Any:
        return wrap(np.zeros(self.shape, self.dtype))


@dataclass
class Draft:
    """A program being written."""

    random: random.Random
    known: list[Known] = field(default_factory=list)
    lines: list[str] = field(default_factory=list)
    ops: set[str] = field(default_factory=set)
    variables: list[Known] = field(default_factory=list)
    indent: str = "    "

    def choose(self, options: Sequence[Any]) -> Any:
        return self.random.choice(options)

    def integer(self, low: int, high: int) -> int:
        return self.random.randint(low, high)

    def some(self, wanted: Callable[[Known], bool] = lambda k: True) -> Known | None:
        """A known value, the latest most likely."""
        found = [k for k in self.known if wanted(k)]
        return self.choose(found[-3:] + found) if found else None

    def emit(self, text: str, dtype: Any, shape: Sequence[int], small: bool = False) -> Known:
        made = Known(f"t{len(self.lines)}", np.dtype(dtype).name, tuple(shape), small)
        self.lines.append(f"{self.indent}{made.name} = {text}")
        self.known.append(made)
        return made

    def op(self, name: str) -> str:
        self.ops.add(name)
        return f"{name}_"


def elementwise(d: Draft) -> None:
    name = d.choose([op.name for op in ELEMENTWISE])
    op = OPS[name]
    operands: list[Any] = []
    for i in range(len(op.inputs)):
        shape = operands[0].shape if operands and isinstance(operands[0], Known) else None
        found = d.some(lambda k: shape is None or _broadcasts(k.shape, shape))  # noqa: B023
        literal = i > 0 and d.integer(0, 3) == 0
        operands.append(d.choose(LITERALS) if literal or found is None else found)
    _apply(d, name, operands)


def _apply(d: Draft, name: str, operands: Sequence[Any]) -> None:
    op = OPS[name]
    try:
        given = [o.stand_in() if isinstance(o, Known) else o for o in operands]
        with np.errstate(all="ignore"):
            converted = convert(op, tuple(given))
        (result,) = op.infer([t.type for t in converted], {}) or ()
    except FuseJitError:
        return
    if result.size > MAX_SIZE or result.dtype.name not in DTYPES:
        return
    texts = [o.name if isinstance(o, Known) else repr(o) for o in operands]
    d.emit(f"{d.op(name)}({', '.join(texts)})", result.dtype, result.shape)


def _broadcasts(a: Sequence[int], b: Sequence[int]) -> bool:
    pairs = zip(a[::-1], b[::-1], strict=False)
    return all(m == n or 1 in (m, n) for m, n in pairs)


def cast(d: Draft) -> None:
    x = d.some()
    dtype = d.choose(DTYPES)
    if x is not None:
        small = x.small and dtype != "bool"
        d.emit(f"fj.astype({x.name}, {dtype!r})", dtype, x.shape, small)


def view(d: Draft) -> None:
    d.choose([slicing, permute, reshape, broadcast, flip, squeeze, expand])(d)


def slicing(d: Draft) -> None:
    x = d.some(lambda k: bool(k.shape))
    if x is None:
        return
    texts, shape = [], []
    for extent in x.shape:
        kind = d.integer(0, 5)
        if kind == 0 and extent:
            texts.append(str(d.integer(-extent, extent - 1)))
            continue
        step = d.choose((1, 2, -1, 3, -2))
        ends = [d.choose((None, d.integer(-extent, extent))) for _ in range(2)]
        found = slice(None, None, 1) if kind <= 2 else slice(ends[0], ends[1], step)
        texts.append(
            ":".join("" if e is None else str(e) for e in (found.start, found.stop, found.step))
        )
        shape.append(len(range(*found.indices(extent))))
    d.emit(f"{x.name}[{', '.join(texts)}]", x.dtype, shape, x.small)


def permute(d: Draft) -> None:
    x = d.some(lambda k: len(k.shape) > 1)
    if x is not None:
        order = tuple(d.random.sample(range(len(x.shape)), len(x.shape)))
        shape = [x.shape[a] for a in order]
        d.emit(f"fj.permute_dims({x.name}, {order})", x.dtype, shape, x.small)


def reshape(d: Draft) -> None:
    x = d.some()
    if x is None:
        return
    shape: list[int] = []
    rest = x.size
    if rest:
        while rest > 1 and len(shape) < 3:
            factors = [n for n in range(1, min(rest, 40) + 1) if rest % n == 0]
            shape.append(d.choose(factors))
            rest //= shape[-1]
        if rest > 1 or d.choose((True, False)):
            shape.append(rest)
    else:
        shape = [0, *([2] * d.integer(0, 1))]
    d.emit(f"fj.reshape({x.name}, {tuple(shape)})", x.dtype, shape, x.small)


def broadcast(d: Draft) -> None:
    x = d.some(lambda k: k.size <= MAX_SIZE // 32 and len(k.shape) < 4)
    if x is not None:
        shape = [d.choose((2, 3, 4)) if n == 1 else n for n in x.shape]
        shape = [d.choose((1, 2, 3)) for _ in range(d.integer(0, 1))] + shape
        if math.prod(shape) <= MAX_SIZE:
            d.emit(f"fj.broadcast_to({x.name}, {tuple(shape)})", x.dtype, shape, x.small)


def flip(d: Draft) -> None:
    x = d.some(lambda k: bool(k.shape))
    if x is not None:
        axis = d.integer(0, len(x.shape) - 1)
        d.emit(f"fj.flip({x.name}, axis={axis})", x.dtype, x.shape, x.small)


def squeeze(d: Draft) -> None:
    x = d.some(lambda k: 1 in k.shape)
    if x is not None:
        shape = list(x.shape)
        del shape[x.shape.index(1)]
        d.emit(f"fj.squeeze({x.name}, {x.shape.index(1)})", x.dtype, shape, x.small)


def expand(d: Draft) -> None:
    x = d.some(lambda k: len(k.shape) < 4)
    if x is not None:
        axis = d.integer(0, len(x.shape))
        shape = (*x.shape[:axis], 1, *x.shape[axis:])
        d.emit(f"fj.expand_dims({x.name}, {axis})", x.dtype, shape, x.small)


def reduce(d: Draft) -> None:
    name = d.choose(REDUCTIONS)
    x = d.some(lambda k: (k.dtype == "bool") == (name in ("any", "all")))
    if x is None:
        return
    axes = tuple(a for a in range(len(x.shape)) if d.choose((True, False)))
    if name in ("max", "min") and 0 in [x.shape[a] for a in axes]:
        return
    keepdims = d.choose((True, False))
    shape = [1 if a in axes else n for a, n in enumerate(x.shape) if keepdims or a not in axes]
    dtype = "int64" if x.dtype == "int32" and name in ("sum", "prod") else x.dtype
    d.emit(f"fj.{name}({x.name}, axis={axes}, keepdims={keepdims})", dtype, shape)


def join(d: Draft) -> None:
    x = d.some()
    if x is None or 3 * x.size > MAX_SIZE:
        return
    parts = [
        x,
        *(
            d.some(lambda k: (k.dtype, k.shape) == (x.dtype, x.shape))
            for _ in range(d.integer(1, 2))
        ),
    ]
    names = ", ".join(p.name for p in parts if p is not None)
    small = all(p is not None and p.small for p in parts)
    if x.shape and d.choose((True, False)):
        axis = d.integer(0, len(x.shape) - 1)
        shape = [n * len(parts) if a == axis else n for a, n in enumerate(x.shape)]
        d.emit(f"fj.concat([{names}], axis={axis})", x.dtype, shape, small)
    elif len(x.shape) < 4:
        axis = d.integer(0, len(x.shape))
        shape = [*x.shape[:axis], len(parts), *x.shape[axis:]]
        d.emit(f"fj.stack([{names}], axis={axis})", x.dtype, shape, small)


def place(d: Draft) -> None:
    x = d.some(lambda k: bool(k.shape) and k.size < 500)
    if x is not None:
        region = tuple((d.integer(0, 2), d.choose((1, 2))) for _ in x.shape)
        shape = tuple(
            s + step * max(n - 1, 0) + 1 + d.integer(0, 1)
            for (s, step), n in zip(region, x.shape, strict=True)
        )
        if math.prod(shape) <= MAX_SIZE:
            d.emit(f"{d.op('place')}({x.name}, shape={shape}, ranges=({region},))", x.dtype, shape)


def matmul(d: Draft) -> None:
    x = d.some(lambda k: len(k.shape) >= 2 and k.dtype in ("float32", "float64"))
    if x is None:
        return
    y = d.some(
        lambda k: (
            len(k.shape) >= 2
            and k.dtype == x.dtype
            and (k.shape[-2] == x.shape[-1] or k.shape[-1] == x.shape[-1])
            and _broadcasts(k.shape[:-2], x.shape[:-2])
        )
    )
    if y is None:
        return
    left, right = (_small(d, k) for k in (x, y))
    if left.shape[-1] != right.shape[-2]:
        shape = (*right.shape[:-2], right.shape[-1], right.shape[-2])
        right = d.emit(f"fj.matrix_transpose({right.name})", right.dtype, shape, True)
    batch = np.broadcast_shapes(left.shape[:-2], right.shape[:-2])
    shape = (*batch, left.shape[-2], right.shape[-1])
    if math.prod(shape) <= MAX_SIZE:
        d.emit(f"fj.matmul({left.name}, {right.name})", left.dtype, shape)


def _small(d: Draft, x: Known) -> Known:
    if x.small:
        return x
    text = f"fj.where(fj.abs({x.name}) < 6, fj.floor(fj.abs({x.name})) + 1, 2)"
    return d.emit(text, x.dtype, x.shape, True)


def iota(d: Draft) -> None:
    n = d.choose((1, 3, 4, 7, 17))
    down = f"fj.arange({n}, 0, -1, dtype='float32')"
    d.emit(*d.choose([(f"fj.arange({n})", "int64"), (down, "float32")]), (n,))


def variable(d: Draft) -> None:
    v = d.choose(d.variables)
    x = d.some(lambda k: (k.dtype, k.shape) == (v.dtype, v.shape))
    if x is not None and d.choose((True, False)):
        d.lines.append(f"{d.indent}{v.name}.assign({x.name})")
    d.emit(f"fj.asarray({v.name})", v.dtype, v.shape)


def gradient(d: Draft) -> None:
    x = d.some(lambda k: k.dtype in ("float32", "float64") and k.size > 0)
    if x is None:
        return
    body, shape = "x", x.shape
    for _ in range(d.integer(1, 4)):
        body, shape = _differentiable(d, x, body, shape)
    d.emit(f"fj.gradients_function(lambda x: fj.sum({body}))({x.name})[0]", x.dtype, x.shape)


def _differentiable(d: Draft, x: Known, body: str, shape: Any) -> tuple[str, Any]:
    kind = d.integer(0, 5)
    if kind == 0 and shape:
        start, step = d.choose(((1, 1), (None, -1), (None, 2), (0, 1)))
        length = len(range(shape[0])[start:None:step])
        return f"{body}[{'' if start is None else start}::{step}]", (length, *shape[1:])
    if kind == 1 and len(shape) > 1:
        return f"fj.permute_dims({body}, {tuple(range(len(shape)))[::-1]})", shape[::-1]
    if kind == 2 and shape and shape[0]:
        return f"fj.max({body}, axis=0, keepdims=True)", (1, *shape[1:])
    name = d.choose(SMOOTH)
    if len(OPS[name].inputs) == 1:
        return f"{d.op(name)}({body})", shape
    other = d.some(lambda k: k.dtype == x.dtype and _broadcasts_to(k.shape, shape))
    if len(OPS[name].inputs) == 2 and other is not None:
        return f"{d.op(name)}({body}, {other.name})", shape
    return f"{body} * {body}", shape


def _broadcasts_to(a: Sequence[int], b: Sequence[int]) -> bool:
    fits = zip(a[::-1], b[::-1], strict=False)
    return len(a) <= len(b) and all(m in (n, 1) for m, n in fits)


def guard(d: Draft) -> None:
    x = d.some(lambda k: k.dtype != "bool")
    if x is not None:
        positive = f"fj.sum(fj.astype({x.name}, 'float64')) > 0"
        d.emit(f"{x.name} + {x.name} if {positive} else {x.name} * 3", x.dtype, x.shape)


STATEMENTS = [
    *[elementwise] * 8, *[view] * 8, *[reduce] * 4, *[join] * 2, *[matmul] * 2,
    cast, place, iota, variable, gradient, guard,
]  # fmt: skip


def _shape(d: Draft) -> tuple[int, ...]:
    kind = d.integer(0, 9)
    if kind == 9:
        return (9000,)
    if kind >= 7:
        shape = (d.choose((1, 2, 3, 66)), d.choose(LONG))
        return shape[:: d.choose((1, -1))]
    return tuple(d.choose(EXTENTS) for _ in range(d.integer(0, 4)))


def program(seed: int) -> str:
    """The source text of program number `seed`."""
    d = Draft(random.Random(seed))
    kinds = [d.choose(("normal", "small", "special")) for _ in range(d.integer(1, 3))]
    shape = _shape(d)
    for i, kind in enumerate(kinds):
        dtype = d.choose(DTYPES)
        shape = d.choose((shape, shape, _shape(d)))
        d.known.append(Known(f"x{i}", dtype, shape, kind == "small" and dtype != "bool"))
    inputs = list(d.known)
    d.variables = [Known("v0", "float32", d.choose((shape, (), (2, 3))))]
    for _ in range(d.integer(2, MAX_STATEMENTS)):
        d.choose(STATEMENTS)(d)
    body = "\n".join(d.lines)
    results = [
        k for k in d.known if len(re.findall(rf"\b{k.name}\b", body)) == 1 and k.name[0] == "t"
    ]
    results += [d.choose(d.known) for _ in range(d.integer(0, 2))]
    return _text(d, inputs, kinds, results or inputs)


def _text(d: Draft, inputs: Sequence[Known], kinds: Sequence[str], results: Sequence[Known]) -> str:
    given = [(k.dtype, k.shape, kind) for k, kind in zip(inputs, kinds, strict=True)]
    lines = [HEADER.rstrip(), *(f"{name}_ = OPS[{name!r}]" for name in sorted(d.ops))]
    lines += [f"v0 = fj.Variable(np.ones({v.shape}, {v.dtype!r}), name='v0')" for v in d.variables]
    lines += [f"INPUTS = {given!r}", "", "", f"def f({', '.join(k.name for k in inputs)}):"]
    lines += d.lines
    lines.append("    return " + ", ".join(k.name for k in results) + ",")
    return "\n".join(lines) + "\n"
