"""The garbage collector, held off while a program is recorded and compiled."""

from __future__ import annotations

import gc
import threading

_lock = threading.RLock()  # what a signal runs may come here again
_holds = 0
_collecting = False  # whether it was on before the first of them


class Hold:
    """No collection of reference cycles until `release`, or the end of the `with` block that this
    opens, or until nobody has this any more.

    Graphs and plans are many small objects that all stay alive, so each collection walks them for
    nothing: of the time to compile 500 steps of an LSTM that was half. The switch is the process's:
    the last of several holds, in whichever threads, puts it back to where the first found it.
    """

    __slots__ = ("_held",)

    def __init__(self) -> None:
        global _holds, _collecting
        self._held = False
        with _lock:
            if not _holds:
                _collecting = gc.isenabled()
            self._held, _holds = True, _holds + 1
            gc.disable()

    def release(self) -> None:
        """Collect again, unless others hold it off. Once is enough, more does no harm."""
        global _holds
        with _lock:
            if not self._held:
                return
            self._held, _holds = False, _holds - 1
            if not _holds and _collecting:
                gc.enable()

    __del__ = release

    def __enter__(self) -> None:
        pass

    def __exit__(self, *exception: object) -> None:
        self.release()
