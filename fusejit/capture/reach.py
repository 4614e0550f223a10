"""The reach snapshot: every leaf of Python state that a function can read, and how to check it.

From the arguments and the function itself the walk follows the globals that code names, cells,
defaults, the Python functions that can be called, and from each object the attributes whose names
occur in any code found on the way (`objects`). It ends at leaves:

    numbers, str, None, enums       guarded by type and bits
    Tensor                          an input of the plan, by reference; only its type is guarded
    ndarray                         as an argument an input; reached otherwise guarded by its bytes,
                                    for Python could read it unseen
    Variable                        guarded by identity; its value is an input
    list, tuple, dict, dataclass    by class and content (see `userland.is_known_by_content`): what
                                    was different objects must stay different, or be the same still
    other objects                   by weak identity, and by the attributes that code can name

It walks twice. Before the call nobody knows which functions will run, so all that are found are
entered; that walk only serves to see what the call changes. Afterwards only those that ran are
entered, and their leaves are the guards: code that did not run has read nothing, and as long as
the guards hold it will not run in the next call either. That walk sees the values of before the
call, or else a change is reported. It still visits more than was read, which is sound: a leaf too
many only costs a re-recording. What cannot be watched (a set, an iterator, an object that computes
its attributes) it refuses, with the reason, and the function runs eagerly.

Known limits. Not seen: an assignment to `obj.__class__` if there can be no weak reference to the
object; a class that loses one name and gains another that its instances did not have; a class's
`__bases__` and `__name__`, and what is registered with an abstract one; what modules of the
standard library and NumPy hold, where the code does not spell its name (decimal's context); an
ndarray argument that C code reads through the buffer protocol (`b"".join`). An ndarray argument
that the body stores stays a `WatchedArray`.
"""

from __future__ import annotations

import collections
import enum
import functools
import sys
import types
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

import numpy as np

from ..backends.llvm.checks import (
    ITSELF,
    Arg,
    ArrayInput,
    Attribute,
    Bytes,
    Content,
    Distinct,
    Exactly,
    Expect,
    Field,
    FloatInput,
    Input,
    Item,
    Itself,
    Kept,
    Key,
    Keys,
    Length,
    Of,
    Referent,
    Same,
    Source,
    Take,
    Twin,
)
from ..config import Config
from ..tensor import Tensor
from ..variable import Variable
from .code import names_of, nested_code
from .leaves import (
    MAX_LEAVES,
    MAX_VISITED,
    STRUCTURE,
    Leaves,
    Unreachable,
    same_expectation,
    weakly,
)
from .natives import bound_to, names_read_by
from .objects import Objects
from .userland import (
    ATOMS,
    has_hidden_state,
    is_immutable,
    is_known_by_content,
    is_library_object,
    is_opaque_function,
    library_files,
)

_SCALARS = (*ATOMS, type(...), type(NotImplemented), np.dtype, np.generic)


class Snapshot(Leaves):
    """The leaves reached now: checks for the next call, and tokens to see what a call changed.

    Args:
        ran: the code of the functions to enter, by id; None enters all, and takes what cannot be
            watched for unchanged.
        floats: the arguments, by position, that are inputs and not constants.
    """

    def __init__(
        self,
        function: types.FunctionType,
        args: Sequence[Any],
        names: Sequence[str],
        ran: Mapping[int, types.CodeType] | None = None,
        floats: Collection[int] = (),
    ) -> None:
        super().__init__(MAX_VISITED if ran is None else MAX_LEAVES)
        self.arrays: dict[int, np.ndarray[Any, Any]] = {}  # guarded by their bytes
        self.codes: set[types.CodeType] = set()
        self._ran = ran
        self._floats = floats
        self._bound: dict[int, Of] = {}
        self._matched: dict[int, Of] = {}  # by what they hold: others may take their place
        self._objects = Objects(self)
        for position, (name, value) in enumerate(zip(names, args, strict=True)):
            self.walk(value, name, Arg(position), ITSELF)
        self.walk(function, function.__name__, Kept(function), ITSELF)
        self._objects.follow()
        if self.judges:
            self._tell_apart()

    def _tell_apart(self) -> None:
        """What was different objects must stay different: the body may write into one of them, and
        back again. Of what is immutable only code that compares by identity could know."""
        compares = self._objects.compares
        found = [
            here
            for here in self._matched.values()
            if compares or not isinstance(self.value_behind(here), tuple)
        ]
        found += self._bound.values() if compares else ()
        if len(found) > 1:
            numbers = tuple(sorted(here.check for here in found))
            path = "the objects that it reads"
            self.check(path, found[0], ITSELF, Distinct(numbers), found, STRUCTURE)

    @property
    def judges(self) -> bool:
        """Whether this is the walk after the call, whose checks are kept."""
        return self._ran is not None

    def runs(self, code: types.CodeType) -> bool:
        """Whether a function of this code is entered."""
        return self._ran is None or id(code) in self._ran

    def shows(self, value: object) -> bool:
        """Whether library code that ran may have read any attribute of the value."""
        if type(value) is types.SimpleNamespace:
            return True
        files = library_files(value)
        if files is None or self._ran is None:
            return files is not None
        return any(code.co_filename in files for code in self._ran.values())

    def refuse(self, reason: str) -> None:
        """This cannot be watched. Before the call it is not known whether that matters."""
        if self._ran is not None:
            raise Unreachable(reason)

    # ---- values

    def walk(self, value: Any, path: str, source: Source, take: Take) -> None:
        """Note the value, and whatever can be reached from it."""
        note = _BY_CLASS.get(type(value))
        if note is not None:  # nearly all values: what follows asks them ten questions
            note(self, value, path, source, take)
        elif isinstance(value, Tensor):
            self._tensor(value, path, source, take)
        elif isinstance(value, np.ndarray):
            self._array(value, path, source, take)
        elif isinstance(value, enum.Enum):
            here = self.check(path, source, take, Same(value), value, "value", id(value))
            if not self.visited(value):
                self.walk(value._value_, f"{path}.value", here, Attribute("_value_"))
                self._objects.add(value, path, here)
        elif isinstance(value, _SCALARS) and not isinstance(value, np.void):
            self._scalar(value, path, source, take)
        elif isinstance(value, (list, tuple, dict)):
            self._container(value, path, source, take)
        else:
            self._identity(value, path, source, take)

    def _scalar(self, value: Any, path: str, source: Source, take: Take) -> None:
        kind = type(value)
        bits = value.hex() if kind is float else value if kind in (int, str, bytes) else id(value)
        expect: Expect = Same(value)
        if isinstance(source, Arg) and isinstance(take, Itself) and source.index in self._floats:
            expect = FloatInput(self.add_input(value, path, source, take))
        here = self.check(path, source, take, expect, value, "value", kind, bits)
        if kind not in _SCALARS and not is_library_object(value) and not self.visited(value):
            self._objects.add(value, path, here)  # a subclass in Python has attributes and methods

    def _tensor(self, value: Tensor, path: str, source: Source, take: Take) -> None:
        self._bind(value, path, source, take, Input(len(self.inputs)))

    def _bind(self, value: Any, path: str, source: Source, take: Take, expect: Expect) -> None:
        """An input of the plan, or the same object as one."""
        first = self._bound.get(id(value))
        if first is not None:
            expect = Twin(first.check)
        count = len(self.checks)
        here = self.check(path, source, take, expect, value, "input", id(value))
        if first is None and len(self.checks) > count:  # not a place that was noted before
            self._bound[id(value)] = here
            self.add_input(value, path, source, take)

    def _array(self, value: np.ndarray[Any, Any], path: str, source: Source, take: Take) -> None:
        if type(value) is not np.ndarray:
            self.refuse(f"{path} is a {type(value).__name__}, a subclass of ndarray")
        elif isinstance(source, Arg) and isinstance(take, Itself):
            self._bind(value, path, source, take, ArrayInput(len(self.inputs)))
        elif not (value.flags.c_contiguous and value.flags.aligned) or value.dtype.hasobject:
            kind = "C-contiguous and aligned"
            self.refuse(f"{path} is an ndarray that is not {kind}; make it a Tensor")
        else:
            content = (value.dtype, value.shape, value.tobytes())  # of now: it may change at once
            token = "array", id(value), *content
            here = self.check(path, source, take, Bytes(*content), value, *token)
            self._same_object(value, path, here)
            self.arrays[id(value)] = value

    def _container(self, value: Any, path: str, source: Source, take: Take) -> None:
        here = self._by_content(value, path, source, take)
        if self.visited(value):
            return
        if isinstance(value, dict):
            self._dict(value, path, here)
        else:
            self.check(f"len({path})", here, ITSELF, Length(len(value)), value, len(value))
            for index, item in enumerate(value):
                self.walk(item, f"{path}[{index}]", here, Item(index))
        if not is_library_object(value):
            self._inside(value, path, here)

    def _by_content(self, value: Any, path: str, source: Source, take: Take) -> Of:
        """An object that any other of its class may stand in for that holds the same."""
        kind = type(value)
        here = self.check(path, source, take, Exactly(kind), value, "content", kind, id(value))
        self._same_object(value, path, here)
        return here

    def _same_object(self, value: Any, path: str, here: Of) -> None:
        """What it holds is guarded where it was met first; elsewhere it must be that object."""
        first = self._matched.setdefault(id(value), here)
        if first != here:
            self.check(path, here, ITSELF, Twin(first.check), value, STRUCTURE)

    def _dict(self, value: dict[Any, Any], path: str, here: Of) -> None:
        """Its items, in their order: Python code may iterate."""
        if isinstance(value, collections.OrderedDict):
            self.refuse(f"{path} is an OrderedDict, whose order cannot be watched; use a dict")
            return
        for key in value:
            if not isinstance(key, (*_SCALARS, enum.Enum)):
                self.refuse(f"{path} has a key of type {type(key).__name__}")
                return
        keys = tuple(value)
        self.check(f"keys({path})", here, ITSELF, Keys(keys), value, *map(repr, keys))
        for key, item in value.items():
            self.walk(item, f"{path}[{key!r}]", here, Key(key))

    def _identity(self, value: Any, path: str, source: Source, take: Take) -> None:
        """Anything else: the same object, and then what can be read from it. Of a class that says
        itself what is equal (a dataclass) any object will do that holds the same."""
        if isinstance(value, types.MethodType):
            here = self.check(path, source, take, Exactly(types.MethodType), value, "method")
            self.walk(value.__func__, f"{path}.__func__", here, Attribute("__func__"))
            self.walk(value.__self__, f"{path}.__self__", here, Attribute("__self__"))
            return
        named = isinstance(take, (Key, Attribute))  # cells and arguments are loaded in other ways
        names = names_read_by(value, path.rpartition(".")[2] if named else "")
        if names is not None:
            self._objects.extend(names)
        kind: type = type(value)
        if is_known_by_content(kind):
            here = self._by_content(value, path, source, take)
        else:
            ref = weakly(value)
            expect: Expect = Same(value) if ref is None else Referent(ref, kind)
            token = "object", id(value), id(kind)
            here = self.check(path, source, take, expect, value, *token)
        if not self.visited(value):
            self._inside(value, path, here)

    def _inside(self, value: Any, path: str, here: Of) -> None:
        owner = bound_to(value)
        if owner is not None:
            self.walk(owner, f"{path}.__self__", here, Attribute("__self__"))
        if isinstance(value, types.FunctionType):
            self._function(value, path, here)
        elif isinstance(value, types.ModuleType):
            self._objects.add(value, path, Kept(value.__dict__))
        elif hasattr(type(value), "__wrapped_function__"):
            name = "__wrapped_function__"
            self.walk(value.__wrapped_function__, f"{path}.{name}", here, Attribute(name))
        elif isinstance(value, functools.partial):
            for name in ("func", "args", "keywords"):
                self.walk(getattr(value, name), f"{path}.{name}", here, Attribute(name))
        elif isinstance(value, functools._lru_cache_wrapper):
            self.refuse(f"{path} is a cached function, which need not run its body")
        elif value is memoryview or value is bytearray:
            self.refuse(f"{path} can read arrays unseen")
        elif isinstance(value, Config):
            settings = value.settings
            take = Attribute("settings")
            self.check(f"{path}.settings", here, take, Same(settings), settings, id(settings))
        elif isinstance(value, Variable):
            self._objects.add(value, path, here)
        elif isinstance(value, type) and is_library_object(value):
            return
        elif type(value) is types.SimpleNamespace:
            self._objects.add(value, path, here)
        elif is_library_object(value) and library_files(value) is None:
            if not is_immutable(value):
                kind = type(value).__name__
                self.refuse(f"{path} is a {kind}, whose content cannot be watched")
        elif not isinstance(value, type) and has_hidden_state(type(value)):
            kind = type(value).__name__
            self.refuse(f"{path} is a {kind}, which is partly written in C and cannot be watched")
        else:
            self._objects.add(value, path, here)

    # ---- functions

    def _function(self, function: types.FunctionType, path: str, here: Of) -> None:
        code = function.__code__
        self.check(f"{path}.__code__", here, Field("code"), Same(code), code, id(code))
        opaque = is_opaque_function(function)
        if not opaque:
            self._objects.add(function, path, here)  # attributes are read without running it
        if not self.runs(code):
            return
        if not opaque:
            self._names(function, path, here)
        for name, cell in zip(code.co_freevars, function.__closure__ or (), strict=True):
            self._cell(cell, f"{path}.{name}")

    def _names(self, function: types.FunctionType, path: str, here: Of) -> None:
        """What its code can look up. For a function of the core its identity stands for that."""
        code = function.__code__
        self.codes.update(nested_code(code))
        names = names_of(code)
        self._objects.extend(names)
        for name, value in (
            ("defaults", function.__defaults__),
            ("kwdefaults", function.__kwdefaults__),
            ("closure", function.__closure__),
        ):
            expect = same_expectation(value)
            self.check(f"{path}.__{name}__", here, Field(name), expect, value, name, id(value))  # type: ignore[arg-type]
            if value is not None and name != "closure":
                self.walk(value, f"{name} of {path}", Kept(value), ITSELF)
        for name in sorted(names.globals):
            self._global(name, function.__globals__)
        for name in sorted(names.imports):
            module = sys.modules.get(name)
            if module is not None:
                self.walk(module, name, Kept(sys.modules), Key(name))

    def _cell(self, cell: types.CellType, path: str) -> None:
        try:
            self.walk(cell.cell_contents, path, Kept(cell), Content())
        except ValueError:
            self.check(path, Kept(cell), Content(), same_expectation(None), None, "empty")

    def _global(self, name: str, namespace: dict[str, Any]) -> None:
        path = f"{namespace.get('__name__', '')}.{name}"
        if name in namespace:
            self.walk(namespace[name], path, Kept(namespace), Key(name))
            return
        self.check(path, Kept(namespace), Key(name), same_expectation(None), None, "absent")
        builtins = namespace.get("__builtins__", {})
        builtins = builtins if isinstance(builtins, dict) else vars(builtins)
        path = f"builtins.{name}"
        if name in builtins:
            self.walk(builtins[name], path, Kept(builtins), Key(name))
        else:
            self.check(path, Kept(builtins), Key(name), same_expectation(None), None, "absent")


_BY_CLASS: dict[type, Callable[[Snapshot, Any, str, Source, Take], None]] = {
    Tensor: Snapshot._tensor,
    np.ndarray: Snapshot._array,
    **dict.fromkeys(ATOMS, Snapshot._scalar),
    **dict.fromkeys((list, tuple, dict), Snapshot._container),
    **dict.fromkeys((types.FunctionType, types.ModuleType, Variable), Snapshot._identity),
}
"""How the walk notes a value of exactly this class."""
