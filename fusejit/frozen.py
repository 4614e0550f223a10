"""Frozen records: `@frozen` makes what `@dataclass(frozen=True, slots=True)` makes, but sooner.

A dataclass has six methods compiled for it, which takes 0.26 ms; those that a first call needs took
15 ms, a quarter of what fusejit adds to the start of Python and NumPy. Here `__init__` alone is
compiled, 0.04 ms, and the rest is the same for all. Where `field` or `dataclasses.replace` is
wanted, a dataclass serves; so it does in what the first call does not load.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from operator import attrgetter
from typing import Any, TypeVar, dataclass_transform, overload

C = TypeVar("C", bound=type)


@overload
def frozen(cls: C, /) -> C: ...
@overload
def frozen(*, eq: bool = True, kw_only: bool = False) -> Callable[[C], C]: ...
@dataclass_transform(frozen_default=True)
def frozen(cls: Any = None, /, *, eq: bool = True, kw_only: bool = False) -> Any:
    """Make a class of annotated fields, with or without defaults, a record of slots.

    What it inherits from is a record too, or has no fields.

    Args:
        eq: whether records of equal fields are equal, or only what is the same object.
        kw_only: whether fields are given by keyword only.
    """
    if cls is None:
        return lambda each: _record(each, eq, kw_only)
    return _record(cls, eq, kw_only)


def values(record: Any) -> tuple[Any, ...]:
    """The fields of a record, in order."""
    return tuple([getattr(record, name) for name in record.__fields__])


def _record(cls: type, eq: bool, kw_only: bool) -> type:
    """The class anew: only a class that is being made can be given slots."""
    members = dict(vars(cls))
    own = tuple(members.get("__annotations__", ()))
    names = (*getattr(cls, "__fields__", ()), *own)
    defaults = dict(getattr(cls, "__defaults__", ()))
    defaults |= {name: members.pop(name) for name in own if name in members}
    for name in ("__dict__", "__weakref__"):  # of the class without slots
        members.pop(name, None)
    members |= {
        "__slots__": own,
        "__fields__": names,
        "__defaults__": defaults,
        "__key__": attrgetter(*names) if names else type,  # all fields at once, in C
        "__match_args__": () if kw_only else names,
        "__init__": _init(names, defaults, kw_only, hasattr(cls, "__post_init__")),
        "__setattr__": _refuse,
        "__delattr__": _refuse,
        "__getstate__": values,
        "__setstate__": _restore,
    }
    if eq:
        members |= {"__eq__": _equal, "__hash__": _hash}
    if not any("__repr__" in vars(base) for base in cls.__mro__[:-1]):
        members["__repr__"] = _repr
    return type(cls)(cls.__name__, cls.__bases__, members)


def _init(
    names: tuple[str, ...], defaults: dict[str, Any], kw_only: bool, checked: bool
) -> Callable[..., None]:
    """`__init__`, compiled: one that looks at names when it runs takes five times as long."""
    parameters = [f"{name}=defaults[{name!r}]" if name in defaults else name for name in names]
    head = ", ".join(["self", *(["*"] if kw_only and names else []), *parameters])
    body = [f"put(self, {name!r}, {name})" for name in names]
    body += ["self.__post_init__()"] if checked else []
    scope: dict[str, Any] = {"put": object.__setattr__, "defaults": defaults}
    text = f"def __init__({head}):\n " + "\n ".join(body or ["pass"])
    exec(compile(text, __file__, "exec"), scope)  # known by this file as none of the user's code
    made: Callable[..., None] = scope["__init__"]
    return made


def _restore(self: Any, state: tuple[Any, ...]) -> None:
    for name, value in zip(self.__fields__, state, strict=True):
        object.__setattr__(self, name, value)


def _refuse(self: Any, name: str, value: object = None) -> None:
    raise FrozenInstanceError(f"cannot change field {name!r}")


def _equal(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return self.__key__(self) == other.__key__(other)


def _hash(self: Any) -> int:
    return hash(self.__key__(self))


def _repr(self: Any) -> str:
    pairs = zip(self.__fields__, values(self), strict=True)
    return f"{type(self).__qualname__}({', '.join(f'{name}={value!r}' for name, value in pairs)})"
