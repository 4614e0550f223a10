"""A profile function that Python code hears of only where it has not said that it need not.

CPython tells a profile function of every call and return of its thread. To hear of one in Python
takes 0.3 us and more, and an op has some twenty, all within fusejit. The native function asks for
those alone that are calls by code it was not told to pass over.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Mapping
from functools import partial
from types import CodeType, FrameType
from typing import Any

from . import abi
from .native import slot_offset

_HEARD = ("call", "c_call")
PLACES = 1024
"""Code objects to pass over: one takes the place of another of the same low bits, which is then
asked for again. A recording meets some 60. `kernels/llvm/hook.ll` has the number, too."""


class Hook:
    """`function` as the profile function of a thread.

    Calling it calls `function`: it may be given to `sys.setprofile` and be found by
    `sys.getprofile` like any other.

    Attributes:
        start: a function without arguments. This thread's calls are heard from then on;
            sys.setprofile(None) ends that.
    """

    __slots__ = ("_address", "_function", "_table", "start")

    def __init__(self, function: Callable[[FrameType, str, Any], None]) -> None:
        self._function = function
        self._table = _Table.from_buffer_copy(_always)
        self._address = ctypes.addressof(self._table)
        self.start = partial(_native[-1] if _native else sys.setprofile, self)

    def __call__(self, frame: FrameType, event: str, arg: Any) -> None:
        if event in _HEARD:  # before there is native code it gets the others, too
            self._function(frame, event, arg)

    def pass_over(self, code: CodeType, always: bool = False) -> None:
        """Hear no more of what this code calls, nor of its own calls: this hook, or all that will
        be made as well. The code must live on."""
        for table in (self._table, _always) if always else (self._table,):
            table[(id(code) >> 4) % PLACES] = id(code)


_Table = ctypes.c_void_p * PLACES
_always = _Table()

_table = ctypes.c_int64(slot_offset(Hook, "_address"))
_names = (ctypes.py_object * 2)(ctypes.py_object(_HEARD[0]), ctypes.py_object(_HEARD[1]))
_none = ctypes.py_object(None)

SYMBOLS = {
    "hook.table": ctypes.addressof(_table),
    "hook.names": ctypes.addressof(_names),
    "hook.none": ctypes.addressof(_none),
}
"""What the native function is linked with."""


_native: list[Callable[[Hook], None]] = []
"""At most one: what installs a hook natively, once there is native code."""


def attach(code: Mapping[str, int]) -> None:
    """Have hooks installed natively, by the native module's entry points."""
    install = abi.c_api("PyEval_SetProfile", None, ctypes.c_void_p, ctypes.py_object)
    _native.append(partial(install, code["hook"]))
