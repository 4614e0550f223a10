"""The thread of `prefetch` ends: with the pass, an error, the iterator, and the process."""

from __future__ import annotations

import subprocess
import sys
import threading
import time
from collections.abc import Iterable

import numpy as np
import pytest

import fusejit as fj
from fusejit.data import Dataset
from tests.collecting import collect


def threads() -> list[threading.Thread]:
    return [t for t in threading.enumerate() if t.name == "fusejit-prefetch"]


def wait_for_none() -> None:
    for _ in range(200):
        if not threads():
            return
        time.sleep(0.01)
    raise AssertionError(f"still running: {threads()}")


def dataset(n: int = 100) -> Dataset:
    return Dataset.from_tensor_slices(np.arange(n)).map(lambda x: x + 1).prefetch(2)


def test_at_the_end_of_a_pass() -> None:
    assert len(list(dataset())) == 100
    wait_for_none()


def test_when_the_iterator_is_dropped() -> None:
    iterator = iter(dataset())
    next(iterator)
    assert len(threads()) == 1
    del iterator
    collect()
    wait_for_none()


def test_when_it_is_closed_or_its_block_ends() -> None:
    iterator = iter(dataset())
    next(iterator)
    iterator.close()
    assert not threads()
    with pytest.raises(StopIteration):
        next(iterator)
    with fj.Iterator(dataset()) as entered:
        next(entered)
    assert not threads()


def test_when_the_loop_raises() -> None:
    with pytest.raises(ZeroDivisionError):
        for _ in dataset():
            raise ZeroDivisionError
    collect()
    wait_for_none()


def test_an_error_arrives_where_its_element_would_have() -> None:
    def broken() -> Iterable[int]:
        yield 1
        yield 2
        raise OSError("disk")

    found = []
    with pytest.raises(OSError, match="disk") as caught:
        for n in Dataset.from_generator(broken).prefetch(5):
            found.append(int(n))
    assert found == [1, 2] and caught.traceback[-1].name == "broken"
    wait_for_none()


def test_a_generator_is_closed_by_its_thread() -> None:
    closed = []

    def endless() -> Iterable[int]:
        try:
            while True:
                yield 1
        finally:
            closed.append(threading.current_thread().name)

    iterator = iter(Dataset.from_generator(endless).prefetch(1))
    next(iterator)
    iterator.close()
    assert closed == ["fusejit-prefetch"]


def test_it_prepares_ahead_and_no_further() -> None:
    made: list[int] = []

    def count() -> Iterable[int]:
        for n in range(50):
            made.append(n)
            yield n

    iterator = iter(Dataset.from_generator(count).prefetch(3))
    next(iterator)
    time.sleep(0.05)
    assert 4 <= len(made) <= 5
    iterator.close()


def test_nothing_is_read_before_the_first_element_is_asked_for() -> None:
    iterator = iter(dataset())
    assert not threads()
    iterator.close()


@pytest.mark.parametrize("end", ["pass", "sys.exit(0)", "raise SystemExit(0)"])
def test_the_process_ends_silently(end: str) -> None:
    program = f"""
import sys, numpy as np, fusejit as fj
data = fj.data.Dataset.from_tensor_slices(np.ones((1000, 50))).repeat().batch(10).prefetch(4)
iterator = iter(data)
next(iterator)
print("ok")
{end}
"""
    done = subprocess.run(
        [sys.executable, "-W", "error", "-X", "dev", "-c", program],
        capture_output=True, text=True, timeout=20, check=True,
    )  # fmt: skip
    assert (done.stdout, done.stderr) == ("ok\n", "")
