"""What a code object can read: the names in its bytecode. Read only, never rewritten.

An instruction that this Python version spells in a way not known here still has its name in
`co_names`, so it is counted as both a global and an attribute: a superset is sound, it only costs a
re-recording.
"""

from __future__ import annotations

import dis
from dataclasses import dataclass
from functools import lru_cache
from types import CodeType

_GLOBALS = frozenset(
    {"LOAD_GLOBAL", "LOAD_NAME", "STORE_GLOBAL", "DELETE_GLOBAL", "LOAD_FROM_DICT_OR_GLOBALS"}
)
_IMPORTS = frozenset({"IMPORT_NAME"})
_ATTRIBUTES = frozenset(
    {"LOAD_ATTR", "LOAD_METHOD", "STORE_ATTR", "DELETE_ATTR", "LOAD_SUPER_ATTR", "IMPORT_FROM"}
)
_DYNAMIC = frozenset(
    {
        "getattr",
        "setattr",
        "delattr",
        "hasattr",
        "vars",
        "dir",
        "__dict__",
        "globals",
        "locals",
        "eval",
        "exec",
    }
)


@dataclass(frozen=True, slots=True)
class Names:
    """Names that the code and all code nested in it use, by what they are looked up in."""

    globals: frozenset[str]
    attributes: frozenset[str]
    imports: frozenset[str]
    dynamic: bool
    """Whether it can look up attributes whose names are not in the code (getattr and friends)."""
    catches: bool
    """Whether it can find an attribute missing and go on."""


@lru_cache(maxsize=4096)  # code objects of one program; each entry is a few sets of names
def names_of(code: CodeType) -> Names:
    """The names that `code` uses, nested functions, lambdas and comprehensions included."""
    found: dict[str, set[str]] = {"globals": set(), "attributes": set(), "imports": set()}
    dynamic = False
    for nested in nested_code(code):
        for instruction in dis.get_instructions(nested):
            if instruction.arg is None or not isinstance(instruction.argval, str):
                continue
            name, kind = instruction.argval, instruction.opname
            if kind in _GLOBALS:
                found["globals"].add(name)
            elif kind in _IMPORTS:
                found["imports"].add(name)
            elif kind in _ATTRIBUTES:
                found["attributes"].add(name)
            elif name in nested.co_names:
                found["globals"].add(name)
                found["attributes"].add(name)
            dynamic |= name in _DYNAMIC and name in nested.co_names
    catches = any(nested.co_exceptiontable for nested in nested_code(code))
    keys = ("globals", "attributes", "imports")
    return Names(*(frozenset(found[key]) for key in keys), dynamic, catches)


@lru_cache(maxsize=4096)  # as above
def nested_code(code: CodeType) -> tuple[CodeType, ...]:
    """`code` and the code of everything defined inside it."""
    found = [code]
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            found.extend(nested_code(constant))
    return tuple(found)
