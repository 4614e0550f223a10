"""Scalar programs as ONNX nodes: each primitive is one node or a few, on whole arrays.

An fma becomes a product and a sum, so results may differ in the last bit. What ONNX cannot say is
an error: it has no way to look at the bits of a float, and shifts unsigned integers alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ..errors import ExportError
from ..scalar import BOOL, DType, Instr, Program
from .onnx_writer import Writer

Rule = Callable[[Writer, Sequence[str], DType], str]
"""(writer, operands, their dtype) -> the result."""


def translated(writer: Writer, program: Program, inputs: Sequence[str]) -> str:
    """The name of the first result of a program."""
    names: list[str] = []
    for instr in program.instrs:
        if instr.prim == "arg":
            names.append(inputs[int(instr.imm or 0)])
        elif instr.prim == "const":
            assert instr.imm is not None
            names.append(writer.scalar(instr.imm, instr.dtype))
        else:
            names.append(_node(writer, program, instr, [names[a] for a in instr.args]))
    return names[program.results[0]]


def _node(writer: Writer, program: Program, instr: Instr, operands: Sequence[str]) -> str:
    if instr.prim == "cast":
        return writer.cast(operands[0], instr.dtype)
    dtype = program.instrs[instr.args[-1]].dtype
    rule = _RULES.get(instr.prim)
    if rule is None:
        raise ExportError(f"ONNX has no {instr.prim}")
    if isinstance(rule, str):
        return writer.node(rule, operands)
    return rule(writer, operands, dtype)


def _logic(of_bools: str, of_bits: str) -> Rule:
    def rule(writer: Writer, operands: Sequence[str], dtype: DType) -> str:
        return writer.node(of_bools if dtype == BOOL else of_bits, operands)

    return rule


def _shift(direction: str) -> Rule:
    def rule(writer: Writer, operands: Sequence[str], dtype: DType) -> str:
        if dtype.kind != "u":
            raise ExportError(f"ONNX shifts no {dtype}")
        return writer.node("BitShift", operands, direction=direction)

    return rule


def _fma(writer: Writer, operands: Sequence[str], dtype: DType) -> str:
    a, b, c = operands
    return writer.node("Add", [writer.node("Mul", [a, b]), c])


def _divide(writer: Writer, operands: Sequence[str], dtype: DType) -> str:
    """Of integers it floors: (a - a mod b) / b is exact, whichever way ONNX rounds."""
    a, b = operands
    if dtype.kind == "f":
        return writer.node("Div", [a, b])
    return writer.node("Div", [writer.node("Sub", [a, _remainder(writer, operands, dtype)]), b])


def _remainder(writer: Writer, operands: Sequence[str], dtype: DType) -> str:
    """With the sign of the divisor; ONNX has that for integers only."""
    a, b = operands
    if dtype.kind != "f":
        return writer.node("Mod", [a, b])
    found, zero = writer.node("Mod", [a, b], fmod=1), writer.scalar(0, dtype)
    signs = [writer.node("Less", [x, zero]) for x in (found, b)]
    some = writer.node("Not", [writer.node("Equal", [found, zero])])
    differ = writer.node("And", [writer.node("Xor", signs), some])
    return writer.node("Where", [differ, writer.node("Add", [found, b]), found])


def _trunc(writer: Writer, operands: Sequence[str], dtype: DType) -> str:
    (x,) = operands
    below = writer.node("Less", [x, writer.scalar(0, dtype)])
    return writer.node("Where", [below, writer.node("Ceil", [x]), writer.node("Floor", [x])])


def _copysign(writer: Writer, operands: Sequence[str], dtype: DType) -> str:
    """1 / -0.0 is below zero as well."""
    x, sign = operands
    zero, one = writer.scalar(0, dtype), writer.scalar(1, dtype)
    sides = [sign, writer.node("Div", [one, sign])]
    below = writer.node("Or", [writer.node("Less", [side, zero]) for side in sides])
    size = writer.node("Abs", [x])
    return writer.node("Where", [below, writer.node("Neg", [size]), size])


_RULES: dict[str, str | Rule] = {
    "add": "Add",
    "sub": "Sub",
    "mul": "Mul",
    "div": _divide,
    "rem": _remainder,
    "neg": "Neg",
    "abs": "Abs",
    "fma": _fma,
    "sqrt": "Sqrt",
    "floor": "Floor",
    "ceil": "Ceil",
    "trunc": _trunc,
    "rint": "Round",
    "copysign": _copysign,
    "lt": "Less",
    "le": "LessOrEqual",
    "eq": "Equal",
    "and": _logic("And", "BitwiseAnd"),
    "or": _logic("Or", "BitwiseOr"),
    "xor": _logic("Xor", "BitwiseXor"),
    "not": _logic("Not", "BitwiseNot"),
    "shl": _shift("LEFT"),
    "shr": _shift("RIGHT"),
    "select": "Where",
}
"""By primitive. mulhi and bitcast are not among them."""
