"""A profile function that Python code hears of only where it has not said that it need not.

CPython tells a profile function of every call and return of its thread. To hear of one in Python
takes 0.3 us and more, and an op has some twenty, all within fusejit. The native function asks for
those alone that are calls by code it was not told to pass over.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from functools import cache
from types import CodeType, FrameType
from typing import Any

from . import abi
from .native import slot_offset
from .ready import native_is_ready

PLACES = 1024
"""Code objects to pass over: one takes the place of another of the same low bits, which is then
asked for again. A recording meets some 60. `kernels/llvm/hook.ll` has the number, too."""


class Hook:
    """`function` as the profile function of a thread.

    Calling it calls `function`: it may be given to `sys.setprofile` and be found by
    `sys.getprofile` like any other.
    """

    __slots__ = ("_address", "_function", "_start", "_table")

    def __init__(self, function: Callable[[FrameType, str, Any], None]) -> None:
        self._function = function
        self._table = (ctypes.c_void_p * PLACES)()
        self._address = ctypes.addressof(self._table)
        self._start = _starter() if native_is_ready() else None

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        self._function(frame, event, arg)

    def start(self) -> None:
        """Hear of what this thread calls from now on; sys.setprofile(None) ends it."""
        if self._start is None:
            sys.setprofile(self)
        else:
            self._start(self)

    def pass_over(self, code: CodeType) -> None:
        """Hear no more of what this code calls, nor of its own calls. It must outlive the hook."""
        self._table[(id(code) >> 4) % PLACES] = id(code)


_table = ctypes.c_int64(slot_offset(Hook, "_address"))
_names = (ctypes.py_object * 2)(ctypes.py_object("call"), ctypes.py_object("c_call"))
_none = ctypes.py_object(None)

SYMBOLS = {
    "hook.table": ctypes.addressof(_table),
    "hook.names": ctypes.addressof(_names),
    "hook.none": ctypes.addressof(_none),
}
"""What the native function is linked with."""


@cache
def _starter() -> Callable[[Hook], None]:
    """Installs a hook natively."""
    from .runtime import native_code

    install = abi.c_api("PyEval_SetProfile", None, ctypes.c_void_p, ctypes.py_object)
    place = native_code()["hook"]

    def start(hook: Hook) -> None:
        install(place, hook)

    return start
