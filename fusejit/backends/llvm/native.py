"""A class whose instances CPython can call through a pointer: made with ctypes, without any code.

Apart from `callable`, which says what is installed there, so that decorating a function loads
neither the compiler nor what prepares plans for it.
"""

from __future__ import annotations

import ctypes
from functools import cache
from typing import Any

from . import abi

HEADER = 16  # bytes of an object before its first field
_VECTORCALL, _STATE, _SIZE = HEADER, 24, 32  # where an instance has its entry, its state; its size
_BASETYPE, _METHOD_DESCRIPTOR, _HAVE_VECTORCALL = 1 << 10, 1 << 17, 1 << 11
_FLAGS_OFFSET = 168  # tp_flags in a type object; compared with __flags__ before it is written
_TP_MEMBERS, _T_PYSSIZET, _READONLY = 72, 19, 1


class _Member(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("type", ctypes.c_int),
        ("offset", ctypes.c_ssize_t),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    )


class _Slot(ctypes.Structure):
    _fields_ = (("slot", ctypes.c_int), ("value", ctypes.c_void_p))


class _Spec(ctypes.Structure):
    _fields_ = (
        ("name", ctypes.c_char_p),
        ("basicsize", ctypes.c_int),
        ("itemsize", ctypes.c_int),
        ("flags", ctypes.c_uint),
        ("slots", ctypes.c_void_p),
    )


def _native_base() -> type:
    """A class whose instances have a vectorcall pointer and a state pointer, both null at first."""
    if abi.why_not_native() is not None:
        return object
    members = (_Member * 2)(
        _Member(b"__vectorcalloffset__", _T_PYSSIZET, _VECTORCALL, _READONLY, None), _Member()
    )
    slots = (_Slot * 2)(_Slot(_TP_MEMBERS, ctypes.addressof(members)), _Slot())
    name = f"{__name__}._Base".encode()
    spec = _Spec(name, _SIZE, 0, _BASETYPE, ctypes.addressof(slots))
    _kept.extend((members, slots, spec))  # a type may go on reading its name and member table
    make = abi.c_api("PyType_FromSpec", ctypes.py_object, ctypes.c_void_p)
    base: type = make(ctypes.addressof(spec))
    return base


_kept: list[object] = []
_Base: Any = _native_base()


class NativeCallable(_Base):  # type: ignore[misc]
    """The base of callables that `install` can give a native entry.

    `_native` owns what the entry points to. It is a slot and not in `__dict__`, which users clear,
    copy and update (functools.wraps does).
    """

    __slots__ = ("_native",)
    _native: object


def enable_vectorcall(cls: type, method: bool = False) -> bool:
    """Let CPython call instances of exactly `cls` through their vectorcall pointer.

    A class that defines `__call__` does not inherit the flag, so it is set on each. While an
    instance's pointer is null CPython calls `__call__`.

    Args:
        method: `cls` binds as functions do: `__get__` of an instance gives a bound method.
    Returns:
        False where native calls are impossible; `__call__` is used then.
    """
    if abi.why_not_native() is not None or not issubclass(cls, NativeCallable):
        return False
    flags = ctypes.c_ulong.from_address(id(cls) + _FLAGS_OFFSET)
    if flags.value != cls.__flags__:
        return False
    flags.value |= _HAVE_VECTORCALL | (_METHOD_DESCRIPTOR if method else 0)
    abi.c_api("PyType_Modified", None, ctypes.py_object)(cls)
    return True


def is_enabled(cls: type) -> bool:
    """Whether CPython calls instances of `cls` through their pointer."""
    return bool(cls.__flags__ & _HAVE_VECTORCALL)


def point(function: NativeCallable, code: int, state: int) -> None:
    """Let calls of `function` enter `code`, which finds `state` behind it; 0 for its `__call__`."""
    if not isinstance(function, NativeCallable):
        raise TypeError(f"expected a NativeCallable, got {type(function).__name__}")
    if _Base is object:
        return
    ctypes.c_int64.from_address(id(function) + _STATE).value = state
    ctypes.c_int64.from_address(id(function) + _VECTORCALL).value = code


def uninstall(function: NativeCallable) -> None:
    """Call `function` through its `__call__` again. Calls under way finish as they began."""
    point(function, 0, 0)
    function._native = None


@cache
def slot_offset(cls: type, slot: str) -> int:
    """Where instances of `cls` keep `slot`: look for the address of a value put there."""
    instance: Any = object.__new__(cls)
    probe = object()
    getattr(cls, slot).__set__(instance, probe)
    for offset in range(HEADER, cls.__basicsize__, 8):
        if ctypes.c_size_t.from_address(id(instance) + offset).value == id(probe):
            return offset
    raise TypeError(f"{cls.__name__}.{slot} is no slot with a fixed place")
