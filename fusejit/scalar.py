"""The scalar language: what an op does to one element, spelled once for every target.

An op's `scalar=` is an ordinary Python function of `Expr`s. `trace` runs it once for the dtypes at
hand and returns a `Program`: straight-line, typed, hash-consed code that the LLVM and CUDA emitters
translate one instruction at a time, and that `evaluate` runs with NumPy as the reference.

    program := instr*  results                    an instr's number is its place in the tuple
    instr   := prim args dtype [imm]              args are numbers of earlier instrs

Every primitive is *total*: whatever the bits of its operands, it yields a value and never traps.
What C leaves undefined has NumPy's result: integer x // 0 is 0, MIN // -1 is MIN, a shift by the
width or more gives 0 (-1 for a negative number shifted right), a float outside an integer's range
converts as NumPy's x86-64 builds convert it. Floats are IEEE: no reassociation and no contraction;
`fma` is fused only where it is written.

Python control flow inside a scalar function runs while it is traced, so it may branch on
`x.dtype` (another polynomial for float64), never on a value.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import numpy as np

from .frozen import frozen

DType: TypeAlias = "np.dtype[np.generic]"
Number: TypeAlias = "bool | int | float"

BOOL = np.dtype(np.bool_)
F32, F64 = np.dtype(np.float32), np.dtype(np.float64)
I32, I64 = np.dtype(np.int32), np.dtype(np.int64)
U32, U64 = np.dtype(np.uint32), np.dtype(np.uint64)


@frozen
class Instr:
    """One typed instruction; `imm` is the value of a `const` and the position of an `arg`."""

    prim: str
    args: tuple[int, ...]
    dtype: DType
    imm: Number | None = None


@frozen(eq=False)
class Program:
    """Straight-line scalar code. Hashable: kernels are cached by it, to the sign of a zero."""

    instrs: tuple[Instr, ...]
    results: tuple[int, ...]
    _hash: int = 0  # 50 us for a long program, and often asked for

    def __post_init__(self) -> None:
        object.__setattr__(self, "_hash", hash(self._key()))

    def _key(self) -> tuple[object, ...]:
        # repr tells 0.0 from -0.0, which are equal keys.
        return (self.results, *((i.prim, i.args, i.dtype, repr(i.imm)) for i in self.instrs))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Program) or self._hash != other._hash:
            return False
        return self._key() == other._key()

    def __str__(self) -> str:
        lines = []
        for number, instr in enumerate(self.instrs):
            operands = [f"%{a}" for a in instr.args]
            if instr.imm is not None:
                operands.append(repr(instr.imm))
            lines.append(f"%{number}: {instr.dtype} = {instr.prim} {', '.join(operands)}")
        lines.append("return " + ", ".join(f"%{r}" for r in self.results))
        return "\n".join(lines)


# name -> how many operands. Operands share one dtype unless noted; comparisons yield bool.
# fma(a, b, c) rounds once; rint rounds half to even; copysign takes the sign of its second operand;
# div is IEEE for floats and floors for integers, rem has the sign of the divisor (NumPy's `//`,
# `%`); mulhi is the upper half of an unsigned product; bitcast keeps the bits; select(bool, a, b)
# picks.
PRIMS: dict[str, int] = {
    "arg": 0,
    "const": 0,
    "add": 2,
    "sub": 2,
    "mul": 2,
    "div": 2,
    "rem": 2,
    "neg": 1,
    "abs": 1,
    "fma": 3,
    "sqrt": 1,
    "floor": 1,
    "ceil": 1,
    "trunc": 1,
    "rint": 1,
    "copysign": 2,
    "lt": 2,
    "le": 2,
    "eq": 2,
    "and": 2,
    "or": 2,
    "xor": 2,
    "not": 1,
    "shl": 2,
    "shr": 2,
    "mulhi": 2,
    "select": 3,
    "cast": 1,
    "bitcast": 1,
}
_COMPARISONS = frozenset({"lt", "le", "eq"})


class Builder:
    """Collects instructions; equal instructions get one number."""

    def __init__(self) -> None:
        self.instrs: list[Instr] = []
        self._numbers: dict[tuple[object, ...], int] = {}

    def emit(
        self, prim: str, args: tuple[int, ...], dtype: DType, imm: Number | None = None
    ) -> Expr:
        # repr tells 0.0 from -0.0 and True from 1, which == would merge.
        key = (prim, args, dtype, repr(imm))
        number = self._numbers.get(key)
        if number is None:
            number = self._numbers[key] = len(self.instrs)
            self.instrs.append(Instr(prim, args, dtype, imm))
        return Expr(self, number, dtype)

    def arg(self, position: int, dtype: DType) -> Expr:
        return self.emit("arg", (), dtype, position)

    def const(self, value: Number, dtype: DType) -> Expr:
        return self.emit("const", (), dtype, dtype.type(value).item())

    def inline(self, program: Program, args: Sequence[Expr]) -> tuple[Expr, ...]:
        """Append `program` with its arguments replaced by `args`."""
        exprs: list[Expr] = []
        for instr in program.instrs:
            if instr.prim == "arg":
                assert isinstance(instr.imm, int)
                exprs.append(args[instr.imm])
            else:
                operands = tuple(exprs[a].number for a in instr.args)
                exprs.append(self.emit(instr.prim, operands, instr.dtype, instr.imm))
        return tuple(exprs[r] for r in program.results)

    def finish(self, results: Sequence[Expr]) -> Program:
        """The program of everything that `results` need, dead instructions dropped."""
        live = {r.number for r in results}
        for number in range(len(self.instrs) - 1, -1, -1):
            if number in live:
                live.update(self.instrs[number].args)
        order = sorted(live)
        place = {number: i for i, number in enumerate(order)}
        instrs = []
        for number in order:
            instr = self.instrs[number]
            args = tuple(place[a] for a in instr.args)
            instrs.append(Instr(instr.prim, args, instr.dtype, instr.imm))
        return Program(tuple(instrs), tuple(place[r.number] for r in results))


@frozen(eq=False)
class Expr:
    """A scalar under construction. Operators build instructions; Python numbers take its dtype."""

    builder: Builder
    number: int
    dtype: DType

    def _lift(self, other: Expr | Number) -> Expr:
        if isinstance(other, Expr):
            if other.dtype != self.dtype:
                raise TypeError(
                    f"scalar language: {self.dtype} meets {other.dtype}; cast one of them"
                )
            return other
        return self.builder.const(other, self.dtype)

    def _binary(self, prim: str, other: Expr | Number, swap: bool = False) -> Expr:
        pair = (self, self._lift(other))
        a, b = pair[::-1] if swap else pair
        dtype = BOOL if prim in _COMPARISONS else self.dtype
        return self.builder.emit(prim, (a.number, b.number), dtype)

    def _unary(self, prim: str) -> Expr:
        return self.builder.emit(prim, (self.number,), self.dtype)

    def __add__(self, other: Expr | Number) -> Expr:
        return self._binary("add", other)

    def __radd__(self, other: Number) -> Expr:
        return self._binary("add", other, swap=True)

    def __sub__(self, other: Expr | Number) -> Expr:
        return self._binary("sub", other)

    def __rsub__(self, other: Number) -> Expr:
        return self._binary("sub", other, swap=True)

    def __mul__(self, other: Expr | Number) -> Expr:
        return self._binary("mul", other)

    def __rmul__(self, other: Number) -> Expr:
        return self._binary("mul", other, swap=True)

    def __truediv__(self, other: Expr | Number) -> Expr:
        return self._binary("div", other)

    def __rtruediv__(self, other: Number) -> Expr:
        return self._binary("div", other, swap=True)

    def __mod__(self, other: Expr | Number) -> Expr:
        return self._binary("rem", other)

    def __neg__(self) -> Expr:
        return self._unary("neg")

    def __abs__(self) -> Expr:
        return self._unary("abs")

    def __lt__(self, other: Expr | Number) -> Expr:
        return self._binary("lt", other)

    def __le__(self, other: Expr | Number) -> Expr:
        return self._binary("le", other)

    def __gt__(self, other: Expr | Number) -> Expr:
        return self._binary("lt", other, swap=True)

    def __ge__(self, other: Expr | Number) -> Expr:
        return self._binary("le", other, swap=True)

    def eq(self, other: Expr | Number) -> Expr:
        """self == other (a method, so that `==` keeps its Python meaning)."""
        return self._binary("eq", other)

    def __and__(self, other: Expr | Number) -> Expr:
        return self._binary("and", other)

    def __or__(self, other: Expr | Number) -> Expr:
        return self._binary("or", other)

    def __xor__(self, other: Expr | Number) -> Expr:
        return self._binary("xor", other)

    def __invert__(self) -> Expr:
        return self._unary("not")

    def __lshift__(self, other: Expr | Number) -> Expr:
        return self._binary("shl", other)

    def __rshift__(self, other: Expr | Number) -> Expr:
        return self._binary("shr", other)


def fma(a: Expr, b: Expr | Number, c: Expr | Number) -> Expr:
    """a * b + c, rounded once (floats only)."""
    b, c = a._lift(b), a._lift(c)
    return a.builder.emit("fma", (a.number, b.number, c.number), a.dtype)


def select(condition: Expr, a: Expr | Number, b: Expr | Number) -> Expr:
    """a where condition holds, else b; both are evaluated. At least one of a, b is an Expr."""
    model = a if isinstance(a, Expr) else b
    assert isinstance(model, Expr)
    a, b = model._lift(a), model._lift(b)
    return model.builder.emit("select", (condition.number, a.number, b.number), model.dtype)


def sqrt(x: Expr) -> Expr:
    return x._unary("sqrt")


def floor(x: Expr) -> Expr:
    return x._unary("floor")


def ceil(x: Expr) -> Expr:
    return x._unary("ceil")


def trunc(x: Expr) -> Expr:
    return x._unary("trunc")


def rint(x: Expr) -> Expr:
    return x._unary("rint")


def copysign(x: Expr, sign: Expr | Number) -> Expr:
    return x._binary("copysign", sign)


def mulhi(a: Expr, b: Expr | Number) -> Expr:
    """The upper half of the double-width product of two unsigned integers."""
    return a._binary("mulhi", b)


def cast(x: Expr, dtype: DType) -> Expr:
    """NumPy's astype for one element."""
    return x if dtype == x.dtype else x.builder.emit("cast", (x.number,), dtype)


def bitcast(x: Expr, dtype: DType) -> Expr:
    """The same bits read as another dtype of the same width."""
    return x if dtype == x.dtype else x.builder.emit("bitcast", (x.number,), dtype)


def isnan(x: Expr) -> Expr:
    return ~x.eq(x)


def constant(x: Expr, value: Number, dtype: DType | None = None) -> Expr:
    """A constant in the program of `x`, of its dtype unless another is given."""
    return x.builder.const(value, dtype or x.dtype)


ScalarFunction: TypeAlias = Callable[..., "Expr | tuple[Expr, ...]"]


def trace(function: ScalarFunction, dtypes: Sequence[DType], **params: object) -> Program:
    """Run `function` on symbolic scalars of `dtypes` and return its program."""
    builder = Builder()
    results = function(*(builder.arg(i, d) for i, d in enumerate(dtypes)), **params)
    return builder.finish(results if isinstance(results, tuple) else (results,))
