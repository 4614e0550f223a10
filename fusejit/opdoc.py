"""The help of an op, made from its record when somebody asks: `help(fj.exp)`, `fj.exp.__doc__`.

Nothing here runs when an op is declared, so it costs an import nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from inspect import Parameter, Signature
from inspect import signature as signature_of
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from .op import DTypeRule, Elementwise, Op

_KINDS = {"b": "bool", "i": "int", "u": "uint", "f": "float", "c": "complex"}
_DIGITS = 4  # of the number in an example: float32 and float64 agree on these


def signature(op: Op) -> Signature:
    """Operands by position, parameters by keyword."""
    kind = Parameter.VAR_POSITIONAL if op.variadic else Parameter.POSITIONAL_ONLY
    return Signature([*(Parameter(name, kind) for name in op.inputs), *_keywords(op)])


@cache  # one entry an op
def parameters(op: Op) -> tuple[str, ...]:
    """The names of an op's parameters.

    Example:
        >>> from fusejit.op import OPS
        >>> from fusejit.opdoc import parameters
        >>> parameters(OPS["sum"]), parameters(OPS["concat"]), parameters(OPS["exp"])
        (('axes', 'keepdims'), ('axis',), ())
    """
    return tuple(each.name for each in _keywords(op))


def document(op: Op) -> str:
    """The call, what it does, and for an elementwise op its operands, errors and an example."""
    parts = [f"{op.name}{signature(op)}", op.doc]
    if hasattr(op, "scalar"):
        parts.append("\n".join(_sections(op)))  # type: ignore[arg-type]
    return "\n\n".join(part for part in parts if part)


def dtypes(rule: DTypeRule) -> str:
    """The dtypes that a rule takes."""
    if rule.operand is not None:
        return f"any, as {rule.operand.name}"
    taken = "any" if set(rule.kinds) == set(_KINDS) else ", ".join(_KINDS[k] for k in rule.kinds)
    return f"{taken}; int as float64" if rule.floating else taken


def _keywords(op: Op) -> list[Parameter]:
    """The parameters: keyword-only ones of what runs the op in NumPy, but for reductions."""
    if hasattr(op, "combine"):
        return [Parameter(name, Parameter.KEYWORD_ONLY) for name in ("axes", "keepdims")]
    if isinstance(op.numpy, np.ufunc):  # those that it has are NumPy's
        return []
    found = signature_of(op.numpy).parameters.values()
    return [p.replace(annotation=p.empty) for p in found if p.kind is p.KEYWORD_ONLY]


def _sections(op: Elementwise) -> Iterable[str]:
    rule, several = op.dtype, len(op.inputs) > 1
    operands = ", ".join(op.inputs[len(rule.leading) :])
    yield "Args:"
    yield f"    {operands}: Tensors, Variables, ndarrays, lists or numbers; {dtypes(rule)}."
    for name, dtype in zip(op.inputs, rule.leading, strict=False):
        yield f"    {name}: the same, cast to {dtype.name}."
    yield "Returns:"
    kind = "" if rule.result is None else f"{rule.result.name} "
    shape = "the shape to which they broadcast" if several else f"the shape of {operands}"
    gradient = "" if op.vjp is not None else " It has no gradient."
    yield f"    A {kind}Tensor of {shape}.{gradient}"
    errors = _errors(rule, several)
    if errors:
        yield "Raises:"
        yield from errors
    if not _keywords(op):
        yield "Example:"
        yield from _example(op)


def _errors(rule: DTypeRule, several: bool) -> list[str]:
    found = ["    ShapeError: the operands do not broadcast."] if several else []
    taken = rule.kinds + ("biu" if rule.floating else "")
    if rule.operand is None and not set(_KINDS).issubset(taken):
        found.append("    DTypeError: an operand is of another dtype.")
    return found


def _example(op: Elementwise) -> Iterable[str]:
    """One call with Python numbers; what it gives is computed by NumPy, so that help runs no op."""
    values = _values(op)
    result = op.numpy(*map(np.asarray, values)).item()
    call = f"fj.{op.name}({', '.join(map(str, values))}).item()"
    yield "    >>> import fusejit as fj"
    if isinstance(result, float):
        yield f"    >>> round({call}, {_DIGITS})"
        yield f"    {round(result, _DIGITS)}"
    else:
        yield f"    >>> {call}"
        yield f"    {result}"


def _values(op: Elementwise) -> list[Any]:
    """Operands for an example, of a dtype that the op takes and from where it is defined."""
    low, high = op.domain
    free = len(op.inputs) - len(op.dtype.leading)
    if op.dtype.operand is not None:
        values: list[Any] = [True, False]
    elif "f" in op.dtype.kinds:
        values = [round(low + part * (high - low), 1) for part in (0.625, 0.75)]
    else:
        values = [6, 3] if "i" in op.dtype.kinds else [1 + 2j]
    return [True] * len(op.dtype.leading) + values[:free]
