"""Scalar programs as CUDA C, a statement for each instruction.

One table gives every primitive, by the kind of its operands: a text, or a rule that makes one. The
text is plain C that a compiler without fast-math and contraction translates as it stands; what C
leaves undefined is in kernels/cuda/scalar.cuh, by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TypeAlias

import numpy as np

from ...errors import LoweringError
from ...frozen import frozen
from ...scalar import DType, Instr, Program
from .text import TYPES, Text, literal


@frozen
class Site:
    """One instruction to be written: on what, and what its operands are called."""

    operand: DType  # of the first operand; of the second for select
    result: DType
    values: tuple[str, ...]
    constants: tuple[bool | int | float | None, ...]  # the operands whose values are known


Rule: TypeAlias = "str | Callable[[Site], str] | None"


def _shift(name: str, direct: str) -> Rule:
    def rule(s: Site) -> str:
        amount, kind = s.constants[1], TYPES[s.operand]
        if amount is None or not 0 <= amount < 8 * s.operand.itemsize:
            return f"{name}({s.values[0]}, {s.values[1]})"
        return f"({kind})({direct.format(s.values[0], int(amount), w=wrapping(s.operand))})"

    return rule


def _cast(s: Site) -> str:
    (value,), kind = s.values, TYPES[s.result]
    if s.result.kind == "b":
        return value if s.operand.kind == "b" else f"{value} != 0"
    if s.operand.kind != "f" or s.result.kind == "f":
        return f"({kind}){value}"
    if s.result == np.dtype(np.uint64):
        return f"to_uint64({value})"
    wide = s.result.itemsize == 8 or s.result == np.dtype(np.uint32)
    via = "long long" if wide else "int"
    number = f"to_signed<{via}>({value})"
    return number if via == kind else f"({kind}){number}"


def _bitcast(s: Site) -> str:
    if "b" in (s.operand.kind, s.result.kind):  # a bool's bits are those of its byte
        return _cast(s)
    return f"bits<{TYPES[s.result]}>({s.values[0]})"


_WRAP = "({t})(({w}){0} %s ({w}){1})"
_BITS = "({t})({0} %s {1})"
_RIGHT = _shift("shift_right", "{0} >> {1}")

# prim -> for floats, signed, unsigned, bool. In a text, {t} is the operands' type, {w} the unsigned
# type in which they wrap around, {f} the letter that a function of floats ends with; None is not
# part of the language.
_RULES: dict[str, Sequence[Rule]] = {
    "add": ("{0} + {1}", *[_WRAP % "+"] * 2, None),
    "sub": ("{0} - {1}", *[_WRAP % "-"] * 2, None),
    "mul": ("{0} * {1}", *[_WRAP % "*"] * 2, None),
    "div": ("{0} / {1}", *["floor_divide({0}, {1})"] * 2, None),
    "rem": (*["modulo({0}, {1})"] * 3, None),
    "neg": ("-{0}", *["negative({0})"] * 2, None),
    "abs": ("fabs{f}({0})", "{0} < 0 ? negative({0}) : {0}", "{0}", None),
    "fma": ("fma{f}({0}, {1}, {2})", None, None, None),
    "sqrt": ("sqrt{f}({0})", None, None, None),
    "floor": ("floor{f}({0})", "{0}", "{0}", None),
    "ceil": ("ceil{f}({0})", "{0}", "{0}", None),
    "trunc": ("trunc{f}({0})", "{0}", "{0}", None),
    "rint": ("rint{f}({0})", None, None, None),
    "copysign": ("copysign{f}({0}, {1})", None, None, None),
    "lt": ("{0} < {1}",) * 4,
    "le": ("{0} <= {1}",) * 4,
    "eq": ("{0} == {1}",) * 4,
    "and": (None, *[_BITS % "&"] * 3),
    "or": (None, *[_BITS % "|"] * 3),
    "xor": (None, *[_BITS % "^"] * 3),
    "not": (None, *["({t})~{0}"] * 2, "!{0}"),
    "shl": (None, *[_shift("shift_left", "({w}){0} << {1}")] * 2, None),
    "shr": (None, _RIGHT, _RIGHT, None),
    "mulhi": (None, None, "multiply_high({0}, {1})", None),
    "select": ("{0} ? {1} : {2}",) * 4,
    "cast": (_cast,) * 4,
    "bitcast": (_bitcast,) * 4,
}
_COLUMN = {"f": 0, "i": 1, "u": 2, "b": 3}


def is_legal(prim: str, operand: DType) -> bool:
    """Whether the language has `prim` for operands of this dtype."""
    return operand in TYPES and _RULES[prim][_COLUMN[operand.kind]] is not None


def wrapping(dtype: DType) -> str:
    """The unsigned type in which integers wrap: C promotes narrow ones to int, which does not."""
    return "unsigned long long" if dtype.itemsize == 8 else "unsigned"


def emit(text: Text, program: Program, arguments: Sequence[str], prefix: str = "v") -> list[str]:
    """Write the instructions of `program`; the names of its results."""
    known: dict[int, str] = {}
    for number, instr in enumerate(program.instrs):
        if instr.prim == "arg":
            assert isinstance(instr.imm, int)
            known[number] = arguments[instr.imm]
        elif instr.prim == "const":
            assert instr.imm is not None
            known[number] = literal(instr.dtype, instr.imm)
        else:
            name = known[number] = f"{prefix}{number}"
            kind = TYPES[instr.dtype]
            text.line(f"const {kind} {name} = {_expression(program, instr, known)};")
    return [known[number] for number in program.results]


def _expression(program: Program, instr: Instr, known: Mapping[int, str]) -> str:
    operands = [program.instrs[a] for a in instr.args]
    dtype = operands[1 if instr.prim == "select" else 0].dtype
    rule = _RULES[instr.prim][_COLUMN[dtype.kind]] if dtype in TYPES else None
    if rule is None:
        raise LoweringError(f"the scalar language has no {instr.prim} of {dtype}")
    values = tuple(known[a] for a in instr.args)
    if callable(rule):
        constants = tuple(o.imm if o.prim == "const" else None for o in operands)
        return rule(Site(dtype, instr.dtype, values, constants))
    suffix = "f" if dtype.kind == "f" and dtype.itemsize == 4 else ""
    return rule.format(*values, t=TYPES[dtype], w=wrapping(dtype), f=suffix)
