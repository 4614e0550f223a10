"""Callables that are entered natively: one class with a vectorcall slot, and what goes into it.

    class Function(NativeCallable):
        def __call__(self, *args, **kwargs): ...     # used while nothing is installed
    enable_vectorcall(Function, method=True)
    install(function, [Entry(...), ...], slow)        # from now on calls are native
    uninstall(function)

A native call tries the entries in order: the first whose checks hold runs its plan and wraps the
outputs as Tensors. Keywords, an active handler, a plan in use, a guard in the plan that stops it,
or no entry that applies: `slow` is called with the same arguments. Making the class needs ctypes
alone; code is compiled by the first plan that is loaded.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from . import abi, checks
from .checks import ArrayInput, Check, FloatInput, Input
from .runtime import NativePlan, native_code

_VECTORCALL, _STATE, _SIZE = 16, 24, 32  # where an instance has its entry and its %State; its size
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


# ---- what is installed


@dataclass(frozen=True, slots=True, eq=False)
class Convention:
    """How native code reads and makes Tensors, and when it must not run.

    Made by `convention`. While `active` is not 0 every call takes the slow path.
    """

    tensor: type
    data: int
    blanks: tuple[int, ...]
    active: ctypes.c_int64


def convention(
    tensor: type,
    active: ctypes.c_int64,
    data: str = "_data",
    blanks: Sequence[str] = ("_tag", "_origin"),
) -> Convention:
    """The convention for a class with slots: `data` holds the ndarray, `blanks` become None."""
    offsets = tuple(_offset(tensor, name) for name in blanks)
    return Convention(tensor, _offset(tensor, data), offsets, active)


def _offset(cls: type, slot: str) -> int:
    """Where instances of `cls` keep `slot`: look for the address of a value put there."""
    instance: Any = object.__new__(cls)
    probe = object()
    getattr(cls, slot).__set__(instance, probe)
    for offset in range(_VECTORCALL, cls.__basicsize__, 8):
        if ctypes.c_size_t.from_address(id(instance) + offset).value == id(probe):
            return offset
    raise TypeError(f"{cls.__name__}.{slot} is no slot with a fixed place")


@dataclass(frozen=True, slots=True, eq=False)
class Finish:
    """The result is `call([outputs...])`: nested results, Variables to assign."""

    call: Callable[[list[Any]], Any]


Result: TypeAlias = Literal["one", "tuple"] | Finish
_FORMS = {"one": 0, "tuple": 1}


class Entry:
    """A plan and when it applies.

    Attributes:
        first_miss: a builtin, (*args) -> the number of the first check that fails, or -1.
    """

    __slots__ = ("checks", "convention", "first_miss", "nargs", "plan", "record", "registers")

    def __init__(
        self,
        convention: Convention,
        nargs: int,
        conditions: Sequence[Check],
        plan: NativePlan,
        result: Result,
    ) -> None:
        """Args:
        nargs: how many positional arguments the call has.
        conditions: the checks; together they bind each input of the plan exactly once.
        result: "one" (the only output), "tuple" (of all outputs), or a Finish.
        """
        slots = [plan.plan.slots[number] for number in plan.plan.inputs]
        _check_bound(conditions, len(slots))
        if result == "one" and len(plan.plan.outputs) != 1:
            raise ValueError(f"{plan.plan.name}: one result of {len(plan.plan.outputs)} outputs")
        memory = abi.Memory()
        written, self.registers = checks.write(
            conditions,
            [(slot.dtype, slot.shape) for slot in slots],
            (convention.tensor, convention.data),
            memory,
        )
        finish = result.call if isinstance(result, Finish) else None
        form = 2 if isinstance(result, Finish) else _FORMS[result]
        memory.pin(plan)
        self.record = memory.words(
            (
                nargs,
                plan.record,
                len(conditions),
                written,
                self.registers,
                form,
                0 if finish is None else memory.pin(finish),
            )
        )
        self.convention = convention
        self.nargs = nargs
        self.checks = tuple(conditions)
        self.plan = plan
        code = native_code()["first.miss"]
        self.first_miss: Callable[..., int] = abi.builtin(
            "first_miss", code, abi.METH_FASTCALL, self.record, memory
        )


def _check_bound(conditions: Sequence[Check], inputs: int) -> None:
    """That running the checks fills every input: an unbound one would be read through null."""
    bound = [
        check.expect.position
        for check in conditions
        if isinstance(check.expect, Input | ArrayInput | FloatInput)
    ]
    if sorted(bound) != list(range(inputs)):
        raise ValueError(f"the checks bind inputs {sorted(bound)}, the plan has {inputs}")


def install(function: NativeCallable, entries: Sequence[Entry], slow: Callable[..., Any]) -> bool:
    """Enter `function` natively from now on, in place of what was installed before.

    `slow` may be a bound method of `function`: the cycle is one that the garbage collector sees.

    Returns:
        False if nothing was installed: no entries, or a class without `enable_vectorcall`.
    """
    if not entries or not type(function).__flags__ & _HAVE_VECTORCALL:
        uninstall(function)
        return False
    shared = entries[0].convention
    memory = abi.Memory()
    for kept in (shared.active, *entries):
        memory.pin(kept)
    record = memory.words(
        (
            0,  # the owner, once it is there
            memory.pin(slow),
            ctypes.addressof(shared.active),
            len(entries),
            memory.words(entry.record for entry in entries),
            max(entry.registers for entry in entries),
            memory.pin(shared.tensor),
            shared.data,
            len(shared.blanks),
            memory.words(shared.blanks),
        )
    )
    owner = memory.owned()
    ctypes.c_int64.from_address(record).value = id(owner)
    _point(function, native_code()["vectorcall"], record)
    function._native = owner  # last: this drops the state that was used before
    return True


def uninstall(function: NativeCallable) -> None:
    """Call `function` through its `__call__` again. Calls under way finish as they began."""
    if _Base is not object:
        _point(function, 0, 0)
    function._native = None


def _point(function: NativeCallable, code: int, state: int) -> None:
    if not isinstance(function, NativeCallable):
        raise TypeError(f"expected a NativeCallable, got {type(function).__name__}")
    ctypes.c_int64.from_address(id(function) + _STATE).value = state
    ctypes.c_int64.from_address(id(function) + _VECTORCALL).value = code
