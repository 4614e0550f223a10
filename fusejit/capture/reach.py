"""The reach snapshot: every leaf of Python state that a function can read, and how to check each again.

From the arguments and the function itself the walk follows the globals that code names, cells,
defaults, the Python functions that can be called, and from each object the attributes whose names
occur in any code found on the way. It ends at leaves:

    numbers, str, None, enums       guarded by type and bits
    Tensor                          an input of the plan, by reference; only its type is guarded
    ndarray                         as an argument an input; reached otherwise guarded by its bytes,
                                    for Python could read it unseen
    Variable                        guarded by identity; its value is an input
    other objects                   by weak identity, and by the attributes that code can name

The walk visits more than the call will read. That is sound: a leaf too many only costs a re-recording.
What it cannot watch (a set, an object that computes its attributes) it refuses, with the reason, and
the function runs eagerly.
"""

from __future__ import annotations

import enum
import functools
import inspect
import sys
import types
import weakref
from collections.abc import Sequence
from typing import Any

import numpy as np

from ..backends.llvm.checks import (
    Absent,
    Anything,
    Arg,
    ArrayInput,
    Attribute,
    Bytes,
    Check,
    Content,
    Exactly,
    Expect,
    Field,
    Input,
    Item,
    Itself,
    Kept,
    Key,
    Length,
    Of,
    Referent,
    Same,
    Source,
    Take,
)
from ..tensor import Tensor
from ..variable import Variable
from .code import Names, names_of, nested_code
from .userland import is_library_object, is_opaque_function

MAX_LEAVES = 4096
"""Checks of one recording. At about 10 ns each, more would cost more than most calls they guard."""

_SCALARS = (
    type(None),
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    type(...),
    type(NotImplemented),
    np.dtype,
    np.generic,
)
_BUILTIN = (
    types.BuiltinFunctionType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.CodeType,
    np.ufunc,
    functools._lru_cache_wrapper,
)
_UNWATCHABLE = (set, bytearray, memoryview, types.GeneratorType, types.CoroutineType)


class Unreachable(Exception):
    """State that cannot be watched; str() says what and where."""


class Snapshot:
    """The leaves reached now: checks for the next call, and tokens to see what a call changed."""

    def __init__(
        self, function: types.FunctionType, args: Sequence[Any], names: Sequence[str]
    ) -> None:
        self.checks: list[Check] = []
        self.paths: list[str] = []  # what each check looks at, as Python spells it
        self.tokens: dict[str, tuple[object, ...]] = {}
        self.inputs: list[Tensor | np.ndarray[Any, Any]] = []
        self.input_names: list[str] = []
        self.input_args: list[int | None] = []  # which argument an input is, if it is one itself
        self.arrays: dict[int, np.ndarray[Any, Any]] = {}  # guarded by their bytes
        self.codes: set[types.CodeType] = set()
        self._seen: dict[int, object] = {}
        self._attributes: set[str] = set()
        self._dynamic = False
        self._objects: list[tuple[Any, str, Source]] = []
        self._followed: set[tuple[int, str]] = set()
        for position, (name, value) in enumerate(zip(names, args, strict=True)):
            self._walk(value, name, Arg(position), Itself())
        self._walk(function, function.__name__, Kept(function), Itself())
        self._follow_attributes()

    # ---- bookkeeping

    def _check(self, path: str, source: Source, take: Take, expect: Expect, *token: object) -> Of:
        if len(self.checks) >= MAX_LEAVES:
            raise Unreachable(f"it reaches over {MAX_LEAVES} values (the last one at {path})")
        self.checks.append(Check(source, take, expect))
        self.paths.append(path)
        self.tokens[path] = token
        return Of(len(self.checks) - 1)

    def changes(self, after: Snapshot) -> list[tuple[str, bool]]:
        """(path, whether a Tensor appeared there) for each leaf that differs in `after`."""
        paths = [
            p for p in {**self.tokens, **after.tokens} if self.tokens.get(p) != after.tokens.get(p)
        ]
        return [(path, after.tokens.get(path, ("",))[0] == "tensor") for path in paths]

    # ---- values

    def _walk(self, value: Any, path: str, source: Source, take: Take) -> None:
        if isinstance(value, _UNWATCHABLE):
            raise Unreachable(
                f"{path} is a {type(value).__name__}, whose content cannot be watched"
            )
        if isinstance(value, Tensor):
            self._tensor(value, path, source, take)
        elif isinstance(value, np.ndarray):
            self._array(value, path, source, take)
        elif isinstance(value, _SCALARS) or isinstance(value, enum.Enum):
            self._scalar(value, path, source, take)
        elif isinstance(value, (list, tuple, dict)):
            self._container(value, path, source, take)
        else:
            self._identity(value, path, source, take)

    def _scalar(self, value: Any, path: str, source: Source, take: Take) -> None:
        bits = (
            value.hex()
            if type(value) is float
            else value
            if type(value) in (int, str, bytes)
            else id(value)
        )
        self._keep(value)
        self._check(path, source, take, Same(value), "value", type(value), bits)

    def _tensor(self, value: Tensor, path: str, source: Source, take: Take) -> None:
        self._check(path, source, take, Input(len(self.inputs)), "tensor", id(value))
        self._input(value, path, source, take)

    def _input(self, value: Any, path: str, source: Source, take: Take) -> None:
        self._keep(value)
        self.inputs.append(value)
        self.input_names.append(path)
        direct = isinstance(source, Arg) and isinstance(take, Itself)
        self.input_args.append(source.index if direct and isinstance(source, Arg) else None)

    def _array(self, value: np.ndarray[Any, Any], path: str, source: Source, take: Take) -> None:
        if type(value) is not np.ndarray:
            raise Unreachable(f"{path} is a {type(value).__name__}, a subclass of ndarray")
        self._keep(value)
        if isinstance(source, Arg) and isinstance(take, Itself):
            self._check(path, source, take, ArrayInput(len(self.inputs)), "array", id(value))
            self._input(value, path, source, take)
            return
        if not value.flags.c_contiguous or value.dtype.hasobject:
            raise Unreachable(f"{path} is an ndarray that is not C-contiguous; make it a Tensor")
        self._check(
            path, source, take, Bytes(value), "array", id(value), value.shape, value.tobytes()
        )
        self.arrays[id(value)] = value

    def _container(self, value: Any, path: str, source: Source, take: Take) -> None:
        here = self._check(
            path, source, take, Exactly(type(value)), "container", type(value), id(value)
        )
        self._check(f"len({path})", here, Itself(), Length(len(value)), len(value))
        if self._visited(value):
            return
        if isinstance(value, dict):
            for key in value:
                if not isinstance(key, (*_SCALARS, enum.Enum)):
                    raise Unreachable(f"{path} has a key of type {type(key).__name__}")
            self.tokens[f"keys({path})"] = tuple(value)
            for key, item in value.items():
                self._walk(item, f"{path}[{key!r}]", here, Key(key))
        else:
            for index, item in enumerate(value):
                self._walk(item, f"{path}[{index}]", here, Item(index))
        if type(value) not in (list, tuple, dict):
            self._object(value, path, here)

    def _identity(self, value: Any, path: str, source: Source, take: Take) -> None:
        """Anything else: the same object, and then what can be read from it."""
        if isinstance(value, types.MethodType):
            here = self._check(path, source, take, Exactly(types.MethodType), "method")
            self._walk(value.__func__, f"{path}.__func__", here, Attribute("__func__"))
            self._walk(value.__self__, f"{path}.__self__", here, Attribute("__self__"))
            return
        token = ("object", id(value))
        try:
            expect: Expect = Referent(weakref.ref(value))
        except TypeError:
            expect = Same(value)
            self._keep(value)
        here = self._check(path, source, take, expect, *token)
        if self._visited(value):
            return
        if isinstance(value, types.FunctionType):
            self._function(value, path, here)
        elif isinstance(value, types.ModuleType):
            self._objects.append((value, path, Kept(value.__dict__)))
        elif hasattr(type(value), "__wrapped_function__"):
            self._walk(
                value.__wrapped_function__,
                path + ".__wrapped_function__",
                here,
                Attribute("__wrapped_function__"),
            )
        elif not isinstance(value, (*_BUILTIN, Variable)) and not is_library_object(value):
            self._object(value, path, here)

    def _visited(self, value: object) -> bool:
        known = id(value) in self._seen
        self._keep(value)
        return known

    def _keep(self, value: object) -> None:
        self._seen[id(value)] = value  # alive while the walk lasts, so that ids stay unique

    # ---- functions

    def _function(self, function: types.FunctionType, path: str, here: Of) -> None:
        fields = {
            "code": function.__code__,
            "defaults": function.__defaults__,
            "kwdefaults": function.__kwdefaults__,
            "closure": function.__closure__,
        }
        for name, value in fields.items():
            expect: Expect = Absent() if value is None else Same(value)
            self._check(f"{path}.__{name}__", here, Field(name), expect, name, id(value))  # type: ignore[arg-type]
        code = function.__code__
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._cell(cell, f"{path}.{name}")
        if is_opaque_function(function):
            return
        self.codes.update(nested_code(code))
        names = names_of(code)
        self._extend(names)
        for values, label in (
            (function.__defaults__, "default"),
            (function.__kwdefaults__, "kwdefault"),
        ):
            if values is not None:
                self._walk(values, f"{label}s of {path}", Kept(values), Itself())
        for name in sorted(names.globals):
            self._global(name, function.__globals__)
        for name in sorted(names.imports):
            module = sys.modules.get(name)
            if module is not None:
                self._walk(module, name, Kept(sys.modules), Key(name))

    def _cell(self, cell: types.CellType, path: str) -> None:
        try:
            self._walk(cell.cell_contents, path, Kept(cell), Content())
        except ValueError:
            self._check(path, Kept(cell), Content(), Absent(), "empty")

    def _global(self, name: str, namespace: dict[str, Any]) -> None:
        path = f"{namespace.get('__name__', '')}.{name}"
        if path in self.tokens:
            return
        if name in namespace:
            self._walk(namespace[name], path, Kept(namespace), Key(name))
            return
        self._check(path, Kept(namespace), Key(name), Absent(), "absent")
        builtins = namespace.get("__builtins__", {})
        builtins = builtins if isinstance(builtins, dict) else vars(builtins)
        if name in builtins:
            self._walk(builtins[name], f"builtins.{name}", Kept(builtins), Key(name))

    # ---- attributes

    def _extend(self, names: Names) -> None:
        self._attributes |= names.attributes
        self._dynamic |= names.dynamic

    def _object(self, value: Any, path: str, here: Source) -> None:
        kind = value if isinstance(value, type) else type(value)
        for hook in ("__getattr__", "__getattribute__"):
            if isinstance(inspect.getattr_static(kind, hook, None), types.FunctionType):
                raise Unreachable(f"{path}: {kind.__name__} computes its attributes ({hook})")
        self._objects.append((value, path, here))

    def _follow_attributes(self) -> None:
        """Until nothing new turns up: names found late apply to objects found early."""
        progress = True
        while progress:
            progress = False
            for value, path, here in list(self._objects):
                for name in sorted(self._names_for(value)):
                    if (id(value), name) not in self._followed:
                        self._followed.add((id(value), name))
                        progress = True
                        self._attribute(value, name, f"{path}.{name}", here)

    def _names_for(self, value: Any) -> set[str]:
        names = set(self._attributes)
        if isinstance(value, types.ModuleType):
            return names & vars(value).keys() if not self._dynamic else set(vars(value))
        kind = value if isinstance(value, type) else type(value)
        classes = [c for c in kind.__mro__ if not is_library_object(c)]
        special = {n for c in classes for n, v in vars(c).items() if _is_special(n, v)}
        if self._dynamic:
            names |= set(getattr(value, "__dict__", ())) | {n for c in classes for n in vars(c)}
        return names | special

    def _attribute(self, value: Any, name: str, path: str, here: Source) -> None:
        if isinstance(value, types.ModuleType):
            self._walk(vars(value)[name], path, here, Key(name))
            return
        if isinstance(value, type):
            self._class_attribute(value, name, path, here)
            return
        kind = type(value)
        on_class = inspect.getattr_static(kind, name, _MISSING)
        own = getattr(value, "__dict__", {})
        data = hasattr(type(on_class), "__set__") and not isinstance(on_class, property)
        if name in own and not isinstance(on_class, property):
            self._walk(own[name], path, here, Attribute(name))
        elif data:
            found = getattr(value, name, _MISSING)
            if found is _MISSING:
                self._check(path, here, Attribute(name), Absent(), "absent")
            else:
                self._walk(found, path, here, Attribute(name))
        elif on_class is not _MISSING:
            if hasattr(value, "__dict__"):
                vars_here = self._check(
                    f"{path} (own)", here, Attribute("__dict__"), Anything(), "dict"
                )
                self._check(f"{path} (own item)", vars_here, Key(name), Absent(), "absent")
            self._class_attribute(kind, name, f"{kind.__name__}.{name}", Kept(kind))

    def _class_attribute(self, kind: type, name: str, path: str, here: Source) -> None:
        if path in self.tokens:
            return
        found = inspect.getattr_static(kind, name, _MISSING)
        if found is _MISSING:
            return
        if isinstance(found, classmethod):
            method = self._check(path, here, Attribute(name), Anything(), "classmethod", id(found))
            self._walk(found.__func__, f"{path}.__func__", method, Attribute("__func__"))
        elif isinstance(found, property):
            prop = self._check(path, here, Attribute(name), Same(found), "property", id(found))
            for accessor in ("fget", "fset"):
                if getattr(found, accessor) is not None:
                    self._walk(
                        getattr(found, accessor), f"{path}.{accessor}", prop, Attribute(accessor)
                    )
        elif isinstance(found, functools.cached_property):
            self._check(path, here, Attribute(name), Same(found), "property", id(found))
            self._walk(found.func, f"{path}.func", Kept(found), Attribute("func"))
        else:
            value = found.__func__ if isinstance(found, staticmethod) else found
            self._walk(value, path, here, Attribute(name))


_MISSING = object()


def _is_special(name: str, value: object) -> bool:
    """A method that Python calls without naming it: an operator, a call, a context manager."""
    dunder = name.startswith("__") and name.endswith("__")
    return dunder and isinstance(value, (types.FunctionType, classmethod, staticmethod))
