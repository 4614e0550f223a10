"""Where the user is: the innermost frame outside fusejit, kept as (code, instruction).

An origin is taken for every Tensor that is made, so it is cheap to take (some 0.5 us, a walk up the
stack) and is turned into 'train.py:12' only when an error, a graph or a warning asks.
"""

from __future__ import annotations

import os
import sys
from types import CodeType
from typing import Any, TypeAlias

_PACKAGE = os.path.dirname(os.path.abspath(__file__)) + os.sep
Origin: TypeAlias = "tuple[CodeType, int]"


def user_frame(own: CodeType | None = None) -> Any:
    """The innermost frame outside fusejit, or of the code `own`; or None."""
    frame = sys._getframe(1)
    while frame is not None and frame.f_code.co_filename.startswith(_PACKAGE):
        if frame.f_code is own:
            break
        frame = frame.f_back  # type: ignore[assignment]
    return frame


def user_origin() -> Origin | None:
    """Where the user is, as (code, instruction): cheap to take, resolved by `where` if ever."""
    frame = user_frame()
    return None if frame is None else (frame.f_code, frame.f_lasti)


_lines: dict[tuple[int, int], tuple[CodeType, str]] = {}
"""What is known of places that call an op: an unrolled loop asks for the same few again and again,
and resolving one takes 3 us. By identity: hashing a code object takes 0.5 us, and equal ones may
come from two files."""
MAX_LINES = 4096


def where(origin: Origin | None) -> str | None:
    """'train.py:12' of an origin."""
    if origin is None:
        return None
    code, instruction = origin
    key = (id(code), instruction)
    known = _lines.get(key)
    if known is None:
        if len(_lines) >= MAX_LINES:
            _lines.clear()
        known = _lines[key] = code, _line(code, instruction)
    return known[1]


def _line(code: CodeType, instruction: int) -> str:
    line = None
    for start, end, number in code.co_lines():
        if start <= instruction < end:
            line = number
    return f"{os.path.basename(code.co_filename)}:{line or code.co_firstlineno}"
