"""What a miss is called: which check failed, what it expected and what there was."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..backends.llvm.checks import Bytes, Distinct, Expect, Length, Referent, Same
from ..tensor import Tensor
from .trace import Trace, value_at


def describe_miss(trace: Trace, number: int, flat: Sequence[Any]) -> str:
    """Which check failed: the path, and old -> new where both can be shown."""
    check = trace.checks[number]
    if isinstance(check.expect, Distinct):
        return "two of the objects that it reads were different, now they are one"
    expected = shown(check.expect, trace)
    value = value_at(trace.checks, number, flat)
    now = str(value.type) if isinstance(value, Tensor) else _text(value)
    return f"{path_of(trace, number)} was {expected}, now {now}"


def path_of(trace: Trace, number: int) -> str:
    """The Python path that a check looks at; the Variables that were read follow the snapshot."""
    if number < len(trace.paths):
        return trace.paths[number]
    ref = trace.variables[number - len(trace.paths)][1]()
    return ref.name if ref is not None else "a Variable"


def shown(expect: Expect, trace: Trace) -> str:
    """What a check expects, in a few words."""
    match expect:
        case Same(value):
            return _text(value)
        case Referent(ref):
            return f"the same {type(ref()).__name__}"
        case Length(length):
            return str(length)
        case Bytes(content=content):
            return f"an ndarray of the same {len(content)} bytes"
    position = getattr(expect, "position", None)
    if position is not None:
        return str(trace.program.recorded.inputs[position].type)
    return type(expect).__name__.lower()


def _text(value: object) -> str:
    """A value in at most 40 characters."""
    try:
        text = repr(value)
    except Exception:  # the user's `__repr__`: the call is not to fail for what nobody may read
        text = f"a {type(value).__name__}"
    return text if len(text) <= 40 else text[:37] + "..."
