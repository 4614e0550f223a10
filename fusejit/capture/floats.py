"""Which float arguments may become run-time parameters of a plan.

A Python float is guarded by value unless all that the call did with it was arithmetic with Tensors.
The proof has two halves, both needed:

    the bytecode    the parameter is never rebound, deleted or captured by a closure, no code can
                    look at local variables, and each place that loads it stands outside of any
                    loop and feeds one binary + - * / and nothing else
    the recording   at each of these instructions dispatch was given that very object, straight from
                    the body's own frame: the other operand was a Tensor. The object is made for the
                    call, since a constant of the caller may also be what a global holds

The plan then takes the float64 and casts it where eager execution converted it, to the same bits.
"""

from __future__ import annotations

import dis
import struct
from collections.abc import Sequence
from functools import lru_cache
from types import CodeType
from typing import Any

_ARITHMETIC = frozenset({"+", "-", "*", "/"})
_PUSHES = frozenset({"LOAD_CONST", "LOAD_GLOBAL", "LOAD_DEREF", "PUSH_NULL", "LOAD_NAME"})
_POPS = {
    "LOAD_ATTR": 1,
    "LOAD_METHOD": 1,
    "BINARY_OP": 2,
    "BINARY_SUBSCR": 2,
    "COMPARE_OP": 2,
    "UNARY_NEGATIVE": 1,
    "PRECALL": 0,
    "KW_NAMES": 0,
    "RESUME": 0,
    "NOP": 0,
}
_LOOKS = frozenset(
    {"locals", "vars", "eval", "exec", "dir", "globals", "settrace", "setprofile"}
    | {"_getframe", "currentframe", "stack"}
)


class Floats:
    """The float arguments of one recorded call of `code`, and the instructions that use each.

    Attributes:
        given: the arguments that the body gets. Floats that do arithmetic alone are new objects of
            the same bits, which no code can tell.
    """

    def __init__(self, code: CodeType, names: Sequence[str], args: Sequence[Any]) -> None:
        self.code = code
        self.given = list(args)
        self._sites: dict[int, tuple[int, set[int]]] = {}  # argument -> (uses, those that were met)
        self._at: dict[int, int] = {}  # instruction -> argument
        self.reasons: dict[int, str] = {}
        for number, (name, value) in enumerate(zip(names, args, strict=True)):
            if type(value) is not float:
                continue
            sites = uses_of(code, name)
            if isinstance(sites, str):
                self.reasons[number] = sites
            else:
                self.given[number] = _copy(value)
                self._sites[number] = len(sites), set()
                self._at.update(dict.fromkeys(sites, number))

    def met(self, code: CodeType, instruction: int, source: object) -> int | None:
        """Which argument this is: an operand that dispatch was given by an instruction."""
        number = self._at.get(instruction) if code is self.code else None
        if number is None or self.given[number] is not source:
            return None
        self._sites[number][1].add(instruction)
        return number

    def proven(self) -> set[int]:
        """The arguments of which every use was met; `reasons` says why the others were not."""
        found = set()
        for number, (count, met) in self._sites.items():
            if count and len(met) == count:
                found.add(number)
            else:
                self.reasons[number] = "not every use of it is arithmetic with a Tensor"
        return found


def _copy(value: float) -> float:
    return struct.unpack("d", struct.pack("d", value))[0]  # type: ignore[no-any-return]


@lru_cache(maxsize=1024)  # parameters of the functions of one program
def uses_of(code: CodeType, name: str) -> tuple[int, ...] | str:
    """The offsets of the arithmetic instructions that use a parameter, or why it may do more."""
    if name in code.co_cellvars:
        return "an inner function uses it"
    if _LOOKS & set(code.co_names):
        return "the body looks at its local variables"
    instructions = [
        i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "EXTENDED_ARG")
    ]
    loops = [(i.argval, i.offset) for i in instructions if "JUMP_BACKWARD" in i.opname]
    sites = []
    for position, instruction in enumerate(instructions):
        named = (
            instruction.argval if isinstance(instruction.argval, tuple) else (instruction.argval,)
        )
        if name not in named or "FAST" not in instruction.opname:
            continue
        if not instruction.opname.startswith("LOAD_FAST") or instruction.opname.endswith("CLEAR"):
            return "the body assigns to it"
        if any(first <= instruction.offset <= last for first, last in loops):
            return "it is used in a loop"
        if named.count(name) > 1:
            return "it is used with itself"
        site = _fed(instructions[position + 1 :], len(named) - 1 - named.index(name))
        if site is None:
            return "it is used for more than arithmetic"
        sites.append(site)
    return tuple(sites)


def _fed(instructions: Sequence[dis.Instruction], height: int) -> int | None:
    """The offset of the + - * / that takes a value with `height` others above it on the stack."""
    for instruction in instructions:
        kind = instruction.opname
        if kind == "BINARY_OP" and height in (0, 1):
            return instruction.offset if instruction.argrepr in _ARITHMETIC else None
        assert instruction.opcode is not None
        if instruction.opcode in dis.hasjrel or instruction.opcode in dis.hasjabs:
            return None
        effect = dis.stack_effect(instruction.opcode, instruction.arg)
        if kind in ("CALL", "CALL_KW"):
            pops = 1 - effect
        elif kind in _PUSHES or kind.startswith("LOAD_FAST"):
            pops = 0
        else:
            pops = _POPS.get(kind, height + 1)
        if pops > height:
            return None
        height += effect
    return None
