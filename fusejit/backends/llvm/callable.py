"""Callables that are entered natively: one class with a vectorcall slot, and what goes into it.

    class Function(NativeCallable):
        def __call__(self, *args, **kwargs): ...     # used while nothing is installed
    enable_vectorcall(Function, method=True)
    install(function, [Entry(...), ...], slow)        # from now on calls are native
    uninstall(function)

A native call tries the entries in order: the first whose checks hold runs its plan and wraps the
outputs as Tensors. Where a guard stops the plan, the entries that `graft` has put there go on with
what it holds. Keywords and defaults are put in place first if a `Signature` says how. An error in a
plan, or no entry that applies: `slow` is called with the same arguments. While a handler is active
`handled` is. Making the class needs ctypes alone; code is
compiled by the first plan that is loaded.
"""

from __future__ import annotations

import ctypes
import types
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from ...frozen import frozen
from ..plan import Plan
from . import abi, checks, results
from .checks import ArrayInput, Behind, Check, FloatInput, Input
from .grafts import Carried, Exits
from .native import NativeCallable, is_enabled, point, slot_offset, uninstall
from .runtime import NativePlan, native_code

# ---- what is installed


@frozen(eq=False)
class Convention:
    """How native code reads and makes Tensors, and when it must not run.

    Made by `convention`. While `active` is not 0 calls are not taken natively.
    """

    tensor: type
    data: int
    blanks: tuple[int, ...]
    active: ctypes.c_int64
    value: int


def convention(
    tensor: type,
    active: ctypes.c_int64,
    data: str = "_data",
    blanks: Sequence[str] = ("_tag", "_origin"),
    variable: tuple[type, str] | None = None,
) -> Convention:
    """The convention for a class with slots: `data` holds the ndarray, `blanks` become None.

    Args:
        variable: the class of what a call can assign, and the slot in which it holds its Tensor.
    """
    offsets = tuple(slot_offset(tensor, name) for name in blanks)
    value = 0 if variable is None else slot_offset(*variable)
    return Convention(tensor, slot_offset(tensor, data), offsets, active, value)


class Conditions:
    """When something applies that is not run natively.

    Attributes:
        first_miss: a builtin, (*flat arguments) -> the number of the first check that fails, or -1.
        inputs: a builtin, (*flat arguments) -> the objects that become inputs, or None.
    """

    __slots__ = ("checks", "first_miss", "inputs")

    def __init__(
        self,
        convention: Convention,
        nargs: int,
        conditions: Sequence[Check],
        fits: Sequence[checks.Fit],
    ) -> None:
        """Args:
        nargs: how many flat arguments the call has.
        conditions: the checks; together they bind each input exactly once.
        fits: what the inputs must be.
        """
        bound = _bound(conditions, len(fits))
        memory = abi.Memory()
        tensor = (convention.tensor, convention.data)
        written, registers = checks.write(conditions, fits, tensor, memory, keep=bound)
        kept = memory.words(registers[check] for check in bound)
        none = memory.words(())
        record = memory.words(
            (nargs, 0, len(conditions), written, len(registers))
            + (0, none) * 3
            + (len(fits), kept)
            + (0, none) * 3
        )
        self.checks = tuple(conditions)
        self.first_miss: Callable[..., int] = _searching("first_miss", record, memory)
        self.inputs: Callable[..., tuple[Any, ...] | None] = _searching("inputs", record, memory)


class Entry:
    """A plan and when it applies.

    Attributes:
        first_miss: a builtin, (*flat arguments) -> the number of the first check that fails, or -1.
        inputs: a builtin, (*flat arguments) -> what would be the plan's inputs, or None.
    """

    __slots__ = (
        "_exits",
        "checks",
        "convention",
        "first_miss",
        "inputs",
        "makes",
        "nargs",
        "plan",
        "record",
        "registers",
    )

    def __init__(
        self,
        convention: Convention,
        nargs: int,
        conditions: Sequence[Check],
        plan: NativePlan,
        result: results.Result,
        carried: Sequence[Carried] = (),
    ) -> None:
        """Args:
        nargs: how many flat arguments the call has.
        conditions: the checks; together they bind each input of the plan exactly once.
        carried: where the last inputs are found instead, if this is a graft.
        """
        slots = [plan.plan.slots[number] for number in plan.plan.inputs]
        own = len(slots) - len(carried)
        bound = _bound(conditions, own)
        memory = abi.Memory()
        written, registers = checks.write(
            conditions,
            [(slot.dtype, slot.shape) for slot in slots],
            (convention.tensor, convention.data),
            memory,
            keep={*bound, *result.taken},
        )
        memory.pin(plan)
        gifts = [
            (given, len(slots) + taken, registers[bound[given]], registers[variable], around)
            for given, taken, variable, around in _gifts(conditions, plan.plan, bound, result)
        ]
        self.registers = len(registers)
        self.makes = len(result.made)
        self.record = memory.words(
            (
                nargs,
                plan.record,
                len(conditions),
                written,
                self.registers,
                *results.write(result, len(slots), len(plan.plan.outputs), registers, memory),
                own,
                memory.words(registers[check] for check in bound),
                len(gifts),
                memory.words(word for gift in gifts for word in gift),
                0,
                0,
                len(carried),
                memory.words(
                    word
                    for position, each in enumerate(carried, own)
                    for word in (position, each.binding, each.offset)
                ),
            )
        )
        self._exits = Exits(self.record, memory)
        self.convention = convention
        self.nargs = nargs
        self.checks = tuple(conditions)
        self.plan = plan
        self.first_miss: Callable[..., int] = _searching("first_miss", self.record, memory)
        self.inputs: Callable[..., tuple[Any, ...] | None] = _searching(
            "inputs", self.record, memory
        )

    def graft(self, step: int, seen: bytes, entry: Entry) -> None:
        """Go on with `entry` where the guard at `step` of the plan has seen these bytes."""
        self._exits.add(step, seen, entry, entry.record)


def _searching(name: str, record: int, memory: abi.Memory) -> Callable[..., Any]:
    """A builtin of flat arguments that runs the checks of an `%Entry`."""
    code = native_code()[name.replace("_", ".")]
    made: Callable[..., Any] = abi.builtin(name, code, abi.METH_FASTCALL, record, memory)
    return made


def _bound(conditions: Sequence[Check], inputs: int) -> list[int]:
    """The check that binds each input: one that none binds would be read through null."""
    bound = sorted(
        (check.expect.position, number)
        for number, check in enumerate(conditions)
        if isinstance(check.expect, Input | ArrayInput | FloatInput)
    )
    positions = [position for position, _ in bound]
    if positions != list(range(inputs)):
        raise ValueError(f"the checks bind inputs {positions}, the plan has {inputs}")
    return [number for _, number in bound]


def _gifts(
    conditions: Sequence[Check], plan: Plan, bound: Sequence[int], result: results.Result
) -> Iterator[tuple[int, int, int, int]]:
    """Input, output that may take its memory, check that takes the Variable which held the one and
    is assigned the other, how many Tensors are made around the output."""
    for slots in plan.donated:
        given, taken = plan.inputs.index(slots[0]), plan.outputs.index(slots[1])
        holder = conditions[bound[given]].source
        for variable, number in result.assigned:
            kept = conditions[variable].source
            if not (isinstance(holder, Behind) and isinstance(kept, Behind)):
                continue
            if holder.ref is kept.ref and result.made[number] == results.Output(taken):
                yield given, taken, variable, result.made.count(results.Output(taken))


@frozen(eq=False)
class Signature:
    """The parameters of a Python function; entries then take one flat argument for each.

    Flat are: the positional parameters, the tuple of *args, the keyword-only ones, the dict of
    **kwargs. The function's code must have these parameters for as long as this is installed.
    """

    function: types.FunctionType

    def names(self) -> tuple[str, ...]:
        """The parameters in the order of the flat arguments."""
        code = self.function.__code__
        positional, named = code.co_argcount, code.co_argcount + code.co_kwonlyargcount
        names = code.co_varnames
        star, stars = _stars(code)
        rest = names[named : named + star]
        return (
            *names[:positional],
            *rest,
            *names[positional:named],
            *names[named + star : named + star + stars],
        )

    def write(self, memory: abi.Memory) -> tuple[int, int]:
        """The address of the `%Signature` record, and how many flat arguments it makes."""
        code = self.function.__code__
        positional, named = code.co_argcount, code.co_kwonlyargcount
        star, stars = _stars(code)
        plain = not (named or star or stars)
        record = memory.words(
            (
                positional if plain else -1,
                memory.pin(self.function),
                positional,
                code.co_posonlyargcount,
                named,
                star,
                stars,
                memory.words(memory.pin(name) for name in code.co_varnames[: positional + named]),
            )
        )
        return record, positional + named + star + stars


def _stars(code: types.CodeType) -> tuple[int, int]:
    """1 or 0 for *args and **kwargs."""
    return code.co_flags >> 2 & 1, code.co_flags >> 3 & 1


@frozen
class Installed:
    """Builtins that search the entries of a function.

    Attributes:
        enter: a whole call, as the caller writes it.
        replay: (*flat arguments) -> a tuple of the result, or None where no path is known.
        probe: (*flat arguments) -> the record of the entry at the end of the path or 0; that of
            the entry which a guard has stopped last or 0, the guard's step, and what it saw.
    """

    enter: Callable[..., Any]
    replay: Callable[..., tuple[Any] | None]
    probe: Callable[..., tuple[int, int, int, bytes | None]]


def install(
    function: NativeCallable,
    entries: Sequence[Entry],
    slow: Callable[..., Any],
    handled: Callable[..., Any] | None = None,
    signature: Signature | None = None,
    grafts: Sequence[Entry] = (),
    enter: bool = True,
) -> Installed | None:
    """Enter `function` natively from now on, in place of what was installed before.

    `slow` may be a bound method of `function`: the cycle is one that the garbage collector sees.

    Args:
        handled: takes the calls while a handler is active; default `slow`.
        signature: how arguments become flat; default: positional calls as they come.
        grafts: what may be entered from `entries`; what is grafted later needs another `install`.
        enter: False only returns what searches; calls of `function` go on as before.
    Returns:
        What makes native calls also while a handler is active. None if nothing was installed: no
        entries, or a class without `enable_vectorcall`.
    """
    if not entries or not is_enabled(type(function)):
        uninstall(function)
        return None
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
            max(entry.registers for entry in (*entries, *grafts)),
            memory.pin(shared.tensor),
            shared.data,
            len(shared.blanks),
            memory.words(shared.blanks),
            memory.pin(slow if handled is None else handled),
            *((0, 0) if signature is None else signature.write(memory)),
            max(entry.makes for entry in (*entries, *grafts)),
            shared.value,
        )
    )
    owner = memory.owned()
    ctypes.c_int64.from_address(record).value = id(owner)
    code = native_code()
    if enter:
        point(function, code["vectorcall"], record)
        function._native = owner  # last: this drops the state that was used before
    return Installed(
        _builtin("enter", "enter.builtin", record, owner, abi.METH_FASTCALL | abi.METH_KEYWORDS),
        _builtin("replay", "replay", record, owner, abi.METH_FASTCALL),
        _builtin("probe", "probe", record, owner, abi.METH_FASTCALL),
    )


def _builtin(name: str, code: str, record: int, owner: object, flags: int) -> Callable[..., Any]:
    memory = abi.Memory()
    memory.pin(owner)
    made: Callable[..., Any] = abi.builtin(name, native_code()[code], flags, record, memory)
    return made
