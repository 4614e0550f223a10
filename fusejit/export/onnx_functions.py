"""What ONNX has a name for and the records of ops cannot tell: functions whose scalar programs look
at bits, and ops that NumPy runs.

This is a list of what ONNX knows, the one place that has such. An op that is not on it is
translated from its record, or refused.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np

from ..ir.graph import Node
from ..scalar import I64
from .onnx_writer import Writer

Translation = Callable[[Writer, Sequence[str], Node], str]


def _named(kind: str) -> Translation:
    return lambda writer, inputs, node: writer.node(kind, inputs)


def _number(writer: Writer, node: Node, number: float) -> str:
    return writer.scalar(number, node.outputs[0].type.dtype)


def _expm1(writer: Writer, inputs: Sequence[str], node: Node) -> str:
    """2 tanh(x/2) / (1 - tanh(x/2)): nothing cancels near 0; e**x - 1 where that would be 0 / 0."""
    (x,) = inputs
    one, two = (_number(writer, node, n) for n in (1.0, 2.0))
    half = writer.node("Tanh", [writer.node("Div", [x, two])])
    near = writer.node("Div", [writer.node("Mul", [two, half]), writer.node("Sub", [one, half])])
    far = writer.node("Sub", [writer.node("Exp", [x]), one])
    is_near = writer.node("Less", [writer.node("Abs", [x]), one])
    return writer.node("Where", [is_near, near, far])


def _log1p(writer: Writer, inputs: Sequence[str], node: Node) -> str:
    """log(u) x / (u - 1) with u = 1 + x, which undoes the rounding of u; x where u is 1. Kahan."""
    (x,) = inputs
    one = _number(writer, node, 1.0)
    u = writer.node("Add", [x, one])
    less = writer.node("Sub", [u, one])
    ratio = writer.node("Div", [x, less])
    found = writer.node("Mul", [writer.node("Log", [u]), ratio])
    infinite = writer.node("IsInf", [u], detect_negative=0)
    found = writer.node("Where", [infinite, u, found])
    return writer.node("Where", [writer.node("Equal", [u, one]), x, found])


def _logarithm(base: float) -> Translation:
    def translation(writer: Writer, inputs: Sequence[str], node: Node) -> str:
        found = writer.node("Log", inputs)
        return writer.node("Div", [found, _number(writer, node, float(np.log(base)))])

    return translation


def _logaddexp(writer: Writer, inputs: Sequence[str], node: Node) -> str:
    """max(a, b) + log1p(e**-|a - b|); a + log 2 for equal ones, which may be infinite."""
    a, b = inputs
    apart = writer.node("Sub", [a, b])
    small = writer.node("Exp", [writer.node("Neg", [writer.node("Abs", [apart])])])
    found = writer.node("Add", [writer.node("Max", [a, b]), _log1p(writer, [small], node)])
    same = writer.node("Equal", [a, b])
    log2 = _number(writer, node, float(np.log(2.0)))
    return writer.node("Where", [same, writer.node("Add", [a, log2]), found])


def _gather(writer: Writer, inputs: Sequence[str], node: Node) -> str:
    """x[i] or x[i, j, ...]: negative indices count from the end, in ONNX as well."""
    x, *indices = inputs
    if len(indices) == 1:
        return writer.node("Gather", [x, *indices])
    rank = len(node.inputs[0].type.shape) - len(indices)
    output = node.outputs[0].type.shape
    picked = output[: len(output) - rank]
    last = writer.shape([len(picked)])
    columns = [
        writer.node("Unsqueeze", [writer.expand(writer.cast(i, I64), picked), last])
        for i in indices
    ]
    return writer.node("GatherND", [x, writer.node("Concat", columns, axis=len(picked))])


def _extreme(kind: str) -> Translation:
    def translation(writer: Writer, inputs: Sequence[str], node: Node) -> str:
        axis, keepdims = node.params["axis"], node.params["keepdims"]
        return writer.node(kind, inputs, axis=axis, keepdims=int(keepdims))

    return translation


def _cumulative_sum(writer: Writer, inputs: Sequence[str], node: Node) -> str:
    return writer.node("CumSum", [*inputs, writer.scalar(node.params["axis"], I64)])


_NAMES = """exp log tanh sigmoid erf sin cos tan asin acos atan sinh cosh asinh acosh atanh pow"""
OPS: dict[str, Translation] = {
    **{name: _named(name.capitalize()) for name in _NAMES.split()},
    "expm1": _expm1,
    "log1p": _log1p,
    "log2": _logarithm(2.0),
    "log10": _logarithm(10.0),
    "logaddexp": _logaddexp,
    "gather": _gather,
    "argmax": _extreme("ArgMax"),
    "argmin": _extreme("ArgMin"),
    "cumulative_sum": _cumulative_sum,
}
"""By the name of the op."""
