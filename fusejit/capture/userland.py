"""Which code is the user's, and which callables are known to be pure."""

from __future__ import annotations

import _thread
import builtins
import collections
import enum
import functools
import operator
import os
import sys
import types
import weakref
from collections.abc import Callable
from functools import lru_cache
from typing import Any, TypeVar

import numpy as np

from ..op import RECORD_CODE

T = TypeVar("T")

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
# What sysconfig says of "stdlib" and would take 2 ms to say; "platstdlib" has modules of C only.
_STANDARD = os.path.realpath(os.path.dirname(os.__file__)) + os.sep
_CALLED = ("numpy", "optree", "llvmlite", "scipy_openblas64")
"""Packages that the core calls: what they do on its behalf is not the user's doing."""
# Written in public ops, as users write theirs: recorded, guarded and reached like user code.
_WRITTEN_IN_OPS = ("nn", "layers", "train", "data", "demo", "examples", "random.py")

_PURE_MODULES = frozenset(
    {"math", "cmath", "operator", "_operator", "itertools", "functools", "_functools", "_abc"}
)
_IMPURE_BUILTINS = frozenset(
    [
        "print",
        "input",
        "open",
        "exec",
        "eval",
        "compile",
        "__import__",
        "breakpoint",
        "id",
        "hash",  # of a Tensor it is its address
        "globals",
        "locals",
        "help",
    ]
)
# They change arrays, or read an argument without telling it (see `watched`), or what they return
# depends on more than their arguments.
_IMPURE_NUMPY = frozenset(
    [
        "empty",
        "empty_like",
        "fromfile",
        "from_dlpack",
        "frombuffer",
        "asarray",
        "array",
        "ascontiguousarray",
        "asfortranarray",
        "asanyarray",
        "fromiter",
        "copyto",
        "putmask",
        "place",
        "put",
    ]
)
# Functions in Python whose results depend on what no argument shows, or that set what none shows,
# and call no C that would tell.
_OF_THE_PROCESS = {
    "fusejit.backends.llvm.threads": ("get_num_threads", "set_num_threads"),
    "fusejit.capture.caches": ("cache_info",),
    "fusejit.capture.function": (
        "clear_caches",
        "Function.num_traces",
        "Function.num_compiles",
        "Function.signatures",
    ),
    "os": ("getenv", "getenvb"),
    "logging": ("getLogger",),
    "numpy._core._ufunc_config": ("geterr", "geterrcall", "getbufsize"),
    "numpy._core.arrayprint": ("get_printoptions",),
}
_PURE_TYPES = (
    bool,
    int,
    float,
    complex,
    str,
    bytes,
    list,
    tuple,
    dict,
    set,
    frozenset,
    range,
    slice,
    type(None),
    type,
    object,
    property,
    super,
    types.MappingProxyType,
    types.SimpleNamespace,
    types.GenericAlias,
)
# What a method changes of these is theirs, and seen where the call can reach them. Locks that it
# can reach are refused; what libraries do with theirs (logging, at first use of a level) is undone.
_PURE_OWNERS = (
    *(kind for kind in _PURE_TYPES if kind is not object),
    collections.deque,
    types.GeneratorType,
    BaseException,
    _thread.LockType,
    _thread.RLock,
)
_HEAP_TYPE, _IMMUTABLE_TYPE = 1 << 9, 1 << 8  # bits of type.__flags__
ATOMS = (type(None), bool, int, float, complex, str, bytes)
_CONSTANTS = (
    types.BuiltinFunctionType,
    types.WrapperDescriptorType,
    types.MethodWrapperType,
    types.MethodDescriptorType,
    types.ClassMethodDescriptorType,
    types.GetSetDescriptorType,
    types.MemberDescriptorType,
    types.CodeType,
    type(vars(collections.namedtuple("_", "x"))["x"]),
    types.GenericAlias,
    types.UnionType,
    type,
    range,
    slice,
    staticmethod,
    classmethod,
    property,
)
_NUMPY_CONSTANTS = (np.ufunc, np.dtype, np.generic, type(np.sum))
_IMMUTABLE_MODULES = frozenset(
    {"datetime", "decimal", "_decimal", "re", "operator", "_operator", "zoneinfo", "typing"}
)


@lru_cache(maxsize=8192)  # files of one program
def is_core_file(filename: str) -> bool:
    """Whether the file is fusejit's own machinery (its parts written in public ops are not)."""
    if not filename.startswith(_PACKAGE):
        return False
    return not filename[len(_PACKAGE) :].startswith(_WRITTEN_IN_OPS)


@lru_cache(maxsize=8192)  # as above
def is_library_file(filename: str) -> bool:
    """The standard library, and the packages that fusejit itself calls."""
    path = os.path.realpath(filename)
    standard = path.startswith(_STANDARD) and "site-packages" not in path
    return filename.startswith("<frozen") or standard or path.startswith(_called())


def _called() -> tuple[str, ...]:
    """Where those of `_CALLED` lie that are loaded. There is no code of others yet, and to look for
    them would take 0.3 ms of a first call."""
    paths = [getattr(sys.modules.get(name), "__path__", ()) for name in _CALLED]
    return tuple(os.path.realpath(folder) + os.sep for path in paths for folder in path)


def is_user_frame(frame: types.FrameType | None) -> bool:
    """User code: neither the core, nor library code that the core called, nor an op's own
    functions, nor what an import runs (imports happen once, so a replay need not repeat them)."""
    user = False
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith("<frozen importlib") or frame.f_code in RECORD_CODE:
            return False
        if filename.startswith("<"):  # generated, as by dataclasses: it belongs to its module
            filename = frame.f_globals.get("__file__") or filename
        if str(frame.f_globals.get("__name__")).startswith("namedtuple_"):
            filename = os.__file__  # namedtuple gives what it generates a namespace of its own
        if is_core_file(filename):
            return user
        user = user or not is_library_file(filename)
        frame = frame.f_back
    return True


def is_opaque_function(function: types.FunctionType) -> bool:
    """Functions of the core, of the standard library and of NumPy: their identity stands for their
    behaviour. What they do to the world are calls of C functions, which are watched anywhere."""
    filename = function.__code__.co_filename
    return is_core_file(filename) or is_library_file(filename)


def is_library_object(value: Any) -> bool:
    """Classes of fusejit's core, of libraries and of C, and their instances: identity stands for
    what they do, though instances may hold state."""
    kind = value if isinstance(value, type) else type(value)
    if not is_written_in_python(kind):
        return True
    module = kind.__module__ or ""
    first = module.split(".")[0]
    if first != "fusejit":
        return first in ("numpy", "optree") or first in sys.stdlib_module_names
    file = getattr(sys.modules.get(module), "__file__", None)
    return file is not None and is_core_file(file)


def is_library_module(module: types.ModuleType) -> bool:
    """Modules of the core, the standard library and NumPy: what they hold is taken for constant,
    unless the code spells the name."""
    file = getattr(module, "__file__", None)
    first = module.__name__.split(".")[0]
    if first == "fusejit":
        return file is None or is_core_file(file)
    return first in ("numpy", "optree") or first in sys.stdlib_module_names


def by_class(function: Callable[[type], T]) -> Callable[[type], T]:
    """`function`, asked once for each class. No class is kept: one that is made in a function holds
    its decorated methods, and these their plans."""
    known: dict[int, tuple[T, weakref.ref[type]]] = {}

    def find(kind: type) -> T:
        key = id(kind)
        found = known.get(key)
        if found is None:
            forget = weakref.ref(kind, lambda _: known.pop(key, None))
            found = known[key] = function(kind), forget
        return found[0]

    return functools.update_wrapper(find, function)


@by_class
def is_written_in_python(kind: type) -> bool:
    """A class statement leaves `__dict__`, `__slots__` or `__weakref__`, or a base has one."""
    if not kind.__flags__ & _HEAP_TYPE or kind.__flags__ & _IMMUTABLE_TYPE:
        return False
    if issubclass(kind, type):
        return True  # a metaclass: classes have these three without it
    marks = ("__dict__", "__slots__", "__weakref__")
    heap = [c for c in kind.__mro__ if c.__flags__ & _HEAP_TYPE]
    return any(mark in vars(c) for c in heap for mark in marks)


@by_class
def is_known_by_content(kind: type) -> bool:
    """Whether a class of the user's says itself what is equal, as dataclasses do: nothing tells its
    instances apart but what they hold, and `is`."""
    if is_library_object(kind) or issubclass(kind, type):
        return False
    by_identity = (object.__eq__, object.__hash__, object.__repr__)
    own = (kind.__eq__, kind.__hash__, kind.__repr__)
    return not any(map(operator.is_, own, by_identity))


def library_files(value: Any) -> list[str] | None:
    """The files of library classes written in Python that the value is an instance of: when code of
    one has run, it may have read attributes that no user code names. None for other values."""
    return _library_files(type(value))


@by_class
def _library_files(kind: type) -> list[str] | None:
    kinds = [c for c in kind.__mro__ if is_written_in_python(c) and is_library_object(c)]
    kinds = [c for c in kinds if c.__module__.split(".")[0] != "fusejit"]
    if not kinds:
        return None
    found = [getattr(sys.modules.get(c.__module__), "__file__", None) or "" for c in kinds]
    return found + [f"<frozen {c.__module__}>" for c in kinds]


def is_immutable(value: Any) -> bool:
    """Whether the identity of a library object stands for all that can be read from it."""
    kind = type(value)
    if isinstance(value, frozenset):
        return all(isinstance(item, (*ATOMS, enum.Enum)) for item in value)
    if isinstance(value, _CONSTANTS) or kind.__module__ in _IMMUTABLE_MODULES:
        return True
    if kind.__module__.split(".")[0] == "numpy":
        # The state of this one is compared before and after each recording.
        if isinstance(value, np.void):  # a record, whose fields can be assigned
            return False
        return isinstance(value, _NUMPY_CONSTANTS) or value is np.random.mtrand._rand
    return kind.__module__.startswith("fusejit.") or "cython" in kind.__name__


def has_hidden_state(kind: type) -> bool:
    """Whether instances of a Python class inherit content from C that no attribute shows."""
    plain = (object, list, tuple, dict, BaseException, type, *ATOMS)
    return any(
        not is_written_in_python(base) and not issubclass(base, plain[1:]) and base is not object
        for base in kind.__mro__
    )


def reads_the_process(frame: types.FrameType) -> bool:
    """Whether this is a function that looks up, or sets, what anyone may have changed."""
    module = str(frame.f_globals.get("__name__"))
    return frame.f_code.co_qualname in _OF_THE_PROCESS.get(module, ())


def is_pure_callable(function: Any) -> bool:
    """Whether a C callable is on the short list: same result for same arguments, no effect but on
    the containers that it is given, which the snapshot after recording sees."""
    owner = getattr(function, "__self__", None)
    if isinstance(owner, types.ModuleType) or owner is None:
        module = getattr(function, "__module__", None)
        if module == "builtins":
            name = getattr(function, "__name__", "")
            return name not in _IMPURE_BUILTINS and getattr(builtins, name, None) is function
        if module in _PURE_MODULES:
            return True
        if module is not None and module.split(".")[0] == "numpy":
            return "random" not in module and function.__name__ not in _IMPURE_NUMPY
        return _is_pure_type(getattr(function, "__objclass__", None))
    if isinstance(owner, type):
        return _is_pure_type(owner)
    if type(owner).__module__ in _IMMUTABLE_MODULES:
        return True
    return isinstance(owner, _PURE_OWNERS) and not isinstance(owner, np.generic)


def _is_pure_type(kind: type | None) -> bool:
    """By identity: to compare a class may run its metaclass."""
    return any(kind is pure for pure in _PURE_TYPES)
