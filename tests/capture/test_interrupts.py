"""Ctrl-C at any moment: it reaches the caller, and everything goes on working."""

from __future__ import annotations

import ctypes
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

import fusejit as fj
from fusejit import dispatch
from tests.capture.helpers import X, same

ROOT = Path(__file__).parent.parent.parent

pytestmark = [
    pytest.mark.compiled,
    pytest.mark.skipif(sys.platform == "win32", reason="no timer that sends a signal"),
]


COUNTS = {"capture": 100, "compile": 50, "graft": 60, "replay": 100, "tape": 30}
CASES = [(kind, how) for kind in COUNTS for how in ("signals", "entries")]
CASES.remove(("replay", "entries"))  # native code enters no Python function


@pytest.mark.parametrize(("kind", "how"), CASES)
def test_an_interrupt_leaves_everything_usable(kind: str, how: str) -> None:
    command = [sys.executable, "-W", "error", "-m", "tests.capture.interrupts"]
    done = subprocess.run(
        [*command, kind, str(COUNTS[kind]), how],
        cwd=ROOT,
        env=os.environ | {"FUSEJIT_CACHE_DIR": ""},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )
    assert done.returncode == 0, done.stderr[-4000:]


@fj.function
def scaled(x: Any, n: Any) -> Any:
    return x * float(int(n))


def test_a_path_that_was_added_is_not_added_twice() -> None:
    f = fj.function(scaled.eager)
    for n in (1, 2, 3):
        f(X, fj.constant(n))
    paths = f._calls.paths
    shapes = [(len(t.exits), sum(map(len, t.exits.values()))) for t in paths.traces]
    for trace in reversed(paths.traces):
        assert paths.add(trace) == []
    assert [(len(t.exits), sum(map(len, t.exits.values()))) for t in paths.traces] == shapes
    assert len(paths.trees) == 1 and len(paths.traces) == 3
    for n in (1, 2, 3, 4):
        assert same(f(X, fj.constant(n)), X * float(n))


def test_an_interrupt_while_exits_move_leaves_room_for_none(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    f = fj.function(scaled.eager)
    for n in range(5):  # the four exits of the first path fill its rows
        f(X, fj.constant(n))
    assert len(f._calls.traces) == 5

    def interrupt(*args: Any) -> None:
        raise KeyboardInterrupt

    f(X, fj.constant(5))
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(ctypes, "memmove", interrupt)
        _ = f._calls.traces
    for n in range(12):
        assert same(f(X, fj.constant(n)), X * float(n))


def test_a_tape_that_was_left_open_inside_ends_with_the_call() -> None:
    @fj.function
    def f(x: Any) -> Any:
        fj.GradientTape().__enter__()
        return x * 2.0

    for _ in range(3):
        assert same(f.eager(X), X * 2.0) and same(f(X), X * 2.0)
        while (tape := next(dispatch.handlers(), None)) is not None:
            dispatch.remove(tape)  # what the eager calls leave
        assert dispatch.handlers_active.value == 0
