"""What users decide about recordings, and what they are told: the warning, and `no_recompile`."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator


class EagerWarning(UserWarning):
    """A decorated function runs eagerly; the message says why, where, and what to write instead."""


class RecompileWarning(UserWarning):
    """A decorated function is recorded again and again; the message says which value changes."""


MAX_CHANGES = 32
"""Recordings on account of one guarded value after which a warning names it: half of the traces
that a function keeps, so that a value which takes a few dozen forms is none of our business."""


class _Forbidden(threading.local):
    depth = 0


_forbidden = _Forbidden()


@contextlib.contextmanager
def no_recompile() -> Iterator[None]:
    """Raise RecompileError if this thread records a decorated function inside the block.

    For loops that must be steady: the message says which argument or guard differs.
    """
    _forbidden.depth += 1
    try:
        yield
    finally:
        _forbidden.depth -= 1


def may_record() -> bool:
    """Whether no `no_recompile` block of this thread is open."""
    return not _forbidden.depth
