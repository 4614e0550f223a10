"""A thread that prepares elements while the caller computes.

The thread knows a pipe and the source, never the object that users hold: when that is collected,
the pipe is closed and the thread ends. Threads still running when the process ends are told to end
and given a second; an error in the thread is raised where the element would have come.
"""

from __future__ import annotations

import atexit
import threading
import weakref
from collections import deque

from .source import Source, State, Wrapper
from .structure import Element

_AT_EXIT = 1.0  # seconds that a thread has to finish its element when the process ends


class Pipe:
    """At most `size` elements on their way, each with the state of the source behind it."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._items: deque[tuple[Element, State]] = deque()
        self._changed = threading.Condition()  # its lock is one that a finalizer may take again
        self._closed = False
        self._ended = False
        self._error: BaseException | None = None

    def has_room(self) -> bool:
        """Wait until there is; False once nobody takes elements any more."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or len(self._items) < self._size)
            return not self._closed

    def put(self, element: Element, state: State) -> None:
        with self._changed:
            self._items.append((element, state))
            self._changed.notify_all()

    def end(self, error: BaseException | None) -> None:
        """No more elements, because there are none or because of an error."""
        with self._changed:
            self._ended, self._error = True, error
            self._changed.notify_all()

    def get(self) -> tuple[Element, State]:
        """Wait for the next element; StopIteration or the source's error when they have ended."""
        with self._changed:
            self._changed.wait_for(lambda: self._items or self._ended or self._closed)
            if self._items:
                self._changed.notify_all()
                return self._items.popleft()
            error, self._error = self._error, None
        if error is not None:
            raise error
        raise StopIteration

    def close(self) -> None:
        with self._changed:
            self._closed = True
            self._items.clear()
            self._changed.notify_all()


_running: weakref.WeakKeyDictionary[threading.Thread, Pipe] = weakref.WeakKeyDictionary()


def _work(source: Source, pipe: Pipe) -> None:
    error: BaseException | None = None
    try:
        while pipe.has_room():
            pipe.put(next(source), source.state())
    except StopIteration:
        pass
    except BaseException as raised:  # also an exit: it belongs to whoever iterates
        error = raised
    finally:
        try:
            source.close()
        finally:
            pipe.end(error)


@atexit.register
def _end_all() -> None:
    for thread, pipe in list(_running.items()):
        pipe.close()
        thread.join(_AT_EXIT)


class Prefetched(Wrapper):
    """What `inner` gives, prepared up to `size` elements ahead by a thread of its own."""

    def __init__(self, inner: Source, size: int) -> None:
        super().__init__(inner)
        self.size = size
        self.taken = inner.state()
        self.pipe: Pipe | None = None
        self.thread: threading.Thread | None = None

    def __next__(self) -> Element:
        if self.pipe is None:
            self.pipe = self._start()
        element, self.taken = self.pipe.get()
        return element

    def _start(self) -> Pipe:
        pipe = Pipe(self.size)
        self.thread = threading.Thread(
            target=_work, args=(self.inner, pipe), name="fusejit-prefetch", daemon=True
        )
        weakref.finalize(self, pipe.close).atexit = False
        _running[self.thread] = pipe
        self.thread.start()
        return pipe

    def state(self) -> State:
        return {"inner": self.taken}

    def restore(self, state: State) -> None:
        super().restore(state)
        self.taken = state["inner"]

    def close(self) -> None:
        """End the thread, and wait until it has."""
        if self.pipe is None or self.thread is None:
            self.inner.close()
            return
        self.pipe.close()
        if self.thread is not threading.current_thread():
            self.thread.join()
