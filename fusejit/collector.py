"""The garbage collector, held off while a program is recorded or compiled."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator


@contextlib.contextmanager
def held_off() -> Iterator[None]:
    """No collection of reference cycles in the block.

    Graphs and plans are many small objects that all stay alive, so each collection walks them for
    nothing: of the time to compile 500 steps of an LSTM that was half. The switch is the process's:
    where two threads hold it off at once, the first to finish ends it for both, which is harmless.
    """
    collecting = gc.isenabled()
    try:
        gc.disable()
        yield
    finally:
        if collecting:
            gc.enable()
