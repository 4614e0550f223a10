"""Frozen records: `@frozen` makes what `@dataclass(frozen=True, slots=True)` makes, but sooner.

A dataclass has six methods compiled for it, which takes 0.3 to 0.5 ms; those that a first call
needs took 15 ms, a quarter of what fusejit adds to the start of Python and NumPy. Here `__init__`
is compiled once for each number of fields, and the rest is the same for all: 0.02 ms. What the
first call does not load may as well be a dataclass.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import FrozenInstanceError
from functools import cache
from operator import attrgetter
from types import CodeType, FunctionType
from typing import Any, TypeVar, dataclass_transform, overload

C = TypeVar("C", bound=type)
R = TypeVar("R")


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


def replace(record: R, /, **fields: Any) -> R:
    """A copy of a record with other values of these fields, as `dataclasses.replace`."""
    known: Any = record
    return type(record)(**dict(zip(known.__fields__, values(record), strict=True)) | fields)


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
    numbered, template = _template(len(names), kw_only, checked)
    renamed = dict(zip(numbered, names, strict=True))
    code = template.replace(
        co_varnames=tuple(renamed.get(name, name) for name in template.co_varnames),
        co_consts=tuple(renamed.get(value, value) for value in template.co_consts),
    )
    last = () if kw_only else tuple(defaults[name] for name in names if name in defaults)
    made = FunctionType(code, {"put": object.__setattr__}, "__init__", last)
    if kw_only:
        made.__kwdefaults__ = defaults
    elif any(name in defaults for name in names[: len(names) - len(last)]):
        raise TypeError("fields with defaults come after those without")
    return made


@cache
def _template(count: int, kw_only: bool, checked: bool) -> tuple[tuple[str, ...], CodeType]:
    """The code of `__init__` for so many fields, and the names that stand for theirs."""
    names = tuple(f"field{i}" for i in range(count))
    head = ", ".join(["self", *(["*"] if kw_only and names else []), *names])
    body = [f"put(self, {name!r}, {name})" for name in names]
    body += ["self.__post_init__()"] if checked else []
    text = f"def __init__({head}):\n " + "\n ".join(body or ["pass"])
    scope: dict[str, Any] = {}
    exec(compile(text, __file__, "exec"), scope)  # known by this file as none of the user's code
    return names, scope["__init__"].__code__


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
