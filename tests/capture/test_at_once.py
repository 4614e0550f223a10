"""Several threads that meet the same for the first time: one of them is right for all."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

import fusejit as fj
from fusejit.autodiff import tags
from fusejit.capture import calls
from fusejit.capture.calls import Calls
from tests.capture.helpers import X, same
from tests.modes import needs_replays

THREADS = 8


def in_threads(work: Callable[[], Any]) -> list[Any]:
    """What `work` returns in each of some threads."""
    with ThreadPoolExecutor(THREADS) as pool:
        return [each.result() for each in [pool.submit(work) for _ in range(THREADS)]]


@pytest.fixture
def meeting(monkeypatch: pytest.MonkeyPatch) -> None:
    """No thread goes on after a recording before all have recorded."""
    barrier = threading.Barrier(THREADS)
    record = calls.record

    def met(*args: Any) -> Any:
        recording = record(*args)
        barrier.wait(timeout=60)
        return recording

    needs_replays()
    monkeypatch.setattr(calls, "record", met)


@pytest.mark.usefixtures("meeting")
def test_first_calls_at_once_are_one_path() -> None:
    f = fj.function(lambda x: fj.tanh(x) * 2.0)
    assert all(same(found, f.eager(X)) for found in in_threads(lambda: f(X)))
    assert len(f._calls.traces) == 1
    assert f.num_traces == THREADS
    assert same(f(X), f.eager(X))
    assert f.num_traces == THREADS


@pytest.mark.usefixtures("meeting")
def test_branches_at_once_are_one_branch_each_and_no_guard_is_given_up() -> None:
    @fj.function
    def f(x: Any, n: Any) -> Any:
        return x * float(int(n))

    for count in range(1, 9):  # more than MAX_REPEATS
        n = fj.constant(count)
        assert all(same(found, f.eager(X, n)) for found in in_threads(lambda n=n: f(X, n)))
        assert len(f._calls.traces) == count
        assert len(f._calls.paths.trees) == 1


def test_first_calls_at_once_are_counted_together(monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(THREADS)
    make = Calls.__init__

    def met(self: Calls, function: Any) -> None:
        make(self, function)
        barrier.wait(timeout=60)

    monkeypatch.setattr(Calls, "__init__", met)
    f = fj.function(lambda x: x + 1.0)
    assert len(set(map(id, in_threads(lambda: f._calls)))) == 1


def test_tags_at_once_are_one_tag(monkeypatch: pytest.MonkeyPatch) -> None:
    barrier = threading.Barrier(THREADS)

    def met() -> int:
        barrier.wait(timeout=60)
        return next_tag()

    next_tag = tags.next_tag
    monkeypatch.setattr(tags, "next_tag", met)
    tensor = fj.constant(1.0)
    assert len(set(in_threads(lambda: tags.tag_of(tensor)))) == 1
