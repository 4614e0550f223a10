"""The part of the reach snapshot that looks into objects: which attributes, and where each lives.

Of an object the walk follows the attributes whose names occur in any code that can run, all of
them if that code can compute names (getattr, vars), and the special methods of its class that
Python calls without naming them. Looking runs no code of the user's: a property is followed into
its getter.
"""

from __future__ import annotations

import enum
import functools
import types
from typing import TYPE_CHECKING, Any

from ..autodiff.tape import OPENS_TAPE
from ..backends.llvm.checks import (
    ITSELF,
    Absent,
    Anything,
    Attribute,
    Kept,
    Key,
    Keys,
    Length,
    Same,
    Source,
)
from ..variable import Variable
from .code import Names
from .leaves import STRUCTURE, Entry
from .userland import by_class, is_library_module, is_library_object, is_opaque_function

if TYPE_CHECKING:
    from .reach import Snapshot

_MISSING = object()
_OF_VARIABLES = frozenset({"name", "trainable"})
"""What a Variable holds beside its value, which is an input."""
_OF_FUNCTIONS = frozenset(
    {"__name__", "__qualname__", "__doc__", "__defaults__", "__kwdefaults__", "__annotations__"}
)
"""What a function holds beside its attributes, and code can read as data."""


class Objects:
    """Objects found so far, and the names to follow in each."""

    def __init__(self, walk: Snapshot) -> None:
        self._walk = walk
        # Tapes, which are not followed, look at this on behalf of the body.
        self._attributes = {"trainable"} if walk.runs(OPENS_TAPE) else set[str]()
        self._dynamic = False
        self._careful = False
        self.compares = False
        self._held: dict[type, set[str]] = {}
        self._special: dict[type, set[str]] = {}
        self._found: list[tuple[Any, str, Source]] = []
        self._followed: set[tuple[int, str]] = set()

    def extend(self, names: Names) -> None:
        """More code that can run uses these names."""
        self._attributes |= names.attributes
        self._dynamic |= names.dynamic
        self.compares |= names.compares
        if (names.dynamic or names.catches) and not self._careful:
            self._careful = True
            self._followed.clear()  # what is missing matters now, also where it was looked before

    def add(self, value: Any, path: str, here: Source) -> None:
        kind = value if isinstance(value, type) else type(value)
        for hook in ("__getattr__", "__getattribute__"):
            found = _on_class(kind, hook)
            if isinstance(found, types.FunctionType) and not is_opaque_function(found):
                self._walk.refuse(f"{path}: {kind.__name__} computes its attributes ({hook})")
                return
        self._found.append((value, path, here))

    def follow(self) -> None:
        """Until nothing new turns up. Names found late apply to objects found early."""
        position, known = 0, (-1, False, False)
        while position < len(self._found) or known != self._extent():
            if position == len(self._found):
                position, known = 0, self._extent()
            for value, path, here in self._found[position:]:
                position += 1
                self._follow_names(value, path, here)
        for value, path, here in self._found:
            self._sizes(value, path, here)

    def _extent(self) -> tuple[int, bool, bool]:
        """Differs when more is to be looked for."""
        return len(self._attributes), self._dynamic, self._careful

    def _follow_names(self, value: Any, path: str, here: Source) -> None:
        for name in sorted(self._names(value)):
            if (id(value), name) not in self._followed:
                self._followed.add((id(value), name))
                self._attribute(value, name, f"{path}.{name}", here)

    def _names(self, value: Any) -> set[str]:
        names = set(self._attributes)
        if isinstance(value, types.ModuleType):
            for name in names.intersection(vars(value).get("__later__", ())):
                getattr(value, name)  # the body would load it, which would be a change
            all_names = self._dynamic and not is_library_module(value)
            everything = {n for n in vars(value) if not _is_dunder(n)} if all_names else set()
            return everything | names & vars(value).keys()
        if isinstance(value, types.FunctionType):
            return names & (vars(value).keys() | _OF_FUNCTIONS)
        if isinstance(value, Variable):
            return set(_OF_VARIABLES if self._dynamic else names & _OF_VARIABLES)
        classes = [*_user_classes(value), *_user_metaclasses(value)]
        if isinstance(value, enum.EnumMeta) and self._walk.shows(value):
            names.add("_member_map_")  # what iteration over it and calls of it read
        elif self._walk.shows(value):
            names |= set(_own(value)) | {n for c in type(value).__mro__ for n in _slots(c)}
        if self._dynamic:
            names |= set(_own(value)) | {n for c in classes for n in vars(c) if not _is_dunder(n)}
        if not (self._careful and self._walk.judges):
            names &= _own(value).keys() | self._on_classes(value)
        return names | self._special_of(value)

    def _on_classes(self, value: Any) -> set[str]:
        """All that the value's class and its bases hold, and of a class its metaclass too."""
        kind = value if isinstance(value, type) else type(value)
        if kind not in self._held:
            self._held[kind] = {name for c in kind.__mro__ for name in c.__dict__}
        metaclasses = _user_metaclasses(value)
        return self._held[kind].union(*map(vars, metaclasses)) if metaclasses else self._held[kind]

    def _special_of(self, value: Any) -> set[str]:
        """Methods that Python calls without naming them, in classes of the user's."""
        if isinstance(value, type) and type(value) is not type:
            return self._specials_in(value) | self._specials_in(type(value))
        return self._specials_in(value if isinstance(value, type) else type(value))

    def _specials_in(self, kind: type) -> set[str]:
        if kind not in self._special:
            entries = (entry for c in _user_classes(kind) for entry in vars(c).items())
            self._special[kind] = {name for name, v in entries if self._is_special(name, v)}
        return self._special[kind]

    def _is_special(self, name: str, value: object) -> bool:
        """A method that Python calls without naming it: an operator, a call, a context manager."""
        if not _is_dunder(name):
            return False
        function = getattr(value, "__func__", value)
        return isinstance(function, types.FunctionType) and self._walk.runs(function.__code__)

    def _sizes(self, value: Any, path: str, here: Source) -> None:
        """Nothing was added to what a name is looked up in, or removed."""
        if isinstance(value, types.ModuleType):
            return
        own = _own(value)
        if self._careful and not isinstance(value, type) and hasattr(value, "__dict__"):
            vars_here = self._walk.check(
                f"vars({path})", here, Attribute("__dict__"), Anything(), own, STRUCTURE
            )
            expect = Keys(tuple(own)) if self._dynamic else Length(len(own))
            self._walk.check(f"keys of {path}", vars_here, ITSELF, expect, own, "keys", *own)
        for kind in [*_user_classes(value), *_user_metaclasses(value)]:
            count = len(vars(kind))
            where = f"len(vars({kind.__name__}))"
            self._walk.check(
                where, Kept(kind), Attribute("__dict__"), Length(count), vars(kind), count
            )

    # ---- one attribute

    def _attribute(self, value: Any, name: str, path: str, here: Source) -> None:
        if isinstance(value, types.ModuleType):
            self._walk.walk(vars(value)[name], path, here, Key(name))
        elif isinstance(value, type):
            self._class_attribute(value, name, path, here)
            for kind in _user_metaclasses(value)[:1]:
                self._class_attribute(kind, name, f"{kind.__name__}.{name}", Kept(kind))
        elif isinstance(value, types.FunctionType) and name in _OF_FUNCTIONS:
            self._walk.walk(getattr(value, name), path, here, Attribute(name))
        else:
            self._instance_attribute(value, name, path, here)

    def _instance_attribute(self, value: Any, name: str, path: str, here: Source) -> None:
        kind, own = type(value), _own(value)
        on_class = _on_class(kind, name)
        if isinstance(on_class, types.GetSetDescriptorType):
            return  # __dict__: whoever names it is taken to read all attributes
        if isinstance(on_class, types.MemberDescriptorType):
            found = getattr(value, name, _MISSING)
            if found is _MISSING:
                self._walk.check(path, here, Attribute(name), Absent(), None, "absent")
            else:
                self._walk.walk(found, path, here, Attribute(name))
            return
        overrides = hasattr(type(on_class), "__set__")
        if name in own and not overrides:
            self._walk.walk(own[name], path, here, Attribute(name))
            return
        matters = (on_class is not _MISSING or self._careful) and self._walk.judges
        if matters and not overrides and hasattr(value, "__dict__"):
            vars_here = self._walk.check(
                f"vars({path})", here, Attribute("__dict__"), Anything(), own, STRUCTURE
            )
            self._walk.check(f"{path} (own)", vars_here, Key(name), Absent(), None, "absent")
        if on_class is not _MISSING:
            self._class_attribute(kind, name, f"{kind.__name__}.{name}", Kept(kind))

    def _class_attribute(self, kind: type, name: str, path: str, here: Source) -> None:
        """Wherever a class of the user's defines it: super() goes past the first."""
        for owner in _user_classes(kind):
            if name in vars(owner):
                source = here if owner is kind else Kept(owner)
                self._defined(
                    owner, name, path if owner is kind else f"{owner.__name__}.{name}", source
                )

    def _defined(self, owner: type, name: str, path: str, here: Source) -> None:
        found, walk = vars(owner)[name], self._walk
        if isinstance(found, types.GetSetDescriptorType):
            return  # __dict__, which the class statement makes: read through the class it is others
        if isinstance(found, classmethod):
            method = walk.check(path, here, Attribute(name), Anything(), found, id(found))
            walk.walk(found.__func__, f"{path}.__func__", method, Attribute("__func__"))
        elif isinstance(found, property):
            prop = walk.check(path, here, Attribute(name), Same(found), found, id(found))
            for accessor in ("fget", "fset"):
                function = getattr(found, accessor)
                if function is not None:
                    walk.walk(function, f"{path}.{accessor}", prop, Attribute(accessor))
        elif isinstance(found, functools.cached_property):
            walk.check(path, here, Attribute(name), Same(found), found, id(found))
            walk.walk(found.func, f"{path}.func", Kept(found), Attribute("func"))
        elif _computes(found):
            self._descriptor(owner, name, path, found)
        else:
            value = found.__func__ if isinstance(found, staticmethod) else found
            walk.walk(value, path, here, Attribute(name))

    def _descriptor(self, owner: type, name: str, path: str, found: Any) -> None:
        """A descriptor in Python: reading it through the class would run it, so not that way."""
        entry = Kept(Entry(owner, name))
        here = self._walk.check(path, entry, Attribute("value"), Same(found), found, id(found))
        self.add(found, path, here)


def _computes(found: Any) -> bool:
    """Whether this is a descriptor in Python: its `__get__` is the user's code."""
    known = (types.FunctionType, staticmethod, type)
    return (
        hasattr(type(found), "__get__")
        and not isinstance(found, known)
        and not is_library_object(found)
        and not hasattr(type(found), "__wrapped_function__")
    )


def _own(value: object) -> dict[str, Any]:
    found = getattr(value, "__dict__", None)
    return found if type(found) is dict else {}


def _on_class(kind: type, name: str) -> Any:
    """What the class or one of its bases holds under a name, not bound to anything."""
    for owner in kind.__mro__:
        if name in owner.__dict__:
            return owner.__dict__[name]
    return _MISSING


def _is_dunder(name: str) -> bool:
    return name.startswith("__") and name.endswith("__")


def _slots(kind: type) -> list[str]:
    return [n for n, v in vars(kind).items() if isinstance(v, types.MemberDescriptorType)]


def _user_classes(value: Any) -> list[type]:
    """Classes of Python code that attributes of the value are looked up in."""
    return _user_bases(value if isinstance(value, type) else type(value))


def _user_metaclasses(value: Any) -> list[type]:
    """Classes of Python code that attributes of a class are looked up in, after its own."""
    return _user_bases(type(value)) if isinstance(value, type) else []


def _user_bases(kind: type) -> list[type]:
    return [c for c in kind.__mro__ if not _is_library_class(c)]


_is_library_class = by_class(is_library_object)
