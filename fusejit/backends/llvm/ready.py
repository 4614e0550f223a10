"""What takes long and is made once: by the thread that needs it first, or ahead in the background.

The first call of a decorated function returns what its body has computed, and has its plan made
`ahead`: LLVM is imported, native code linked and kernels compiled while the caller goes on. What
fails there fails again, and is reported, where it is needed.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from typing import Any, Generic, TypeVar

T = TypeVar("T")

HEAD_START = 0.002
"""Seconds that a thread in the background leaves the interpreter to the one that started it, which
has just got a result and would otherwise wait 5 ms, the interval of switches, to use it."""


class Once(Generic[T]):
    """`function()`, computed once: who asks while another thread computes waits for it.

    An exception is nobody's result: the next call tries again.
    """

    def __init__(self, function: Callable[[], T]) -> None:
        self.function = function
        self.lock = threading.RLock()
        self.results: list[T] = []

    def __call__(self) -> T:
        if not self.results:
            with self.lock:
                if not self.results:
                    self.results.append(self.function())
        return self.results[0]

    def cache_clear(self) -> None:
        """Compute it again when it is next needed."""
        self.results.clear()


_native = threading.Event()


def native_is_ready() -> bool:
    """Whether the native runtime is linked: from now on an op costs at most its own kernel."""
    return _native.is_set()


def note_native() -> None:
    """The native runtime is linked."""
    _native.set()


_ahead: set[threading.Thread] = set()


def ahead(once: Once[Any], afterwards: Callable[[], None]) -> None:
    """Begin to compute `once`, `afterwards` what nobody waits for, in the background, if there can
    be a thread, and go on.
    """

    def compute() -> None:
        time.sleep(HEAD_START)
        with contextlib.suppress(Exception):
            once()
            afterwards()
        _ahead.discard(thread)

    _survive_forks()
    # Not a daemon: the interpreter waits for it before it ends, as LLVM cannot be left halfway.
    thread = threading.Thread(target=compute, name="fusejit-ahead")
    _ahead.add(thread)
    try:
        thread.start()
    except RuntimeError:  # no more threads, or the interpreter is about to end
        _ahead.discard(thread)


@Once
def _survive_forks() -> None:
    """A child has no such threads, and would wait for the locks that they hold: finish first."""
    if hasattr(os, "register_at_fork"):
        # What is registered last runs first, and logging's part takes a lock that a thread which
        # logs would wait for, while the fork waits for the thread. So that must be registered now.
        import logging  # noqa: F401, 2 ms

        os.register_at_fork(before=_finish)


def _finish() -> None:
    for thread in list(_ahead):
        thread.join()
