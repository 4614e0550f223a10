"""Watching a call for what a replay could not repeat: calls of C functions that are not known to be
pure, and Python code that the reach snapshot did not see.

While a body is recorded the interpreter reports every call of its thread, as to a profiler (see
`hook`); one that the user installed keeps getting its events. Inside of registered ops and their
gradient rules, where only code runs that is pure by contract, nobody looks: most events come from
there. Not every callable is reported (types and ufuncs are not), so the states of the global
generators of `random` and NumPy are compared as well.
"""

from __future__ import annotations

import ctypes
import os
import sys
import types
from collections.abc import Callable
from typing import Any, TypeVar

import numpy as np

from ..autodiff.tape import OPENS_TAPE
from ..backends.llvm.hook import Hook
from ..collector import held_off
from .userland import (
    is_core_file,
    is_library_file,
    is_pure_callable,
    is_user_frame,
    reads_the_process,
)

T = TypeVar("T")
Report = Callable[[str, str], None]
"""(what happened, where): called at most once for each event."""


def location(frame: types.FrameType | None) -> str:
    """'train.py:12' of the innermost user frame."""
    while frame is not None and _is_library(frame.f_code.co_filename):
        frame = frame.f_back
    return f"{os.path.basename(frame.f_code.co_filename)}:{frame.f_lineno}" if frame else "?"


def _is_library(filename: str) -> bool:
    return is_core_file(filename) or is_library_file(filename)


_telling_nothing: dict[int, types.CodeType] = {}
"""Code of the core that has run in some recording, by id. That it runs says nothing of what a call
reads, so that later recordings need not hear of it: to hear of 40 such took 0.1 ms of each."""


class Watch:
    """What ran during a recorded call: impure calls and code that is not `known` are reported.

    Code is told apart by identity: hashing a code object takes 0.15 us, and this happens at each
    event.

    Attributes:
        ran: the code of all Python functions that were entered, by id, and some of the core that
            may not have been.
        of_user: those that belong to the user.
        for_user: those of libraries, that the user's have called.
    """

    def __init__(self, known: set[types.CodeType], report: Report) -> None:
        outer = sys.getprofile()
        self.ran: dict[int, types.CodeType] = dict(_telling_nothing)
        self.of_user: dict[int, types.CodeType] = {}
        self.for_user: dict[int, types.CodeType] = {}
        self._core: set[int] = set(_telling_nothing)
        self._known = known
        self.report = report
        self._outer = outer
        self._hook = Hook(_both(outer, self) if callable(outer) else self.profile)

    def start(self) -> None:
        self._hook.start()

    def stop(self) -> None:
        """Python's own profilers are told everything; cProfile before 3.12, which is written in C
        and cannot be called, misses what a recording runs."""
        if self._outer is None or callable(self._outer):
            sys.setprofile(self._outer)
        else:
            sys.setprofile(None)
            if hasattr(self._outer, "enable"):
                self._outer.enable()

    def looking_away(self, function: Callable[..., Any], *args: Any) -> Any:
        """function(*args), unwatched. Most events of a recorded call come from inside of ops: to
        look at each takes several times as long as the ops themselves."""
        if self._outer is not None or sys.getprofile() is not self._hook:
            return function(*args)  # somebody wants to see it, or nobody is looking now
        try:  # an interrupt may come right after the first line, too
            sys.setprofile(None)
            return function(*args)
        finally:
            self._hook.start()

    def profile(self, frame: types.FrameType, event: str, arg: Any) -> None:
        """What the hook calls; before there is native code, for most events from inside of the
        core."""
        code = frame.f_code
        if id(code) in self._core:
            return
        if is_core_file(code.co_filename):
            self._core_ran(frame, event)
            return
        if event == "c_call":
            inner = arg is hash and code.co_name == "__hash__"  # a key of a dict: of its parts
            if not inner and not is_pure_callable(arg) and is_user_frame(frame):
                self.report(f"it calls {_called(frame, arg)}", location(frame))
        elif event == "call" and id(code) not in self.of_user and id(code) not in self.for_user:
            self.ran[id(code)] = code
            if is_user_frame(frame):
                self._entered(frame, code)

    def _core_ran(self, frame: types.FrameType, event: str) -> None:
        """Code of fusejit, not seen yet; what reads or sets how this process runs is no part of a
        program, and looked at each time."""
        code = frame.f_code
        if not reads_the_process(frame):
            self._core.add(id(code))
            self.ran[id(code)] = code
            always = not code.co_freevars and code is not OPENS_TAPE
            if always:
                _telling_nothing[id(code)] = code
            if self._outer is None:  # who wants to see everything, sees it
                self._hook.pass_over(code, always)
        elif event == "call" and is_user_frame(frame.f_back):
            self.report(f"it calls fj.{code.co_qualname}", location(frame))

    def _entered(self, frame: types.FrameType, code: types.CodeType) -> None:
        """Code that the user's code has called, for the first time."""
        if is_library_file(code.co_filename):
            self.for_user[id(code)] = code
            if reads_the_process(frame):
                self.report(f"it calls {code.co_qualname}", location(frame))
            return
        self.of_user[id(code)] = code
        if code not in self._known:
            what = f"it runs {code.co_qualname}, which it finds at run time"
            self.report(what, location(frame.f_back))


def watched(run: Callable[[], T], watch: Watch, where: str) -> T:
    """`run()`, which runs what stands at `where`, under the eyes of `watch`. Nothing is collected
    meanwhile: what that runs (callbacks, finalizers) is no part of the call."""
    before = _generator_states()

    def seen() -> T:
        try:
            watch.start()
            return run()
        finally:
            try:
                sys.setprofile(None)
            finally:
                watch.stop()  # an interrupt may have come before, out of the hook that hears of it

    result = held_off(seen)
    if _drawn(before, _generator_states()):
        what = "it draws from the global generator of random or numpy.random"
        watch.report(what, where)  # no event tells the line
    return result


def _both(outer: Callable[..., object], watch: Watch) -> Callable[..., None]:
    def profile(frame: types.FrameType, event: str, arg: Any) -> None:
        outer(frame, event, arg)
        watch.profile(frame, event, arg)

    return profile


def _called(frame: types.FrameType, function: Any) -> str:
    """What the user's line has called: `function`, or what of a library came to call it."""
    name, outer, caller = _describe(function), "", frame
    while _is_library(caller.f_code.co_filename) and caller.f_back is not None:
        module, qualname = caller.f_globals.get("__name__"), caller.f_code.co_qualname
        outer, caller = f"{module}.{qualname}", caller.f_back
    return f"{outer}, which calls {name}" if outer else name


def _describe(function: Any) -> str:
    name = getattr(function, "__qualname__", None) or repr(function)
    module = getattr(function, "__module__", None)
    owner = getattr(function, "__self__", None)
    if module is None and isinstance(owner, types.ModuleType):
        module = owner.__name__
    if name == "print":
        return "print, an effect"
    return f"{module}.{name}" if module not in (None, "builtins") else str(name)


def _generator_states() -> dict[str, object]:
    """Of the global generators that are loaded; to load them takes 12 ms of a first call.

    These objects hold their state in their own memory, which is compared as it is: 2 us, where
    their getstate and get_state take 36, of 600 that a small function takes to record.
    """
    states: dict[str, object] = {}
    if "random" in sys.modules:
        numbers = sys.modules["random"].getstate.__self__
        states["random"] = numbers.gauss_next, _memory(numbers)
    if "numpy.random" in sys.modules:
        legacy = np.random.mtrand._rand
        states["numpy.random"] = _memory(legacy), _memory(legacy._bit_generator)
    return states


def _memory(value: object) -> bytes:
    """What an object holds itself, but for its reference count and its class."""
    head = object.__basicsize__
    return ctypes.string_at(id(value) + head, type(value).__basicsize__ - head)


def _drawn(before: dict[str, object], after: dict[str, object]) -> bool:
    """Whether the call drew. If it loaded NumPy's generator, it is taken to have; Python's may have
    been loaded by what fusejit imports, and its functions are reported."""
    loaded = "numpy.random" in after.keys() - before.keys()
    return loaded or any(after[name] != state for name, state in before.items())
