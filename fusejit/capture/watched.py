"""A watched ndarray: what the body gets for an ndarray argument while it is recorded.

fusejit's ops read its memory, as they do for any ndarray, and the plan then takes the argument by
reference. If Python or NumPy looks at the content itself, the recording could not know, so every
way to look reports it, and the call counts as eager. Type, shape and dtype are guarded: they are
free.

What cannot be seen: C code that reads the buffer (`b"".join([array])`), and that the argument is
not the very object that is reached elsewhere (`array is self.array`) while a call is recorded. An
argument that the body stores somewhere stays a watched array.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

_HARMLESS = frozenset(
    [
        "shape",
        "dtype",
        "ndim",
        "size",
        "nbytes",
        "itemsize",
        "strides",
        "view",
        "__class__",
        "__array_ufunc__",
        "__array_function__",
        "__array_priority__",
        "__array_finalize__",
        "_report",
        "__dict__",
        "__len__",
        "__hash__",
        "flags",
    ]
)


class WatchedArray(np.ndarray):
    """An ndarray over the same memory that reports when its content is read."""

    _report: Callable[[str], None]

    def __array_finalize__(self, made_from: Any) -> None:
        self._report = getattr(made_from, "_report", _ignore)

    def __getattribute__(self, name: str) -> Any:
        if name not in _HARMLESS:
            object.__getattribute__(self, "_report")(f".{name} of an ndarray argument")
        return object.__getattribute__(self, name)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any, **kwargs: Any) -> Any:
        self._report(f"np.{ufunc.__name__} of an ndarray argument")
        plain = [x.view(np.ndarray) if isinstance(x, WatchedArray) else x for x in inputs]
        return getattr(ufunc, method)(*plain, **kwargs)

    def __array_function__(self, function: Any, types: Any, args: Any, kwargs: Any) -> Any:
        self._report(f"np.{function.__name__} of an ndarray argument")
        return super().__array_function__(function, types, args, kwargs)


def _reporting(name: str) -> Callable[..., Any]:
    plain = getattr(np.ndarray, name, None) or np.ndarray.tobytes

    def method(self: WatchedArray, *args: Any) -> Any:
        self._report(f"{name} of an ndarray argument")
        return plain(self, *args)

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
    watched = array.view(WatchedArray)
    watched._report = report
    return watched
