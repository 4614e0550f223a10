"""The thread pool when a process forks or ends."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest

import fusejit as fj
from tests.backends.pool import pool, worked

pytestmark = pytest.mark.usefixtures("four_threads")
ROOT = Path(__file__).parent.parent.parent


def in_a_process(function: Callable[[], None], *options: str) -> None:
    """Run `function` of this module in a new interpreter that must end well, and silently."""
    program = f"from tests.backends import test_thread_processes as t; t.{function.__name__}()"
    done = subprocess.run(
        [sys.executable, "-W", "error", *options, "-c", program],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def exit_while_threads_watch() -> None:
    fj.set_num_threads(4)
    pool().run(100, 1, 4)


def exit_while_threads_sleep() -> None:
    exit_while_threads_watch()
    time.sleep(0.02)


def exit_during_a_job() -> None:
    fj.set_num_threads(4)
    Thread(target=pool().run, args=(1000, 1, 4, 10_000), daemon=True).start()
    time.sleep(0.02)


def children(number: int) -> None:
    """Fork children that run jobs, and so on, one inside the other."""
    pool().run(100, 1, 4)
    if number:
        child = os.fork()
        if child == 0:
            children(number - 1)
            assert worked(pool().run(8, 1, 4, sleep=20_000)) > {0}
            os._exit(0)
        pool().run(100, 1, 4)
        assert os.waitpid(child, 0)[1] == 0


def fork_between_jobs() -> None:
    fj.set_num_threads(4)
    for _ in range(5):
        children(2)


def fork_during_a_job() -> None:
    fj.set_num_threads(4)
    caller = Thread(target=pool().run, args=(40, 1, 4, 20_000))
    caller.start()
    time.sleep(0.05)
    children(2)
    assert caller.is_alive()
    caller.join()


@pytest.mark.parametrize(
    "function", [exit_while_threads_watch, exit_while_threads_sleep, exit_during_a_job]
)
def test_a_process_ends_well(function: Callable[[], None]) -> None:
    in_a_process(function)


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forks_between_jobs_and_warns_of_nothing() -> None:
    in_a_process(fork_between_jobs, "-W", "always")  # an error there is lost: CPython clears it


@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_forks_during_a_job() -> None:
    in_a_process(fork_during_a_job, "-W", "ignore::DeprecationWarning")  # of the thread in Python
