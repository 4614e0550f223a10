"""The garbage collector, held off while a program is recorded and compiled."""

from __future__ import annotations

import gc
import os
from _thread import get_ident
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")

MUCH = 100_000
"""New objects, some 20 MB of them, that are left uncollected before a recording. One of a few ops
leaves 300, one of 500 steps of an LSTM a million. To collect takes 40 to 70 ms then, if most of
them are to be freed: a fifth of the time of a loop that makes functions, calls and drops them."""

_holds: dict[int, int] = {}
"""Who holds it off: the ids of the holds, and the threads that began them."""
_collecting = False
"""Whether it is to be switched on after the last of them."""


class Hold:
    """No collection of reference cycles from `begin` until `release`, or until nobody has this any
    more.

    Graphs and plans are many small objects that all stay alive, so each collection walks them for
    nothing: of the time to compile 500 steps of an LSTM that was half. The switch is the process's:
    the last of several holds, in whichever threads, puts it back to where the first found it.
    """

    __slots__ = ()

    # CPython changes threads, and raises what signals ask for, after calls only (see
    # `dispatch.push`): no lock is needed here, which a fork might find taken.

    def begin(self) -> None:
        """Do not collect. To be followed by a release also where this is interrupted."""
        global _collecting
        _holds[id(self)] = get_ident()
        if gc.isenabled():
            _collecting = True
            gc.disable()

    def release(self) -> None:
        """Collect again, unless others hold it off. Once is enough, more does no harm."""
        _holds.pop(id(self), None)
        _end()

    __del__ = release


def held_off(run: Callable[[], T]) -> T:
    """`run()`, during which nothing is collected."""
    hold = Hold()
    try:
        hold.begin()
        return run()
    finally:
        try:
            hold.release()
        finally:
            hold.release()  # an interrupt may have come before it had begun


def collect_if_much() -> None:
    """Collect if much was left since the collector was last on.

    To be called before a recording. In a loop that records faster than the background makes plans
    of it there is always somebody who holds the collector off, and cycles would pile up.
    """
    if _collecting and gc.get_count()[0] > MUCH:
        gc.collect()


def _end() -> None:
    global _collecting
    if _collecting and not _holds:
        _collecting = False
        gc.enable()


def _after_fork() -> None:
    """Other threads, and with them their holds, are not there in a child."""
    own = get_ident()
    for hold in [hold for hold, thread in _holds.items() if thread != own]:
        del _holds[hold]
    _end()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
