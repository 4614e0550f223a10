"""Watching a call for what a replay could not repeat: calls of C functions that are not known to be
pure, and Python code that the reach snapshot did not see.

While a body is recorded the interpreter reports every call of its thread through `sys.setprofile`;
a profiler that the user installed keeps getting its events. Not every callable is reported (types
and ufuncs are not), so the states of the global generators of `random` and NumPy are compared as
well.
"""

from __future__ import annotations

import contextlib
import gc
import os
import random
import sys
import types
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np

from .userland import is_core_file, is_library_file, is_pure_callable, is_user_frame

Report = Callable[[str, str], None]
"""(what happened, where): called at most once for each event."""


def location(frame: types.FrameType | None) -> str:
    """'train.py:12' of the innermost user frame."""
    while frame is not None and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else "?"


def _is_library(filename: str) -> bool:
    return is_core_file(filename) or is_library_file(filename)


class Watch:
    """What ran during a recorded call.

    Attributes:
        ran: the code of all Python functions that were entered.
        of_user: those that belong to the user.
    """

    def __init__(self, known: set[types.CodeType], report: Report) -> None:
        self.ran: set[types.CodeType] = set()
        self.of_user: set[types.CodeType] = set()
        self._core: set[types.CodeType] = set()
        self._known = known
        self._report = report

    def profile(self, frame: types.FrameType, event: str, arg: Any) -> None:
        """What `sys.setprofile` calls, for most events from inside of the core."""
        if frame.f_code in self._core:
            return
        if is_core_file(frame.f_code.co_filename):
            self._core.add(frame.f_code)
            self.ran.add(frame.f_code)
            return
        if event == "c_call":
            if not is_pure_callable(arg) and is_user_frame(frame):
                self._report(f"it calls {_describe(arg)}", location(frame))
        elif event == "call" and frame.f_code not in self.of_user:
            self.ran.add(frame.f_code)
            if is_library_file(frame.f_code.co_filename) or not is_user_frame(frame):
                return
            self.of_user.add(frame.f_code)
            if frame.f_code not in self._known:
                what = f"it runs {frame.f_code.co_qualname}, which it finds at run time"
                self._report(what, location(frame.f_back))


@contextlib.contextmanager
def watching(known: set[types.CodeType], report: Report) -> Iterator[Watch]:
    """Report impure calls and unknown code of this thread inside the block."""
    watch = Watch(known, report)
    before = _generator_states()
    where = sys._getframe(2)
    outer = sys.getprofile()
    collecting = gc.isenabled()
    gc.disable()  # what a collection runs (callbacks, finalizers) is no part of the call
    try:
        sys.setprofile(_both(outer, watch) if callable(outer) else watch.profile)
        yield watch
    finally:
        _restore(outer)
        if collecting:
            gc.enable()
        if before != _generator_states():
            report("it draws from the global generator of random or numpy.random", location(where))


def _both(outer: Callable[..., object], watch: Watch) -> Callable[..., None]:
    def profile(frame: types.FrameType, event: str, arg: Any) -> None:
        outer(frame, event, arg)
        watch.profile(frame, event, arg)

    return profile


def _restore(outer: Any) -> None:
    """Python's own profilers are told everything; cProfile before 3.12, which is written in C and
    cannot be called, misses what a recording runs."""
    if outer is None or callable(outer):
        sys.setprofile(outer)
    else:
        sys.setprofile(None)
        if hasattr(outer, "enable"):
            outer.enable()


def _describe(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    module = getattr(function, "__module__", None)
    owner = getattr(function, "__self__", None)
    if module is None and isinstance(owner, types.ModuleType):
        module = owner.__name__
    if name == "print":
        return "print, an effect"
    return f"{module}.{name}" if module not in (None, "builtins") else str(name)


def _generator_states() -> tuple[object, ...]:
    kind, keys, *rest = np.random.get_state(legacy=True)
    return random.getstate(), kind, bytes(np.asarray(keys)), *rest
