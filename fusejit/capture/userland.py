"""Which code is the user's, and which callables are known to be pure."""

from __future__ import annotations

import builtins
import importlib.util
import os
import sys
import sysconfig
import types
from functools import lru_cache
from typing import Any

import numpy as np

_PACKAGE = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_STANDARD = tuple(
    os.path.realpath(sysconfig.get_paths()[key]) + os.sep for key in ("stdlib", "platstdlib")
)
# Packages that the core calls: what they do on its behalf is not the user's doing.
_CALLED = tuple(
    os.path.realpath(folder) + os.sep
    for name in ("numpy", "optree", "llvmlite", "scipy_openblas64")
    if (spec := importlib.util.find_spec(name)) is not None
    for folder in spec.submodule_search_locations or ()
)
# Written in public ops, as users write theirs: recorded, guarded and reached like user code.
_WRITTEN_IN_OPS = ("nn.py", "layers", "train", "data", "demo", "random.py")

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
        "globals",
        "locals",
        "vars",
        "dir",
        "help",
    ]
)
_PURE_TYPES = (
    bool, int, float, complex, str, bytes, list, tuple, dict, set, frozenset, range, slice, type(None), type, object,
    property, super, types.MappingProxyType, types.SimpleNamespace, types.GenericAlias,
)  # fmt: skip


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
    return filename.startswith("<frozen") or standard or path.startswith(_CALLED)


def is_user_frame(frame: types.FrameType | None) -> bool:
    """User code: neither the core, nor library code that the core called, nor what an import runs
    (imports happen once, so a replay need not repeat them)."""
    user = False
    while frame is not None:
        filename = frame.f_code.co_filename
        if filename.startswith("<frozen importlib"):
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
    """Functions of the core: their identity stands for their behaviour."""
    return is_core_file(function.__code__.co_filename)


def is_library_object(value: Any) -> bool:
    """Objects and classes of fusejit's core, NumPy and the interpreter: identity is enough."""
    kind = value if isinstance(value, type) else type(value)
    if not kind.__flags__ & (1 << 9):  # not a heap type: written in C, its state is not Python's
        return True
    module = kind.__module__ or ""
    if module.split(".")[0] == "numpy":
        return True
    file = getattr(sys.modules.get(module), "__file__", None)
    return module.startswith("fusejit.") and file is not None and is_core_file(file)


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
        return getattr(function, "__objclass__", None) in _PURE_TYPES
    if isinstance(owner, type):
        return owner in _PURE_TYPES
    return isinstance(owner, _PURE_TYPES) and not isinstance(owner, np.generic)
