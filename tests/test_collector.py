"""The collector is held off as long as anybody asks for it, and then is as it was."""

from __future__ import annotations

import gc
import os
import threading
from collections.abc import Iterator

import pytest

from fusejit.collector import MUCH, Hold, collect_if_much, held_off
from tests.test_startup import run


@pytest.fixture(autouse=True)
def on(quiet: None) -> Iterator[None]:
    assert gc.isenabled()
    yield
    assert gc.isenabled()


def test_the_last_of_several_holds_ends_it() -> None:
    other = Hold()

    def outer() -> bool:
        other.begin()
        return held_off(gc.isenabled)

    assert not held_off(outer)
    assert not gc.isenabled()
    other.release()
    assert gc.isenabled()
    other.release()

    def released() -> bool:
        other.release()
        return gc.isenabled()

    assert not held_off(released)


def test_a_hold_that_nobody_has_any_more_is_none() -> None:
    hold = Hold()
    hold.begin()
    assert not gc.isenabled()
    del hold
    assert gc.isenabled()
    with pytest.raises(ValueError, match="abc"):
        held_off(lambda: int("abc"))


def test_what_was_off_stays_off() -> None:
    gc.disable()
    try:
        assert not held_off(gc.isenabled)
        assert not gc.isenabled()
    finally:
        gc.enable()


def test_one_thread_may_end_what_another_began() -> None:
    hold = Hold()
    hold.begin()
    thread = threading.Thread(target=hold.release)
    thread.start()
    thread.join()
    assert gc.isenabled()


def test_holds_of_many_threads() -> None:
    def run() -> None:
        for _ in range(1000):
            seen.add(held_off(gc.isenabled))

    seen: set[bool] = set()
    threads = [threading.Thread(target=run) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {False}


def collections() -> int:
    return gc.get_stats()[2]["collections"]


def test_much_that_is_left_while_it_is_held_off_is_collected() -> None:
    kept: list[list[int]] = []

    def collected() -> int:
        before = collections()
        collect_if_much()
        return collections() - before

    def left() -> tuple[int, int]:
        gc.collect()
        little = collected()
        kept.extend([] for _ in range(MUCH + 1))
        return little, collected()

    assert held_off(left) == (0, 1)


def test_what_the_user_has_switched_off_is_not_collected() -> None:
    gc.disable()
    try:
        before = collections()
        kept = [[] for _ in range(MUCH + 1)]
        held_off(collect_if_much)
        assert collections() == before and len(kept) > MUCH
    finally:
        gc.enable()


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_child_has_no_holds_of_threads_that_it_has_not() -> None:
    program = """
import gc, os, threading
from fusejit.collector import held_off

def fork(expected):
    child = os.fork()
    if child == 0:
        os._exit(0 if gc.isenabled() is expected else 1)
    assert os.waitpid(child, 0)[1] == 0

held, done = threading.Event(), threading.Event()
def hold():
    held.set()
    done.wait()
thread = threading.Thread(target=held_off, args=(hold,))
thread.start()
held.wait()
assert not gc.isenabled()
fork(True)
held_off(lambda: fork(False))
done.set()
thread.join()
print(gc.isenabled())
"""
    assert run(program, "") == "True\n"
