"""A watched ndarray: what the body gets for an ndarray argument while it is recorded.

fusejit's ops read its memory, as they do for any ndarray, and the plan then takes the argument by
reference. If Python or NumPy looks at the content itself, or at where it lies, the recording could
not know, so every way to look reports it, and the call counts as eager. Type, shape and dtype are
guarded: they are free. What is reported is done to the user's own array, and gives what that gives.

What cannot be seen: C code that reads the buffer (`b"".join([array])`), and that the argument is
not the very object that is reached elsewhere (`array is self.array`) while a call is recorded. An
argument that the body stores somewhere stays a watched array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from ..autodiff import trees

_HARMLESS = frozenset(
    [
        "shape",
        "dtype",
        "ndim",
        "size",
        "nbytes",
        "itemsize",
        "__class__",
        "__array_ufunc__",
        "__array_function__",
        "__array_priority__",
        "__array_finalize__",
        "_report",
        "_given",
        "__dict__",
        "__len__",
        "__hash__",
    ]
)


class WatchedArray(np.ndarray):
    """An ndarray over the same memory that reports when its content is read."""

    _report: Callable[[str], None]
    _given: np.ndarray[Any, Any] | None = None

    def __array_finalize__(self, made_from: Any) -> None:
        self._report = getattr(made_from, "_report", _ignore)

    def __getattribute__(self, name: str) -> Any:
        if name in _HARMLESS:
            return object.__getattribute__(self, name)
        self._report(f".{name} of an ndarray argument")
        return getattr(_plain(self), name)

    def __setattr__(self, name: str, value: Any) -> None:
        if name not in _HARMLESS or name in np.ndarray.__dict__:
            self._report(f"a change of .{name} of an ndarray argument")
            setattr(_plain(self), name, value)
        object.__setattr__(self, name, value)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        self._report(f"np.{ufunc.__name__} of an ndarray argument")
        inputs, kwargs = trees.map_leaves(_plain, (inputs, kwargs))
        return getattr(ufunc, method)(*inputs, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        self._report(f"np.{function.__name__} of an ndarray argument")
        args, kwargs = trees.map_leaves(_plain, (args, kwargs))
        return function(*args, **kwargs)


def _plain(value: Any) -> Any:
    """The user's own array for a watched one."""
    if not isinstance(value, WatchedArray):
        return value
    return np.ndarray.view(value, np.ndarray) if value._given is None else value._given


def _reporting(name: str) -> Callable[..., Any]:
    plain = getattr(np.ndarray, name, None) or np.ndarray.tobytes

    def method(self: WatchedArray, *args: Any) -> Any:
        self._report(f"{name} of an ndarray argument")
        return plain(_plain(self), *args)

    return method


# Python looks these up on the class, past __getattribute__.
for _name in [
    "__getitem__",
    "__setitem__",
    "__delitem__",
    "__contains__",
    "__bool__",
    "__int__",
    "__float__",
    "__complex__",
    "__index__",
    "__str__",
    "__repr__",
    "__format__",
    "__reduce__",
    "__reduce_ex__",
    "__copy__",
    "__deepcopy__",
    "__iter__",
    "__buffer__",
]:
    if hasattr(np.ndarray, _name) or _name == "__bytes__":  # __buffer__ since Python 3.12
        setattr(WatchedArray, _name, _reporting(_name))


def _ignore(what: str) -> None:
    """Nobody records any more."""


def watch(array: np.ndarray[Any, Any], report: Callable[[str], None]) -> WatchedArray:
    """`array` as a watched array that calls `report` with what was done."""
    watched = np.ndarray.view(array, WatchedArray)
    watched._report, watched._given = report, array
    return watched
