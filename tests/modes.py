"""Test runs in other modes (FUSEJIT_DISABLE=1, FUSEJIT_CHECK=1, ...): what cannot hold there.

A test goes on until it asks for what the mode does not have, and is skipped at that point, so that
all it says about results up to there is tested. What is about compiling or replaying as a whole is
marked: `compiled` or `replayed`, by hand or by its name here.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any, NoReturn

import pytest

import fusejit as fj
from fusejit.capture.calls import Calls
from fusejit.capture.function import Function

REPLAYED = (
    "capture/test_branches.py::test_a_replay_does_not_run_the_body",
    "capture/test_in_place",  # only a replay writes where its state lies
    "capture/test_native_calls.py::test_many_calls_leave_nothing_behind",  # 30,000 calls
    "capture/test_native_gradients.py::test_a_call_under_a_tape_is_one_entry",
    "capture/test_watched.py",  # what is recorded for a tape
    "cuda/test_capture.py::test_the_pointwise_part_of_an_lstm_cell_is_one_kernel_each_way",
    "test_packaging.py::test_the_wheel_works_in_an_empty_environment",  # counts recordings
)
"""Beginnings of the names of tests that are about replays, and ask in ways of their own."""
COMPILED = (
    *REPLAYED,
    "backends/test_objects.py::test_sixteen_processes_start_on_an_empty_cache",
    "backends/test_ready.py",  # plans that are made in the background
    "capture/test_calls.py::test_python_dash_c",
    "capture/test_checked.py",
    "capture/test_recompiles.py",
    "capture/test_trees.py::test_a_new_path_is_logged_with_the_values",
    "cuda/test_capture.py::test_cuda_source_needs_no_gpu",
    "fuzz/",  # compares eager with fused
    "portable/test_hostile.py",  # what is recorded is saved
    "passes/",  # graphs are taken from recordings
    "reports/test_state.py::test_a_function_of_another_module_is_edited",
    "test_startup.py",  # what a first call loads
)
"""The same for those that are about what is recorded and compiled."""

IN_PLACE = "capture/test_in_place"
"""What those are about that FUSEJIT_NO_REUSE=1 switches off."""

ASKED_OF_A_FUNCTION = ("explain", "graph", "ir", "llvm", "asm", "benchmark", "signatures")
ABOUT_RECORDING = (fj.EagerWarning, fj.RecompileWarning, fj.RecompileError)


def marker(name: str) -> str | None:
    """What a test, named from its file under tests/ on, is marked with."""
    if fj.config.no_reuse and name.startswith(IN_PLACE):
        return "reused"
    if name.startswith(REPLAYED):
        return "replayed"
    return "compiled" if name.startswith(COMPILED) else None


def needs_recordings() -> None:
    """What follows in a test is about recordings, and there are none."""
    if fj.config.disable:
        pytest.skip("nothing is recorded under FUSEJIT_DISABLE=1")


def needs_replays() -> None:
    """What follows in a test is about calls that do not run the body."""
    needs_recordings()
    if fj.config.check:
        pytest.skip("under FUSEJIT_CHECK=1 the body runs at each call")


def needs_reuse() -> None:
    """What follows in a test is about results in the memory of values that they replace."""
    if fj.config.no_reuse:
        pytest.skip("nothing is written in place under FUSEJIT_NO_REUSE=1")


def answer_by_skipping(patch: pytest.MonkeyPatch) -> None:
    """Skip a test as soon as it asks what was recorded, if nothing is."""
    if not fj.config.disable:
        return

    def skip(*args: Any, **kwargs: Any) -> NoReturn:
        needs_recordings()
        raise AssertionError("FUSEJIT_DISABLE was switched off meanwhile")

    for name in ASKED_OF_A_FUNCTION:
        patch.setattr(Function, name, skip)
    for name in ("num_traces", "num_compiles"):
        patch.setattr(Function, name, property(skip))
    patch.setattr(Function, "__repr__", lambda f: f"<{f.eager.__qualname__}>")  # which asks, too
    for name in ("traces", "paths"):
        patch.setattr(Calls, name, property(skip))
    for name in ("warns", "raises"):
        patch.setattr(pytest, name, _asks_about(getattr(pytest, name)))


def _asks_about(expect: Any) -> Any:
    """`pytest.warns` or `pytest.raises`, that skips at the end of its block if what is expected is
    about recording."""

    def expecting(kinds: Any = Warning, *args: Any, **kwargs: Any) -> Any:
        if not issubclass(kinds if isinstance(kinds, type) else kinds[0], ABOUT_RECORDING):
            return expect(kinds, *args, **kwargs)
        return _skipping()

    return expecting


@contextlib.contextmanager
def _skipping() -> Iterator[None]:
    yield
    needs_recordings()
