"""What the tests of trace trees share: the trees of a function, and that its body does not run."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from fusejit.capture.trace import Trace
from tests.modes import needs_replays


def trees(f: Any) -> list[list[Trace]]:
    """The roots of a function with all that is reached from them."""
    found = []
    for tree in f._calls.paths.trees:
        reached = [tree.root]
        for trace in reached:
            reached.extend(child for exits in trace.exits.values() for child in exits)
        found.append(reached)
    return found


def in_one_tree(f: Any, count: int) -> bool:
    return [len(tree) for tree in trees(f)] == [count]


@contextmanager
def no_body_runs(f: Any) -> Iterator[None]:
    """The Python body of a function is not entered inside the block."""
    needs_replays()
    entered = []

    def watch(frame: Any, event: str, arg: Any) -> None:
        if event == "call" and frame.f_code is f.eager.__code__:
            entered.append(frame.f_lineno)

    sys.setprofile(watch)
    try:
        yield
    finally:
        sys.setprofile(None)
    assert not entered
