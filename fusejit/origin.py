"""Where the user is: the innermost frame outside fusejit, kept as (code, instruction).

An origin is taken for every Tensor that is made, so it is cheap to take (some 0.5 us, a walk up the
stack) and is turned into 'train.py:12' only when an error, a graph or a warning asks.
"""

from __future__ import annotations

import os
import sys
from functools import lru_cache
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


def where(origin: Origin | None) -> str | None:
    """'train.py:12' of an origin."""
    return None if origin is None else _line(origin[0].co_filename, *origin)


# Places that call an op: an unrolled loop asks for the same few again and again. Resolving one
# takes 3 us. The file is part of the key because equal code objects may come from two files.
@lru_cache(maxsize=4096)
def _line(filename: str, code: CodeType, instruction: int) -> str:
    line = None
    for start, end, number in code.co_lines():
        if start <= instruction < end:
            line = number
    return f"{os.path.basename(filename)}:{line or code.co_firstlineno}"
