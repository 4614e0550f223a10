"""What a code object can read: the names in its bytecode. Read only, never rewritten.

An instruction that this Python version spells in a way not known here still has its name in
`co_names`, so it is counted as both a global and an attribute: a superset is sound, it only costs a
re-recording.
"""

from __future__ import annotations

import contextlib
import dis
from collections.abc import Sequence
from functools import lru_cache
from itertools import pairwise
from types import CodeType

from ..frozen import frozen

_GLOBALS = frozenset(
    {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
)
_IMPORTS = frozenset({"IMPORT_NAME"})
_ATTRIBUTES = frozenset(
    {"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR", "IMPORT_FROM"}
)
_BY_NAME = frozenset({"getattr", "setattr", "delattr", "hasattr"})
_DYNAMIC = (
    _BY_NAME
    | {"vars", "dir", "__dict__", "globals", "locals", "eval", "exec"}
    | {"__getattribute__", "attrgetter", "methodcaller", "getmembers"}
)
_FORMATS = frozenset({"format", "format_map"})
_IDENTITY = frozenset({"is_", "is_not", "contains", "index", "count", "remove"})
"""Functions and methods that compare by identity, of the operator module and of lists."""
_PLAIN = frozenset({"LOAD_CONST", "LOAD_FAST", "LOAD_GLOBAL", "LOAD_DEREF", "LOAD_NAME"})
_JUMPS = frozenset(dis.hasjrel) | frozenset(dis.hasjabs)


@frozen
class Names:
    """Names that the code and all code nested in it use, by what they are looked up in."""

    globals: frozenset[str]
    attributes: frozenset[str]
    imports: frozenset[str]
    dynamic: bool
    """Whether it can look up attributes whose names are not in the code (getattr and friends)."""
    catches: bool
    """Whether it can find an attribute missing and go on."""
    compares: bool
    """Whether it compares two objects by identity, as `is` and `in` do."""


@lru_cache(maxsize=4096)  # code objects of one program; each entry is a few sets of names
def names_of(code: CodeType) -> Names:
    """The names that `code` uses, nested functions, lambdas and comprehensions included."""
    parts = [_names_in(nested) for nested in nested_code(code)]
    return Names(
        globals=frozenset().union(*(part.globals for part in parts)),
        attributes=frozenset().union(*(part.attributes for part in parts)),
        imports=frozenset().union(*(part.imports for part in parts)),
        dynamic=any(part.dynamic for part in parts),
        catches=any(part.catches for part in parts),
        compares=any(part.compares for part in parts),
    )


_SETS = ("globals", "attributes", "imports")


@lru_cache(maxsize=4096)  # as above
def nested_code(code: CodeType) -> tuple[CodeType, ...]:
    """`code` and the code of everything defined inside it."""
    found = [code]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.extend(nested_code(constant))
    return tuple(found)


def _names_in(code: CodeType) -> Names:
    found: dict[str, set[str]] = {key: set() for key in _SETS}
    dynamic, catches = False, bool(code.co_exceptiontable)
    instructions = [
        i for i in dis.get_instructions(code) if i.opname not in ("CACHE", "EXTENDED_ARG")
    ]
    for position, instruction in enumerate(instructions):
        looked_up = _looked_up(instructions, position, code.co_names)
        if looked_up is not None:
            found["attributes"].update(looked_up[0])
            dynamic |= looked_up[1]
            catches = True
        if instruction.arg is None or not isinstance(instruction.argval, str):
            continue
        name, kind = instruction.argval, instruction.opname
        if kind in _GLOBALS:
            found["globals"].add(name)
        elif kind in _IMPORTS:
            found["imports"].add(name)
        elif kind in _ATTRIBUTES:
            found["attributes"].add(name)
        elif name in code.co_names:
            found["globals"].add(name)
            found["attributes"].add(name)
    return Names(
        frozenset(found["globals"]),
        frozenset(found["attributes"]),
        frozenset(found["imports"]),
        dynamic,
        catches,
        _compares(instructions) or not _IDENTITY.isdisjoint(code.co_names),
    )


def _looked_up(
    instructions: Sequence[dis.Instruction], position: int, names: Sequence[str]
) -> tuple[set[str], bool] | None:
    """The attributes that an instruction looks up, or calls for, where none is named; and whether
    there are others, which cannot be seen. None for most instructions."""
    instruction = instructions[position]
    name = instruction.argval
    if instruction.opname == "MATCH_CLASS":  # after its keywords; others are the class's to say
        others = {"__match_args__"} if instruction.arg else set()
        return others.union(instructions[position - 1].argval), bool(others)
    if not isinstance(name, str) or name not in names:
        return None
    if name in _BY_NAME:
        spelled = _second_argument(instructions[position:])
        return (set(), True) if spelled is None else ({spelled}, False)
    if name in _FORMATS and instruction.opname in _ATTRIBUTES:
        return _formatted(instructions[position - 1])
    return (set(), True) if name in _DYNAMIC else None


def _second_argument(instructions: Sequence[dis.Instruction]) -> str | None:
    """The second argument of the call of what the first instruction loads, if it is a str constant
    and what follows it is at most one plain value. None if that cannot be seen."""
    height = 0
    for position, instruction in enumerate(instructions[1:], 1):
        if height == 1 and instruction.opname == "LOAD_CONST":
            rest = [i for i in instructions[position + 1 : position + 4] if i.opname != "PRECALL"]
            if rest and rest[0].opname in _PLAIN:
                rest, count = rest[1:], 3
            else:
                count = 2
            if rest and rest[0].opname == "CALL" and rest[0].arg == count:
                return instruction.argval if isinstance(instruction.argval, str) else None
        if position == 1 and instruction.opname == "PUSH_NULL":
            continue  # as 3.13 calls a name
        height += dis.stack_effect(instruction.opcode, instruction.arg, jump=False)
        if height < 0 or instruction.opcode in _JUMPS:
            return None
    return None


def _formatted(text: dis.Instruction) -> tuple[set[str], bool] | None:
    """`_looked_up` for the text that is formatted, as in "{0.rate:.3f}"."""
    if text.opname != "LOAD_CONST" or not isinstance(text.argval, str):
        return set(), True
    import string  # 1 ms, for the few functions that do this

    names: set[str] = set()
    fields = [text.argval]
    for each in fields:  # and those inside of them
        with contextlib.suppress(ValueError):  # of which formatting will complain
            for _, field, inner, _ in string.Formatter().parse(each):
                names.update(part.partition("[")[0] for part in (field or "").split(".")[1:])
                fields += [inner] if inner else []
    return (names, False) if names else None


def _compares(instructions: Sequence[dis.Instruction]) -> bool:
    """`x is None` does not count: the constant is no Tensor."""
    for operand, instruction in pairwise(instructions):
        if instruction.opname == "CONTAINS_OP":
            return True
        if instruction.opname == "IS_OP" and operand.opname != "LOAD_CONST":
            return True
    return False
