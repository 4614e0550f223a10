"""What takes long and is made once: by the thread that needs it first, or ahead in the background.

A recorded call of a decorated function returns what its body has computed, and has its plan made
`ahead`: the first call of a process has LLVM imported, native code linked and kernels compiled
while the caller goes on. What fails there fails again, and is reported, where it is needed.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import os
import sys
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Generic, ParamSpec, TypeVar

if TYPE_CHECKING:
    from queue import SimpleQueue

P = ParamSpec("P")
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


_native = False


def native_is_ready() -> bool:
    """Whether the native runtime is linked: from now on an op costs at most its own kernel."""
    return _native


def note_native() -> None:
    """The native runtime is linked."""
    global _native
    _native = True


_beginners: set[threading.Thread] = set()
"""They call LLVM, and must not be left halfway: the interpreter waits for them before it ends."""
_workers: list[_Worker] = []
"""At most one: takes over from a beginner."""
own_threads = ctypes.c_int64(0)
"""How many of the interpreter's threads they are: native code reads it, to know of the user's."""
_lock = threading.Lock()


def ahead(once: Once[Any], afterwards: Callable[[], None]) -> bool:
    """Begin to compute `once`, `afterwards` what nobody waits for, in the background, and go on.
    False if there can be no thread."""
    _survive_forks()
    with _lock:
        if _workers:
            _workers[0].give(once, afterwards)
            return True

    def begin() -> None:
        _compute(once, afterwards)
        _hire()
        _beginners.discard(thread)

    thread = threading.Thread(target=begin, name="fusejit-ahead")
    return _started(thread)


def _started(thread: threading.Thread) -> bool:
    """Start a beginner. False if there can be no more threads, or the interpreter is about to
    end."""
    handled = sys.exception()
    _beginners.add(thread)
    try:
        thread.start()
    except RuntimeError as error:
        if error.__context__ is not handled:  # it is interrupted, in an Event: see `undisturbed`
            raise error.__context__ or error from None
        _beginners.discard(thread)
        return False
    return True


def undisturbed(function: Callable[P, T]) -> Callable[P, T]:
    """`function`, which calls LLVM, by a thread of its own where the main thread calls it.

    What signals ask for, Python raises in the main thread, between any two lines. One that comes
    between llvmlite's taking its lock and the block that gives it back would leave it taken for
    ever. An interrupt so reaches who waits, and the work goes on to its end. A thread takes 0.1 to
    0.2 ms, a kernel 5 ms.
    """

    @functools.wraps(function)
    def call(*args: P.args, **kwargs: P.kwargs) -> T:
        if threading.current_thread() is not threading.main_thread():
            return function(*args, **kwargs)
        _survive_forks()
        # Neither `join` nor Event: what is interrupted there takes a thread for ended, or releases
        # a lock that it does not hold. A lock is taken by C code, wholly or not at all.
        done = threading.Lock()
        done.acquire()
        results: list[T] = []
        errors: list[BaseException] = []

        def run() -> None:
            try:
                results.append(function(*args, **kwargs))
            except BaseException as error:
                errors.append(error)
            _beginners.discard(thread)
            done.release()

        thread = threading.Thread(target=run, name="fusejit-llvm")
        if not _started(thread):  # nobody else can do it
            return function(*args, **kwargs)
        done.acquire()
        if errors:
            raise errors.pop()
        return results[0]

    return call


def _compute(once: Once[Any], afterwards: Callable[[], None]) -> None:
    if not once.results:
        time.sleep(HEAD_START)
    with contextlib.suppress(Exception):
        once()
        afterwards()


class _Worker(threading.Thread):
    """Computes one thing after the other. To start a thread takes its starter 0.1 to 0.2 ms, to
    hand something to one that waits 5 us."""

    def __init__(self) -> None:
        from queue import SimpleQueue  # 1 ms, in the background

        super().__init__(name="fusejit-worker", daemon=True)  # it waits for ever
        # Written in C: an interrupt comes before an item is there, or after.
        self._todo: SimpleQueue[tuple[Once[Any], Callable[[], None]] | None] = SimpleQueue()

    def give(self, once: Once[Any], afterwards: Callable[[], None]) -> None:
        self._todo.put((once, afterwards))

    def end(self) -> None:
        """Finish what was given, and end."""
        self._todo.put(None)
        self.join()

    def run(self) -> None:
        while (item := self._todo.get()) is not None:
            _compute(*item)


def _hire() -> None:
    """Have a worker from now on, if there is native code: whoever imports llvmlite must not be one,
    for what that registers to run at the end of the process would come too late."""
    if not native_is_ready():
        return
    _end_well()
    with _lock, contextlib.suppress(RuntimeError):  # as in `_started`
        if not _workers:
            worker = _Worker()
            worker.start()
            _workers.append(worker)
            own_threads.value = len(_workers)


@Once
def _end_well() -> None:
    atexit.register(_dismiss)


_prepared: list[Any] = []
"""What logging was when this module last prepared for forks: None if it was not loaded."""


def _survive_forks() -> None:
    """A child has no such threads, and would wait for the locks that they hold: finish first.

    What is registered last runs first, and logging, when it is imported, registers to take a lock.
    So this must be registered again then: a thread that logs would wait for the lock, and the fork
    for the thread. To import logging first would take 2 ms of the first call.
    """
    logging = sys.modules.get("logging")
    if logging not in _prepared and hasattr(os, "register_at_fork"):
        os.register_at_fork(before=_finish)
        _prepared.append(logging)


def logger() -> Any:
    """The logger of fusejit; None where logging is not loaded, so that nobody listens. In threads
    of fusejit's own also where it was loaded only now: see `_survive_forks`."""
    logging = sys.modules.get("logging")
    if logging is None:
        return None
    thread = threading.current_thread()
    ours = isinstance(thread, _Worker) or thread in _beginners
    return None if ours and logging not in _prepared else logging.getLogger("fusejit")


def _finish() -> None:
    """Nothing is under way, and there are no threads."""
    for thread in list(_beginners):
        if thread.is_alive():  # an interrupt may have come before it could start
            thread.join()
    _dismiss()


def _dismiss() -> None:
    with _lock:
        while _workers:
            _workers.pop().end()
            own_threads.value = len(_workers)
