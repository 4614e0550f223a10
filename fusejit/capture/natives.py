"""C callables that read for the code that calls them: whose methods they are, what they look up.

Code that calls `get = d.get` or `read = getattr` under another name, or sorts by an attrgetter,
does not show in its bytecode what it reads. The value that it calls does.
"""

from __future__ import annotations

import operator
import types
from typing import Any

from .code import Names

_LOOK_UP = (
    getattr,
    hasattr,
    setattr,
    delattr,
    vars,
    dir,
    object.__getattribute__,
    operator.attrgetter,
    operator.methodcaller,
)
_OF_ANY_NAME = frozenset(map(id, _LOOK_UP))  # they live as long as the process
_READERS = frozenset(
    {
        types.MemberDescriptorType,
        types.MethodWrapperType,
        operator.attrgetter,
        operator.methodcaller,
    }
)
_BOUND = (types.BuiltinFunctionType, types.MethodWrapperType)


def bound_to(value: Any) -> object:
    """The object whose state a C method reads; None for functions of modules and of classes."""
    if not isinstance(value, _BOUND):
        return None
    owner = value.__self__
    return None if isinstance(owner, types.ModuleType | type) else owner


def names_read_by(value: Any, called: str) -> Names | None:
    """The attributes that it looks up in whatever it is given, where code `called` it so: getattr
    under its own name is seen in the bytecode, often with the name that it is given."""
    if type(value) not in _READERS and id(value) not in _OF_ANY_NAME:
        return None  # nearly all values: a walk asks this of each
    if isinstance(value, types.MemberDescriptorType):
        return _names(value.__name__)
    if isinstance(value, operator.attrgetter):
        paths = value.__reduce__()[1]
        return _names(*(name for path in paths for name in path.split(".")))
    hidden = id(value) in _OF_ANY_NAME and value.__name__ != called
    by_name = isinstance(value, operator.methodcaller) or hidden
    if by_name or (
        isinstance(value, types.MethodWrapperType) and value.__name__ == "__getattribute__"
    ):
        return _names(dynamic=True)
    return None


def _names(*attributes: str, dynamic: bool = False) -> Names:
    nothing: frozenset[str] = frozenset()
    return Names(
        globals=nothing,
        attributes=frozenset(attributes),
        imports=nothing,
        dynamic=dynamic,
        catches=False,
        compares=False,
    )
