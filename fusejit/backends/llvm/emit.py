"""Scalar programs as LLVM instructions, for any number of lanes.

One table gives every primitive, by the kind of its operands: a text of one instruction, or a rule
that writes several. Nothing carries fast-math flags; LLVM then neither reassociates nor contracts.
A bool is an i1 here; `memory` makes it a byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeAlias

from ...errors import LoweringError
from ...frozen import frozen
from ...scalar import DType, Instr, Program
from . import floats, integers
from .text import ELEMENTS, Lanes


@frozen
class Site:
    """One instruction to be written: where, on what, and what its operands are called."""

    lanes: Lanes
    hint: str
    prim: str
    operand: DType  # of the first operand; of the second for select
    result: DType
    values: tuple[str, ...]
    constants: tuple[bool | int | float | None, ...]  # the operands whose values are known


Rule: TypeAlias = "str | Callable[[Site], str] | None"


def _intrinsic(name: str) -> Rule:
    def rule(s: Site) -> str:
        return s.lanes.intrinsic(s.hint, name, ELEMENTS[s.operand], *s.values)

    return rule


def _rounding(s: Site) -> str:
    return floats.rounded(s.lanes, s.hint, s.prim, ELEMENTS[s.operand], *s.values)


def _fma(s: Site) -> str:
    return floats.fma(s.lanes, s.hint, ELEMENTS[s.operand], *s.values)


def _float_remainder(s: Site) -> str:
    return floats.remainder(s.lanes, s.hint, ELEMENTS[s.operand], *s.values)


def _same(s: Site) -> str:
    return s.values[0]


def _absolute(s: Site) -> str:
    kind = s.lanes.type(ELEMENTS[s.operand])
    function = f"llvm.abs.{s.lanes.suffix(ELEMENTS[s.operand])}"
    keeps_lowest = ("i1", "false")
    return s.lanes.text.let(
        s.hint, s.lanes.text.call(kind, function, [(kind, s.values[0]), keeps_lowest])
    )


def _divide(s: Site) -> str:
    return integers.divide(s.lanes, s.hint, s.operand, *s.values)


def _remainder(s: Site) -> str:
    return integers.remainder(s.lanes, s.hint, s.operand, *s.values)


def _multiply_high(s: Site) -> str:
    return integers.multiply_high(s.lanes, s.hint, s.operand, *s.values)


def _shift(s: Site) -> str:
    amount, bits = s.constants[1], 8 * s.operand.itemsize
    if amount is None or not 0 <= amount < bits:
        return integers.shift(s.lanes, s.hint, s.prim, s.operand, *s.values)
    right = "ashr" if s.operand.kind == "i" else "lshr"
    opcode = "shl" if s.prim == "shl" else right
    return s.lanes.op(s.hint, opcode, ELEMENTS[s.operand], *s.values)


def _cast(s: Site) -> str:
    c, value = s.lanes, s.values[0]
    source, to = ELEMENTS[s.operand], ELEMENTS[s.result]
    before, after = s.operand.kind, s.result.kind
    if after == "b":
        opcode = "fcmp une" if before == "f" else "icmp ne"
        return value if before == "b" else c.op(s.hint, opcode, source, value, c.const(source, 0))
    if before == "b" and after == "f":
        return c.select(s.hint, value, to, c.const(to, 1.0), c.const(to, 0.0))
    if before == "f" and after != "f":
        return integers.float_to_integer(c, s.hint, value, source, s.result)
    if before == "f":
        opcode = "fpext" if s.result.itemsize > s.operand.itemsize else "fptrunc"
    elif after == "f":
        opcode = "sitofp" if before == "i" else "uitofp"
    elif s.result.itemsize > s.operand.itemsize or before == "b":
        opcode = "sext" if before == "i" else "zext"
    else:
        opcode = "trunc"
    return value if source == to else c.convert(s.hint, opcode, value, source, to)


def _bitcast(s: Site) -> str:
    source, to = ELEMENTS[s.operand], ELEMENTS[s.result]
    if "i1" in (source, to):  # a bool's bits are those of its byte
        return _cast(s)
    return (
        s.values[0] if source == to else s.lanes.convert(s.hint, "bitcast", s.values[0], source, to)
    )


# prim -> for floats, signed, unsigned, bool. In a text, {t} is the operands' type, {zero} and
# {ones} are constants of it, {m} is the type of a condition; None is not part of the language.
_RULES: dict[str, Sequence[Rule]] = {
    "add": ("fadd {t} {0}, {1}", "add {t} {0}, {1}", "add {t} {0}, {1}", None),
    "sub": ("fsub {t} {0}, {1}", "sub {t} {0}, {1}", "sub {t} {0}, {1}", None),
    "mul": ("fmul {t} {0}, {1}", "mul {t} {0}, {1}", "mul {t} {0}, {1}", None),
    "div": ("fdiv {t} {0}, {1}", _divide, _divide, None),
    "rem": (_float_remainder, _remainder, _remainder, None),
    "neg": ("fneg {t} {0}", "sub {t} {zero}, {0}", "sub {t} {zero}, {0}", None),
    "abs": (_intrinsic("fabs"), _absolute, _same, None),
    "fma": (_fma, None, None, None),
    "sqrt": (_intrinsic("sqrt"), None, None, None),
    "floor": (_rounding, _same, _same, None),
    "ceil": (_rounding, _same, _same, None),
    "trunc": (_rounding, _same, _same, None),
    "rint": (_rounding, None, None, None),
    "copysign": (_intrinsic("copysign"), None, None, None),
    "lt": ("fcmp olt {t} {0}, {1}", "icmp slt {t} {0}, {1}", *["icmp ult {t} {0}, {1}"] * 2),
    "le": ("fcmp ole {t} {0}, {1}", "icmp sle {t} {0}, {1}", *["icmp ule {t} {0}, {1}"] * 2),
    "eq": ("fcmp oeq {t} {0}, {1}", *["icmp eq {t} {0}, {1}"] * 3),
    "and": (None, *["and {t} {0}, {1}"] * 3),
    "or": (None, *["or {t} {0}, {1}"] * 3),
    "xor": (None, *["xor {t} {0}, {1}"] * 3),
    "not": (None, *["xor {t} {0}, {ones}"] * 3),
    "shl": (None, _shift, _shift, None),
    "shr": (None, _shift, _shift, None),
    "mulhi": (None, None, _multiply_high, None),
    "select": ("select {m} {0}, {t} {1}, {t} {2}",) * 4,
    "cast": (_cast,) * 4,
    "bitcast": (_bitcast,) * 4,
}
_COLUMN = {"f": 0, "i": 1, "u": 2, "b": 3}


def is_legal(prim: str, operand: DType) -> bool:
    """Whether the language has `prim` for operands of this dtype."""
    return operand in ELEMENTS and _RULES[prim][_COLUMN[operand.kind]] is not None


def operand_dtype(program: Program, instr: Instr) -> DType:
    return program.instrs[instr.args[1 if instr.prim == "select" else 0]].dtype


def emit(
    lanes: Lanes,
    program: Program,
    values: Mapping[int, str],
    numbers: Iterable[int] | None = None,
    prefix: str = "v",
) -> dict[int, str]:
    """Write the instructions `numbers` (all of them) and return every value by number.

    `values` names those that exist: the arguments, and what was computed elsewhere.
    """
    known = dict(values)
    for number in range(len(program.instrs)) if numbers is None else numbers:
        if number not in known:
            known[number] = _instruction(lanes, program, number, known, f"{prefix}{number}")
    return known


def _instruction(
    lanes: Lanes, program: Program, number: int, known: Mapping[int, str], hint: str
) -> str:
    instr = program.instrs[number]
    if instr.prim == "const":
        assert instr.imm is not None
        return lanes.const(ELEMENTS[instr.dtype], instr.imm)
    if not instr.args:
        raise LoweringError(f"program argument {instr.imm} has no value")
    dtype = operand_dtype(program, instr)
    rule = _RULES[instr.prim][_COLUMN[dtype.kind]] if dtype in ELEMENTS else None
    if rule is None:
        raise LoweringError(f"the scalar language has no {instr.prim} of {dtype}")
    operands = [program.instrs[a] for a in instr.args]
    constants = tuple(o.imm if o.prim == "const" else None for o in operands)
    names = tuple(known[a] for a in instr.args)
    site = Site(lanes, hint, instr.prim, dtype, instr.dtype, names, constants)
    if callable(rule):
        return rule(site)
    element = ELEMENTS[dtype]
    ones = lanes.const(element, True if element == "i1" else -1) if "{ones}" in rule else ""
    return lanes.text.let(
        hint,
        rule.format(
            *names,
            t=lanes.type(element),
            m=lanes.type("i1"),
            zero=lanes.const(element, 0),
            ones=ones,
        ),
    )
