"""Frozen records: `@frozen` makes what `@dataclass(frozen=True, slots=True)` makes, but sooner.

A dataclass has six methods compiled for it, which takes 0.3 to 0.5 ms; those of a first call took
15 ms, a quarter of what fusejit adds to the start of Python and NumPy, and those of a compiler that
finds all its kernels on disk 20 of 60. Here `__init__` is compiled once for each number of fields,
which takes 0.1 ms, and not at all where fields are given by name; the rest is the same for all:
0.02 ms. What neither loads may as well be a dataclass.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from operator import attrgetter
from types import CodeType, FunctionType
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform, overload

if TYPE_CHECKING:
    from inspect import Signature

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
        kw_only: whether fields are given by keyword only. To make such a record takes 3 us, three
            times as long as another.
    """
    if cls is None:
        return lambda each: _record(each, eq, kw_only)
    return _record(cls, eq, kw_only)


@overload
def initialized(cls: C, /) -> C: ...
@overload
def initialized(*, kw_only: bool = False) -> Callable[[C], C]: ...
@dataclass_transform()
def initialized(cls: Any = None, /, *, kw_only: bool = False) -> Any:
    """Give a class the `__init__` that `@dataclass(eq=False, repr=False)` makes, but as soon as
    `frozen` does. Its objects may change; a default is the same for all of them."""
    if cls is None:
        return lambda each: _initialized(each, kw_only)
    return _initialized(cls, kw_only)


def _initialized(cls: Any, kw_only: bool) -> Any:
    names = tuple(vars(cls).get("__annotations__", ()))
    defaults = {name: vars(cls)[name] for name in names if name in vars(cls)}
    cls.__init__ = _init(names, defaults, kw_only, hasattr(cls, "__post_init__"))
    return cls


def values(record: Any) -> tuple[Any, ...]:
    """The fields of a record, in order."""
    return tuple([getattr(record, name) for name in record.__fields__])


def by_name(record: Any) -> dict[str, Any]:
    """The fields of a record, in order, by name."""
    return dict(zip(record.__fields__, values(record), strict=True))


def replace(record: R, /, **fields: Any) -> R:
    """A copy of a record with other values of these fields, as `dataclasses.replace`."""
    return type(record)(**by_name(record) | fields)


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
    if kw_only and not any("__signature__" in vars(base) for base in cls.__mro__):
        members["__signature__"] = _Signature()
    if not any("__repr__" in vars(base) for base in cls.__mro__[:-1]):
        members["__repr__"] = _repr
    return type(cls)(cls.__name__, cls.__bases__, members)


def _init(
    names: tuple[str, ...], defaults: dict[str, Any], kw_only: bool, checked: bool
) -> Callable[..., None]:
    """`__init__` of a record: compiled, for one that looks at names when it runs is slower."""
    if kw_only:
        return _init_by_name(names, defaults, checked)
    numbered, template = _template(len(names), checked)
    renamed = dict(zip(numbered, names, strict=True))
    code = template.replace(
        co_varnames=tuple(renamed.get(name, name) for name in template.co_varnames),
        co_consts=tuple(renamed.get(value, value) for value in template.co_consts),
    )
    last = tuple(defaults[name] for name in names if name in defaults)
    if any(name in defaults for name in names[: len(names) - len(last)]):
        raise TypeError("fields with defaults come after those without")
    return FunctionType(code, {"put": object.__setattr__}, "__init__", last)


class _Signature:
    """What `inspect.signature` says of a class whose `__init__` takes what it is given."""

    def __get__(self, record: object, kind: type) -> Signature:
        return signature_of(kind)


def signature_of(kind: Any) -> Signature:
    """The fields of a class of records as parameters, which are given by name."""
    from inspect import Parameter, Signature

    given = kind.__defaults__
    return Signature(
        [
            Parameter(name, Parameter.KEYWORD_ONLY, default=given.get(name, Parameter.empty))
            for name in kind.__fields__
        ]
    )


def _init_by_name(
    names: tuple[str, ...], defaults: dict[str, Any], checked: bool
) -> Callable[..., None]:
    known = frozenset(names)
    required = known - defaults.keys()
    put = object.__setattr__

    def __init__(self: Any, **given: Any) -> None:
        if not required <= given.keys() <= known:
            wrong = ", ".join(sorted(required - given.keys() | given.keys() - known))
            raise TypeError(f"{type(self).__name__}: fields are missing or unknown: {wrong}")
        for name, value in (defaults | given).items():
            put(self, name, value)
        if checked:
            self.__post_init__()

    return __init__


@cache
def _template(count: int, checked: bool) -> tuple[tuple[str, ...], CodeType]:
    """The code of `__init__` for so many fields, and the names that stand for theirs."""
    names = tuple(f"field{i}" for i in range(count))
    body = [f"put(self, {name!r}, {name})" for name in names]
    body += ["self.__post_init__()"] if checked else []
    text = f"def __init__({', '.join(['self', *names])}):\n " + "\n ".join(body or ["pass"])
    scope: dict[str, Any] = {}
    exec(compile(text, __file__, "exec"), scope)  # known by this file as none of the user's code
    return names, scope["__init__"].__code__


def _restore(self: Any, state: tuple[Any, ...]) -> None:
    for name, value in zip(self.__fields__, state, strict=True):
        object.__setattr__(self, name, value)


def _refuse(self: Any, name: str, value: object = None) -> None:
    from dataclasses import FrozenInstanceError  # 0.6 ms to load

    raise FrozenInstanceError(f"cannot change field {name!r}")


def _equal(self: Any, other: Any) -> Any:
    if type(other) is not type(self):
        return NotImplemented
    return self.__key__(self) == other.__key__(other)


def _hash(self: Any) -> int:
    return hash(self.__key__(self))


def _repr(self: Any) -> str:
    fields = ", ".join(f"{name}={value!r}" for name, value in by_name(self).items())
    return f"{type(self).__qualname__}({fields})"
