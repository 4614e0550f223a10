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
from .native import HEADER, NativeCallable, is_enabled, point, uninstall
from .runtime import NativePlan, native_code

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
    for offset in range(HEADER, cls.__basicsize__, 8):
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
    if not entries or not is_enabled(type(function)):
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
    point(function, native_code()["vectorcall"], record)
    function._native = owner  # last: this drops the state that was used before
    return True
